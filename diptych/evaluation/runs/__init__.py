"""Runs: a model on a benchmark, kept so that its number can be found again.

    run = Run.begin(folder, settings, rows, data)     # new, or the one that was stopped
    make(model, benchmark, run)                       # answers and pictures, a batch at a time
    score(run, benchmark, judge)                      # the table, from what is stored

    run.json            what the number depends on (`settings`)
    rows.jsonl          what was asked, a row a line; inputs/ holds pictures that came inside the benchmark's files
    answers*.jsonl      what the model answered, appended as it comes; one file a process
    images/             what it drew
    evidence-*.jsonl    what a judge saw in it
    score.json          the table
    report.html         a page to read

A run that was killed at any point goes on where it was and ends equal: seeds come from (seed, row, picture) alone.
"""

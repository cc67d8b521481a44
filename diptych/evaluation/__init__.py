"""Measuring models: benchmarks, judges and reports.

    from diptych.evaluation.benchmarks import find

    pope = find("pope")
    rows = pope.rows(folder)                                  # the published files
    requests = [pope.ask(row) for row in rows]                # for any model
    pope.score(rows, {row.id: reply for ...})["f1"]

Scorers need no model: evidence may come from a file of replies, or from what any judge saw in pictures.
"""

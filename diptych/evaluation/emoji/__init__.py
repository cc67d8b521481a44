"""Emoji scenes as a benchmark: three sets, a judge that reads pictures, and scores by kind and split.

    from diptych.evaluation.emoji.judge import Judge
    from diptych.evaluation.emoji.scoring import score_answers, score_drawings, score_edits
    from diptych.evaluation.emoji.sets import read_edits, read_prompts, read_questions

    items = read_prompts()                                    # 600; read_prompts(folder) for another set
    tables = score_drawings(pictures, items, Judge())         # one picture an item
    tables["drawings"]["all"]["heldout"]["share"]

The judge's own errors stand in `judge.json`: report them beside every score.
"""

"""Scores by kind and split, as tables of plain numbers.

A table is `{kind: {"seen" | "heldout" | "all": {"passed": n, "total": n, "share": x}}}`, with a last kind "all".
"""

from collections.abc import Iterable, Sequence

import numpy as np
from PIL import Image

from diptych.errors import InputError
from diptych.evaluation.emoji.answers import is_accepted
from diptych.evaluation.emoji.judge import Judge
from diptych.evaluation.emoji.sets import EditItem, PromptItem, QuestionItem
from diptych.evaluation.emoji.verdicts import Seen, judge_drawing, judge_edit

Picture = Image.Image | np.ndarray
Table = dict[str, dict[str, dict[str, float]]]
SPLITS = ("seen", "heldout", "all")


def tabulate(results: Iterable[tuple[str, str, bool]]) -> Table:
    """Counts passes of (kind, split, passed); splits without items are left out."""
    rows = list(results)
    kinds = [*dict.fromkeys(kind for kind, _, _ in rows), "all"]
    table: Table = {}
    for kind in kinds:
        table[kind] = {}
        for split in SPLITS:
            passed = [ok for k, s, ok in rows if kind in (k, "all") and split in (s, "all")]
            if passed:
                count = sum(passed)
                table[kind][split] = {"passed": count, "total": len(passed), "share": count / len(passed)}
    return table


def score_drawings(images: Sequence[Picture], items: Sequence[PromptItem], judge: Judge) -> dict[str, Table]:
    """One picture for each item's prompt. "drawings" by task; "styles" for the items that name a style only."""
    _same_length("pictures", images, items)
    seen = judge.read_all(images)
    pairs = list(zip(seen, items, strict=True))
    drawings = [(item.task, item.split, judge_drawing(found, item.graph).ok) for found, item in pairs]
    named = [(found, item) for found, item in pairs if item.graph.style is not None]
    styles = [(item.graph.style or "", item.split, found.style == item.graph.style) for found, item in named]
    return {"drawings": tabulate(drawings), "styles": tabulate(styles)}


def score_answers(answers: Sequence[str], items: Sequence[QuestionItem]) -> Table:
    """One answer for each item's question, by type of question."""
    _same_length("answers", answers, items)
    return tabulate(
        (item.type, item.split, is_accepted(answer, item.accepted)) for answer, item in zip(answers, items, strict=True)
    )


def score_edits(images: Sequence[Picture], items: Sequence[EditItem], judge: Judge) -> Table:
    """One picture for each item's instruction, by operation."""
    _same_length("pictures", images, items)

    def passed(found: Seen, item: EditItem) -> bool:
        return judge_edit(found, item.source, item.target, item.op).ok

    seen = judge.read_all(images)
    return tabulate((item.op, item.split, passed(found, item)) for found, item in zip(seen, items, strict=True))


def _same_length(what: str, given: Sequence[object], items: Sequence[object]) -> None:
    if len(given) != len(items):
        raise InputError(f"{len(given)} {what} for {len(items)} items; give one for each item, in order")

"""POPE: does a model see objects that are not there? Yes-or-no questions (Li et al. 2023, arXiv:2305.10355).

Official: RUCAIBox/POPE `evaluate.py`, and LLaVA's `eval_pope.py`, which is the same rule.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from diptych.evaluation.benchmark import Benchmark, Row, Table, grouped, mean
from diptych.evaluation.files import find_file, read_json_lines, take

SPLITS = ("random", "popular", "adversarial")
FIGURES = ("accuracy", "precision", "recall", "f1", "yes_ratio")


def read_answer(text: str) -> str:
    """yes or no. Only the first sentence counts, words are cut at single spaces, and case matters: NO is a yes."""
    words = text.partition(".")[0].replace(",", "").split(" ")
    return "no" if {"No", "not", "no"} & set(words) else "yes"


def measure(answers: Sequence[str], labels: Sequence[str]) -> Table:
    """Confusion counts and fractions with yes as the positive class; the official division by zero is 0 here."""
    pairs = list(zip((answer == "yes" for answer in answers), (label != "no" for label in labels), strict=True))
    tp, fp, tn, fn = (pairs.count(pair) for pair in ((True, True), (True, False), (False, False), (False, True)))
    precision, recall = _share(tp, tp + fp), _share(tp, tp + fn)
    return {
        "tp": tp,
        "fp": fp,
        "tn": tn,
        "fn": fn,
        "accuracy": _share(tp + tn, len(pairs)),
        "precision": precision,
        "recall": recall,
        "f1": _share(2 * precision * recall, precision + recall),
        "yes_ratio": _share(tp + fp, len(pairs)),
    }


def _share(part: float, whole: float) -> float:
    return part / whole if whole else 0.0


def rows(folder: Path) -> list[Row]:
    """`coco_pope_{random,popular,adversarial}.json`, pictures in `val2014` beside them."""
    found = []
    for split in SPLITS:
        path = find_file(folder, f"coco_pope_{split}.json")
        for record in read_json_lines(path):
            image = folder / "val2014" / take(record, "image", path, str)
            facts = {"split": split, "label": take(record, "label", path, str)}
            found.append(
                Row(f"{split}-{take(record, 'question_id', path)}", take(record, "text", path), (image,), facts)
            )
    return found


def judge(row: Row, reply: str) -> str:
    return read_answer(reply)


def tally(rows: Sequence[Row], answers: Sequence[Any]) -> Table:
    """The figures of each split, and their plain means over the splits, which papers report."""
    both = [(answer, row.facts["label"]) for row, answer in zip(rows, answers, strict=True)]
    pairs = grouped([row.facts["split"] for row in rows], both)
    splits = {split: measure(*zip(*found, strict=True)) for split, found in pairs.items()}
    return {name: mean([table[name] for table in splits.values()]) for name in FIGURES} | {"splits": splits}


BENCHMARKS = {
    "pope": Benchmark("pope", 1, "RUCAIBox/POPE@3df3ba1b", "the reply", rows, judge, tally, figure="f1"),
}

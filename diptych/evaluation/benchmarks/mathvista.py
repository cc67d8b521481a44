"""MathVista: mathematics in pictures (Lu et al. 2024, arXiv:2310.02255).

Official: lupantech/MathVista `calculate_score.py`. Before it a language model extracts the answer from the reply; what
it extracted is the evidence here, and the extractor must be named with the score.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from diptych.evaluation.benchmark import Benchmark, Row, Table, grouped, mean
from diptych.evaluation.files import find_file, read_json, take
from diptych.evaluation.levenshtein import levenshtein

FIELDS = ("question_type", "answer_type", "precision", "choices", "answer")


def normalise(
    extraction: Any, choices: Sequence[str] | None, question_type: str, answer_type: str, precision: Any
) -> str | None:
    """The extraction as answers are written; None where it is no such number."""
    if question_type == "multi_choice":
        return _option(str(extraction).strip(), list(choices or []))
    try:
        if answer_type == "integer":
            return str(int(float(extraction)))
        if answer_type == "float":
            return str(round(float(extraction), int(precision)))
    except (ValueError, TypeError, OverflowError):
        return None
    return str(extraction) if answer_type == "list" else extraction


def _option(text: str, choices: list[str]) -> str | None:
    """The choice of a letter in brackets, of a bare letter, or the nearest in spelling; the first of equals."""
    bracketed = re.findall(r"\(([a-zA-Z])\)", text)
    letter = bracketed[0].upper() if bracketed else text
    letters = [chr(ord("A") + i) for i in range(len(choices))]
    if letter in letters:
        return choices[letters.index(letter)]
    return min(choices, key=lambda choice: levenshtein(letter, choice)) if choices else None


def rows(folder: Path) -> list[Row]:
    """`testmini.json`: problems by id; pictures where their `image` says."""
    path = find_file(folder, "testmini.json")
    found = []
    for name, record in read_json(path).items():
        facts = {key: take(record, key, path) for key in FIELDS} | {
            "task": take(record, "metadata", path, dict)["task"]
        }
        prompt = record.get("query") or take(record, "question", path, str)
        found.append(Row(name, prompt, (folder / take(record, "image", path, str),), facts))
    return found


def is_right(extraction: Any, facts: Mapping[str, Any]) -> bool:
    ours = normalise(extraction, facts["choices"], facts["question_type"], facts["answer_type"], facts["precision"])
    return ours == facts["answer"]


def tally(rows: Sequence[Row], hits: Sequence[bool]) -> Table:
    tasks = grouped([row.facts["task"] for row in rows], hits)
    return {"accuracy": mean(hits), "tasks": {task: mean(found) for task, found in tasks.items()}}


BENCHMARKS = {
    "mathvista": Benchmark(
        name="mathvista",
        version=1,
        source="lupantech/MathVista@53d52587",
        evidence="the answer extracted from the reply",
        rows=rows,
        judge=lambda row, extraction: is_right(extraction, row.facts),
        tally=tally,
    ),
}

"""MMMU: college questions, multiple choice and open (Yue et al. 2024, arXiv:2311.16502).

Official: MMMU-Benchmark/MMMU `eval_utils.py`. Where its parser draws a letter at random, nothing is read here and the
answer is wrong: the same replies always get the same number, on average a little lower.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from diptych.evaluation.benchmark import Benchmark, Row, Table, grouped, mean
from diptych.evaluation.files import find_file, read_json_lines, take
from diptych.evaluation.hub import holds_parquet, listed, picture, read_parquet

FIELDS = ("id", "question", "options", "answer")
PICTURES = tuple(f"image_{number}" for number in range(1, 8))
OUTER = ",.!?;:'"
TRIVIAL = set(":,.!?;'")
SIGNS = ("could be ", "so ", "is ", "thus ", "therefore ", "final ", "answer ", "result ")
WITH_COMMAS = re.compile(r"-?\b\d{1,3}(?:,\d{3})+\b")
SCIENTIFIC = re.compile(r"-?\d+(?:\.\d+)?[eE][+-]?\d+")
SIMPLE = re.compile(r"-?(?:\d+\.\d+|\.\d+|\d+\b)(?![eE][+-]?\d+)(?![,\d])")
Value = str | float


def read_letter(response: str, choices: Sequence[str], texts: Mapping[str, str]) -> str | None:
    """The letter in brackets, else alone, else the option whose text a longer reply holds; the last one named."""
    for mark in OUTER:
        response = response.strip(mark)
    response = f" {response} "
    for form in ("({})", " {} "):
        if places := {c: response.rfind(form.format(c)) for c in choices if form.format(c) in response}:
            return max(places, key=lambda c: places[c])
    if len(response.split()) <= 5:
        return None
    held = {letter: response.lower().rfind(text.lower()) for letter, text in texts.items()}
    held = {letter: place for letter, place in held.items() if place >= 0}
    return max(held, key=lambda letter: held[letter]) if held else None


def extract_numbers(text: str) -> list[str]:
    """Numbers with commas, then in scientific notation, then simple ones; a number may be found twice."""
    return WITH_COMMAS.findall(text) + SCIENTIFIC.findall(text) + SIMPLE.findall(text)


def normalise(text: str) -> list[Value]:
    """A number rounded to two decimals; else lower case, and a single letter with a space on either side."""
    text = text.strip()
    try:
        return [round(float(text.replace(",", "")), 2)]
    except ValueError:
        text = text.lower()
        return [f" {text}", f"{text} "] if len(text) == 1 else [text]


def read_open(response: str) -> set[Value]:
    """Everything that may be the answer: the tails of sentences after words like "is", and the numbers in them."""
    keys = _tails(response)
    return {value for key in [*keys, *(n for key in keys for n in extract_numbers(key))] for value in normalise(key)}


def _tails(response: str) -> list[str]:
    response = response.strip().strip(".").lower()
    lines = response.split("\n")
    tails = []
    for number, line in enumerate(lines, 1):
        signs = (*SIGNS, "=") if number == len(lines) else SIGNS
        # An empty tail counts as none yet, as in the official loop: a later sign then replaces it.
        shortest = ""
        for sign in signs:
            tail = line.split(sign)[-1].strip()
            if sign in line and (not shortest or len(tail) < len(shortest)):
                shortest = tail
        if shortest and shortest not in TRIVIAL:
            tails.append(shortest)
    return tails or [response]


def is_right_open(found: set[Value], gold: str | Sequence[str]) -> bool:
    """A text is right if it holds a gold text, a number if it is one of the gold numbers."""
    golds = [value for text in ([gold] if isinstance(gold, str) else gold) for value in normalise(text)]
    texts = [value for value in golds if isinstance(value, str)]
    return any(any(text in value for text in texts) if isinstance(value, str) else value in golds for value in found)


def is_right_letter(letter: str | None, gold: str | Sequence[str]) -> bool:
    return letter is not None and (letter == gold if isinstance(gold, str) else letter in gold)


def instance_accuracy(results: Mapping[str, Mapping[str, float]]) -> float:
    """Accuracy over subjects weighted by their numbers of questions."""
    total = sum(result["num_example"] for result in results.values())
    return sum(r["acc"] * r["num_example"] for r in results.values()) / total if total else 0.0


def rows(folder: Path) -> list[Row]:
    """MMMU/MMMU as it is, or its fields in `validation.jsonl` with `image_1`... as paths in the folder."""
    if holds_parquet(folder, "validation"):
        path, records = folder, read_parquet(folder, "validation", (*FIELDS, *PICTURES))
    else:
        path = find_file(folder, "validation.jsonl")
        records = read_json_lines(path)
    found = []
    for record in records:
        options = listed(take(record, "options", path), path)
        choices = {chr(ord("A") + i): str(option) for i, option in enumerate(options)}
        cells = [record[key] for key in PICTURES if record.get(key)]
        images = tuple(folder / cell if isinstance(cell, str) else picture(cell, path) for cell in cells)
        identity = take(record, "id", path, str)
        facts = {"answer": take(record, "answer", path), "choices": choices, "subject": identity.split("_", 1)[-1]}
        facts["subject"] = facts["subject"].rsplit("_", 1)[0]
        found.append(Row(identity, _prompt(take(record, "question", path, str), choices), images, facts))
    return found


def _prompt(question: str, choices: Mapping[str, str]) -> str:
    if not choices:
        return f"{question}\n\nAnswer the question using a single word or phrase."
    options = "\n".join(f"({letter}) {text}" for letter, text in choices.items())
    return f"{question}\n\n{options}\n\nAnswer with the option's letter from the given choices directly."


def judge(row: Row, reply: str) -> bool:
    choices = row.facts["choices"]
    if not choices:
        return is_right_open(read_open(reply), row.facts["answer"])
    return is_right_letter(read_letter(reply, list(choices), choices), row.facts["answer"])


def tally(rows: Sequence[Row], hits: Sequence[Any]) -> Table:
    subjects = grouped([row.facts["subject"] for row in rows], hits)
    results = {name: {"acc": mean(found), "num_example": len(found)} for name, found in subjects.items()}
    return {"acc": instance_accuracy(results), "subjects": results}


BENCHMARKS = {
    "mmmu": Benchmark("mmmu", 1, "MMMU-Benchmark/MMMU@bb0b95a9", "the reply", rows, judge, tally),
}

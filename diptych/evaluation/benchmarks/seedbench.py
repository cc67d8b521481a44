"""SEED-Bench: multiple choice in twelve dimensions, nine of them about pictures (Li et al. 2023, arXiv:2307.16125).

Official: AILab-CVC/SEED-Bench `eval.py` ranks the four choices by language-model loss; lmms-eval reads the first
letter of a generated answer. The benchmark here is the generated kind on the picture part, which papers call SEED-I.
"""

from collections.abc import Sequence
from pathlib import Path

from diptych.evaluation.benchmark import Benchmark, Row, Table, grouped, mean
from diptych.evaluation.files import find_file, read_json, take

PICTURE_TYPES = range(1, 10)
CHOICES = ("choice_a", "choice_b", "choice_c", "choice_d")


def rank_losses(losses: Sequence[float]) -> str:
    """The letter of the lowest loss, the first of equals."""
    return "ABCD"[min(range(len(losses)), key=lambda i: losses[i])]


def read_letter(text: str) -> str:
    """The first character of the reply, whatever it is; empty for an empty reply."""
    return text.strip()[:1]


def is_right(letter: str, answer: str) -> bool:
    return letter.lower().strip() == answer.lower().strip()


def by_type(types: Sequence[str], hits: Sequence[bool]) -> Table:
    """Percent by type of question, and over all questions (not the mean of types)."""
    return {
        "per_type": {kind: 100 * mean(found) for kind, found in grouped(types, hits).items()},
        "total": 100 * mean(hits),
    }


def rows(folder: Path) -> list[Row]:
    """`SEED-Bench.json`, its picture questions; pictures in `SEED-Bench-image`."""
    path = find_file(folder, "SEED-Bench.json")
    found = []
    for record in take(read_json(path), "questions", path, list):
        kind = int(take(record, "question_type_id", path, (int, str)))
        if kind not in PICTURE_TYPES:
            continue
        options = [f"{letter}. {take(record, key, path)}" for letter, key in zip("ABCD", CHOICES, strict=True)]
        question = "\n".join([take(record, "question", path), *options])
        facts = {"type": str(kind), "answer": take(record, "answer", path, str)}
        image = folder / "SEED-Bench-image" / take(record, "data_id", path, str)
        instruction = "Answer with the option's letter from the given choices directly."
        found.append(Row(str(take(record, "question_id", path)), f"{question}\n{instruction}", (image,), facts))
    return found


def judge(row: Row, reply: str) -> bool:
    return is_right(read_letter(reply), row.facts["answer"])


def tally(rows: Sequence[Row], hits: Sequence[bool]) -> Table:
    return by_type([row.facts["type"] for row in rows], hits)


BENCHMARKS = {
    "seedbench": Benchmark(
        "seedbench", 1, "AILab-CVC/SEED-Bench@991e849b", "the reply", rows, judge, tally, figure="total"
    ),
}

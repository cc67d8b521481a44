"""MMBench: multiple choice, each question asked in every rotation of its options (Liu et al. 2023, arXiv:2307.06281).

Official: VLMEvalKit `matching_util.py` and `multiple_choice.py`, policy `exact_matching`: what no rule can read is
wrong. The leaderboard lets a language model read the rest, so this is a lower bound of its numbers.
"""

import base64
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from diptych.evaluation.benchmark import Benchmark, Row, Table, grouped, mean
from diptych.evaluation.files import find_file, read_table

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
FAILURE = "Failed to obtain answer via API"
REFUSALS = (
    "Sorry, I can't help with images of people yet.",
    "I can't process this file.",
    "I'm sorry, but without the image provided",
    "Cannot determine the answer",
)
SEPARATORS = str.maketrans(dict.fromkeys(".()[],:;!*#{}", " "))
STATED = re.compile(r"(?:correct )?answer is\s*(?:\*\*)?\s*([ABCD])\b")
SHORT = {
    "coarse_perception": "CP",
    "finegrained_perception (instance-level)": "FP-S",
    "finegrained_perception (cross-instance)": "FP-C",
    "logic_reasoning": "LR",
    "relation_reasoning": "RR",
    "attribute_reasoning": "AR",
}
COLUMNS = ("index", "question", "A", "B", "answer", "category", "l2-category", "image")


def infer_option(reply: str, choices: Mapping[str, Any]) -> str | None:
    """The letter that a reply means, Z for a refusal, None where no rule tells."""
    return _letter(reply, choices) or _text(reply, choices)


def _letter(reply: str, choices: Mapping[str, Any]) -> str | None:
    if FAILURE in reply:
        return None
    if any(refusal in reply for refusal in REFUSALS):
        return "Z"
    words = reply.translate(SEPARATORS).split()
    letters = [letter for letter in choices if letter in words]
    if len(letters) == 1 and words.index(letters[0]) > len(words) - 5:
        return letters[0]
    if not letters and "Z" in words:
        return "Z"
    stated = STATED.search(reply)
    return stated[1] if stated else None


def _text(reply: str, choices: Mapping[str, Any]) -> str | None:
    """The one option whose text the reply holds, unless the reply is more than twice as long as all of them."""
    texts = {letter: str(text).lower() for letter, text in choices.items()}
    if len(reply) > 2 * sum(map(len, texts.values())):
        return None
    held = [letter for letter, text in texts.items() if text in reply.lower()]
    return held[0] if len(held) == 1 else None


def judge_rotations(passes: Sequence[tuple[str | None, str]]) -> int:
    """1 if every rotation was read and is right: pairs of the letter read and the right letter."""
    return int(all(read == right for read, right in passes))


def report(hits: Sequence[float], records: Sequence[Mapping[str, str]]) -> Table:
    """Mean hits: overall, by group of abilities (shortened) and by ability."""
    table = {"Overall": mean(hits)}
    for column in ("l2-category", "category"):
        groups = grouped([SHORT.get(record[column], record[column]) for record in records], hits)
        table |= {name: mean(groups[name]) for name in sorted(groups)}
    return table


def rows(folder: Path) -> list[Row]:
    """`MMBench_DEV_EN.tsv` or its V11, with pictures in base64; a rotation's index is a million more than the last.

    A picture column that holds a shorter text names the row whose picture it shares.
    """
    path = find_file(folder, "MMBench_DEV_EN.tsv", "MMBench_DEV_EN_V11.tsv")
    records = read_table(path, COLUMNS, "\t")
    pictures = {record["index"]: record["image"] for record in records}
    found = []
    for record in records:
        choices = {letter: record[letter] for letter in LETTERS if record.get(letter)}
        encoded = record["image"] if len(record["image"]) > 64 else pictures.get(record["image"], "")
        facts = dict(record) | {"choices": choices, "image": None}
        found.append(Row(record["index"], prompt(record, choices), (base64.b64decode(encoded),), facts))
    return found


def prompt(record: Mapping[str, str], choices: Mapping[str, str]) -> str:
    hint = f"Hint: {record['hint']}\n" if record.get("hint") else ""
    options = "".join(f"{letter}. {text}\n" for letter, text in choices.items())
    question = f"{hint}Question: {record['question']}\nOptions:\n{options}"
    return f"{question}Please select the correct answer from the options above. \n"


def judge(row: Row, reply: str) -> tuple[str | None, str]:
    return infer_option(reply, row.facts["choices"]), row.facts["answer"]


def _question(row: Row) -> tuple[int, str]:
    """What the rotations of one question share: the index below a million, and whose copy the row is."""
    index = row.facts["index"]
    return int(index) % 1_000_000, row.id.removeprefix(index)


def tally(rows: Sequence[Row], passes: Sequence[tuple[str | None, str]]) -> Table:
    questions = grouped([_question(row) for row in rows], list(zip(rows, passes, strict=True)))
    hits = [judge_rotations([read for _, read in rotations]) for rotations in questions.values()]
    return report(hits, [rotations[0][0].facts for rotations in questions.values()])


BENCHMARKS = {
    "mmbench": Benchmark("mmbench", 1, "open-compass/VLMEvalKit@e8e78f05", "the reply", rows, judge, tally),
}

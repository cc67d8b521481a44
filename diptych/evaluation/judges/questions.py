"""Evidence from questions about pictures: DSG, DPG-Bench, TIFA, OneIG's alignment, UniEval.

Models that answer in a word by nature (BLIP-VQA) hear the bare question, as the official VQA models do; chat models
are told which words to choose from.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import PIL.Image

from diptych.errors import BenchmarkError
from diptych.evaluation.benchmark import Row
from diptych.evaluation.judges.asking import Examination, Examiner, only, opened
from diptych.evaluation.levenshtein import levenshtein

SHORT = {"temperature": 0.0, "max_tokens": 16}


def _item(row: Row) -> dict[str, Any]:
    """A row's questions by number. DPG-Bench skips the first row of its csv, so that a prompt may have none."""
    return (row.facts["item"] or {"questions": {}})["questions"]


def dsg(examiner: Examiner, row: Row, images: Sequence[Path], reply: str) -> dict[str, str]:
    picture = only(row, images)
    return {number: examiner.says_yes(picture, question) for number, question in _item(row).items()}


def dpgbench(examiner: Examiner, row: Row, images: Sequence[Path], reply: str) -> list[dict[str, str]]:
    """Of each crop, answers by question. Four pictures are the four crops; a single one is a 2 x 2 grid of them."""
    crops: Sequence[Path | PIL.Image.Image] = quarters(images[0]) if len(images) == 1 else images
    questions = list(_item(row).values())
    return [{question: examiner.says_yes(crop, question) for question in questions} for crop in crops]


def quarters(path: Path) -> list[PIL.Image.Image]:
    """The four pictures of a 2 x 2 grid, by rows."""
    image = opened(path)
    width, height = image.width // 2, image.height // 2
    return [image.crop((x, y, x + width, y + height)) for y, x in ((0, 0), (0, width), (height, 0), (height, width))]


def tifa(examiner: Examiner, row: Row, images: Sequence[Path], reply: str) -> list[str]:
    """The choice for each question: the one that was said, else the nearest in spelling.

    Officially a sentence encoder finds the nearest choice (by meaning), which matters for answers in other words.
    """
    picture = only(row, images)
    return [_choice(examiner, picture, question) for question in row.facts["questions"]]


def _choice(examiner: Examiner, picture: Path, question: dict[str, Any]) -> str:
    choices = [str(choice) for choice in question["choices"]]
    text = question["question"]
    if not examiner.answerer.terse:
        text += f" Answer with one of: {', '.join(choices)}."
    said = examiner.ask(picture, text).strip().strip(".").lower()
    return min(choices, key=lambda choice: (choice.lower() != said, levenshtein(choice.lower(), said)))


def oneig(examiner: Examiner, row: Row, images: Sequence[Path], reply: str) -> dict[str, list[str]]:
    """Yes or No by question, one a picture. The question's words are those of `inference.py`."""
    if not images:
        raise BenchmarkError(f"oneig: row {row.id} has no pictures")
    return {
        number: [examiner.ask(picture, f"{question}. Please answer 'Yes' or 'No' only.").strip() for picture in images]
        for number, question in row.facts["questions"].items()
    }


def unieval(examiner: Examiner, row: Row, images: Sequence[Path], reply: str) -> dict[str, list[str]]:
    """The questions hold their options and what to answer."""
    return {
        str(question["QA_id"]): [examiner.ask(picture, question["question"]) for picture in images]
        for question in row.facts["QAs"]
    }


EXAMINATIONS = {
    "dsg": Examination(dsg, ("PaLI-17B", "mplug-large"), SHORT),
    "dpgbench": Examination(dpgbench, ("mplug-large",), SHORT),
    "tifa": Examination(tifa, ("mplug-large",), SHORT),
    "oneig": Examination(oneig, ("Qwen2.5-VL-7B-Instruct", "Qwen/Qwen2.5-VL-7B-Instruct"), SHORT),
    "unieval": Examination(unieval, ("the model itself",), SHORT),
}

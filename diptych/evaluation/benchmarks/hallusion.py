"""HallusionBench: does a model see, or remember? (Guan et al. 2024, arXiv:2310.14566). Unverified.

Scored as VLMEvalKit (e8e78f05) does without a grader: yes or no among the reply's words. aAcc counts questions, fAcc
figures of which every question is right, qAcc questions that are right for every figure they are asked about.
"""

import base64
import re
from collections.abc import Sequence
from pathlib import Path

from diptych.evaluation.benchmark import Benchmark, Row, Table, grouped, mean
from diptych.evaluation.files import find_file, read_table

COLUMNS = ("index", "image", "question", "answer", "category", "l2-category")


def read_answer(reply: str) -> str | None:
    """Yes or No, whichever of the words stands in the reply; None if neither or both do."""
    words = set(re.sub(r"[^\w\s]", " ", reply.lower()).split())
    said = [word for word in ("yes", "no") if word in words]
    return said[0].capitalize() if len(said) == 1 else None


def measure(rows: Sequence[Row], hits: Sequence[bool]) -> Table:
    """Percent. Rows are told apart by their index: ..._<set>_<figure>_<question> as its fourth to sixth part."""
    parts = [row.facts["index"].split("_") for row in rows]
    kinds = [row.facts["l2-category"] for row in rows]
    figures = [(kind, part[3], part[4]) for kind, part in zip(kinds, parts, strict=True)]
    questions = [(kind, part[3], part[5]) for kind, part in zip(kinds, parts, strict=True)]
    return {
        "aAcc": 100 * mean(hits),
        "fAcc": 100 * mean([all(found) for found in grouped(figures, hits).values()]),
        "qAcc": 100 * mean([all(found) for found in grouped(questions, hits).values()]),
    }


def rows(folder: Path) -> list[Row]:
    """`HallusionBench.tsv`, with pictures in base64."""
    found = []
    for record in read_table(find_file(folder, "HallusionBench.tsv"), COLUMNS, "\t"):
        facts = {key: record[key] for key in COLUMNS if key != "image"}
        prompt = f"{record['question']} Please answer yes or no."
        found.append(Row(record["index"], prompt, (base64.b64decode(record["image"]),), facts))
    return found


def tally(rows: Sequence[Row], hits: Sequence[bool]) -> Table:
    """The three figures over all, and by category (VD: the picture is needed, VS: it only helps)."""
    pairs = list(zip(rows, hits, strict=True))
    groups = grouped([row.facts["category"] for row in rows], pairs)
    categories = {name: measure(*map(list, zip(*found, strict=True))) for name, found in groups.items()}
    return measure(rows, hits) | {"categories": categories}


BENCHMARKS = {
    "hallusionbench": Benchmark(
        name="hallusionbench",
        version=1,
        source="open-compass/VLMEvalKit@e8e78f05",
        evidence="the reply",
        rows=rows,
        judge=lambda row, reply: read_answer(reply) == row.facts["answer"],
        tally=tally,
        figure="aAcc",
        verified=False,
    ),
}

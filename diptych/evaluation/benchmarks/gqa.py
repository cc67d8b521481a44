"""GQA: questions made from scene graphs, exact answers (Hudson & Manning 2019, arXiv:1902.09506).

Official: `eval.py` of gqadataset.org, and LLaVA's conversion of replies before it. Validity, plausibility and grounding
need the choices and scene graphs and are left out. Distribution is a distance: lower is better.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from diptych.evaluation.benchmark import Benchmark, Row, Table, grouped, mean
from diptych.evaluation.files import find_file, read_json, take

FIELDS = ("answer", "isBalanced", "types", "groups", "entailed")


def convert(text: str) -> str:
    """What is compared: no full stops at the very end, lower case."""
    return text.rstrip(".").lower()


def measure(questions: Mapping[str, Mapping[str, Any]], predictions: Mapping[str, str]) -> Table:
    """Percent over the balanced questions; the others only serve consistency."""
    balanced = {name: question for name, question in questions.items() if question["isBalanced"]}
    right = {
        name: predictions[name] == question["answer"] for name, question in questions.items() if name in predictions
    }
    hits = [right[name] for name in balanced]
    structural, semantic = ([q["types"][kind] for q in balanced.values()] for kind in ("structural", "semantic"))
    kinds = grouped(["open" if kind == "query" else "binary" for kind in structural], hits)
    return {
        "accuracy": 100 * mean(hits),
        "binary": 100 * mean(kinds.get("binary", [])),
        "open": 100 * mean(kinds.get("open", [])),
        "consistency": 100 * mean(_consistencies(balanced, right)),
        "distribution": _chi_square(balanced, predictions) / 100,
        "perStructuralType": {kind: 100 * mean(found) for kind, found in grouped(structural, hits).items()},
        "perSemanticType": {kind: 100 * mean(found) for kind, found in grouped(semantic, hits).items()},
    }


def _consistencies(balanced: Mapping[str, Mapping[str, Any]], right: Mapping[str, bool]) -> list[float]:
    """For each question answered rightly, the share of the questions it entails that are right too."""
    shares = []
    for name, question in balanced.items():
        entailed = [other for other in question["entailed"] if other != name]
        if right[name] and entailed:
            shares.append(mean([right[other] for other in entailed]))
    return shares


def _chi_square(balanced: Mapping[str, Mapping[str, Any]], predictions: Mapping[str, str]) -> float:
    """How far the answers' distribution is from the gold one, by group, weighted by the group's size."""
    names = [name for name, question in balanced.items() if question["groups"]["global"] is not None]
    groups = grouped([balanced[name]["groups"]["global"] for name in names], names)
    weighted = 0.0
    for members in groups.values():
        gold = Counter(balanced[name]["answer"] for name in members)
        said = Counter(predictions[name] for name in members)
        weighted += len(members) * sum((said[answer] - number) ** 2 / number for answer, number in gold.items())
    return weighted / len(names) if names else 0.0


def rows(folder: Path) -> list[Row]:
    """`testdev_balanced_questions.json`; pictures in `images`.

    Entailed questions that the file lacks cannot be asked and are left out of consistency.
    """
    path = find_file(folder, "testdev_balanced_questions.json")
    questions = read_json(path)
    found = []
    for name, record in questions.items():
        facts = {key: take(record, key, path) for key in FIELDS}
        facts["entailed"] = [other for other in facts["entailed"] if other in questions]
        question = f"{take(record, 'question', path, str)}\nAnswer the question using a single word or phrase."
        found.append(Row(name, question, (folder / "images" / f"{take(record, 'imageId', path, str)}.jpg",), facts))
    return found


def judge(row: Row, reply: str) -> str:
    return convert(reply)


def tally(rows: Sequence[Row], answers: Sequence[str]) -> Table:
    """Of a part of the rows, consistency looks only at entailed questions that were asked."""
    asked = {row.id for row in rows}
    kept = {row.id: {**row.facts, "entailed": [q for q in row.facts["entailed"] if q in asked]} for row in rows}
    return measure(kept, dict(zip((row.id for row in rows), answers, strict=True)))


BENCHMARKS = {
    "gqa": Benchmark("gqa", 1, "gqadataset.org eval.py", "the reply", rows, judge, tally),
}

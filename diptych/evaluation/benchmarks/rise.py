"""RISEBench: edits that need reasoning in time, cause, space and logic (Zhao et al. 2025, arXiv:2504.02826).

Official: PhoenixZ810/RISEBench `gpt_eval.py`. Where consistency does not matter (`consistency_free`) a row is scored
without it; the official table code then treats all rows so, which is not meant and not done here.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from diptych.errors import BenchmarkError
from diptych.evaluation.benchmark import Benchmark, Row, Table, ask_picture, grouped, mean
from diptych.evaluation.files import find_file, read_json, take

LOGIC = "logical_reasoning"
BEST = 5
# "Final Scores" is tried after "Final Score", which it holds: there nothing but an s follows, so no number is read.
FINAL = (r"\*?\*?Final Score\*?\*?:?\s*([\d*\s,\n]*)", r"\*?\*?Final Scores\*?\*?:?\s*([\d*\s,\n]*)")


def read_reply(reply: str) -> list[int] | None:
    """The numbers after the first "Final Score" that has any; None where it does not stand."""
    found = []
    for pattern in FINAL:
        found = re.findall(pattern, reply, re.IGNORECASE)
        for text in found:
            if numbers := re.findall(r"\d+", text):
                return [int(number) for number in numbers]
    return [] if found else None


def from_binary(judged: Sequence[int]) -> dict[str, int]:
    """Logic judged by two numbers, consistency first: 0 is the worst score, 1 the best."""
    consistency, reasoning = (BEST if number == 1 else 1 for number in judged)
    return {"Reasoning": reasoning, "ApprConsistency": consistency}


def score(judged: Mapping[str, Any]) -> Table:
    """`category` and scores 1 to 5: the weighted score, whether all of them are 5, and percent of the way from 1."""
    reasoning = judged["Reasoning"]
    if judged["category"] == LOGIC:
        weights = {"ApprConsistency": 0.3, "Reasoning": 0.7}
    elif judged.get("consistency_free"):
        weights = {"VisualPlausibility": 0.2, "Reasoning": 0.8}
    else:
        weights = {"ApprConsistency": 0.3, "Reasoning": 0.5, "VisualPlausibility": 0.2}
    total = sum(weight * judged[name] for name, weight in weights.items())
    if reasoning == 1:
        total = max(1, total * 0.5)
    return {
        "score": total,
        "complete": int(all(judged[name] == BEST for name in weights)),
        "percent": 25 * (total - 1),
    }


def rows(folder: Path) -> list[Row]:
    """`data_total.json`; pictures where their `image` says."""
    path = find_file(folder, "data_total.json")
    found = []
    for record in read_json(path, list):
        facts = record | {
            "category": take(record, "category", path, str),
            "consistency_free": "consistency_free" in record,
            "folder": str(folder),
        }
        image = folder / take(record, "image", path, str)
        found.append(Row(str(take(record, "index", path)), take(record, "instruction", path, str), (image,), facts))
    return found


def judge(row: Row, scores: Mapping[str, float]) -> Table:
    try:
        return score({**scores, "category": row.facts["category"], "consistency_free": row.facts["consistency_free"]})
    except KeyError as error:
        raise BenchmarkError(f"rise: {row.id} has no score {error}; judge it again") from error


def tally(rows: Sequence[Row], tables: Sequence[Table]) -> Table:
    """By category and in all: mean percent, and the share where everything is best."""
    groups = grouped([row.facts["category"] for row in rows], tables) | {"overall": list(tables)}
    return {
        name: {"score": mean([t["percent"] for t in found]), "accuracy": 100 * mean([t["complete"] for t in found])}
        for name, found in groups.items()
    }


BENCHMARKS = {
    "rise": Benchmark(
        name="rise",
        version=1,
        source="PhoenixZ810/RISEBench@5f226519",
        evidence="scores 1 to 5: Reasoning, ApprConsistency, VisualPlausibility",
        rows=rows,
        judge=judge,
        tally=tally,
        ask=ask_picture,
        figure="overall/accuracy",
    ),
}

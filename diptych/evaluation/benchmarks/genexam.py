"""GenExam: exam questions answered by drawing (Wang et al. 2025, arXiv:2509.14232).

Official: OpenGVLab/GenExam `cal_score.py`.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from diptych.errors import BenchmarkError
from diptych.evaluation.benchmark import Benchmark, Row, Table, ask_picture, grouped, mean
from diptych.evaluation.files import find_file, read_json_lines, take

RATINGS = {
    "readability": "Clarity and Readability",
    "logical_consistency": "Logical Consistency",
    "spelling": "Spelling",
}
BEST = 2


def score(points: Sequence[float], answers: Sequence[int], ratings: Mapping[str, int]) -> Table:
    """Points (sum 1) with answers 0 or 1, and three ratings 0 to 2: strict (all perfect, 0 or 1) and relaxed."""
    if round(sum(points), 4) != 1 or len(points) != len(answers):
        raise BenchmarkError(f"genexam: {len(answers)} answers to points {list(points)}, which must sum to 1")
    semantic = round(sum(point for point, answer in zip(points, answers, strict=True) if answer == 1), 4)
    perfect = all(answer == 1 for answer in answers)
    return {
        "semantic_correctness": semantic,
        **{name: ratings[name] for name in RATINGS},
        "scoring_point_all_correct": perfect,
        "strict_score": int(perfect and all(ratings[name] == BEST for name in RATINGS)),
        "relaxed_score": round(semantic * 0.7 + sum(ratings[name] for name in RATINGS) * 0.05, 3),
    }


def rows(folder: Path) -> list[Row]:
    """`All_Subjects.jsonl`."""
    path = find_file(folder, "All_Subjects.jsonl")
    found = []
    for record in read_json_lines(path):
        points = take(record, "scoring_points", path, list)
        facts = {
            "points": [take(point, "score", path, (int, float)) for point in points],
            "questions": [point.get("question", "") for point in points],
            "truth": str(folder / "images" / record.get("image_path", "")),
            "subject": record.get("subject", "all"),
        }
        found.append(Row(str(take(record, "id", path)), take(record, "prompt", path, str), (), facts))
    return found


def judge(row: Row, found: Mapping[str, Any]) -> Table:
    return score(row.facts["points"], found["answers"], found["ratings"])


def tally(rows: Sequence[Row], tables: Sequence[Table]) -> Table:
    """Percent by subject, and the mean over subjects."""
    groups = grouped([row.facts["subject"] for row in rows], tables)
    kinds = ("strict_score", "relaxed_score")
    subjects = {name: {kind: 100 * mean([t[kind] for t in found]) for kind in kinds} for name, found in groups.items()}
    return {kind: mean([table[kind] for table in subjects.values()]) for kind in kinds} | {"subjects": subjects}


BENCHMARKS = {
    "genexam": Benchmark(
        name="genexam",
        version=1,
        source="OpenGVLab/GenExam@6f324dd1",
        evidence="answers, 0 or 1 a point, and ratings 0 to 2: readability, logical_consistency, spelling",
        rows=rows,
        judge=judge,
        tally=tally,
        ask=ask_picture,
    ),
}

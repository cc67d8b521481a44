"""MM-Vet: open answers that need several abilities at once, graded 0 to 1 by a language model (arXiv:2308.02490).

Official: yuweihao/MM-Vet `mm-vet_evaluator.py`. The grader is GPT-4 there; another one must be named with the score.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import pstdev

from diptych.errors import BenchmarkError
from diptych.evaluation.benchmark import Benchmark, Row, Table, mean
from diptych.evaluation.files import find_file, read_json, take

ABILITIES = ("rec", "ocr", "know", "gen", "spat", "math")


def aggregate(
    abilities: Mapping[str, Sequence[str]], grades: Mapping[str, Sequence[float]], decimals: int = 1
) -> Table:
    """Percent by ability, by the set of abilities an item needs, and in all; `std` is over runs of the grader."""
    means = {name: mean(given) for name, given in grades.items()}
    needed = {name: set(abilities[name]) for name in grades}
    known = dict.fromkeys(ability for name in grades for ability in abilities[name])
    sets = dict.fromkeys("_".join(sorted(wanted)) for wanted in needed.values())
    totals = [100 * mean(run) for run in zip(*grades.values(), strict=True)]

    def percent(names: list[str]) -> float:
        return round(100 * mean([means[name] for name in names]), decimals)

    return {
        "capability": {a: percent([name for name in grades if a in needed[name]]) for a in known},
        "integration": {s: percent([name for name in grades if "_".join(sorted(needed[name])) == s]) for s in sets},
        "total": percent(list(grades)),
        "std": round(pstdev(totals), decimals),
    }


def rows(folder: Path) -> list[Row]:
    """`mm-vet.json`; pictures in `images`."""
    path = find_file(folder, "mm-vet.json")
    found = []
    for name, record in read_json(path).items():
        image = folder / "images" / take(record, "imagename", path, str)
        facts = {"capability": take(record, "capability", path, list), "answer": take(record, "answer", path)}
        found.append(Row(name, take(record, "question", path, str), (image,), facts))
    return found


def judge(row: Row, grades: Sequence[float]) -> list[float]:
    """The grades that each run of the grader gave."""
    if not grades or not all(0 <= grade <= 1 for grade in grades):
        raise BenchmarkError(f"mmvet: {row.id} needs grades from 0 to 1, one a run of the grader, not {grades!r:.60}")
    return list(grades)


def tally(rows: Sequence[Row], grades: Sequence[list[float]]) -> Table:
    if len({len(given) for given in grades}) > 1:
        raise BenchmarkError("mmvet: rows have different numbers of grades; grade all of them as often")
    names = [row.id for row in rows]
    return aggregate({row.id: row.facts["capability"] for row in rows}, dict(zip(names, grades, strict=True)))


BENCHMARKS = {
    "mmvet": Benchmark(
        "mmvet", 1, "yuweihao/MM-Vet@acde843e", "grades, 0 to 1, a run", rows, judge, tally, figure="total"
    ),
}

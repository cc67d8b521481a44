"""The numbers of a table by name, and how right each row is."""

from collections.abc import Callable, Mapping, Sequence
from math import isfinite
from typing import Any

from diptych.errors import BenchmarkError
from diptych.evaluation.benchmark import Benchmark, Row, Table, mean


def figures(table: Table, rows: Sequence[Row]) -> dict[str, float]:
    """Every measured number (float) of a table, `a/b` for b in a table a. Counts, lists and what stands by row are
    left out."""
    names = {row.id for row in rows}
    found: dict[str, float] = {}
    for name, value in table.items():
        if isinstance(value, dict) and not (value and set(value) <= names):
            found |= {f"{name}/{inner}": number for inner, number in figures(value, rows).items()}
        elif isinstance(value, float):
            found[name] = value
    return found


def headline(benchmark: Benchmark, numbers: Mapping[str, float]) -> str:
    """The name of the figure that people report; of a part of the rows, one that there is."""
    if not numbers:
        raise BenchmarkError(f"{benchmark.name}: the table holds no figures; score more rows")
    return benchmark.figure if benchmark.figure in numbers else next(iter(numbers))


def marks(benchmark: Benchmark, rows: Sequence[Row], evidence: Mapping[str, Any]) -> dict[str, float | None]:
    """How right each row is by itself, 0 to 1; None where only the whole has a score."""
    return {row.id: mark(benchmark, row, benchmark.judge(row, evidence[row.id])) for row in rows}


def mark(benchmark: Benchmark, row: Row, verdict: Any) -> float | None:
    """One row's verdict, 0 to 1; None where only the whole has a score."""
    if rule := RULES.get(benchmark.name):
        value = rule(row, verdict)
    else:
        value = verdict if isinstance(verdict, bool | int | float) else None
    return float(value) if value is not None and isfinite(value) and 0 <= value <= 1 else None


# Of verdicts that are more than a number.
RULES: dict[str, Callable[[Row, Any], float | None]] = {
    "pope": lambda row, answer: answer == ("no" if row.facts["label"] == "no" else "yes"),
    "gqa": lambda row, answer: answer == row.facts["answer"],
    "mmbench": lambda row, letters: letters[0] == letters[1],
    "mmvet": lambda row, grades: mean(grades),
    "dsg": lambda row, table: table["average_score_with_dependency"],
    "dpgbench": lambda row, table: table["average"] if table else None,
    "tifa": lambda row, said: mean([a == q["answer"] for a, q in zip(said, row.facts["questions"], strict=True)]),
    "geneval": lambda row, verdicts: mean([verdict.correct for verdict in verdicts]),
    "t2icompbench": lambda row, scores: mean(scores),
    "oneig": lambda row, table: table["score"],
    "gedit": lambda row, scores: scores.O / 10,
    "kris": lambda row, scores: mean([(score - 1) / 4 for score in scores.values() if isinstance(score, int | float)]),
    "rise": lambda row, table: table["percent"] / 100,
    "genexam": lambda row, table: table["relaxed_score"],
    "unieval": lambda row, records: mean([max(hit, 0) for _, hit, _ in records]),
    "emoji-draw": lambda row, verdict: verdict.ok,
    "emoji-edit": lambda row, verdict: verdict.ok,
    "emoji-self": lambda row, verdict: verdict.drawn and verdict.own is not False,
}

"""Runs side by side: how far their figures lie apart, and how surely.

Both runs answered the same rows, so rows are resampled together (a paired bootstrap), those that share a picture as
one: 1,000 times as many as there are, drawn with replacement, each time through the benchmark's own tally. The interval
holds 95 % of the differences; p is twice the share of them on the other side of zero. Of rows that are right or wrong
by themselves, McNemar's exact test asks whether those that only one run has right could be a coin's doing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import comb, isfinite, nan
from typing import Any

import numpy as np

from diptych.errors import BenchmarkError
from diptych.evaluation.benchmark import Benchmark, Row, copied, grouped
from diptych.evaluation.runs.figures import figures, headline, mark
from diptych.evaluation.runs.folder import Run
from diptych.evaluation.runs.scoring import evidence, judge_of

Progress = Callable[[int, int], None]
COVERED = 95.0  # percent of the differences that the interval holds


@dataclass(frozen=True)
class Difference:
    """One figure of two runs. `low` to `high`: the 95 % interval of `second - first`."""

    figure: str
    first: float
    second: float
    low: float
    high: float
    p: float

    @property
    def difference(self) -> float:
        return self.second - self.first


@dataclass(frozen=True)
class McNemar:
    """Rows that only the first, or only the second run has right, and the chance of so uneven a split or worse."""

    first_only: int
    second_only: int
    p: float


@dataclass(frozen=True)
class Comparison:
    """A run against the first one. `rows`: how many both answered; `figure`: the one that people report."""

    first: str
    second: str
    rows: int
    figure: str
    differences: tuple[Difference, ...]
    mcnemar: McNemar | None


def check_alike(runs: Sequence[Run], benchmark: Benchmark) -> None:
    """Raises `BenchmarkError` unless the runs' numbers mean the same: benchmark, scorer and judge."""
    first = runs[0]
    facts: dict[str, Callable[[Run], Any]] = {
        "benchmark": lambda run: run.settings["benchmark"],
        "scorer version": lambda run: run.score()["scorer"],
        "judge": lambda run: (judge_of(run.settings, benchmark) or {}).get("id"),
    }
    for run in runs[1:]:
        for name, fact in facts.items():
            if fact(run) != fact(first):
                raise BenchmarkError(
                    f"{first.path} and {run.path} cannot be compared: their {name} is {fact(first)!r} and {fact(run)!r}"
                )
    if first.score()["scorer"] != benchmark.version:
        raise BenchmarkError(
            f"{first.path} was scored by version {first.score()['scorer']} of {benchmark.name}, this is version "
            f"{benchmark.version}; score the runs again: diptych score {first.path}"
        )


def compare(
    first: Run,
    second: Run,
    benchmark: Benchmark,
    resamples: int = 1000,
    seed: int = 0,
    progress: Progress | None = None,
) -> Comparison:
    """The figures of two runs over the rows that both answered. The same runs and seed give the same numbers.

    Raises `BenchmarkError` if they share no rows, or a row asks different things in them.
    """
    check_alike([first, second], benchmark)
    rows = _shared(first, second)
    verdicts = [_verdicts(run, benchmark, rows) for run in (first, second)]
    whole = [figures(benchmark.tally(rows, said), rows) for said in verdicts]
    names = [name for name in whole[0] if name in whole[1]]
    drawn = _bootstrap(benchmark, rows, verdicts, names, resamples, seed, progress)
    found = [
        _difference(name, whole[0][name], whole[1][name], drawn[:, place])
        for place, name in enumerate(names)
        if isfinite(whole[0][name]) and isfinite(whole[1][name])
    ]
    figure = headline(benchmark, {one.figure: one.first for one in found})
    found.sort(key=lambda one: one.figure != figure)
    marks = [[mark(benchmark, row, v) for row, v in zip(rows, said, strict=True)] for said in verdicts]
    return Comparison(str(first.path), str(second.path), len(rows), figure, tuple(found), mcnemar(*marks))


def mcnemar(first: Sequence[float | None], second: Sequence[float | None]) -> McNemar | None:
    """Of rows marked 0 or 1 throughout; None where a row is marked otherwise."""
    if any(mark not in (0, 1) for mark in (*first, *second)):
        return None
    pairs = list(zip(first, second, strict=True))
    one, other = pairs.count((1.0, 0.0)), pairs.count((0.0, 1.0))
    return McNemar(one, other, coin(one, other))


def coin(heads: int, tails: int) -> float:
    """The chance that a fair coin falls so unevenly or more so, in either direction."""
    tosses, fewer = heads + tails, min(heads, tails)
    return min(1.0, 2 * sum(comb(tosses, k) for k in range(fewer + 1)) / 2**tosses)


def _shared(first: Run, second: Run) -> list[Row]:
    others = {row.id: row for row in second.rows}
    rows = [row for row in first.rows if row.id in others]
    if not rows:
        raise BenchmarkError(f"{first.path} and {second.path} share no rows")
    for row in rows:
        other = others[row.id]
        if (row.prompt, row.facts) != (other.prompt, other.facts):
            raise BenchmarkError(
                f"row {row.id} is another one in {second.path} than in {first.path}: "
                "the benchmark's files were of different editions"
            )
    return rows


def _verdicts(run: Run, benchmark: Benchmark, rows: Sequence[Row]) -> list[Any]:
    found: Mapping[str, Any] = evidence(run, benchmark)
    return [benchmark.judge(row, found[row.id]) for row in rows]


def clusters(rows: Sequence[Row]) -> list[list[int]]:
    """The places of rows that stand or fall together: those about the same pictures; others each alone."""
    keys = [row.images or (row.id,) for row in rows]
    return list(grouped(keys, range(len(rows))).values())


def _bootstrap(
    benchmark: Benchmark,
    rows: Sequence[Row],
    verdicts: Sequence[Sequence[Any]],
    names: Sequence[str],
    resamples: int,
    seed: int,
    progress: Progress | None,
) -> np.ndarray:
    """Float[resamples, names]: differences of each figure; not a number where a resample lacks it."""
    groups, rng = clusters(rows), np.random.default_rng(seed)
    found = np.full((resamples, len(names)), nan)
    for number in range(resamples):
        times = np.bincount(rng.integers(len(groups), size=len(groups)), minlength=len(groups))
        chosen = [(i, copy) for group, n in zip(groups, times, strict=True) for copy in range(n) for i in group]
        drawn = [copied(rows[i], copy) for i, copy in chosen]
        tables = [figures(benchmark.tally(drawn, [said[i] for i, _ in chosen]), drawn) for said in verdicts]
        found[number] = [tables[1].get(name, nan) - tables[0].get(name, nan) for name in names]
        if progress is not None:
            progress(number + 1, resamples)
    return found


def _difference(name: str, first: float, second: float, drawn: np.ndarray) -> Difference:
    kept = drawn[np.isfinite(drawn)]
    if not len(kept):
        return Difference(name, first, second, nan, nan, nan)
    low, high = np.percentile(kept, [(100 - COVERED) / 2, (100 + COVERED) / 2])
    tail = min(int((kept <= 0).sum()), int((kept >= 0).sum()))
    return Difference(name, first, second, float(low), float(high), min(1.0, 2 * (tail + 1) / (len(kept) + 1)))

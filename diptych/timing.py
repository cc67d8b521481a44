"""How long something takes here: what a kernel is chosen by, where machines differ."""

from __future__ import annotations

import time
from collections.abc import Callable

MARGIN = 1.15  # what is chosen by time has to pay clearly: runs on one machine shall not differ


def seconds(work: Callable[[], object], runs: int = 5) -> float:
    """The shortest of some runs, after one that does not count."""
    work()
    return min(_timed(work) for _ in range(runs))


def _timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began

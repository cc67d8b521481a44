"""Published numbers among the engine's tests: collected where a set is there, and nowhere else."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from tests.parity.sets import GoldenSet, sets

NAMES = {1: "golden", 2: ("golden", "name")}


def each(cases: Sequence[tuple[Any, ...]]) -> Callable[[Callable[..., None]], Any]:
    """Runs a test for each (set, case); a test without any is not collected, rather than skipped."""
    if not cases:
        return lambda test: None
    values = [case[0] if len(case) == 1 else case for case in cases]
    ids = ["-".join(x if isinstance(x, str) else x.name for x in case) for case in cases]
    return pytest.mark.parametrize(NAMES[len(cases[0])], values, ids=ids)


def cases_with(*outputs: str) -> list[tuple[GoldenSet, str]]:
    """The cases of all sets that record all these outputs."""
    return [(g, name) for g in sets() for name, case in g.cases.items() if set(outputs) <= set(case.outputs)]

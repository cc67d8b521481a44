"""Which golden groups the library knows, and the one list of benchmarks it does not know yet."""

from collections.abc import Callable
from typing import Any

from tests.goldens import answers, choices, drawings, edits, measures, mixed
from tests.goldens.sets import Group

FAMILIES = (answers, choices, drawings, edits, measures, mixed)
KNOWN: dict[str, dict[str, Callable[..., Any]]] = {
    name: functions for family in FAMILIES for name, functions in family.KNOWN.items()
}

# This list only ever shrinks: a scorer that lands takes its name out.
NOT_YET: set[str] = set()

# Recorded for information only: METEOR is defined by a Java program and its tables of synonyms.
INFORMATION = {"caption": ("meteor", "meteor_per_image")}


def expected(group: Group, case: dict[str, Any]) -> Any:
    """What was recorded, less what is there for information only."""
    return {name: v for name, v in case["expected"].items() if name not in INFORMATION.get(group.benchmark, ())}


def compute(group: Group, case: dict[str, Any]) -> Any:
    """What the library makes of a case's input."""
    return KNOWN[group.benchmark][group.function](**case["input"])

"""Comparing what we compute with what was recorded: numbers within a tolerance, everything else exactly."""

import math
from collections.abc import Iterator
from typing import Any


def differences(ours: Any, theirs: Any, tolerance: float, path: str = "") -> Iterator[str]:
    """What differs, in words. Of dictionaries only the recorded keys are compared; lists have an order, sets none."""
    if isinstance(theirs, dict):
        for key, value in theirs.items():
            ours_by_name = {str(name): item for name, item in ours.items()} if isinstance(ours, dict) else {}
            if key not in ours_by_name:
                yield f"{path}.{key}: missing"
            else:
                yield from differences(ours_by_name[key], value, tolerance, f"{path}.{key}")
        if isinstance(ours, dict) and (extra := {str(name) for name in ours} - set(theirs)):
            yield f"{path}: has {sorted(extra)} more"
    elif isinstance(theirs, list) and isinstance(ours, set | frozenset):
        if {(type(x) is str, str(x)) for x in ours} != {(type(x) is str, str(x)) for x in theirs}:
            yield f"{path}: {ours} is not {theirs}"
    elif isinstance(theirs, list):
        if not isinstance(ours, list | tuple) or len(ours) != len(theirs):
            yield f"{path}: {ours!r:.80} is not {theirs!r:.80}"
            return
        for index, (mine, value) in enumerate(zip(ours, theirs, strict=True)):
            yield from differences(mine, value, tolerance, f"{path}[{index}]")
    elif not same(ours, theirs, tolerance):
        yield f"{path}: {ours!r:.80} is not {theirs!r:.80}"


def same(ours: Any, theirs: Any, tolerance: float) -> bool:
    """Whether two plain values are equal; True and 1 are not the same thing, 1 and 1.0 are."""
    if isinstance(theirs, bool) or not isinstance(theirs, int | float):
        return type(ours) is type(theirs) and ours == theirs
    if isinstance(ours, bool) or not isinstance(ours, int | float):
        return False
    return ours == theirs or (math.isnan(ours) and math.isnan(theirs)) or abs(ours - theirs) <= tolerance


def count(value: Any) -> int:
    """How many plain values there are to compare."""
    if isinstance(value, dict):
        return sum(map(count, value.values()))
    if isinstance(value, list):
        return sum(map(count, value))
    return 1

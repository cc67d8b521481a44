"""Evaluation runs of one's own: folders in which a `run.json` says what was run and a table says what came of it."""

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diptych.errors import InputError

TABLES = ("score.json", "results.json")
LARGEST = 4 << 20  # bytes of a file that is read: tables are small
NAMED = ("model", "benchmark")  # columns of their own
OF_RESULT = ("judge", "rows")  # what a score says of itself besides its numbers
SHOWN = 8  # numbers of a table


@dataclass(frozen=True)
class OwnRun:
    """One run. numbers: by their path in its table; settings: what else `run.json` says, each in a line."""

    name: str
    model: str
    benchmark: str
    numbers: dict[str, float]
    settings: dict[str, str]


def own_runs(folder: Path) -> list[OwnRun]:
    """The finished runs in a folder and below it, by path; what is no run or has no numbers is passed over.

    Raises InputError where there is no such folder.
    """
    if not folder.is_dir():
        raise InputError(f"--runs {folder.name}: no such folder; give one that holds runs of `diptych eval`")
    found = (_read(file.parent, folder) for file in sorted(folder.rglob("run.json")))
    return [run for run in found if run is not None]


def _read(folder: Path, root: Path) -> OwnRun | None:
    settings = _inner(_object(folder / "run.json"), "settings")
    result = next((found for name in TABLES if (found := _object(folder / name))), {})
    model, benchmark = _named(settings.get("model")), _named(settings.get("benchmark"))
    numbers = dict(list({**_figure(result), **dict(_numbers(_inner(result, "table")))}.items())[:SHOWN])
    if not (model and benchmark and numbers):
        return None
    said = {**settings, **{key: result[key] for key in OF_RESULT if key in result}}
    others = {key: line for key, value in sorted(said.items()) if key not in NAMED and (line := _line(value))}
    return OwnRun(folder.relative_to(root).as_posix(), model, benchmark, numbers, others)


def _figure(result: Mapping[str, Any]) -> dict[str, float]:
    """The number that people report, by its name in the table."""
    name = result.get("figure")
    return dict(_numbers({name: result.get("value")})) if isinstance(name, str) else {}


def _inner(said: dict[str, Any], name: str) -> dict[str, Any]:
    """The object under a name, or, where there is none, the whole."""
    inner = said.get(name)
    return inner if isinstance(inner, dict) else said


def _object(file: Path) -> dict[str, Any]:
    """A JSON file's object; empty where it is missing, too large, damaged or something else."""
    try:
        if file.stat().st_size > LARGEST:
            return {}
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _named(value: Any) -> str:
    """What a model or benchmark is called, whether a name stands there or an object that has one."""
    if isinstance(value, Mapping):
        value = value.get("name") or value.get("id")
    return value if isinstance(value, str) else ""


def _numbers(table: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, float]]:
    """The numbers of a table and of the tables in it; of counts that passed, their share."""
    for key, value in table.items():
        name = f"{above}{key}"
        if isinstance(value, Mapping) and isinstance(value.get("share"), int | float):
            yield name, float(value["share"])
        elif isinstance(value, Mapping):
            yield from _numbers(value, f"{name}/")
        elif isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
            yield name, float(value)


def _line(value: Any) -> str:
    if value is None or value == [] or value == {}:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, sort_keys=True)

"""What a table shows of a record in a line, and any value as one line of text."""

from collections.abc import Callable
from dataclasses import asdict, fields
from typing import Any

from diptych.catalogue.records import Entry, Model, Score
from diptych.catalogue.running import Running, runs

Cell = Callable[[Any], str]


def line(value: Any) -> str:
    """Any value of a record in one line; unknown is empty."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return "; ".join(line(one) for one in value)
    if isinstance(value, Score):
        return f"{value.benchmark} {value}"
    if isinstance(value, Running):
        return value.family
    return f"{value:g}" if isinstance(value, float) else " ".join(str(value).split())


def _of(name: str) -> Cell:
    return lambda record: ", ".join(value) if isinstance(value := getattr(record, name), tuple) else line(value)


COLUMNS: dict[str, dict[str, Cell]] = {
    "models": {
        "model": _of("name"),
        "date": _of("date"),
        "paradigm": _of("paradigm"),
        "encoding": _of("encoding"),
        "images by": _of("mechanism"),
        "sizes": _of("sizes"),
        "can": _of("tasks"),
        "runs here": lambda record: ", ".join(running.family for running in runs(record)),
    },
    "benchmarks": {
        "benchmark": _of("name"),
        "date": _of("date"),
        "task": _of("task"),
        "metrics": _of("metrics"),
        "judge": _of("judge"),
        "size": _of("size"),
    },
    "datasets": {
        "data set": _of("name"),
        "date": _of("date"),
        "section": _of("section"),
        "size": lambda record: f"{record.size or ''} {record.size_unit or ''}".strip(),
        "format": _of("format"),
        "licence": _of("licence"),
        "on the hub": _of("hub_id"),
    },
    "applications": {
        "application": _of("name"),
        "date": _of("date"),
        "topic": _of("topic"),
        "builds on": _of("base_models"),
        "code": _of("code"),
    },
}


def table_of(record: Entry) -> str:
    """The table a record belongs to."""
    return f"{type(record).__name__.lower()}s"


def facts(record: Entry) -> dict[str, Any]:
    """All of a record as plain values, for programs; of a model also what runs it here."""
    found = {"table": table_of(record)} | asdict(record)
    if isinstance(record, Model):
        found["runs_here"] = [asdict(running) for running in runs(record)]
    return found


def lines(record: Entry) -> dict[str, str]:
    """All of a record, a line of text a field; of a model also the families that run it here."""
    found = {field.name: line(getattr(record, field.name)) for field in fields(record)}
    if isinstance(record, Model):
        found["runs_here"] = line(runs(record))
    return found | {name: found.pop(name) for name in ("in_survey", "notes", "sources")}  # these last

"""What a table shows of a record in a line, and any value as one line of text."""

from collections.abc import Callable
from dataclasses import asdict, fields
from typing import Any

from diptych.catalogue.records import Benchmark, Entry, Model, Score
from diptych.catalogue.running import Running, runs
from diptych.catalogue.scored import Scorer, scorers

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


def scorer(one: Scorer) -> str:
    return one.name if one.verified else f"{one.name} (unverified)"


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
        "scored here": lambda record: ", ".join(map(scorer, scorers(record))),
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
    """All of a record as plain values, for programs; also what runs a model or scores a benchmark here."""
    found = {"table": table_of(record)} | asdict(record)
    if isinstance(record, Model):
        found["runs_here"] = [asdict(running) for running in runs(record)]
    if isinstance(record, Benchmark):
        found["scored_here"] = [one._asdict() for one in scorers(record)]
    return found


def lines(record: Entry) -> dict[str, str]:
    """All of a record, a line of text a field; also the families that run a model, the scorers of a benchmark."""
    found = {field.name: line(getattr(record, field.name)) for field in fields(record)}
    if isinstance(record, Model):
        found["runs_here"] = line(runs(record))
    if isinstance(record, Benchmark):
        found["scored_here"] = ", ".join(map(scorer, scorers(record)))
    return found | {name: found.pop(name) for name in ("in_survey", "notes", "sources")}  # these last

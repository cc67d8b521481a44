"""JSON Lines -> records. Everything that is wrong is found in one go, with file and line."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from functools import cache
from pathlib import Path
from re import Pattern
from typing import Annotated, Any, NamedTuple, TypeVar, get_args, get_origin, get_type_hints

from diptych.catalogue.records import Entry
from diptych.errors import CatalogueError

WORDS = {str: "a text", bool: "true or false", int: "a number"}
R = TypeVar("R", bound=Entry)


@dataclass(frozen=True)
class Fault:
    """What is wrong, and where. line: from 1."""

    file: str
    line: int
    said: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.said}"


class Rule(NamedTuple):
    """What may stand in a field: values of `kind` (None too, or a list of them) that `allowed` allows.

    nested: the kind is a record itself."""

    kind: type
    optional: bool
    many: bool
    nested: bool
    allowed: dict[str, str] | Pattern[str] | None


def read(file: Path, kind: type[R]) -> tuple[R, ...]:
    """The records of a file, in its order. Raises CatalogueError with all that is wrong in `faults`."""
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise CatalogueError(f"{file.name} cannot be read; install the package anew") from error
    tables: list[dict[str, Any]] = []
    faults: list[Fault] = []
    for number, line in enumerate(lines, 1):
        try:
            table = json.loads(line, object_pairs_hook=_once, parse_constant=_no_constant)
        except (ValueError, RecursionError) as error:
            faults.append(Fault(file.name, number, f"not valid JSON: {error}"))
            continue
        said = list(wrong(table, kind))
        faults += [Fault(file.name, number, one) for one in said]
        tables.append({} if said else table)
    if not faults:
        faults = [Fault(file.name, number, said) for number, said in _among_lines(tables)]
    if faults:
        more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
        raise CatalogueError(f"{faults[0]}{more}; SCHEMA.md beside it says what a record looks like", tuple(faults))
    return tuple(made(table, kind) for table in tables)


def wrong(table: Any, kind: type) -> Iterator[str]:
    """What is wrong with one record, field by field."""
    if not isinstance(table, dict):
        yield "must be a JSON object"
        return
    known = rules(kind)
    if missing := [name for name in known if name not in table]:
        yield f"without {', '.join(missing)}; unknown is null or []"
    if unknown := [name for name in table if name not in known]:
        yield f"has {', '.join(unknown)}, which no {kind.__name__} has"
    for name, value in table.items():
        if name in known and (said := _unfit(value, known[name])):
            yield f"{name}: {said}"
    if issubclass(kind, Entry):
        yield from _across(table)


def made(table: Mapping[str, Any], kind: type[R]) -> R:
    """The record of a table that nothing is wrong with."""
    return kind(**{name: _value(table[name], rule) for name, rule in rules(kind).items()})


@cache
def rules(kind: type) -> dict[str, Rule]:
    """What may stand in each field of a record, from its types."""
    hints = get_type_hints(kind, include_extras=True)
    return {field.name: _rule(hints[field.name]) for field in fields(kind)}


def _rule(hint: Any) -> Rule:
    """The rule of a type: `Annotated`, `| None` and `tuple[..., ...]` may stand around the kind, in any order."""
    optional = many = False
    allowed = None
    while inner := [one for one in get_args(hint) if one not in (type(None), ...)]:
        optional |= type(None) in get_args(hint)
        many |= get_origin(hint) is tuple
        allowed = inner[1] if get_origin(hint) is Annotated else allowed
        hint = inner[0]
    return Rule(hint, optional, many, is_dataclass(hint), allowed)


def _unfit(value: Any, rule: Rule) -> str | None:
    """Why a value may not stand in a field; None if it may."""
    if value is None and rule.optional:
        return None
    if not rule.many:
        return _unfit_one(value, rule)
    if not isinstance(value, list):
        return f"must be a list, not {json.dumps(value)}"
    if len(value) > 1 and any(one in value[:place] for place, one in enumerate(value)):
        return "names something twice"
    return next((said for one in value if (said := _unfit_one(one, rule))), None)


def _unfit_one(value: Any, rule: Rule) -> str | None:
    if rule.nested:
        return next(wrong(value, rule.kind), None)
    if type(value) not in (types := (int, float) if rule.kind is float else (rule.kind,)):
        return f"must be {WORDS[types[0]]}, not {json.dumps(value, ensure_ascii=False)}"
    if isinstance(value, str) and (not value or value != value.strip()):
        return f"must be a text without blanks around it, not {value!r}"
    if rule.allowed is None:
        return None
    if isinstance(rule.allowed, dict):
        return None if value in rule.allowed else f"{value!r} is none of {', '.join(rule.allowed)}"
    return None if rule.allowed.fullmatch(value) else f"{value!r} does not look like {rule.allowed.pattern}"


def _across(table: Mapping[str, Any]) -> Iterator[str]:
    """What fields of one record say about each other."""
    date, precision = table.get("date"), table.get("date_precision")
    if isinstance(date, str) and (len(date) == 10) != (precision == "day"):
        yield f"date: {date!r} is not of the precision {precision!r}"
    if table.get("sources") == []:
        yield "sources: must name where the facts are from"


def _among_lines(tables: list[dict[str, Any]]) -> Iterator[tuple[int, str]]:
    """What is wrong between the lines of a file: ids twice, keys or lines out of order."""
    seen: dict[str, int] = {}
    for number, table in enumerate(tables, 1):
        if (first := seen.setdefault(table["id"], number)) != number:
            yield number, f"id: {table['id']!r} stands in line {first} already"
        if list(table) != list(tables[0]):
            yield number, "its keys stand in another order than those of line 1"
        if number > 1 and _place(table) < _place(tables[number - 2]):
            yield number, "stands behind a later one; lines are sorted by date, then by name"


def _place(table: Mapping[str, Any]) -> tuple[str, str]:
    return table["date"], table["name"].casefold()


def _value(value: Any, rule: Rule) -> Any:
    if not rule.many:
        return value
    return tuple(made(one, rule.kind) for one in value) if rule.nested else tuple(value)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) < len(pairs):
        raise ValueError("a key stands there twice")
    return table


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no number of JSON")

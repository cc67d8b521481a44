"""The catalogue's files as they are written: a JSON object a line, of one order of keys, sorted by date and name."""

import json
from pathlib import Path
from typing import Any

from diptych.catalogue.catalogue import DATA, KINDS
from diptych.catalogue.reading import rules
from diptych.errors import InputError
from diptych.storage import replacing

Table = dict[str, Any]


def dumped(table: Table) -> str:
    """A record as its line, without the end of it."""
    return json.dumps(table, ensure_ascii=False)


def lines_of(table: str, folder: Path = DATA) -> list[Table]:
    """The records of models, benchmarks, datasets or applications as plain values, in the file's order."""
    return [json.loads(line) for line in (folder / f"{table}.jsonl").read_text(encoding="utf-8").splitlines()]


def blank(table: str, folder: Path = DATA) -> Table:
    """A record of which nothing is known, its keys in the file's order."""
    kind = rules(KINDS[table])
    return {name: [] if kind[name].many else None for name in lines_of(table, folder)[0]}


def add(file: Path, new: Table) -> None:
    """Puts a record into a file of its own kind, new or there already, at its place by date and name; a record without
    a date comes last.

    Raises InputError where the file is the catalogue's own, for what is incomplete there stops every command; where it
    is not one of records; and where it has one of that id already.
    """
    if file.resolve().parent == DATA.resolve():
        raise InputError(f"{file.name} is the catalogue's own; complete the draft in another file before it goes there")
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    try:
        tables = [json.loads(line) for line in lines]
        ids, places = [one["id"] for one in tables], [_place(one) for one in tables]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise InputError(f"{file.name} is no file of records, one JSON object a line; name another") from error
    if new["id"] in ids:
        raise InputError(f"{file.name} has a record {new['id']!r} already")
    at = next((number for number, place in enumerate(places) if place > _place(new)), len(lines))
    with replacing(file) as temporary:
        text = "".join(f"{line}\n" for line in [*lines[:at], dumped(new), *lines[at:]])
        temporary.write_text(text, encoding="utf-8")


def _place(table: Table) -> tuple[str, str]:
    return table["date"] or "9", (table["name"] or "").casefold()

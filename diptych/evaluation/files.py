"""Reading published benchmark files: JSON, JSON lines, comma- and tab-separated tables, lines of text.

Whatever is missing or of another form raises `BenchmarkError` with the file, the place in it, and what to do.
"""

import csv
import io
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from diptych.errors import BenchmarkError


def find_file(folder: Path, *names: str) -> Path:
    """The first of these files that the folder, or its `data` folder, holds."""
    for name in names:
        for place in (folder / name, folder / "data" / name):
            if place.is_file():
                return place
    raise BenchmarkError(
        f"{folder} holds no {' or '.join(names)}; download the benchmark's files and pass their folder"
    )


def read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise BenchmarkError(
            f"cannot read {path}: {error.strerror}; pass the folder of the benchmark's files"
        ) from error
    except UnicodeDecodeError as error:
        raise BenchmarkError(f"{path} is no UTF-8 text; download it again") from error


def read_json(path: Path, kind: type = dict) -> Any:
    """The file's value, which is a `kind` (dict or list)."""
    try:
        value = json.loads(read_text(path))
    except ValueError as error:
        raise BenchmarkError(f"{path} is no JSON: {error}; download it again") from error
    if not isinstance(value, kind):
        raise BenchmarkError(f"{path} holds a {type(value).__name__}, not a {kind.__name__}: it is of another form")
    return value


def read_json_lines(path: Path) -> list[dict[str, Any]]:
    """One object a line; empty lines are passed over."""
    records = []
    for number, line in enumerate(read_text(path).split("\n"), 1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except ValueError as error:
            raise BenchmarkError(f"{path}, line {number} is no JSON: {error}; download it again") from error
        if not isinstance(record, dict):
            raise BenchmarkError(f"{path}, line {number} is no object: the file is of another form")
        records.append(record)
    return records


def read_table(path: Path, columns: Sequence[str], delimiter: str = ",") -> list[dict[str, str]]:
    """The rows of a table with a header that has at least these columns."""
    csv.field_size_limit(sys.maxsize)  # pictures stand in tables as base64
    reader = csv.DictReader(io.StringIO(read_text(path), newline=""), delimiter=delimiter)
    if missing := [column for column in columns if column not in (reader.fieldnames or [])]:
        raise BenchmarkError(f"{path} has no column {', '.join(missing)}: it is another file than the published one")
    rows = list(reader)
    if short := next((i for i, row in enumerate(rows, 1) if any(row[column] is None for column in columns)), None):
        raise BenchmarkError(f"{path}: row {short} is cut short; download it again")
    return rows


def take(record: Mapping[str, Any], key: str, where: object, kind: type | tuple[type, ...] = object) -> Any:
    """A field that must be there, and be of this kind."""
    if key not in record:
        raise BenchmarkError(f"{where}: an entry has no {key!r}: the file is of another form")
    if not isinstance(record[key], kind):
        raise BenchmarkError(f"{where}: {key!r} is {record[key]!r:.60}, of another kind than published")
    return record[key]

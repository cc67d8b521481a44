"""Lines of JSON, appended as work gets done: after a kill the file holds whole lines and at most one half."""

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from diptych.errors import BenchmarkError
from diptych.storage import flush

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

Record = dict[str, Any]


class BusyError(BenchmarkError):
    """Another process writes the same file."""


def line(record: Record) -> str:
    return json.dumps(record, ensure_ascii=False) + "\n"


def records(path: Path) -> list[Record]:
    """The whole lines; none of a file that is not there. Raises `BenchmarkError` where a line before the last is no
    object."""
    if not path.is_file():
        return []
    lines = path.read_bytes().split(b"\n")[:-1]  # what follows the last line's end is half a line, or nothing
    found = []
    for number, text in enumerate(lines, 1):
        try:
            record = json.loads(text)
        except ValueError:
            record = None
        if not isinstance(record, dict) or "id" not in record:
            raise BenchmarkError(f"{path}, line {number} is damaged; delete that line, and its row is done again")
        found.append(record)
    return found


class Journal:
    """A file that one process appends to."""

    def __init__(self, file: Any) -> None:
        self.file = file

    def add(self, done: Sequence[Record]) -> None:
        """On disk when this returns."""
        self.file.write("".join(map(line, done)).encode())
        self.file.flush()
        os.fsync(self.file.fileno())


@contextmanager
def appending(path: Path) -> Iterator[Journal]:
    """The file, without the half line that a kill left. Raises `BenchmarkError` if another process writes it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+b") as file:
        if fcntl is not None:
            try:
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise BusyError(f"another process writes {path}; wait for it, or give it a --shard") from error
        file.seek(0)
        content = file.read()
        file.truncate(content.rfind(b"\n") + 1)
        file.seek(0, os.SEEK_END)
        flush(path.parent)
        yield Journal(file)

"""Files that are either whole or not there."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A temporary neighbour of `path` to write to; it takes the place of `path` when the block ends without an error.

    The bytes are flushed to disk before the rename, so that a crash leaves the old file or the new one, never half.
    The folder is made if it is missing. The neighbour keeps the ending of `path`, for writers that choose by it.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{target.stem[:80]}.", suffix=target.suffix, dir=target.parent)
    os.close(handle)
    draft = Path(name)
    try:
        yield draft
        draft.chmod(0o666 & ~_umask())
        flush(draft)
        draft.replace(target)
        flush(target.parent)
    finally:
        draft.unlink(missing_ok=True)


def _umask() -> int:
    """The permissions new files lose; mkstemp ignores it and makes files only their owner can read."""
    current = os.umask(0o022)
    os.umask(current)
    return current


def flush(path: Path) -> None:
    """Asks the system to put a file or a folder's entries on disk; folders cannot be opened for this on Windows."""
    if os.name == "nt" and path.is_dir():
        return
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

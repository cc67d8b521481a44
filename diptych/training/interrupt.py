"""Stopping in good order: signals, and one training a folder."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from diptych.errors import TrainingError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

PATIENCE = 5.0  # seconds that a process just killed may need to let go of its lock


@contextmanager
def signals() -> Iterator[list[str]]:
    """Collects SIGINT and SIGTERM instead of dying of them; a second Ctrl-C raises KeyboardInterrupt at once."""
    asked: list[str] = []
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return

    def note(number: int, _: FrameType | None) -> None:
        if asked and number == signal.SIGINT:
            raise KeyboardInterrupt
        asked.append(signal.Signals(number).name)

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def occupied(folder: Path) -> Iterator[None]:
    """Holds the folder's lock; TrainingError if another process trains there. The system frees it at any death."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as file:
        deadline = time.monotonic() + PATIENCE
        while fcntl is not None:
            try:
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError as error:
                if time.monotonic() > deadline:
                    message = f"another process trains in {folder}; wait for it or choose another folder"
                    raise TrainingError(message) from error
                time.sleep(0.1)
        yield

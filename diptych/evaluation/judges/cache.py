"""Answers that were paid for: one file of lines a model, added to and never rewritten.

A line is the hash of everything that was asked, pictures included, and the answer. What was asked is not stored.
"""

import hashlib
import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from threading import Lock

from diptych.errors import BenchmarkError

FOLDER = "DIPTYCH_JUDGE_CACHE"


class Cache:
    """Answers by question, on disk. Threads may share it; a line that a crash cut off is passed over."""

    def __init__(self, path: Path):
        self.path, self._lock = path, Lock()
        self._answers: dict[str, str] | None = None

    @classmethod
    def of(cls, *names: str) -> "Cache":
        """The cache of a model, in the folder that the environment names."""
        folder = Path(os.environ.get(FOLDER) or Path.home() / ".cache" / "diptych" / "judges")
        return cls(folder / (re.sub(r"[^\w.-]+", "-", "-".join(names)) + ".jsonl"))

    def get(self, question: tuple[str | bytes, ...], answer: Callable[[], str]) -> str:
        """The answer known to the question, else what `answer` gives, which is kept."""
        digest = hashlib.sha256()
        for part in question:
            data = part.encode() if isinstance(part, str) else part
            digest.update(len(data).to_bytes(8, "big") + data)
        key = digest.hexdigest()
        with self._lock:
            if self._answers is None:
                self._answers = self._read()
            if key in self._answers:
                return self._answers[key]
        found = answer()
        with self._lock:
            self._answers[key] = found
            self._add(key, found)
        return found

    def _read(self) -> dict[str, str]:
        if not self.path.is_file():
            return {}
        found = {}
        for line in self.path.read_text(encoding="utf-8", errors="replace").split("\n"):
            try:
                record = json.loads(line)
                found[record["key"]] = record["answer"]
            except (ValueError, KeyError, TypeError):
                continue
        return found

    def _add(self, key: str, answer: str) -> None:
        """A line of its own, whatever a crash left of the one before."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a", encoding="utf-8") as file:
                file.write("\n" * (file.tell() > 0) + json.dumps({"key": key, "answer": answer}))
        except OSError as error:
            raise BenchmarkError(
                f"answers cannot be kept in {self.path.parent} ({error.strerror}); set {FOLDER} to another folder"
            ) from error

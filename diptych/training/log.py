"""The log of a training: `log.jsonl`, one JSON object a line."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from diptych.storage import replacing

NAME = "log.jsonl"


class Log:
    """Appends lines; on resuming, lines of steps that will be done again are taken out first."""

    def __init__(self, folder: Path, step: int) -> None:
        self.path = folder / NAME
        kept = [line for line in read(folder) if line.get("step", 0) <= step]
        with replacing(self.path) as draft:
            draft.write_text("".join(_line(line) for line in kept), "utf-8")

    def add(self, **facts: Any) -> None:
        """One line, at once on its way to disk."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write(_line(facts))


def read(folder: Path) -> list[dict[str, Any]]:
    """All whole lines; the last one may be half written after a crash."""
    path = folder / NAME
    lines = []
    for text in path.read_text("utf-8", errors="replace").splitlines() if path.is_file() else []:
        try:
            lines.append(json.loads(text))
        except ValueError:
            continue
    return lines


def _line(facts: dict[str, Any]) -> str:
    return json.dumps(_finite(facts), ensure_ascii=False, allow_nan=False) + "\n"


def _finite(value: Any) -> Any:
    """JSON has no NaN or infinity; they become their names."""
    if isinstance(value, dict):
        return {name: _finite(part) for name, part in value.items()}
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    return value

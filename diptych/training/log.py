"""The log of a training: `log.jsonl`, one JSON object a line."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from diptych.storage import replacing
from diptych.training.step import Outcome

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


@dataclass
class Window:
    """Sums over the steps since the last line of the log."""

    losses: dict[str, float] = field(default_factory=dict)
    steps: int = 0
    samples: int = 0
    tokens: int = 0
    seconds: float = 0.0
    waited: float = 0.0
    grad_norm: float = 0.0

    def add(self, outcome: Outcome) -> None:
        """One more step."""
        for name, value in outcome.losses.items():
            self.losses[name] = self.losses.get(name, 0.0) + value
        self.steps += 1
        self.samples += len(outcome.ids)
        self.tokens += outcome.tokens
        self.seconds += outcome.seconds
        self.waited += outcome.waited
        self.grad_norm += outcome.grad_norm

    def means(self) -> dict[str, float]:
        """Each loss, averaged over the steps."""
        return {name: value / self.steps for name, value in self.losses.items()} if self.steps else {}

    def facts(self) -> dict[str, Any]:
        """The line's numbers; `waiting` is the share of the time spent waiting for batches."""
        facts: dict[str, Any] = {
            "losses": self.means(),
            "grad_norm": self.grad_norm / self.steps,
            "samples_per_second": self.samples / max(1e-9, self.seconds),
            "waiting": self.waited / max(1e-9, self.seconds),
        }
        return {**facts, "tokens_per_second": self.tokens / max(1e-9, self.seconds)} if self.tokens else facts


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

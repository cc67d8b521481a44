"""`model:NAME`: any model of Diptych that answers about pictures, asked without chance (temperature 0)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diptych.errors import BenchmarkError
from diptych.evaluation.benchmark import Benchmark
from diptych.evaluation.judges import asking
from diptych.models import load
from diptych.types import Turn

MOST_TOKENS = 512


@dataclass(frozen=True)
class Own:
    """A loaded model and the name it was loaded by."""

    id: str
    model: Any
    terse: bool = False

    def answer(self, parts: Sequence[asking.Part], system: str, settings: Mapping[str, Any], attempt: int) -> str:
        """The same words every time: another attempt changes nothing."""
        turns = [Turn.system(system)] if system else []
        tokens = min(settings.get("max_tokens", MOST_TOKENS), MOST_TOKENS)
        return self.model.chat([*turns, Turn.user(*parts)], temperature=0.0, max_tokens=tokens).text


def make(rest: str, benchmark: Benchmark, data: Path | None) -> asking.Asked:
    """The judge of a model's name. Raises `BenchmarkError` if it cannot answer, and what loading raises."""
    model = load(rest)
    if "chat" not in model.can:
        raise BenchmarkError(f"{rest} only draws; take a judge that answers about pictures")
    return asking.make("model", benchmark, data, Own(rest, model))

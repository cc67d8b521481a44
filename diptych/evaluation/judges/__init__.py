"""Judges: who looks at a model's pictures and says what a benchmark wants to know.

    judge = find("openai:https://api.openai.com/v1#gpt-4o", benchmarks.find("wise"))
    evidence = {row.id: judge.see(row, pictures[row.id]) for row in rows}
    benchmark.score(rows, evidence)

    replay:FILE         evidence that was recorded before, by row id
    openai:URL#MODEL    any endpoint that speaks the OpenAI chat protocol and takes pictures
    local:NAME          models that run here through transformers
    model:NAME          any model of Diptych, asked questions about pictures

A number depends on its judge: `id` belongs to the score, and a judge that is not the benchmark's own says so.
"""

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from diptych.errors import BenchmarkError
from diptych.evaluation.benchmark import Benchmark, Row

# The file that makes the judges of each scheme: `make(rest of the spec, benchmark) -> Judge`. Imported when asked for.
HOMES = {"replay": "replay"}


class Judge(Protocol):
    """Gives a benchmark's evidence. `kind` is the `evidence` form it gives; `official` is False for a stand-in."""

    @property
    def id(self) -> str: ...

    @property
    def kind(self) -> str: ...

    @property
    def official(self) -> bool: ...

    def see(self, row: Row, images: Sequence[Path]) -> Any:
        """The evidence on a row, from the pictures that were made for it, in order. Raises `BenchmarkError`."""
        ...


def find(spec: str, benchmark: Benchmark) -> Judge:
    """The judge that `scheme:rest` names, for this benchmark.

    Raises `BenchmarkError` for an unknown scheme, and for a judge that cannot give what the benchmark takes: the
    message lists those that can.
    """
    scheme, _, rest = spec.partition(":")
    if scheme not in HOMES or not rest:
        raise BenchmarkError(f"unknown judge {spec!r}; write one of {', '.join(f'{home}:...' for home in HOMES)}")
    return import_module(f"{__name__}.{HOMES[scheme]}").make(rest, benchmark)

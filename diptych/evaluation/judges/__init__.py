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
from diptych.evaluation.judges import asking
from diptych.evaluation.judges.local import names

# The file that makes the judges of each scheme: `make(rest of the spec, benchmark, data) -> Judge`.
HOMES = {"replay": "replay", "openai": "openai", "local": "local", "model": "ours"}


class Judge(Protocol):
    """Gives a benchmark's evidence. `kind` is the `evidence` form it gives; `official` is False for a stand-in."""

    @property
    def id(self) -> str: ...

    @property
    def kind(self) -> str: ...

    @property
    def official(self) -> bool: ...

    def see(self, row: Row, images: Sequence[Path], reply: str = "") -> Any:
        """The evidence on a row: from the pictures that were made for it, in order, or from the words answered to it
        where the benchmark grades those (mmvet, mathvista). Raises `BenchmarkError`."""
        ...


def find(spec: str, benchmark: Benchmark, data: Path | None = None) -> Judge:
    """The judge that `scheme:rest` names, for this benchmark.

    data: the folder of the benchmark's files, where a judge's prompt is read that may not be shipped.
    Raises `BenchmarkError` for an unknown scheme, and for a judge that cannot give what the benchmark takes: the
    message lists those that can.
    """
    scheme, _, rest = spec.partition(":")
    if scheme not in HOMES or not rest:
        raise BenchmarkError(f"unknown judge {spec!r}; write one of {', '.join(fitting(benchmark))}")
    fits = spec.partition("=")[0] in fitting(benchmark) if scheme == "local" else scheme in _schemes(benchmark)
    if not fits:
        raise BenchmarkError(
            f"{spec} cannot give what {benchmark.name} takes ({benchmark.evidence}); "
            f"take one of {', '.join(fitting(benchmark))}"
        )
    return import_module(f"{__name__}.{HOMES[scheme]}").make(rest, benchmark, data)


def _schemes(benchmark: Benchmark) -> set[str]:
    return {form.partition(":")[0] for form in fitting(benchmark)}


def fitting(benchmark: Benchmark) -> list[str]:
    """How the judges are written that can give a benchmark's evidence."""
    asked = ["openai:URL#MODEL", "model:NAME"] if benchmark.name in asking.HOMES else []
    return ["replay:FILE", *asked, *(f"local:{name}" for name in names(benchmark))]

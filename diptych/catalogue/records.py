"""What the catalogue knows, one typed record a line: models, benchmarks, datasets, applications.

data/SCHEMA.md says what each field means. Unknown is None, or an empty tuple; nothing is guessed. A field's type also
states what may stand in it: a pattern that it matches, or a table of words it is one of.
"""

import re
from dataclasses import dataclass
from typing import Annotated, TypeAlias

from diptych.catalogue import terms

Id: TypeAlias = Annotated[str, re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")]
Date: TypeAlias = Annotated[str, re.compile(r"20\d\d-(0[1-9]|1[0-2])(-(0[1-9]|[12]\d|3[01]))?")]
Arxiv: TypeAlias = Annotated[str, re.compile(r"\d{4}\.\d{5}")]
Repository: TypeAlias = Annotated[str, re.compile(r"[\w.-]+/[\w.-]+")]  # on GitHub or on the hub
Address: TypeAlias = Annotated[str, re.compile(r"https?://\S+")]


@dataclass(frozen=True, kw_only=True)
class Entry:
    """What every record has. arxiv: YYMM.NNNNN; date: YYYY-MM-DD or YYYY-MM; sources: where each fact was found."""

    id: Id
    name: str
    title: str | None
    arxiv: Arxiv | None
    venue: str | None
    date: Date
    date_precision: Annotated[str, terms.PRECISIONS]
    in_survey: bool
    notes: str | None
    sources: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Score:
    """A published number: a fraction for GenEval and WISE, else percent or points. variant: which size or setting."""

    benchmark: str
    value: float
    variant: str | None
    source: str

    @property
    def remeasured(self) -> bool:
        """By someone else than the model's authors."""
        return self.source.endswith("(re-measured)")

    def __str__(self) -> str:
        """The number, with the variant that reached it and whether others measured it."""
        about = ", ".join(filter(None, [self.variant, "re-measured" if self.remeasured else None]))
        return f"{self.value:g} ({about})" if about else f"{self.value:g}"


@dataclass(frozen=True, kw_only=True)
class Model(Entry):
    """A unified model. mechanism: how it writes images, the main way first; resolution: image sides in pixels."""

    paradigm: Annotated[str, terms.PARADIGMS]
    encoding: Annotated[str, terms.ENCODINGS]
    mechanism: Annotated[tuple[str, ...], terms.MECHANISMS]
    backbone: str | None
    understanding_encoder: str | None
    generation_encoder: str | None
    generation_decoder: str | None
    attention: Annotated[str | None, terms.ATTENTION]
    sizes: tuple[str, ...]
    inputs: Annotated[tuple[str, ...], terms.MODALITIES]
    outputs: Annotated[tuple[str, ...], terms.MODALITIES]
    tasks: Annotated[tuple[str, ...], terms.TASKS]
    code: Repository | None
    code_path: str | None
    weights: tuple[Repository, ...]
    licence_code: str | None
    licence_weights: str | None
    resolution: tuple[Annotated[str, re.compile(r"\d+")], ...]
    scores: tuple[Score, ...]
    demo: Address | None


@dataclass(frozen=True, kw_only=True)
class Benchmark(Entry):
    """A benchmark. judge: the model or people that score; size: a number with its unit."""

    task: Annotated[str, terms.BENCHMARK_TASKS]
    metrics: tuple[str, ...]
    judge: str | None
    size: str | None
    data: tuple[str, ...]
    licence_data: str | None
    code: Repository | None
    code_path: str | None


@dataclass(frozen=True, kw_only=True)
class Dataset(Entry):
    """A data set. size: as the survey writes it; size_value: the same as a number of size_unit (None: samples)."""

    section: Annotated[str, terms.SECTIONS]
    url: Address | None
    hub_id: Repository | None
    size: str | None
    size_value: int | None
    size_unit: str | None
    format: str | None
    storage: str | None
    licence: str | None


@dataclass(frozen=True, kw_only=True)
class Application(Entry):
    """Work that builds on unified models."""

    topic: str
    base_models: tuple[str, ...]
    code: Repository | None
    weights: tuple[Repository, ...]
    data: tuple[str, ...]
    licence_code: str | None

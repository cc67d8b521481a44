"""Judges that answer questions about pictures: who is asked, and how a benchmark's evidence is got from the answers.

Answerer      parts (texts and pictures) -> words     an endpoint, a local model, a model of Diptych
Examination   what a benchmark asks, and what it reads from the words
Asked         the two together: a Judge
"""

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol, TypeAlias, TypeVar

import PIL.Image

from diptych.errors import BenchmarkError
from diptych.evaluation.benchmark import Benchmark, Row
from diptych.evaluation.judges.prompts import texts
from diptych.images import open_image

Part: TypeAlias = "str | Path | bytes | PIL.Image.Image"
Read = TypeVar("Read")
TRIES = 3  # a judge whose words cannot be read is asked again

# The file that holds the examination of each benchmark.
HOMES = {
    "dsg": "questions",
    "dpgbench": "questions",
    "tifa": "questions",
    "oneig": "questions",
    "unieval": "questions",
    "wise": "grading",
    "wise-verified": "grading",
    "imgedit": "grading",
    "gedit": "grading",
    "genexam": "grading",
    "mmvet": "grading",
    "mathvista": "grading",
    "rise": "rise",
    "kris": "kris",
}


class Answerer(Protocol):
    """A model that answers about pictures. `id` names it; `terse` ones answer questions in a word by nature."""

    @property
    def id(self) -> str: ...

    @property
    def terse(self) -> bool: ...

    def answer(self, parts: Sequence[Part], system: str, settings: Mapping[str, Any], attempt: int) -> str:
        """Words. settings: `temperature`, `max_tokens` and what else the official request pins."""
        ...


@dataclass(frozen=True)
class Examiner:
    """Asks one answerer on behalf of one benchmark."""

    answerer: Answerer
    settings: Mapping[str, Any]
    texts: Mapping[str, str]

    def ask(self, *parts: Part, system: str = "", attempt: int = 0) -> str:
        return self.answerer.answer(parts, system, self.settings, attempt)

    def read(self, reader: Callable[[str], Read | None], *parts: Part, system: str = "") -> Read:
        """What `reader` finds in the answer, asked again where it finds nothing. Raises `BenchmarkError` after that."""
        reply = ""
        for attempt in range(TRIES):
            reply = self.ask(*parts, system=system, attempt=attempt)
            if (found := reader(reply)) is not None:
                return found
        raise BenchmarkError(
            f"{self.answerer.id} was asked {TRIES} times and its answer {reply!r:.80} is not of the form asked for; "
            "take a stronger judge"
        )

    def says_yes(self, picture: Part, question: str) -> str:
        """yes or no (or whatever else was answered, in small letters) to a question about a picture."""
        asked = question if self.answerer.terse else f"{question} Please answer yes or no."
        words = self.ask(picture, asked).strip().lower()
        first = words.split()[0].strip(".,!:*'\"") if words else ""
        return first if first in ("yes", "no") else words


@dataclass(frozen=True)
class Examination:
    """How evidence on a row is got by asking. `official`: the models whose numbers carry no mark.

    see: of the examiner, a row, the pictures made for it and the words answered to it.
    has_texts: the official prompts are needed (`prompts.texts`).
    """

    see: Callable[[Examiner, Row, Sequence[Path], str], Any]
    official: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    has_texts: bool = False


@dataclass(frozen=True)
class Asked:
    """The judge made of an answerer and a benchmark's examination."""

    scheme: str
    kind: str
    examiner: Examiner
    examination: Examination

    @property
    def official(self) -> bool:
        return self.examiner.answerer.id in self.examination.official

    @property
    def id(self) -> str:
        return stand_in(f"{self.scheme}:{self.examiner.answerer.id}", self.official, self.examination.official)

    def see(self, row: Row, images: Sequence[Path], reply: str = "") -> Any:
        return self.examination.see(self.examiner, row, images, reply)


def stand_in(name: str, official: bool, officials: Sequence[str]) -> str:
    """A judge's id, which says so if it stands in for another one."""
    return name if official else f"{name} (stands in for {' or '.join(officials) or 'the official judge'})"


def examination(benchmark: Benchmark) -> Examination:
    return import_module(f"diptych.evaluation.judges.{HOMES[benchmark.name]}").EXAMINATIONS[benchmark.name]


def make(scheme: str, benchmark: Benchmark, data: Path | None, answerer: Answerer) -> Asked:
    """The judge of an answerer. The benchmark must be one of `HOMES`; its texts are read here."""
    found = examination(benchmark)
    said = texts(benchmark.name, data) if found.has_texts else {}
    settings = found.settings if answerer.id in found.official else common(found.settings)
    return Asked(scheme, benchmark.evidence, Examiner(answerer, settings, said), found)


def common(settings: Mapping[str, Any]) -> dict[str, Any]:
    """What any model understands of an official request: servers refuse options that their model does not have."""
    kept = {name: settings[name] for name in ("temperature", "max_tokens") if name in settings}
    if "max_completion_tokens" in settings:
        kept["max_tokens"] = settings["max_completion_tokens"]
    return kept


def opened(part: Path | bytes | PIL.Image.Image) -> PIL.Image.Image:
    """A part's picture, upright RGB. Raises `ImageError`."""
    return part if isinstance(part, PIL.Image.Image) else open_image(part)


def jpeg(picture: Path | bytes | PIL.Image.Image, longest: int | None = None) -> bytes:
    """A JPEG as several official scripts send it: quality 75, both sides at most `longest`."""
    image = opened(picture)
    if longest is not None and max(image.size) > longest:
        image = image.copy()
        image.thumbnail((longest, longest))
    stream = io.BytesIO()
    image.save(stream, format="JPEG")
    return stream.getvalue()


def only(row: Row, images: Sequence[Path]) -> Path:
    """The one picture of a row. Raises `BenchmarkError` if there are none or several."""
    if len(images) != 1:
        raise BenchmarkError(f"row {row.id} has {len(images)} pictures; this benchmark judges one a row")
    return images[0]

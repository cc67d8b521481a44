"""What a benchmark is: rows to ask about, how one is asked, how an answer is judged, how verdicts become a table.

    rows    folder -> Row...            the published files, read as they are
    ask     Row -> Request              what the model is given
    judge   Row, evidence -> verdict    evidence: the model's words, or what a judge saw in its pictures
    tally   rows, verdicts -> table     numbers by name, as the official script names and scales them

`version` changes whenever the same evidence could get another number.
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from diptych.errors import BenchmarkError
from diptych.types import Request, Want

Table = dict[str, Any]
Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True)
class Row:
    """One item: its id, the prompt, pictures (paths or encoded bytes), and the published fields a judge needs."""

    id: str
    prompt: str
    images: tuple[Path | bytes, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)


def ask_question(row: Row) -> Request:
    """The row's pictures, then its prompt; text is wanted."""
    return Request.of([*row.images, row.prompt])


def ask_picture(row: Row) -> Request:
    """The row's prompt, after the picture to edit where it has one; a picture is wanted."""
    return Request.of([*row.images, row.prompt], want="image")


@dataclass(frozen=True)
class Benchmark:
    """One benchmark. `evidence` says what `judge` takes: the reply itself, or the form of a judge's findings.

    `tally` may take a row's id for nothing but to tell it from others: resampling gives copies ids of their own.
    pictures: how many are drawn of a prompt; figure: the number people report, `a/b` for b in a table a (empty: the
    table's first). verified: proven equal to the official scorer, and not only written by its rule. told: what was
    found for a row, in words for a report.
    """

    name: str
    version: int
    source: str  # repository and commit of the official scorer
    evidence: str
    rows: Callable[[Path], list[Row]]
    judge: Callable[[Row, Any], Any]
    tally: Callable[[Sequence[Row], Sequence[Any]], Table]
    ask: Callable[[Row], Request] = ask_question
    pictures: int = 1
    figure: str = ""
    verified: bool = True
    told: Callable[[Row, Any], str] | None = None

    @property
    def wants(self) -> Want:
        """What rows ask for: "text" or "image"."""
        return "image" if self.ask is ask_picture else "text"

    def score(self, rows: Sequence[Row], evidence: Mapping[str, Any]) -> Table:
        """The table of what was found for each row, by id. Raises `BenchmarkError` if a row has no evidence."""
        if not rows:
            raise BenchmarkError(f"{self.name}: no rows to score")
        if missing := [row.id for row in rows if row.id not in evidence]:
            shown = ", ".join(missing[:3]) + (", ..." if len(missing) > 3 else "")
            raise BenchmarkError(
                f"{self.name}: {len(missing)} of {len(rows)} rows have no answer ({shown}); "
                "answer them, or pass the rows that were asked"
            )
        return self.tally(rows, [self.judge(row, evidence[row.id]) for row in rows])


def copied(row: Row, number: int) -> Row:
    """The row once more, as another row: copy 0 is the row itself."""
    return replace(row, id=f"{row.id}~{number}") if number else row


def mean(values: Sequence[float]) -> float:
    """The mean; 0 of nothing."""
    return sum(values) / len(values) if values else 0.0


def grouped(keys: Sequence[Key], values: Sequence[Any]) -> dict[Key, list[Any]]:
    """The values by key, in order of first appearance."""
    groups: dict[Key, list[Any]] = {}
    for key, value in zip(keys, values, strict=True):
        groups.setdefault(key, []).append(value)
    return groups

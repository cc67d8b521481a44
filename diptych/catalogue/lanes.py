"""The models in lanes, one a paradigm and encoding: the order of the survey's tree, and of every picture of it."""

from collections.abc import Sequence
from datetime import date
from typing import NamedTuple

from diptych.catalogue import terms
from diptych.catalogue.records import Model

COLOURS = {"diffusion": "#b8558f", "autoregressive": "#2f6fb0", "hybrid": "#c9711c", "any-to-any": "#3f8f55"}


class Lane(NamedTuple):
    """The models of one paradigm and encoding, by date."""

    paradigm: str
    encoding: str
    models: tuple[Model, ...]


def lanes(models: Sequence[Model]) -> list[Lane]:
    """All lanes that have a model, in the survey's order of paradigms and encodings."""
    pairs = [(paradigm, encoding) for paradigm in terms.PARADIGMS for encoding in terms.ENCODINGS]
    found = [(pair, [model for model in models if (model.paradigm, model.encoding) == pair]) for pair in pairs]
    return [Lane(*pair, tuple(sorted(lane, key=lambda model: day(model.date)))) for pair, lane in found if lane]


def day(written: str) -> int:
    """A date as a number of days; a month stands for its middle."""
    return date.fromisoformat(written if len(written) == 10 else f"{written}-15").toordinal()


def stacked(models: Sequence[Model], a_day: float, letter: float, gap: float) -> list[tuple[Model, int]]:
    """Each model with the first row in which its label touches no other.

    a_day, letter, gap: how long a day, a letter of a name, and what surrounds a name are, in one unit.
    """
    free: list[float] = []
    placed = []
    for model in models:
        start = day(model.date) * a_day
        row = next((row for row, until in enumerate(free) if until <= start), len(free))
        free[row : row + 1] = [start + len(model.name) * letter + gap]
        placed.append((model, row))
    return placed

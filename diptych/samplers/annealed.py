"""Masked slots revealed along a curve by a network that is told how far it is."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from diptych.canvas import Canvas, Schedule, Step
from diptych.samplers.schedules import reveal


def annealed(visits: int, first: float, last: float = 0.0) -> Schedule:
    """`reveal` along the cosine, with a time that falls from (visits - 1) / visits to 0 and a heat that falls in a
    straight line (aMUSEd, arXiv 2401.01808; Meissonic, Muddit). The last visit settles everything without heat."""
    heats = torch.linspace(first, last, visits).tolist()

    def schedule(canvas: Canvas) -> Iterator[Step]:
        for step in reveal(visits)(canvas):
            to_come = visits - 1 - step.index
            yield step._replace(time=to_come / visits, heat=heats[step.index] if to_come else 0.0)

    return schedule

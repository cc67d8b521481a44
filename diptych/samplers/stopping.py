"""When a text has ended."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from diptych.canvas import Canvas, Step

Stop = Callable[[Canvas, Step], Tensor]


def last(stops: Iterable[int]) -> Stop:
    """Written from left to right: a row has ended where the slot just written is a stop."""
    ends = torch.tensor(sorted(stops), dtype=torch.long)

    def ended(canvas: Canvas, step: Step) -> Tensor:
        return torch.isin(canvas.value[:, step.index], ends.to(canvas.value.device))

    return ended


def answered(stops: Iterable[int]) -> Stop:
    """A row has ended once its first stop has nothing open before it: what is cut off there will not change."""
    ends = torch.tensor(sorted(stops))

    def ended(canvas: Canvas, step: Step) -> Tensor:
        final = canvas.known.long().cumprod(1).bool()
        return (final & torch.isin(canvas.value, ends.to(canvas.value.device))).any(1)

    return ended


def block_ends(stop: int, visits: int) -> Stop:
    """All rows end after a block, of so many visits each, whose last token is a stop in every row (MMaDA's
    mmu_generate_fast)."""

    def ended(canvas: Canvas, step: Step) -> Tensor:
        last = 0 if step.reach is None else step.reach - 1
        over = (step.index + 1) % visits == 0
        return (over & (canvas.value[:, last] == stop) & canvas.known[:, last]).all().expand(len(canvas.value))

    return ended

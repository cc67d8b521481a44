"""Slots that are latents, each drawn by a small denoiser from the backbone's condition (MAR, Harmon, NextStep)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor

from diptych.canvas import Canvas, Drawn, Draws, Guide, Step
from diptych.objectives.tokens import whole


class Denoiser(Protocol):
    """`sample(condition [G, n, C], guide, rows, draws)` -> [n, c]: guide maps its own branches [G, n, c] -> [n, c].
    `loss(target [n, c], condition [n, C], rows, draws)` -> a scalar mean."""

    def sample(self, condition: Tensor, guide: Callable[[Tensor], Tensor], rows: list[int], draws: Draws) -> Tensor: ...

    def loss(self, target: Tensor, condition: Tensor, rows: list[int], draws: Draws) -> Tensor: ...


def hidden_share(u: Tensor, least: float) -> Tensor:
    """u in [0, 1), float64 -> in [least, 1]: a normal distribution around 1 of deviation 1/4, cut off on both sides."""
    below = torch.special.ndtr(torch.tensor((least - 1) * 4, dtype=torch.float64))
    return (1 + torch.special.ndtri(below + u * (0.5 - below)) / 4).clamp(max=1)


class Denoised:
    """Only the slots whose turn it is are drawn; guidance acts on what the denoiser predicts, at each of its steps.

    least: in training at least this share of the slots is hidden, where their order is random.
    """

    def __init__(self, denoiser: Denoiser | Any, channels: int, order: str = "random", least: float = 0.7):
        self.denoiser, self.channels, self.order, self.least = denoiser, channels, order, least

    def blank(self, batch: int, grid: tuple[int, ...], draws: Draws, device: Any) -> Tensor:
        return torch.zeros(batch, math.prod(grid), self.channels, device=device)

    def draw(self, parts: Tensor, canvas: Canvas, step: Step, guide: Guide, draws: Draws) -> Drawn:
        _, batch, slots, _ = parts.shape
        partial = canvas.turn is not None and slots == canvas.slots
        turn = canvas.turn if partial else torch.ones(batch, slots, dtype=torch.bool, device=parts.device)
        assert turn is not None
        rows = turn.nonzero()[:, 0].tolist()
        drawn = self.denoiser.sample(parts[:, turn], lambda p: guide(p, canvas, step), rows, draws)
        values = drawn.new_zeros(batch, slots, self.channels)
        values[turn] = drawn
        return Drawn(values, torch.ones(turn.shape, device=parts.device))

    def corrupt(self, target: Tensor, grid: tuple[int, ...], draws: Draws) -> tuple[Canvas, Step]:
        """In raster order everything is learned; else a share in [least, 1] of the slots is hidden, rather more than
        less of them (MAR). A random order serves as random ranks."""
        canvas, rows = whole(target, grid), range(len(target))
        canvas.memo = draws
        if self.order == "random":
            hidden = (canvas.slots * hidden_share(draws.uniform(rows, 1, dtype=torch.float64), self.least)).ceil()
            canvas.known = (draws.uniform(rows, canvas.slots).argsort(-1) >= hidden).to(target.device)
        return canvas, Step()

    def learned(self, canvas: Canvas) -> Tensor | None:
        return ~canvas.known if self.order == "random" else canvas.known

    def loss(self, condition: Tensor, target: Tensor, canvas: Canvas, step: Step) -> Tensor:
        where = self.learned(canvas)
        assert where is not None
        return self.denoiser.loss(target[where], condition, where.nonzero()[:, 0].tolist(), canvas.memo)

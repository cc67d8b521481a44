"""Slots that are latents, all moving together along straight lines from noise (flow matching, arXiv 2210.02747)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from diptych.canvas import Canvas, Drawn, Draws, Guide, Step
from diptych.objectives.tokens import whole

Times = Callable[[Sequence[int], Draws], Tensor]  # (rows, draws) -> Float[rows] in [0, 1]


def evenly(rows: Sequence[int], draws: Draws) -> Tensor:
    return draws.uniform(rows)


def logit_normal(shift: float = 1.0, ascending: bool = False) -> Times:
    """sigmoid(normal), bent by `shift` towards noise (SD3, arXiv 2403.03206; BAGEL): towards 1, `ascending` towards 0
    (Show-o2)."""

    def times(rows: Sequence[int], draws: Draws) -> Tensor:
        time = torch.sigmoid(draws.normal(rows))
        return 1 - bent(1 - time, shift) if ascending else bent(time, shift)

    return times


def bent(time: Tensor, shift: float) -> Tensor:
    """s t / (1 + (s - 1) t): more of the time near 1, the noise."""
    return shift * time / (1 + (shift - 1) * time)


class Flow:
    """A slot is a latent of `channels` numbers; those that are known from the start do not move. Training times: 0 is
    data and 1 is noise; with `ascending` the other way round (JanusFlow)."""

    def __init__(self, channels: int, ascending: bool = False, times: Times | None = None):
        """times: how training draws them; None: evenly."""
        self.channels, self.ascending, self.times = channels, ascending, times or evenly

    def blank(self, batch: int, grid: tuple[int, ...], draws: Draws, device: Any) -> Tensor:
        return draws.normal(range(batch), math.prod(grid), self.channels).to(device)

    def draw(self, parts: Tensor, canvas: Canvas, step: Step, guide: Guide, draws: Draws) -> Drawn:
        velocity = guide(parts, canvas, step)
        moved = canvas.value + (step.next - step.time) * velocity
        return Drawn(torch.where(canvas.known[..., None], canvas.value, moved))

    def corrupt(
        self, target: Tensor, grid: tuple[int, ...], draws: Draws, time: Tensor | None = None
    ) -> tuple[Canvas, Step]:
        """time: Float[B], where it is stated and not drawn."""
        rows = range(len(target))
        time = (self.times(rows, draws) if time is None else time).to(target.device)
        noise = draws.normal(rows, *target.shape[1:]).to(target)
        share = (1 - time if self.ascending else time).view(-1, 1, 1).to(target.dtype)
        canvas = whole((1 - share) * target + share * noise, grid)
        canvas.memo = noise
        return canvas, Step(time=time)

    def learned(self, canvas: Canvas) -> Tensor | None:
        return None

    def loss(self, condition: Tensor, target: Tensor, canvas: Canvas, step: Step) -> Tensor:
        velocity = target - canvas.memo if self.ascending else canvas.memo - target
        return F.mse_loss(condition.float(), velocity.float())


class Midpoint(Flow):
    """A flow along which each step goes as the velocity at its middle says (`samplers.schedules.midpoint`): the first
    visit only leads to the middle."""

    def draw(self, parts: Tensor, canvas: Canvas, step: Step, guide: Guide, draws: Draws) -> Drawn:
        if canvas.memo is None:
            canvas.memo = canvas.value
            return super().draw(parts, canvas, step, guide, draws)
        begin, canvas.memo = canvas.memo, None
        moved = begin + 2 * (step.next - step.time) * guide(parts, canvas, step)
        return Drawn(torch.where(canvas.known[..., None], begin, moved))


def waves(time: Tensor, width: int, longest: float = 1e4) -> Tensor:
    """Float[B] times -> [B, width]: cosines then sines of geometrically spaced frequencies (the time embedding of
    DiT, BAGEL, JanusFlow, MAR)."""
    half = width // 2
    # a float32 exponent, as published; its exp is rounded from float64, alike on every machine: where times go up to
    # a million (Muddit's training), the last bit of a frequency shifts a phase by 0.06
    exponent = -math.log(longest) * torch.arange(half, dtype=torch.float32) / half
    angle = time.float()[:, None] * exponent.double().exp().float().to(time.device)
    return torch.cat([angle.cos(), angle.sin()], -1)

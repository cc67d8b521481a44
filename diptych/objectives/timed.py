"""Masked codes whose network is told how much is hidden: aMUSEd, Meissonic, Muddit."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from diptych.canvas import Canvas, Drawn, Draws, Guide, Step
from diptych.objectives.tokens import Masked, Pick, Sure, race, surest, whole


class Timed(Masked):
    """`Masked` with a time, and a loss that weighs each sample by what was left of it.

    closing: in the last visit all slots, the settled ones too, are picked by this instead of drawn.
    clock, least: in training the network is told `clock` times the hidden share, which is at least `least`; the loss
    divides by the share, which is there at least `WEIGHED`.
    """

    WEIGHED = 1e-3

    def __init__(
        self,
        pick: Pick = race(),  # noqa: B008 - immutable
        sure: Sure = surest,
        *,
        closing: Pick | None = None,
        clock: float = 1.0,
        least: float = 0.0,
    ):
        super().__init__(pick, sure)
        self.closing, self.clock, self.least = closing, clock, least

    def draw(self, parts: Tensor, canvas: Canvas, step: Step, guide: Guide, draws: Draws) -> Drawn:
        if self.closing is None or step.time != 0:
            return super().draw(parts, canvas, step, guide, draws)
        codes = self.closing(guide(parts, canvas, step).float(), draws)
        return Drawn(codes, torch.ones(codes.shape, device=codes.device), rewrites=True)

    def corrupt(
        self, target: Tensor, grid: tuple[int, ...], draws: Draws, given: Tensor | None = None
    ) -> tuple[Canvas, Step]:
        """Hide round(N cos(pi u / 2)) slots, at least one, of the N that are not given.

        given Int[B]: so many slots at the beginning are shown whatever is drawn. A random order serves as random ranks
        where any slot may be hidden; where some may not, it has to be turned into ranks (the published code does
        either).
        """
        rows, slots = range(len(target)), target.shape[1]
        share = torch.cos(draws.uniform(rows, 1) * math.pi / 2)
        rank = draws.uniform(rows, slots)
        shown = torch.zeros(len(target), 1, dtype=torch.long) if given is None else given.cpu().view(-1, 1)
        if given is None:
            rank = rank.argsort(-1)
        else:
            rank = rank.masked_fill(torch.arange(slots) < shown, float("inf")).argsort(-1).argsort(-1)
        hidden = ((slots - shown) * share).round().clamp(min=1)
        canvas = whole(target, grid)
        canvas.known = (rank >= hidden).to(target.device)
        canvas.memo = share[:, 0].to(target.device)
        return canvas, Step(time=self.clock * canvas.memo.clamp(min=self.least))

    def loss(self, condition: Tensor, target: Tensor, canvas: Canvas, step: Step) -> Tensor:
        """The sum over hidden slots / (all slots x share), mean over samples."""
        hidden = ~canvas.known
        each = F.cross_entropy(condition.float(), target[hidden], reduction="none")
        share = canvas.memo.clamp(min=self.WEIGHED)[:, None].expand_as(hidden)[hidden]
        return (each / share).sum() / hidden.numel()

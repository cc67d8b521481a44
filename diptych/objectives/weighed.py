"""Masked diffusion as LLaDA trains it: each slot is hidden by itself, and errors weigh more where little is hidden.

LLaDA (arXiv 2502.09992) and MMaDA (arXiv 2505.15809); official file: Gen-Verse/MMaDA, models/modeling_mmada.py.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from diptych.canvas import Canvas, Draws, Step
from diptych.objectives.tokens import Masked, Pick, Sure, argmax, surest64, whole


class Weighed(Masked):
    """Each slot is hidden with the probability p = (1 - least) t + least, t uniform, and an error there weighs 1 / p.

    by_row: the mean over rows of each row's mean over its slots (MMaDA's answers); else the mean over all slots of
    the batch (its plain text). Slots below 0 at the end are padding and do not count.
    """

    def __init__(
        self,
        pick: Pick = argmax,
        sure: Sure = surest64,
        reopens: int | None = None,
        *,
        by_row: bool = True,
        least: float = 1e-3,
    ):
        super().__init__(pick, sure, reopens)
        self.by_row, self.least = by_row, least

    def corrupt(self, target: Tensor, grid: tuple[int, ...], draws: Draws) -> tuple[Canvas, Step]:
        """memo: what an error in each slot weighs, Float[B, N]."""
        rows, real = range(len(target)), target >= 0
        p = (1 - self.least) * draws.uniform(rows)[:, None] + self.least
        hidden = draws.uniform(rows, target.shape[1]) < p
        canvas = whole(target, grid)
        canvas.known = ~(hidden.to(target.device) & real)
        slots = real.sum(1, keepdim=True) * len(target) if self.by_row else real.sum()
        canvas.memo = (1 / (p.to(target.device) * slots)).expand(target.shape)
        return canvas, Step()

    def loss(self, condition: Tensor, target: Tensor, canvas: Canvas, step: Step) -> Tensor:
        hidden = ~canvas.known
        each = F.cross_entropy(condition.float(), target[hidden], reduction="none")
        return (each * canvas.memo[hidden]).sum()

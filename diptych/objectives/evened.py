"""Texts of different lengths learned alike: each counts by the square root of its length, not by its length."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from diptych.canvas import Canvas, Draws, Step
from diptych.objectives.tokens import Token, whole


class Evened(Token):
    """A token of a text of n learned tokens weighs n^-0.5 (InternVL 2.5, arXiv 2412.05271; BAGEL's
    `ce_loss_reweighting`)."""

    def corrupt(self, target: Tensor, grid: tuple[int, ...], draws: Draws) -> tuple[Canvas, Step]:
        """memo: what a token of each text weighs, Float[B, N]."""
        canvas = whole(target, grid)
        canvas.memo = (target >= 0).sum(1, keepdim=True).clamp(min=1).pow(-0.5).expand(target.shape)
        return canvas, Step()

    def loss(self, condition: Tensor, target: Tensor, canvas: Canvas, step: Step) -> Tensor:
        learned = target >= 0
        each, weights = F.cross_entropy(condition.float(), target[learned], reduction="none"), canvas.memo[learned]
        return (each * weights).sum() / weights.sum()

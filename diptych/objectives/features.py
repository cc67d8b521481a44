"""Slots that are whatever the backbone answers: the condition of an external decoder, or a regressed feature."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from diptych.canvas import Canvas, Drawn, Draws, Guide, Step
from diptych.objectives.tokens import whole


class Features:
    """A slot is a vector of `channels` numbers, read off in one visit (MetaQuery, BLIP3-o, OpenUni)."""

    def __init__(self, channels: int):
        self.channels = channels

    def blank(self, batch: int, grid: tuple[int, ...], draws: Draws, device: Any) -> Tensor:
        return torch.zeros(batch, math.prod(grid), self.channels, device=device)

    def draw(self, parts: Tensor, canvas: Canvas, step: Step, guide: Guide, draws: Draws) -> Drawn:
        return Drawn(guide(parts, canvas, step))

    def corrupt(self, target: Tensor, grid: tuple[int, ...], draws: Draws) -> tuple[Canvas, Step]:
        return whole(target, grid), Step()

    def learned(self, canvas: Canvas) -> Tensor | None:
        return None

    def loss(self, condition: Tensor, target: Tensor, canvas: Canvas, step: Step) -> Tensor:
        return F.mse_loss(condition.float(), target.float())

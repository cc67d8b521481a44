"""The door between latents and a backbone whose tokens carry their flow time (`backbone/adaptive.py`).

B canvases, N slots, C numbers a slot, D the backbone's width.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from diptych.backbone.adaptive import LATENT
from diptych.backbone.packing import Span
from diptych.canvas import Canvas, Draws, Port, Step, selected

TOGETHER = Span("full", expert=LATENT, still=True)  # latents of one picture see each other and share a position


class Places(nn.Module):
    """Coordinates on a grid -> [N, D]: the sum over axes of a small MLP each (axial_positional_embedding)."""

    def __init__(self, width: int, axes: int):
        super().__init__()

        def axis() -> nn.Sequential:
            layers = nn.Linear(1, 2 * width), nn.SiLU(), nn.Linear(2 * width, 2 * width), nn.SiLU()
            return nn.Sequential(*layers, nn.Linear(2 * width, width))

        self.axes = nn.ModuleList(axis() for _ in range(axes))

    def forward(self, grid: Sequence[int]) -> Tensor:
        weight, places = next(self.parameters()), None
        for size, mlp in zip(grid, self.axes, strict=True):
            along = mlp(torch.arange(size, device=weight.device).to(weight.dtype)[:, None])
            places = along if places is None else places[..., None, :] + along
        assert places is not None
        return places.flatten(0, -2)


class Latents(Port):
    """Slots are latents of one kind; a token each, whose last channel is the flow time.

    clean: the network foretells the data, not the velocity. placed: tokens know their place on the grid; official
    batch sampling leaves this out. lonely: as trained without any text; only the way from data to velocity differs.
    """

    span = TOGETHER

    def __init__(self, into: nn.Module, out: nn.Linear, places: Places | None, clean: bool, least: float):
        super().__init__()
        self.into, self.out, self.places, self.clean, self.least = into, out, places, clean, least
        self.placed, self.lonely = True, False

    def variant(self, placed: bool = True, lonely: bool = False) -> Latents:
        """The same layers, used otherwise."""
        port = Latents(self.into, self.out, self.places, self.clean, self.least)
        port.placed, port.lonely = placed, lonely
        return port

    def tokens(self, latents: Tensor, grid: Sequence[int], time: Tensor) -> Tensor:
        """latents [B, N, C] at times Float[B] -> [B, N, D + 1]."""
        x = self.into(latents)
        if self.placed and self.places is not None:
            x = x + self.places(grid)
        return torch.cat([x, time.to(x).view(-1, 1, 1).expand(*x.shape[:2], 1)], -1)

    def embed(self, canvas: Canvas, step: Step) -> tuple[Tensor, Any]:
        latents = canvas.value.to(self.out.weight.dtype)
        time = torch.as_tensor(step.time, device=latents.device).expand(len(latents))
        memo = (latents, 1 - time.to(latents).view(-1, 1, 1)) if self.clean else None
        return self.tokens(latents, canvas.grid, time), memo

    def head(self, hidden: Tensor, memo: Any, where: Tensor | None = None) -> Tensor:
        """Official code leads from data to velocity among hidden states, but without text among latents."""
        if memo is None:
            return self.out(selected(hidden, where))
        latents, left = memo
        left = left.clamp(min=self.least)
        found = (self.out(hidden) - latents) / left if self.lonely else self.out((hidden - self.into(latents)) / left)
        return selected(found, where)


def interleaved_times(counts: Sequence[int], draws: Draws) -> list[list[float]]:
    """For each sample, the flow times at which its latents are learned: so many of them, as are taken for said before,
    at 0.5, and the others at one time that is drawn (the paper's limit of 500 noise steps)."""
    rows = range(len(counts))
    said = (draws.uniform(rows) * torch.tensor(counts)).floor().tolist()
    drawn = draws.uniform(rows).tolist()
    return [[0.5 if i < n else time for i in range(count)] for count, n, time in zip(counts, said, drawn, strict=True)]

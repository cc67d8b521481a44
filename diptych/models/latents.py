"""The door between a backbone and latents that move inside it, with experts of their own (BAGEL's way).

B canvases, N tokens, C numbers a token, D the backbone's width; p latents along each side of a token.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from diptych.attention import KIN, LATER
from diptych.backbone.packing import Span
from diptych.backbone.transformer import Backbone
from diptych.canvas import Canvas, Port, Step, selected
from diptych.encoders.grids import GridTable
from diptych.errors import WeightsError
from diptych.objectives.flow import waves

WAVES = 256  # numbers that tell the time before the two layers


def patched(latents: Tensor, p: int) -> Tensor:
    """Float[B, c, h p, w p] -> tokens [B, h w, p p c], row by row; in a token by row, column, channel."""
    return latents.unflatten(2, (-1, p)).unflatten(4, (-1, p)).permute(0, 2, 4, 3, 5, 1).flatten(3).flatten(1, 2)


def unpatched(tokens: Tensor, grid: Sequence[int], p: int) -> Tensor:
    """The inverse: tokens [B, h w, p p c] -> Float[B, c, h p, w p]."""
    parts = tokens.unflatten(1, tuple(grid)).unflatten(3, (p, p, -1))
    return parts.permute(0, 5, 1, 3, 2, 4).flatten(4).flatten(2, 3)


class Latents(Port):
    """Slots are patches of latents that move along a flow; between two marks they all share one position.

    Marks use the first expert, latents the second. While it is noise, nothing else sees the picture, and nothing moves
    on because of it: the clean copy that follows in training has the same position.
    """

    def __init__(self, backbone: Backbone, channels: int, table: GridTable):
        super().__init__()
        width = backbone.config.width
        self._backbone = [backbone]  # in a list: its parameters are not this port's
        self.into, self.out = nn.Linear(channels, width), nn.Linear(width, channels)
        self.time = nn.Sequential(nn.Linear(WAVES, width), nn.SiLU(), nn.Linear(width, width))
        self.table = table
        self.marks: tuple[int, int] | None = None  # ids around a picture; they are the tokenizer's to say

    def tokens(self, latents: Tensor, time: Tensor, grid: Sequence[int]) -> Tensor:
        """latents [B, N, C] at times Float[B] -> [B, N, D]."""
        wave = waves(time, WAVES).to(self.into.weight.dtype)
        into = self.into(latents.to(self.into.weight.dtype))
        return into + self.time(wave)[:, None] + self.places(grid).to(into.dtype)

    def places(self, grid: Sequence[int]) -> Tensor:
        """[N, D]: what tells where on the grid a token is."""
        return self.table(*grid)

    def marked(self, tokens: Tensor) -> Tensor:
        """tokens [..., n, D] of a picture -> between its marks, [..., n + 2, D].

        Raises WeightsError where no tokenizer has said which ids they are."""
        if self.marks is None:
            raise WeightsError(
                "which ids stand around a picture is for the tokenizer to say, and there is none; put the "
                "tokenizer.json published with the model into its folder"
            )
        ids = torch.tensor(self.marks, device=tokens.device)
        begin, end = self._backbone[0].embed(ids)
        begin, end = (mark.expand(*tokens.shape[:-2], 1, -1) for mark in (begin, end))
        return torch.cat([begin, tokens, end], -2)

    def embed(self, canvas: Canvas, step: Step) -> tuple[Tensor, Any]:
        time = torch.as_tensor(step.time, dtype=torch.float32, device=canvas.value.device).expand(len(canvas.value))
        return self.marked(self.tokens(canvas.value, time, canvas.grid)), None

    def head(self, hidden: Tensor, memo: Any, where: Tensor | None = None) -> Tensor:
        return self.out(selected(hidden[:, 1:-1], where))

    def spans(self, n: int) -> list[tuple[int, Span]]:
        return [(n, picture(n, noisy=True))]


def picture(n: int, noisy: bool = False) -> Span:
    """How n tokens stand of which all but the first and the last are latents."""
    experts = (0, *[1] * (n - 2), 0)
    return Span("full", KIN if noisy else LATER, experts, still=True, advance=0 if noisy else None)

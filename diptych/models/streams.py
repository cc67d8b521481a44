"""Doors of models whose text and image are two streams of one MM-DiT (`backbone/mmdit.py`).

Whichever is written is the canvas; what the other says of the condition stands in the context.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from diptych.backbone.mmdit import CONDITION, TEXT, TIME
from diptych.backbone.packing import Span
from diptych.canvas import Canvas, Port, Step, selected


def looking(**span: Any) -> Span:
    """All tokens see each other, and none has a position but on its grid."""
    return Span(look="all", still=True, advance=0, **span)


class Stream(Port):
    """What text and image have in common as canvases. sizes [5] or [B, 5]: width and height of the picture that is
    written or seen, where it was cut out (left, top), aesthetic score."""

    def __init__(self, network: MudditNetwork, sizes: Tensor):
        super().__init__()
        self._network, self.sizes = [network], sizes  # in a list: its parameters are not this port's

    def opening(self, canvas: Canvas, step: Step) -> Tensor:
        batch, device = len(canvas.known), canvas.known.device
        time = torch.as_tensor(step.time, dtype=torch.float32, device=device).expand(batch)
        return self._network[0].opening(time, self.sizes.to(device).expand(batch, 5))


class WordStream(Stream):
    """Slots are CLIP's ids; the text tower reads them, settled or masked."""

    def embed(self, canvas: Canvas, step: Step) -> tuple[Tensor, Any]:
        network = self._network[0]
        ids = torch.where(canvas.known, canvas.value, network.text.config.vocab)
        return torch.cat([self.opening(canvas, step), network.words(ids)], 1), None

    def spans(self, n: int) -> list[tuple[int, Span]]:
        return [(n, looking(expert=(CONDITION, TIME, CONDITION, *[TEXT] * (n - 3))))]

    def head(self, hidden: Tensor, memo: Any, where: Tensor | None = None) -> Tensor:
        hidden = selected(hidden[:, 3:], where)
        return self._network[0].words_out(F.layer_norm(hidden, hidden.shape[-1:], eps=1e-6))


class PictureStream(Stream):
    """Slots are codes of a picture on `grid`."""

    def __init__(self, network: MudditNetwork, sizes: Tensor, grid: tuple[int, int]):
        super().__init__(network, sizes)
        self.grid = grid

    def embed(self, canvas: Canvas, step: Step) -> tuple[Tensor, Any]:
        network = self._network[0]
        codes = torch.where(canvas.known, canvas.value, network.mask).view(-1, *self.grid)
        return torch.cat([self.opening(canvas, step), network.picture(codes)], 1), None

    def spans(self, n: int) -> list[tuple[int, Span]]:
        return [(2, looking(expert=(CONDITION, TIME))), (n - 2, self._network[0].picture_span(self.grid))]

    def head(self, hidden: Tensor, memo: Any, where: Tensor | None = None) -> Tensor:
        network = self._network[0]
        return network.picture_out(hidden[:, 2:], network.tokens(self.grid), where)

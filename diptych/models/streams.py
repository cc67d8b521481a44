"""Doors of models whose text and image are two streams of one MM-DiT (`backbone/mmdit.py`).

Whichever is written is the canvas; what the other says of the condition stands in the context.
"""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor

from diptych.backbone.mmdit import CONDITION, IMAGE, TEXT, TIME
from diptych.backbone.packing import Span
from diptych.canvas import Canvas, Port, Step, selected


class TwoStreams(Protocol):
    """What these doors ask of a network. mask: the code that stands for an open slot; mask_word: the id that does."""

    mask: int
    mask_word: int

    def opening(self, time: Tensor, sizes: Tensor) -> Tensor:
        """Times [B] in [0, 1] and sizes [B, 5] -> what a visit adds to the condition, [B, 2, D]: CONDITION, TIME."""
        ...

    def words(self, ids: Tensor) -> Tensor:
        """Int[B, L] -> [B, 1 + L, D]: their share of the condition, then a token each."""
        ...

    def picture(self, codes: Tensor) -> Tensor:
        """Int[B, h, w], `mask` where nothing is known -> [B, n, D]."""
        ...

    def tokens(self, grid: tuple[int, int]) -> tuple[int, int]:
        """Height and width of a grid of codes, in tokens."""
        ...

    def word_logits(self, hidden: Tensor) -> Tensor:
        """[..., D] -> [..., vocabulary]."""
        ...

    def code_logits(self, hidden: Tensor, grid: tuple[int, int], where: Tensor | None) -> Tensor:
        """[B, n, D] of tokens on a grid -> [B, h w, codes], or [k, codes] where Bool[B, h w] says."""
        ...


def looking(**span: Any) -> Span:
    """All tokens see each other, and none has a position but on its grid."""
    return Span(look="all", still=True, advance=0, **span)


class Stream(Port):
    """What text and image have in common as canvases. sizes [5] or [B, 5]: width and height of the picture that is
    written or seen, where it was cut out (left, top), aesthetic score."""

    def __init__(self, network: TwoStreams, sizes: Tensor):
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
        ids = torch.where(canvas.known, canvas.value, network.mask_word)
        return torch.cat([self.opening(canvas, step), network.words(ids)], 1), None

    def spans(self, n: int) -> list[tuple[int, Span]]:
        return [(n, looking(expert=(CONDITION, TIME, CONDITION, *[TEXT] * (n - 3))))]

    def head(self, hidden: Tensor, memo: Any, where: Tensor | None = None) -> Tensor:
        return self._network[0].word_logits(selected(hidden[:, 3:], where))


class PictureStream(Stream):
    """Slots are codes of a picture on `grid`."""

    def __init__(self, network: TwoStreams, sizes: Tensor, grid: tuple[int, int]):
        super().__init__(network, sizes)
        self.grid = grid

    def embed(self, canvas: Canvas, step: Step) -> tuple[Tensor, Any]:
        network = self._network[0]
        codes = torch.where(canvas.known, canvas.value, network.mask).view(-1, *self.grid)
        return torch.cat([self.opening(canvas, step), network.picture(codes)], 1), None

    def spans(self, n: int) -> list[tuple[int, Span]]:
        picture = looking(expert=IMAGE, grid=self._network[0].tokens(self.grid))
        return [(2, looking(expert=(CONDITION, TIME))), (n - 2, picture)]

    def head(self, hidden: Tensor, memo: Any, where: Tensor | None = None) -> Tensor:
        network = self._network[0]
        return network.code_logits(hidden[:, 2:], network.tokens(self.grid), where)

"""What every family's network offers to the engine, and the pieces of which its input is made."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from diptych.backbone.packing import Segment, Span
from diptych.backbone.transformer import Backbone


class Ids(NamedTuple):
    """Text, as token ids. span: how it stands in the context, where not as the network's texts do."""

    ids: list[int]
    span: Span | None = None


class Seen(NamedTuple):
    """A picture to be read: pixels Float[3, H, W], preprocessed."""

    pixels: Tensor


class Made(NamedTuple):
    """A picture the model wrote, as the slots it wrote: Int[N] or Float[N, C], on a grid."""

    slots: Tensor
    grid: tuple[int, ...]


Piece = Ids | Seen | Made


class Network(nn.Module, ABC):
    """A backbone with its readers and ports. Texts, pictures and own pictures of a whole batch are embedded at once."""

    backbone: Backbone
    text_span = Span()
    image_span = Span()

    @abstractmethod
    def see(self, pictures: list[Tensor]) -> list[Tensor]:
        """Pixels [3, H, W] each -> tokens [n, D] each."""

    @abstractmethod
    def recall(self, made: list[Made]) -> list[Tensor]:
        """Pictures the model wrote -> the tokens [n, D] they are in its context."""

    @abstractmethod
    def decode(self, slots: Tensor, grid: tuple[int, ...]) -> Tensor:
        """Written slots [B, N, ...] -> pixels [B, 3, H, W] in [-1, 1]."""

    def read(self, rows: Sequence[Sequence[Piece]]) -> list[list[Segment]]:
        """Rows of pieces -> rows of embedded segments. Every pixel enters once."""
        pieces = [piece for row in rows for piece in row]
        texts = iter(self._texts([p.ids for p in pieces if isinstance(p, Ids)]))
        seen = iter(self._seen([p.pixels for p in pieces if isinstance(p, Seen)]))
        made = iter(self.recall(own) if (own := [p for p in pieces if isinstance(p, Made)]) else [])

        def segment(piece: Piece) -> Segment:
            if isinstance(piece, Ids):
                return Segment(next(texts), piece.span or self.text_span)
            return Segment(next(seen if isinstance(piece, Seen) else made), self.image_span)

        return [[segment(piece) for piece in row] for row in rows]

    def _texts(self, texts: list[list[int]]) -> Iterable[Tensor]:
        if not texts:
            return []
        ids = torch.tensor([i for text in texts for i in text], dtype=torch.long)
        return self.backbone.embed(ids.to(self.device)).split([len(text) for text in texts])

    def _seen(self, pictures: list[Tensor]) -> Iterable[Tensor]:
        return self.see(pictures) if pictures else []

    @property
    def device(self) -> torch.device:
        return self.backbone.embed.weight.device

    @property
    def dtype(self) -> torch.dtype:
        return self.backbone.embed.weight.dtype

"""What every family's network offers to the engine, and the pieces of which its input is made."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from diptych.backbone.packing import Segment, Span
from diptych.backbone.quantised import Quantised
from diptych.backbone.reordered import Reordered
from diptych.backbone.transformer import Backbone
from diptych.errors import CapabilityError


class Ids(NamedTuple):
    """Text, as token ids. span: how it stands in the context, where not as the network's texts do."""

    ids: list[int]
    span: Span | None = None


class Seen(NamedTuple):
    """A picture to be read: pixels Float[3, H, W], preprocessed."""

    pixels: Tensor


class Made(NamedTuple):
    """A picture the model wrote, as the slots it wrote: Int[N] or Float[N, C], on a grid. time: the time of a flow with
    which it is shown, where not as the network shows its own."""

    slots: Tensor
    grid: tuple[int, ...]
    time: float | None = None


class Traced(NamedTuple):
    """A picture to be read as the slots that would write it: pixels Float[3, H, W] in [-1, 1], at a size that can be
    written. noise: the standard normal draw with which a KL autoencoder samples it, Float[C, h, w]; None: its mean."""

    pixels: Tensor
    noise: Tensor | None = None


Piece = Ids | Seen | Made | Traced


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

    def trace(self, pictures: list[Traced]) -> list[Made]:
        """Pictures as the slots that would write them. Only of networks whose dialogue renders such pieces."""
        raise CapabilityError("this network does not read pictures as the slots that would write them; render Seen")

    def placed(self, piece: Piece, n: int) -> Span:
        """How the n tokens of a picture stand in the context."""
        return self.image_span

    def read(self, rows: Sequence[Sequence[Piece]]) -> list[list[Segment]]:
        """Rows of pieces -> rows of embedded segments. Every pixel enters once."""
        pieces = [piece for row in rows for piece in row]
        texts = iter(self._texts([p.ids for p in pieces if isinstance(p, Ids)]))
        seen = iter(self._seen([p.pixels for p in pieces if isinstance(p, Seen)]))
        made = iter(self._recalled([p for p in pieces if isinstance(p, Made | Traced)]))

        def segment(piece: Piece) -> Segment:
            if isinstance(piece, Ids):
                return Segment(next(texts), piece.span or self.text_span)
            tokens = next(seen if isinstance(piece, Seen) else made)
            return Segment(tokens, self.placed(piece, len(tokens)))

        return [[segment(piece) for piece in row] for row in rows]

    def _texts(self, texts: list[list[int]]) -> Iterable[Tensor]:
        if not texts:
            return []
        ids = torch.tensor([i for text in texts for i in text], dtype=torch.long)
        return self.backbone.embed(ids.to(self.device)).split([len(text) for text in texts])

    def _recalled(self, pictures: list[Made | Traced]) -> Iterable[Tensor]:
        traced = [p for p in pictures if isinstance(p, Traced)]
        slots = iter(self.trace(traced) if traced else [])
        made = [p if isinstance(p, Made) else next(slots) for p in pictures]
        return self.recall(made) if made else []

    def _seen(self, pictures: list[Tensor]) -> Iterable[Tensor]:
        return self.see(pictures) if pictures else []

    @property
    def device(self) -> torch.device:
        return self.backbone.embed.weight.device

    @property
    def dtype(self) -> torch.dtype:
        return self.backbone.embed.weight.dtype


def parameter_count(network: nn.Module) -> int:
    """Of parameters in whatever form they lie."""
    formed = [m for m in network.modules() if isinstance(m, Quantised | Reordered)]
    return sum(p.numel() for p in network.parameters()) + sum(m.in_features * m.out_features for m in formed)

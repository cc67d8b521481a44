"""Text and images as two kinds of ids of one vocabulary, all of which see each other (UniDisc).

A token is its id's embedding, that of its kind, and, where a model reads several images, that of the image's number.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from diptych.attention import KIN
from diptych.backbone.packing import Segment, Span
from diptych.backbone.transformer import Backbone
from diptych.canvas import Canvas, Given, Port, Step, selected
from diptych.errors import InputError
from diptych.models.network import Ids, Made, Network, Piece
from diptych.objectives.absorbing import allowed
from diptych.tokenizers.codes import VisualTokenizer

TEXT, IMAGE = 0, 1


class Run(NamedTuple):
    """Neighbouring slots of one kind: a text of `length` (None: as long as the canvas), or image `number` of its sample
    on a grid."""

    length: int | None = None
    grid: tuple[int, ...] | None = None
    number: int = 0


class Sheet(NamedTuple):
    """A text with gaps and a picture, as one canvas: its runs, what is known of it, and where the two stand."""

    runs: list[Run]
    given: Given
    text: slice
    picture: slice


class JointNetwork(Network):
    """mask: the id that hides; text ids lie below it, image codes above. stretch: by number of codes, how much slower
    rows and columns turn; None for sizes without positions. counts: whether images are numbered; `apart`: image tokens
    do not advance the positions of text."""

    text_span = Span("all")

    def __init__(
        self,
        backbone: Backbone,
        tokenizer: VisualTokenizer,
        mask: int,
        stretch: Callable[[int], float | None],
        counts: int = 0,
        apart: bool = False,
    ):
        super().__init__()
        width = backbone.config.width
        self.backbone, self.tokenizer, self.mask = backbone, tokenizer, mask
        self.stretch, self.apart = stretch, apart
        self.kinds = nn.Parameter(torch.empty(2, width).normal_(std=0.02))
        self.counts = nn.Parameter(torch.empty(counts, width).normal_(std=0.02)) if counts else None

    def see(self, pictures: list[Tensor]) -> list[Tensor]:
        return [self._codes(self.encode(p[None].to(self.device, self.dtype))[0]) for p in pictures]

    def recall(self, made: list[Made]) -> list[Tensor]:
        return [self._codes(m.slots.to(self.device)) for m in made]

    def _codes(self, codes: Tensor) -> Tensor:
        """Int[n], below 0 where a code is hidden -> [n, D], without what its kind and number add."""
        return self.backbone.embed(torch.where(codes < 0, self.mask, codes + self.mask + 1))

    def decode(self, slots: Tensor, grid: tuple[int, ...]) -> Tensor:
        return self.tokenizer.decode(slots.view(-1, *grid))

    def encode(self, pixels: Tensor) -> Tensor:
        """Pixels [B, 3, H, W] in [-1, 1] -> codes Int[B, N], row by row."""
        return self.tokenizer.encode(pixels).flatten(1)

    def read(self, rows: Sequence[Sequence[Piece]]) -> list[list[Segment]]:
        """Images stand behind what is written where the text after them does."""
        return [self._numbered(row, segments) for row, segments in zip(rows, super().read(rows), strict=True)]

    def _numbered(self, row: Sequence[Piece], segments: Sequence[Segment]) -> list[Segment]:
        out, number = list[Segment](), 0
        for i, (piece, segment) in enumerate(zip(row, segments, strict=True)):
            if isinstance(piece, Ids):
                out.append(segment)
                continue
            later = [p.span for p in row[i:] if isinstance(p, Ids)]
            run = Run(grid=self.size(piece), number=number)
            span = self.span(run)._replace(tail=any(s is not None and s.tail for s in later))
            out.append(Segment(segment.x + self.added(run), span))
            number += 1
        return out

    def _texts(self, texts: list[list[int]]) -> Iterable[Tensor]:
        return [x + self.kinds[TEXT] for x in super()._texts(texts)]

    def size(self, picture: Piece) -> tuple[int, ...]:
        """The grid of a picture's codes."""
        assert not isinstance(picture, Ids)
        if isinstance(picture, Made):
            return picture.grid
        return tuple(side // self.tokenizer.factor for side in picture.pixels.shape[1:])

    def span(self, run: Run) -> Span:
        """How a run's tokens stand in the context."""
        if run.grid is None:
            return self.text_span
        height, width = run.grid
        stretch = self.stretch(height * width) or 0.0
        return Span("all", grid=(height, width), stretch=stretch, advance=0 if self.apart else None)

    def added(self, run: Run) -> Tensor:
        """What a run's kind and number add to its tokens, [D]. Raises InputError for an image too many."""
        if run.grid is None:
            return self.kinds[TEXT]
        height, width = run.grid
        if self.counts is None or self.stretch(height * width) is None:
            return self.kinds[IMAGE]
        if run.number >= len(self.counts):
            raise InputError(f"this model reads at most {len(self.counts)} pictures in one conversation")
        return self.kinds[IMAGE] + self.counts[run.number]


class Joint(Port):
    """A canvas of one run or of several. Slots are ids low..high, of which each may take those of its own kind.

    blind: a second branch, without guidance, sees the mask wherever the canvas was given. room: what lies behind so
    many slots is nobody's concern: it is seen by itself alone.
    """

    def __init__(
        self, network: JointNetwork, runs: Sequence[Run], low: int, high: int, blind: bool = False,
        room: int | None = None,
    ):  # fmt: skip
        super().__init__()
        self._network = [network]  # in a list: its parameters are not this port's
        self.runs, self.low, self.high, self.blind, self.room = tuple(runs), low, high, blind, room

    def lengths(self, n: int) -> list[int]:
        """How many of n slots each run has."""
        known = [run.length if run.grid is None else run.grid[0] * run.grid[1] for run in self.runs]
        rest = n - sum(length for length in known if length is not None)
        return [rest if length is None else length for length in known]

    def spans(self, n: int) -> list[tuple[int, Span]]:
        spans = [(m, self._network[0].span(run)) for m, run in zip(self.lengths(n), self.runs, strict=True)]
        if self.room is None or n <= self.room:
            return spans
        (_, span), *_ = spans
        return [(self.room, span), (n - self.room, span._replace(audience=KIN))]

    def embed(self, canvas: Canvas, step: Step) -> tuple[Tensor, Any]:
        network, lengths = self._network[0], self.lengths(canvas.slots)
        ids = torch.where(canvas.known, canvas.value.clamp(min=0) + self.low, network.mask)
        if self.blind:
            assert canvas.given is not None
            ids = torch.cat([ids, torch.where(canvas.given, network.mask, ids)])
        added = [network.added(run).expand(n, -1) for n, run in zip(lengths, self.runs, strict=True)]
        return network.backbone.embed(ids) + torch.cat(added), None

    def head(self, hidden: Tensor, memo: Any, where: Tensor | None = None) -> Tensor:
        logits = self._network[0].backbone.head.rows(selected(hidden, where), self.low, self.high)
        if not self.low <= self._network[0].mask < self.high:  # one kind's own ids
            return logits
        codes = self.codes(hidden.shape[1]).to(hidden.device)
        return allowed(logits, codes if where is None else codes.expand(*where.shape, -1)[where])

    def kinds(self, n: int) -> Tensor:
        """Int[n]: TEXT or IMAGE for each slot."""
        lengths = torch.tensor(self.lengths(n))
        return torch.tensor([TEXT if run.grid is None else IMAGE for run in self.runs]).repeat_interleave(lengths)

    def codes(self, n: int) -> Tensor:
        """Bool[n, C]: which ids each slot may take."""
        ids, mask = torch.arange(self.low, self.high), self._network[0].mask
        return torch.where(self.kinds(n)[:, None] == TEXT, ids < mask, ids > mask)

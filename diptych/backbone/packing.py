"""Spans of embedded tokens -> one padded batch that knows who sees whom.

Packing is done on the host with integers only; the embeddings are moved once.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from diptych.attention import CAUSAL, KIN, LATER, OPEN, Look, Lowering, Visibility


class Span(NamedTuple):
    """How a run of tokens stands among the others.

    look:     "causal" | "full" (its whole span) | "all" (its whole sample, whatever follows).
    audience: LATER | EVERYONE | KIN.
    expert:   which copy of the weights its tokens use (mixture of transformers); one number, or one a token.
    still:    all its tokens share one position (BAGEL, Transfusion).
    advance:  how far the next segment's positions move on; None: past this one (0: BAGEL's noise).
    grid:     height and width of the image its tokens are, row by row: they turn by row and column (2-D rotary).
    stretch:  what rows and columns are divided by; 0: of a size without positions, queries and keys become zero.
    tail:     its positions follow all others of its sample, however much is still written before it. Only where
              everything sees everything.
    bias:     added to the attention logits with which other spans see its tokens (MMaDA's training pads).
    """

    look: Look = "causal"
    audience: int = LATER
    expert: int | tuple[int, ...] = 0
    still: bool = False
    advance: int | None = None
    bias: float = 0.0
    grid: tuple[int, int] | None = None
    stretch: float = 1.0
    tail: bool = False


class Segment(NamedTuple):
    """A span of one row, before packing: x [T, D]."""

    x: Tensor
    span: Span = Span()


Sample = Sequence[Segment]
Route = int | tuple[Tensor, ...]  # the expert of all tokens, or the flat indices of each expert's tokens


@dataclass
class Packed:
    """A packed batch: everything the backbone may know about its tokens."""

    x: Tensor  # [B, T, D]
    position: Tensor  # Int[B, T]
    visibility: Visibility
    route: Route
    end: Tensor  # Int[B]: the position at which the next segment of a row begins
    ragged: bool  # some of it is padding
    private: bool  # some of it is for KIN only
    lowering: Lowering | None  # a cheaper form of the rule, where the host knows one that is equal
    starts: list[list[int]]  # the column at which each segment of a row begins
    bias: Tensor | None = None  # [B, T]: added to the logits with which other spans see a token
    cell: Tensor | None = None  # [B, T, 2]: row and column of tokens that stand on a grid, nan of the others


class _Columns:
    """The integers of one packed batch while it is being filled."""

    def __init__(self, batch: int, length: int):
        shape = (batch, length)
        self.position = np.zeros(shape, np.int64)
        self.sample = np.full(shape, -1, np.int64)
        self.span = np.full(shape, -1, np.int64)
        self.horizon = np.zeros(shape, np.int64)
        self.audience = np.full(shape, LATER, np.int64)
        self.expert = np.zeros(shape, np.int64)
        self.bias = np.zeros(shape, np.float32)
        self.cell: np.ndarray | None = None

    def visibility(self) -> Visibility:
        return Visibility(*(torch.from_numpy(f) for f in (self.sample, self.span, self.horizon, self.audience)))

    def fill(self, row: int, at: int, n: int, span: Span, sample: int, position: int, sample_end: int, base: int):
        """Write one segment of n tokens at column `at`; keys before this batch are `base` in number."""
        here = slice(at, at + n)
        count = np.arange(n)
        self.position[row, here] = position if span.still else position + count
        self.sample[row, here] = sample
        self.span[row, here] = base + at
        reach = {"causal": at + 1 + count, "full": at + n, "all": sample_end}[span.look]
        self.horizon[row, here] = base + reach
        self.audience[row, here] = span.audience
        self.expert[row, here] = span.expert
        self.bias[row, here] = span.bias
        if span.grid is not None:
            if self.cell is None:
                self.cell = np.full((*self.position.shape, 2), np.nan, np.float32)
            cells = np.stack(np.divmod(count, span.grid[1]), 1)
            self.cell[row, here] = cells / span.stretch if span.stretch else np.inf


def advanced(position: int, n: int, span: Span) -> int:
    """The position after a segment of n tokens that began at `position`."""
    return position + ((1 if span.still else n) if span.advance is None else span.advance)


def pack(
    rows: Sequence[Sample], *, start: Sequence[int] | None = None, base: int = 0, clean: bool = True, left: bool = True
) -> Packed:
    """One sample a row -> one batch. Left padding keeps the last token of every row in the last column.

    start: the position at which each row goes on; base: keys already cached;
    clean: the cached keys hold neither padding nor private keys (a cheaper lowering may then be chosen).
    """
    return _pack([[row] for row in rows], start=start, base=base, clean=clean, left=left)


def pack_samples(rows: Sequence[Sequence[Sample]]) -> Packed:
    """Several samples a row, for training; padded on the right. Samples of a row never see each other."""
    return _pack(rows, start=None, base=0, clean=True, left=False)


def _pack(
    rows: Sequence[Sequence[Sample]], *, start: Sequence[int] | None, base: int, clean: bool, left: bool
) -> Packed:
    lengths = [[len(s.x) for sample in row for s in sample] for row in rows]
    sizes = [sum(row) for row in lengths]
    width, batch = max(sizes), len(rows)
    columns, ends, starts = _Columns(batch, width), [], []
    for b, row in enumerate(rows):
        at, position = (width - sizes[b] if left else 0), 0
        starts.append([])
        for k, sample in enumerate(row):
            begins, position = _positions(sample, 0 if start is None else start[b])
            sample_end = at + sum(len(s.x) for s in sample)
            for (x, span), begin in zip(sample, begins, strict=True):
                columns.fill(b, at, len(x), span, k, begin, sample_end, base)
                starts[-1].append(at)
                at += len(x)
        ends.append(position)
    x = _scatter(rows, starts, batch, width)
    spans = [[s.span for sample in row for s in sample] for row in rows]
    ragged = min(sizes) < width
    single = all(len(row) == 1 for row in rows)
    biased = bool(columns.bias.any())
    return Packed(
        x=x,
        position=torch.from_numpy(columns.position).to(x.device, non_blocking=True),
        visibility=columns.visibility().to(x.device),
        route=_route(columns.expert, x.device),
        end=torch.tensor(ends, device=x.device),
        ragged=ragged,
        private=any(s.audience == KIN for row in spans for s in row),
        lowering=None if biased else _cheapest(spans, width, base, clean, ragged, left, single),
        starts=starts,
        bias=torch.from_numpy(columns.bias).to(x) if biased else None,
        cell=None if columns.cell is None else torch.from_numpy(columns.cell).to(x.device, non_blocking=True),
    )


def _positions(sample: Sample, position: int) -> tuple[list[int], int]:
    """Where each segment's positions begin, and where they go on after the last."""
    begins = [0] * len(sample)
    for i in sorted(range(len(sample)), key=lambda i: sample[i].span.tail):
        begins[i], position = position, advanced(position, len(sample[i].x), sample[i].span)
    return begins, position


def _scatter(rows: Sequence[Sequence[Sample]], starts: list[list[int]], batch: int, width: int) -> Tensor:
    """All segments into x [B, T, D] with one copy, so that its gradient is one copy too."""
    segments = [s.x for row in rows for sample in row for s in sample]
    tokens = torch.cat(segments)
    if len(tokens) == batch * width:
        return tokens.view(batch, width, -1)
    at = iter(b * width + c for b, row in enumerate(starts) for c in row)
    index = np.concatenate([np.arange(len(x)) + begin for x, begin in zip(segments, at, strict=True)])
    empty = tokens.new_zeros(batch * width, tokens.shape[-1])
    where = torch.from_numpy(index).to(tokens.device, non_blocking=True)
    return empty.index_copy(0, where, tokens).view(batch, width, -1)


def _route(expert: np.ndarray, device: torch.device) -> Route:
    used = np.unique(expert)
    if len(used) == 1:
        return int(used[0])
    flat = expert.reshape(-1)
    return tuple(torch.from_numpy(np.flatnonzero(flat == e)).to(device) for e in range(int(used[-1]) + 1))


def _cheapest(
    spans: list[list[Span]], width: int, base: int, clean: bool, ragged: bool, left: bool, single: bool
) -> Lowering | None:
    """A lowering equal to the dense rule for this batch, or None."""
    if not single:
        return None
    if (
        base == 0
        and not (ragged and left)
        and all(s.look == "causal" and s.audience == LATER for r in spans for s in r)
    ):
        return CAUSAL
    one_span = all(len(row) == 1 for row in spans)
    sees_all = one_span and (width == 1 or all(row[0].look != "causal" for row in spans))
    sees_all = sees_all or all(s.look == "all" and s.audience != KIN for row in spans for s in row)
    return OPEN if clean and not ragged and sees_all else None


def longest(rows: Iterable[Sample]) -> int:
    return max(sum(len(s.x) for s in row) for row in rows)

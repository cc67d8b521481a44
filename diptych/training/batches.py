"""Conversations with spans to be learned -> one packed forward for all objectives.

A sample is a row of pieces as a family renders them; what is to be learned stands among them as `Learn`. All texts,
pictures and canvases of a batch are embedded at once, the backbone runs once, and heads run only where something is
learned. Nothing is scattered over placeholder ids and nothing is shifted: a port's `lag` says who foretells whom.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from diptych.backbone.packing import Packed, Segment, pack, pack_samples
from diptych.canvas import Canvas, Draws, Step, Writer
from diptych.models.network import Network, Piece

IGNORED = -100  # a slot that is not learned


class Learn(NamedTuple):
    """A span to be learned: which writer writes it, its slots Int[n] or Float[n, C], and their grid."""

    writer: str
    target: Tensor
    grid: tuple[int, ...] | None = None


Row = Sequence[Piece | Learn]


@dataclass
class _Group:
    """All spans of one writer in a batch, as one canvas [n, N, ...] padded with IGNORED."""

    writer: Writer
    target: Tensor
    canvas: Canvas
    step: Step
    memo: object
    tokens: list[Tensor]
    sizes: list[int]


def losses(
    network: Network, writers: Mapping[str, Writer], rows: Sequence[Row], draws: Draws, width: int | None = None
) -> dict[str, Tensor]:
    """The mean loss of each writer over the slots it learns. One draw a learned span, in order.

    width: several samples are packed into rows of about so many tokens; None: one sample a row.
    """
    groups = _groups(network, writers, rows, draws)
    samples = _embedded(network, groups, rows)
    bins = _bins([sum(len(s.x) for s in sample) for sample in samples], width)
    packed = pack_samples([[samples[i] for i in row] for row in bins]) if width else pack(samples, left=False)
    hidden = network.backbone(packed)
    begins = _begins(packed, bins, samples)
    places = _places(rows, begins)
    return {name: _loss(group, hidden, places[name]) for name, group in groups.items()}


def _groups(network: Network, writers: Mapping[str, Writer], rows: Sequence[Row], draws: Draws) -> dict[str, _Group]:
    found: dict[str, list[Learn]] = {}
    for row in rows:
        for piece in row:
            if isinstance(piece, Learn):
                found.setdefault(piece.writer, []).append(piece)
    return {name: _group(writers[name], spans, network.device, draws) for name, spans in found.items()}


def _group(writer: Writer, spans: list[Learn], device: torch.device, draws: Draws) -> _Group:
    sizes = [len(span.target) for span in spans]
    longest = max(sizes)
    padded = [
        F.pad(s.target, (*[0, 0] * (s.target.ndim - 1), 0, longest - n), value=IGNORED)
        for s, n in zip(spans, sizes, strict=True)
    ]
    target = torch.stack(padded).to(device)
    canvas, step = writer.objective.corrupt(target, spans[0].grid or (longest,), draws)
    tokens, memo = writer.port.embed(canvas, step)
    extra = tokens.shape[1] - longest  # marks around the slots
    own = [t[: n + extra] for t, n in zip(tokens, sizes, strict=True)]
    return _Group(writer, target, canvas, step, memo, own, sizes)


def _embedded(network: Network, groups: dict[str, _Group], rows: Sequence[Row]) -> list[list[Segment]]:
    """Every row as segments, learned spans among them."""
    plain = iter(network.read([[p for p in row if not isinstance(p, Learn)] for row in rows]))
    learned = {name: iter(group.tokens) for name, group in groups.items()}
    samples = []
    for row in rows:
        given, sample = iter(next(plain)), list[Segment]()
        for piece in row:
            if isinstance(piece, Learn):
                tokens, port = next(learned[piece.writer]), groups[piece.writer].writer.port
                sizes = port.spans(len(tokens))
                parts = tokens.split([n for n, _ in sizes])
                sample += [Segment(part, span) for part, (_, span) in zip(parts, sizes, strict=True)]
            else:
                sample.append(next(given))
        samples.append(sample)
    return samples


def _bins(lengths: list[int], width: int | None) -> list[list[int]]:
    """Samples into rows of about `width` tokens: longest first, each into the fullest row that still takes it."""
    if width is None:
        return [[i] for i in range(len(lengths))]
    rows: list[list[int]] = []
    room: list[int] = []
    for i in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        fits = [r for r, free in enumerate(room) if free >= lengths[i]]
        if fits:
            row = min(fits, key=lambda r: room[r])
            rows[row].append(i)
            room[row] -= lengths[i]
        else:
            rows.append([i])
            room.append(width - lengths[i])
    return rows


def _begins(packed: Packed, bins: list[list[int]], samples: list[list[Segment]]) -> list[tuple[int, list[int]]]:
    """For each sample: its row, and the column at which each of its segments begins."""
    begins: list[tuple[int, list[int]]] = [(0, [])] * len(samples)
    for r, row in enumerate(bins):
        starts = iter(packed.starts[r])
        for i in row:
            begins[i] = (r, [next(starts) for _ in samples[i]])
    return begins


def _places(rows: Sequence[Row], begins: list[tuple[int, list[int]]]) -> dict[str, list[tuple[int, int]]]:
    """For each writer: (row, column) at which each of its spans begins, in order."""
    places: dict[str, list[tuple[int, int]]] = {}
    for row, (r, starts) in zip(rows, begins, strict=True):
        columns = iter(starts)
        for piece in row:
            column = next(columns)
            if isinstance(piece, Learn):
                places.setdefault(piece.writer, []).append((r, column))
    return places


def _loss(group: _Group, hidden: Tensor, places: list[tuple[int, int]]) -> Tensor:
    """Gather what foretells each span's slots, run the head where something is learned, and compare."""
    port = group.writer.port
    length = max(len(t) for t in group.tokens)
    row = torch.tensor([r for r, _ in places], device=hidden.device)[:, None]
    column = torch.tensor([c for _, c in places], device=hidden.device)[:, None] - port.lag
    index = (column + torch.arange(length, device=hidden.device)).clamp(max=hidden.shape[1] - 1)
    where = group.writer.objective.learned(group.canvas)
    condition = port.head(hidden[row, index], group.memo, where)
    return group.writer.objective.loss(condition, group.target, group.canvas, group.step)

"""Conversations with spans to be learned -> one packed forward for all objectives.

A sample is a row of pieces as a family renders them; what is to be learned stands among them as `Learn`. All texts,
pictures and canvases of a batch are embedded at once, the backbone runs once, and heads run only where something is
learned. Nothing is scattered over placeholder ids and nothing is shifted: a port's `lag` says who foretells whom.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from diptych.backbone.packing import Packed, Segment, pack, pack_samples
from diptych.canvas import Canvas, Draws, Step, Writer
from diptych.errors import TrainingError
from diptych.models.network import Network, Piece

IGNORED = -100  # a slot that is not learned


class Learn(NamedTuple):
    """A span to be learned: which writer writes it, its slots Int[n] or Float[n, C], and their grid.

    given: so many slots at its beginning are shown, neither hidden nor learned (a question on the reply's canvas);
    only for objectives whose `corrupt` takes it.
    unsaid: so many slots at its end are foretold, but what follows says them (the mark that opens a picture); only
    where a token is a slot.
    time: the flow time at which it is learned, None where the objective draws one; of a writer's spans all or none.
    """

    writer: str
    target: Tensor
    grid: tuple[int, ...] | None = None
    given: int = 0
    unsaid: int = 0
    time: float | None = None


Row = Sequence[Piece | Learn]


Key = tuple[str, tuple[int, ...] | None]  # a writer's name, and a grid


@dataclass
class _Group:
    """All spans of one writer and one grid in a batch, as one canvas [n, N, ...]; texts are padded with IGNORED."""

    writer: Writer
    target: Tensor
    canvas: Canvas
    step: Step
    memo: object
    tokens: list[Tensor]  # as they are said
    length: int  # of the longest, with what is foretold and not said
    sizes: list[int]


def losses(
    network: Network, writers: Mapping[str, Writer], rows: Sequence[Row], draws: Draws, width: int | None = None
) -> dict[str, Tensor]:
    """The mean loss of each writer over the slots it learns. `draws` has a generator for each span to be learned, in
    order.

    width: several samples are packed into rows of about so many tokens; None: one sample a row.
    Raises TrainingError for a span that does not fit its grid, or that nothing foretells.
    """
    groups = _groups(network, writers, rows, draws)
    samples = _embedded(network, groups, rows)
    bins = _bins([sum(len(s.x) for s in sample) for sample in samples], width)
    packed = pack_samples([[samples[i] for i in row] for row in bins]) if width else pack(samples, left=False)
    hidden = network.backbone(packed)
    begins = _begins(packed, bins, samples)
    places = _places(groups, rows, begins)
    return _means({key: _loss(group, hidden, places[key]) for key, group in groups.items()})


def _means(found: dict[Key, tuple[Tensor, Tensor]]) -> dict[str, Tensor]:
    """(loss, learned slots) of each group -> the mean of each writer."""
    shares: dict[str, list[tuple[Tensor, Tensor]]] = {}
    for (name, _), share in found.items():
        shares.setdefault(name, []).append(share)
    return {
        name: own[0][0] if len(own) == 1 else sum(loss * n for loss, n in own) / sum(n for _, n in own)  # type: ignore
        for name, own in shares.items()
    }


def _groups(network: Network, writers: Mapping[str, Writer], rows: Sequence[Row], draws: Draws) -> dict[Key, _Group]:
    found: dict[Key, list[int]] = {}
    learned = [piece for row in rows for piece in row if isinstance(piece, Learn)]
    for i, piece in enumerate(learned):
        found.setdefault((piece.writer, piece.grid), []).append(i)
    return {
        key: _group(writers[key[0]], [learned[i] for i in own], network.device, draws.only(own))
        for key, own in found.items()
    }


def _group(writer: Writer, spans: list[Learn], device: torch.device, draws: Draws) -> _Group:
    sizes = [len(span.target) for span in spans]
    longest, grid = max(sizes), spans[0].grid
    if grid is not None and {math.prod(grid)} != set(sizes):
        raise TrainingError(
            f"spans of {sorted(set(sizes))} slots cannot lie on a grid of {grid}; state each span's own grid"
        )
    padded = [
        F.pad(s.target, (*[0, 0] * (s.target.ndim - 1), 0, longest - n), value=IGNORED)
        for s, n in zip(spans, sizes, strict=True)
    ]
    target = torch.stack(padded).to(device)
    given = {"given": torch.tensor([s.given for s in spans])} if any(s.given for s in spans) else {}
    if times := [s.time for s in spans if s.time is not None]:
        if len(times) < len(spans):
            raise TrainingError(
                f"{len(times)} of {len(spans)} spans state the time they are learned at; state all or none"
            )
        given["time"] = torch.tensor(times)
    canvas, step = writer.objective.corrupt(target, grid or (longest,), draws, **given)
    tokens, memo = writer.port.embed(canvas, step)
    padded_tokens = tokens.shape[1] == longest and not target.is_floating_point()
    if min(sizes) < longest and not padded_tokens:
        raise TrainingError(
            "spans of different lengths are padded only where a token is a code; state each span's grid"
        )
    own = [t[: n if n < longest else None] for t, n in zip(tokens, sizes, strict=True)]
    said = [t[: len(t) - s.unsaid] for t, s in zip(own, spans, strict=True)]
    return _Group(writer, target, canvas, step, memo, said, max(map(len, own)), sizes)


def _embedded(network: Network, groups: dict[Key, _Group], rows: Sequence[Row]) -> list[list[Segment]]:
    """Every row as segments, learned spans among them."""
    plain = iter(network.read([[p for p in row if not isinstance(p, Learn)] for row in rows]))
    learned = {key: iter(group.tokens) for key, group in groups.items()}
    samples = []
    for row in rows:
        given, sample = iter(next(plain)), list[Segment]()
        for piece in row:
            if not isinstance(piece, Learn):
                sample.append(next(given))
                continue
            key = (piece.writer, piece.grid)
            tokens, port = next(learned[key]), groups[key].writer.port
            if port.lag > sum(len(s.x) for s in sample):
                raise TrainingError(
                    f"what {piece.writer} writes is foretold by the token before it; here nothing precedes it"
                )
            spans = port.spans(len(tokens))
            parts = tokens.split([n for n, _ in spans])
            sample += [Segment(part, span) for part, (_, span) in zip(parts, spans, strict=True)]
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


def _places(
    groups: dict[Key, _Group], rows: Sequence[Row], begins: list[tuple[int, list[int]]]
) -> dict[Key, list[tuple[int, int]]]:
    """For each group: (row, column) at which each of its spans begins, in order."""
    places: dict[Key, list[tuple[int, int]]] = {key: [] for key in groups}
    tokens = {key: iter(group.tokens) for key, group in groups.items()}
    for row, (r, starts) in zip(rows, begins, strict=True):
        columns = iter(starts)
        for piece in row:
            column = next(columns)
            if isinstance(piece, Learn):
                key = (piece.writer, piece.grid)
                places[key].append((r, column))
                for _ in groups[key].writer.port.spans(len(next(tokens[key])))[1:]:
                    next(columns)
    return places


def _loss(group: _Group, hidden: Tensor, places: list[tuple[int, int]]) -> tuple[Tensor, Tensor]:
    """Gather what foretells each span's slots, run the head where something is learned, and compare.

    -> the mean loss, and over how many slots."""
    port = group.writer.port
    row = torch.tensor([r for r, _ in places], device=hidden.device)[:, None]
    column = torch.tensor([c for _, c in places], device=hidden.device)[:, None] - port.lag
    index = (column + torch.arange(group.length, device=hidden.device)).clamp(max=hidden.shape[1] - 1)
    where = group.writer.objective.learned(group.canvas)
    condition = port.head(hidden[row, index], group.memo, where)
    loss = group.writer.objective.loss(condition, group.target, group.canvas, group.step)
    return loss, torch.ones_like(group.canvas.known).sum() if where is None else where.sum()

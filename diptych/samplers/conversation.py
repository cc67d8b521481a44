"""Replies: text until a canvas opens, a canvas until it closes, text again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from diptych.backbone.context import Context
from diptych.backbone.packing import Sample
from diptych.canvas import Canvas, Draws, Given, Writer
from diptych.samplers.loop import blank, visits

Watch = Callable[[int, int, Canvas], None]  # visits so far, visits in all, and the canvas


@torch.inference_mode()
def draw(
    context: Context,
    writer: Writer,
    grid: tuple[int, ...],
    branches: int,
    draws: Draws,
    watch: Watch | None = None,
    given: Given | None = None,
) -> Canvas:
    """Fill one image canvas a sample; rows of the context are [branch, sample].

    given: what of the canvases [B, N, ...] is there already and stays; watch: told of every visit.
    """
    device = context.backbone.embed.weight.device
    canvas = start = blank(writer, len(draws.generators), grid, draws, device)
    start = begun(start, given)
    count = 0 if watch is None else sum(1 for _ in writer.schedule(start))
    for number, (_, canvas) in enumerate(visits(context, writer, start, branches, draws), 1):
        if watch is not None:
            watch(number, count, canvas)
    return canvas


@torch.inference_mode()
def write(
    context: Context, writer: Writer, length: int, draws: Draws, given: Given | None = None, branches: int = 1
) -> Iterator[tuple[int, Canvas]]:
    """Fill one text canvas a sample -> (visits so far, canvas) after each visit. given: as in `draw`; it says how long
    the canvases are. branches: of guidance; rows of the context are [branch, sample]."""
    device = context.backbone.embed.weight.device
    length = length if given is None else given.known.shape[1]
    start = blank(writer, len(draws.generators), (length,), draws, device)
    for step, canvas in visits(context, writer, begun(start, given), branches, draws):
        yield step.index + 1, canvas


def begun(start: Canvas, given: Given | None) -> Canvas:
    """A blank canvas with what is there already."""
    if given is None:
        return start
    value, known = given.value.to(start.value.device), given.known.to(start.known.device)
    wide = known.view(*known.shape, *[1] * (start.value.ndim - 2))
    return replace(start, value=torch.where(wide, value, start.value), known=known)


def final(canvas: Canvas, row: int = 0) -> int:
    """How many slots from the left are settled: what stands there will not change."""
    return int(canvas.known[row].long().cumprod(0).sum())


def cut(ids: Tensor, stops: frozenset[int]) -> tuple[list[int], int | None]:
    """Int[n] ids -> those before the first stop, and that stop."""
    found: list[int] = []
    for i in ids.tolist():
        if i in stops:
            return found, i
        found.append(i)
    return found, None


def say(backbone: Any, rows: Sequence[Sample], room: int = 0) -> Context:
    """A context in which `rows` have been said, with room for `room` more tokens."""
    with torch.inference_mode():
        return Context(backbone, rows, room)

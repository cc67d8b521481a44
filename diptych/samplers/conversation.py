"""Replies: text until a canvas opens, a canvas until it closes, text again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from diptych.backbone.context import Context
from diptych.backbone.packing import Sample
from diptych.canvas import Canvas, Draws, Writer
from diptych.samplers.loop import blank, visits

Progress = Callable[[int, int], None]


@torch.inference_mode()
def draw(
    context: Context,
    writer: Writer,
    grid: tuple[int, ...],
    branches: int,
    draws: Draws,
    progress: Progress | None = None,
) -> Canvas:
    """Fill one image canvas a sample; rows of the context are [branch, sample]."""
    device = context.backbone.embed.weight.device
    canvas = start = blank(writer, len(draws.generators), grid, draws, device)
    for step, canvas in visits(context, writer, start, branches, draws):
        if progress is not None:
            progress(step.index + 1, canvas.slots)
    return canvas


@torch.inference_mode()
def write(context: Context, writer: Writer, length: int, draws: Draws) -> Iterator[tuple[int, Canvas]]:
    """Fill one text canvas a sample -> (slots written so far, canvas) after each visit."""
    device = context.backbone.embed.weight.device
    start = blank(writer, len(draws.generators), (length,), draws, device)
    for step, canvas in visits(context, writer, start, 1, draws):
        yield step.index + 1, canvas


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

"""The loop that fills a canvas: the same for every paradigm."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map_only

from diptych.backbone.context import Context
from diptych.backbone.foreseen import Foreseen
from diptych.canvas import Canvas, Drawn, Draws, Step, Writer


def blank(writer: Writer, batch: int, grid: tuple[int, ...], draws: Draws, device: torch.device | str) -> Canvas:
    """An empty canvas of `grid` slots for each of `batch` samples."""
    slots = math.prod(grid)
    if writer.order == "random":
        rank = draws.uniform(range(batch), slots)
    else:
        rank = -torch.arange(slots, dtype=torch.float32).expand(batch, -1)
    known = torch.zeros(batch, slots, dtype=torch.bool, device=device)
    done = torch.zeros(batch, dtype=torch.bool, device=device)
    return Canvas(writer.objective.blank(batch, grid, draws, device), known, rank.to(device), grid, done)


def places(score: Tensor, known: Tensor) -> Tensor:
    """Int[B, N]: each slot's place when the settled come first and then the highest score; ties to the lower slot."""
    score = score.masked_fill(known, float("inf"))
    return score.argsort(dim=1, descending=True, stable=True).argsort(dim=1)


def taken(place: Tensor, step: Step) -> Tensor:
    """Bool[B, N]: the places settled once this visit leaves `step.left` slots open."""
    left = step.left.view(-1, 1) if isinstance(step.left, Tensor) else step.left
    return place < place.shape[1] - left


def settle(canvas: Canvas, drawn: Drawn, step: Step) -> Canvas:
    """Write the drawn values into the slots whose turn it is."""
    values = drawn.values
    if drawn.score is None:
        return replace(canvas, value=values)
    if values.shape[1] < canvas.slots:  # the port answered for the next slots only
        assert isinstance(step.left, int)
        first = canvas.slots - step.left - values.shape[1]
        value, known = canvas.value.clone(), canvas.known.clone()
        value[:, first : first + values.shape[1]] = values
        known[:, first : first + values.shape[1]] = True
        return replace(canvas, value=value, known=known)
    turn = canvas.turn if canvas.turn is not None else surest(canvas, drawn.score, step)
    turn = turn & ~canvas.known
    written = turn | canvas.known if drawn.rewrites else turn
    wide = written.view(*turn.shape, *[1] * (canvas.value.ndim - 2))
    settled = turn if drawn.stays_open is None else turn & ~drawn.stays_open
    return replace(canvas, value=torch.where(wide, values, canvas.value), known=canvas.known | settled)


def surest(canvas: Canvas, score: Tensor, step: Step) -> Tensor:
    """Bool[B, N]: the slots of this visit where the surest go first."""
    if step.reach is not None:
        score = score.masked_fill(~canvas.eligible(step), float("-inf"))
    if step.take is None:
        return taken(places(score, canvas.known), step)
    take = step.take.view(-1, 1) if isinstance(step.take, Tensor) else step.take
    return places(score.masked_fill(canvas.known, float("-inf")), torch.zeros_like(canvas.known)) < take


def visits(
    context: Context, writer: Writer, canvas: Canvas, branches: int, draws: Draws
) -> Iterator[tuple[Step, Canvas]]:
    """Fill one canvas, visit by visit; rows of the context are [branch, sample]. Ends early when every row has."""
    port = writer.port
    seer: Any = context if writer.foresight is None else Foreseen(context, writer.foresight, branches)
    place = None if writer.order == "surest" else places(canvas.rank, canvas.known)
    canvas, parts, seen, before = replace(canvas, given=canvas.known), canvas.value, Step(), None
    for step in writer.schedule(canvas):
        if place is not None:
            canvas = replace(canvas, turn=taken(place, step) & ~canvas.known)
        if writer.lazy and before is not None and torch.equal(before, canvas.known):
            step = step if step.seen is not None else step._replace(seen=seen.time)
        else:
            count = branches if writer.needs is None else writer.needs(step, branches)
            asked = seer if count == branches else seer.first(count * len(canvas.known))
            hidden, memo = look(asked, writer, canvas, step, count)
            where = canvas.eligible(step).repeat(count, 1) if writer.focus else None
            parts = port.head(hidden, memo, where)
            parts, seen = parts.unflatten(0, (count, len(parts) // count)), step
        drawn = writer.objective.draw(parts, canvas, step, writer.guide, draws)
        before, canvas = canvas.known, settle(canvas, drawn, step)
        if writer.stop is not None:
            canvas = replace(canvas, done=canvas.done | writer.stop(canvas, step))
        yield step, canvas
        if writer.stop is not None and bool(canvas.done.all()):
            return


def look(context: Context, writer: Writer, canvas: Canvas, step: Step, branches: int) -> tuple[Tensor, object]:
    """Show the backbone the canvas -> hidden states [G * B, n, D], and the port's memo for each branch."""
    tokens, memo = writer.port.embed(canvas, step)
    alike = branches * len(canvas.known) // len(tokens)  # 1 where the port has answered for every branch
    memo = tree_map_only(Tensor, lambda m: m.repeat(branches, *[1] * (m.ndim - 1)), memo)
    if not tokens.shape[1]:
        return context.ending(writer.port.lag), memo
    tokens, spans = tokens.repeat(alike, 1, 1), writer.port.spans(tokens.shape[1])
    if step.stale is not None:
        return context.revisit(tokens, spans, step.stale, step.renew), memo
    return context.visit(tokens, spans, step.keep), memo

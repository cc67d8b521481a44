"""In what order and in how many visits a canvas is filled."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from diptych.canvas import Canvas, Schedule, Step
from diptych.errors import InputError


def raster(canvas: Canvas) -> Iterator[Step]:
    """One slot a visit, left to right. Visit i feeds slot i - 1; nothing is fed before the first."""
    for i in range(canvas.slots):
        yield Step(i, slice(max(i - 1, 0), i), canvas.slots - 1 - i, keep=True)


def cosine(r: float) -> Tensor:
    """MaskGIT's curve: the share still hidden after the share r of the visits. In float32, as published: cos at 2/3
    rounds down, and float64 would reveal another slot."""
    return torch.cos(torch.tensor(r) * torch.pi * 0.5)


def cosine64(r: float) -> Tensor:
    """The same in float64 (MAR, Harmon)."""
    return torch.tensor(math.cos(math.pi / 2 * r), dtype=torch.float64)


def linear(r: float) -> Tensor:
    return torch.tensor(1 - r).clamp(1e-6, 1.0)


def reveal(visits: int, curve: Callable[[float], Tensor] = cosine, heat: float = 0.0) -> Schedule:
    """MaskGIT (arXiv 2202.04200), as Show-o and MMaDA run it: how many slots stay hidden follows a curve of the whole
    canvas; at least one is shown a visit, and all in the last. `heat` compounds over the visits, as published."""

    def schedule(canvas: Canvas) -> Iterator[Step]:
        open_, warm = (~canvas.known).sum(1), heat
        for i in range(visits):
            r = (i + 1) / visits
            hidden = (canvas.slots * curve(r)).floor().long().to(open_.device)
            open_ = torch.minimum(open_ - 1, hidden).clamp(min=1) if i < visits - 1 else torch.zeros_like(open_)
            warm *= 1 - r
            yield Step(i, left=open_, heat=warm)

    return schedule


def blocks(size: int, visits: int, refresh: int | None = None) -> Schedule:
    """Text in blocks from left to right, the last perhaps shorter; within a block an even share of the slots that are
    open at the start take their turn in each visit, the first visits one more (LLaDA, MMaDA).

    refresh: by approximation, keys of the prompt and of finished blocks are kept, and computed anew with each block
    and after so many visits in it (Fast-dLLM, arXiv 2505.22618). 1 and None are exact.
    """

    def schedule(canvas: Canvas) -> Iterator[Step]:
        count = -(-canvas.slots // size)
        if visits % count:
            raise InputError(
                f"{canvas.slots} slots are {count} blocks of {size}; the number of steps must be a multiple of "
                f"{count}, but it is {visits}"
            )
        each = visits // count
        for block in range(count):
            end = min((block + 1) * size, canvas.slots)
            open_ = (~canvas.known[:, block * size : end]).sum(1)
            for i in range(each):
                take = open_ // each + (i < open_ % each).long()
                step = Step(block * each + i, take=take, reach=end)
                yield step if refresh is None else step._replace(stale=block * size, renew=i % refresh == 0)

    return schedule


def scales(sizes: Sequence[int]) -> Schedule:
    """One whole scale a visit (VAR, VARGPT): sizes are the sides of square scales."""

    def schedule(canvas: Canvas) -> Iterator[Step]:
        if sum(side * side for side in sizes) != canvas.slots:
            raise InputError(f"scales of {list(sizes)} do not fill a canvas of {canvas.slots} slots")
        end = 0
        for i, side in enumerate(sizes):
            begin, end = end, end + side * side
            yield Step(i, slice(begin, end), canvas.slots - end, keep=True)

    return schedule


def euler(steps: int, shift: float = 1.0, ascending: bool = False) -> Schedule:
    """Flow matching in `steps` straight steps: time descends from 1 (noise) to 0, or ascends from 0 (noise) to 1
    (JanusFlow, Show-o2); `shift` > 1 bends it so that more of the steps are near noise (SD3, BAGEL, Show-o2)."""

    def schedule(canvas: Canvas) -> Iterator[Step]:
        if ascending:
            even = [i / steps for i in range(steps + 1)]
            times = [s / (s + shift * (1 - s)) for s in even]
        else:
            t = torch.linspace(1, 0, steps + 1)
            times = (shift * t / (1 + (shift - 1) * t)).tolist()
        for i in range(steps):
            yield Step(i, time=times[i], next=times[i + 1])

    return schedule


def midpoint(points: int, keep: bool = False) -> Schedule:
    """Flow matching from time 0 (noise) to 1 by the midpoint rule, for `objectives.flow.Midpoint`: `points` times are
    as many steps less one, of two visits each. keep: what the last visit saw stays in the context, a little noisy
    (lucidrains' Transfusion)."""

    def schedule(canvas: Canvas) -> Iterator[Step]:
        times = torch.linspace(0, 1, points).tolist()
        for i in range(points - 1):
            middle = (times[i] + times[i + 1]) / 2
            yield Step(2 * i, time=times[i], next=middle)
            yield Step(2 * i + 1, time=middle, next=times[i + 1], keep=keep and i == points - 2)

    return schedule


def once(canvas: Canvas) -> Iterator[Step]:
    """One visit (learnable queries)."""
    yield Step(keep=True)

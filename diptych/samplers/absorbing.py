"""Visits of absorbing-state diffusion: the time of each, and how many slots it settles (UniDisc, arXiv 2503.20853)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from diptych.canvas import Canvas, Schedule, Step

END = 1e-5  # time descends from 1 to this


def arccos(r: Tensor) -> Tensor:
    """MaskGIT's arccos curve: how the slots are shared out, r falling from 1 to 0."""
    return torch.arccos(r) / (math.pi * 0.5)


def even(r: Tensor) -> Tensor:
    """A linear curve: the time at which each slot is hit first is uniform."""
    return 1 - r


def counted(visits: int, curve: Callable[[Tensor], Tensor] = arccos, room: int | None = None) -> Schedule:
    """A row's open slots are shared out by a curve: at least one a visit, the rest in the last.

    A row with fewer open slots than visits is done in as many visits as it has open slots. room: only so many slots
    from the left are written.
    """

    def schedule(canvas: Canvas) -> Iterator[Step]:
        open_ = _open(canvas, room)
        steps = [min(visits, n) for n in open_]
        takes = torch.stack([_padded(shares(curve, s, n), max(steps), 0) for s, n in zip(steps, open_, strict=True)])
        time, left = _times(steps).to(canvas.known.device), torch.tensor(open_)
        for i in range(max(steps)):
            takes[:, i] = torch.minimum(takes[:, i], left)
            left = left - takes[:, i]
            if not takes[:, i].any():
                continue
            yield Step(i, take=takes[:, i].to(canvas.known.device), time=time[:, i], next=time[:, i + 1], reach=room)

    return schedule


def shares(curve: Callable[[Tensor], Tensor], steps: int, slots: int) -> Tensor:
    """Int[steps] that sum up to `slots`, unless as many visits are too many for one slot each."""
    v = curve(torch.linspace(1, 0, steps))
    share = (v / v.sum() * slots).nan_to_num(0.0).round()  # a single visit has no curve
    share[share == 0] = 1
    share[-1:] += slots - share.sum()
    return share.clamp(min=0).long()


def ancestral(visits: int, room: int | None = None) -> Schedule:
    """Equal steps of time, in which chance decides how many slots are settled; then a visit without chance and without
    guidance (time 1) for those that are left."""

    def schedule(canvas: Canvas) -> Iterator[Step]:
        steps = [min(visits, n) for n in _open(canvas, room)]
        time = _times(steps).to(canvas.known.device)
        for i in range(max(steps)):
            yield Step(i, heat=1.0, time=time[:, i], next=time[:, i + 1], reach=room)
        yield Step(max(steps), time=1.0, seen=1.0, reach=room)

    return schedule


def _open(canvas: Canvas, room: int | None) -> list[int]:
    return (~canvas.known[:, :room]).sum(1).tolist()


def _times(steps: list[int]) -> Tensor:
    """Float[B, most + 1]: each row's times; a row that needs fewer steps stays at the end of its own."""
    return torch.stack([_padded(torch.linspace(1, END, s + 1), max(steps) + 1, END) for s in steps])


def _padded(values: Tensor, length: int, value: float) -> Tensor:
    return torch.nn.functional.pad(values, (0, length - len(values)), value=value)

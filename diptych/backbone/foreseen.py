"""Visits of which some are not computed but extrapolated from those before (TaylorSeer, arXiv 2503.06923).

R rows, n tokens, D width.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import factorial
from typing import NamedTuple

import torch
from torch import Tensor

from diptych.backbone.context import Context
from diptych.backbone.packing import Span
from diptych.errors import InputError


class Foresight(NamedTuple):
    """Which visits are computed: the first `warm`, then each `every`-th; and up to which order a series goes."""

    every: int = 3
    warm: int = 5
    order: int = 6


class Series:
    """A Taylor series in the number of the visit, its derivatives from backward differences."""

    def __init__(self) -> None:
        self.terms: list[Tensor] = []  # the value where it was computed last, and its derivatives
        self.last = 0

    def note(self, value: Tensor, visit: int, order: int) -> None:
        """A computed value. Each adds an order; order 0 keeps the value alone."""
        terms = [value]
        for old in self.terms[:order]:
            terms.append((terms[-1] - old) / (visit - self.last))
        self.terms, self.last = terms, visit

    def at(self, visit: int) -> Tensor:
        away = visit - self.last
        return torch.stack([term * (away**k / factorial(k)) for k, term in enumerate(self.terms)]).sum(0)


class Foreseen:
    """A context for the visits of one canvas, an approximation for who asks for it. Only visits that are not kept.

    What is extrapolated is the stream behind the last block, before the last norm: layers before it have no say then.
    """

    def __init__(self, context: Context, plan: Foresight, branches: int):
        if not context.cached:
            raise InputError("visits can be foreseen only where what was said does not look at them; leave foresee out")
        self.context, self.plan, self.branches = context, plan, branches
        self.series = [Series() for _ in range(branches)]
        self.visits = self.since = 0

    def first(self, rows: int) -> Foreseen:
        """Rows are counted by the tokens of a visit."""
        return self

    def visit(self, tokens: Tensor, spans: Sequence[tuple[int, Span]], keep: bool) -> Tensor:
        """`Context.visit` of a visit that is only tried, rows [branch, sample] or the first branches of these."""
        each = self.context.rows // self.branches
        own, number = self.series[: len(tokens) // each], self.visits
        context, self.visits = self.context.first(len(tokens)), self.visits + 1
        packed, backbone = context.packed(tokens, spans), self.context.backbone
        if number >= self.plan.warm and self.since < self.plan.every - 1 and all(s.terms for s in own):
            self.since += 1
            stream = torch.cat([s.at(number) for s in own])
        else:
            self.since = 0
            stream = backbone.stream(packed, context.cache)
            order = self.plan.order if number >= self.plan.warm - 1 else 0
            for series, part in zip(own, stream.split(each), strict=True):
                series.note(part, number, order)
        return backbone.norm(stream, packed.route)

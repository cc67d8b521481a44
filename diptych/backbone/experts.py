"""Several copies of each layer, of which a token uses the one its route names (mixture of transformers).

Inside a stack of blocks the tokens of a copy stand together, so that its layers take a slice of them; only attention
has them in their places. Elsewhere a copy's tokens are picked out and put back. B rows, T tokens.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from diptych.backbone.packing import Route


class Order(NamedTuple):
    """Tokens [B, T] as [1, B T], those of the first copy first. there, back: Int[B T], the flat place from which each
    comes, and to which it went; sizes: how many each copy has."""

    there: Tensor
    back: Tensor
    sizes: tuple[int, ...]
    shape: tuple[int, int]


def order_of(route: Route, x: Tensor) -> Order | int:
    """The order of x [B, T, ...] for a route of every token; a route that is the same for all stays what it is."""
    if isinstance(route, int):
        return route
    there = torch.cat(list(route))
    back = torch.empty_like(there)
    back[there] = torch.arange(len(there), device=there.device)
    return Order(there, back, tuple(map(len, route)), (x.shape[0], x.shape[1]))


def grouped(x: Tensor, route: Order | Route) -> Tensor:
    """[B, T, ...] -> [1, B T, ...] in order."""
    return _Moved.apply(x.flatten(0, 1), route.there, route.back)[None] if isinstance(route, Order) else x  # type: ignore


def placed(x: Tensor, route: Order | Route) -> Tensor:
    """The inverse of `grouped`."""
    if not isinstance(route, Order):
        return x
    moved: Any = _Moved.apply(x[0], route.back, route.there)
    return moved.unflatten(0, route.shape)


class _Moved(torch.autograd.Function):
    """A permutation whose gradient is the inverse permutation: torch's own would add up where nothing meets."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, there: Tensor, back: Tensor) -> Tensor:
        ctx.back = back
        return x.index_select(0, there)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:  # type: ignore[override]
        return gradient.index_select(0, ctx.back), None, None


class Experts(nn.Module):
    """One copy of a layer per expert."""

    def __init__(self, make: Callable[[], nn.Module], count: int):
        super().__init__()
        self.experts = nn.ModuleList(make() for _ in range(count))

    def forward(self, x: Tensor, route: Order | Route = 0) -> Tensor:
        if isinstance(route, int):
            return self.experts[route](x)
        if isinstance(route, Order):
            parts = x.split(route.sizes, 1)
            return torch.cat([layer(part) for layer, part in zip(self.experts, parts, strict=False)], 1)
        flat = x.flatten(0, 1)
        parts = [layer(flat[index]) for layer, index in zip(self.experts, route, strict=False)]
        out = parts[0].new_zeros(len(flat), *parts[0].shape[1:])
        for index, part in zip(route, parts, strict=True):
            out = out.index_copy(0, index, part)
        return out.unflatten(0, x.shape[:2])


def copies(make: Callable[[], nn.Module], experts: int) -> nn.Module:
    """The layer itself where there is one."""
    return make() if experts == 1 else Experts(make, experts)

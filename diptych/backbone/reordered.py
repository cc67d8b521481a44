"""Linear layers whose weights lie in the order in which oneDNN reads them: the same numbers, quicker on CPUs.

A plain matrix is brought into blocks again in each call; of a few tokens that takes longer than the product. On two
cores with AVX-512 a product of 2 rows with 12 M weights took a third of `F.linear`'s time in float32 and 0.78 of it in
bfloat16, of 16 rows 0.28 and 0.72, of a thousand 0.83 and 0.94. Only where nothing is learned.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from diptych.backbone.packing import Route
from diptych.backbone.products import LARGE, filled
from diptych.timing import MARGIN, seconds

ROWS = 16  # for which oneDNN is to choose the order
PROBE = (2048, 1024)


class Reordered(nn.Module):
    """Stands where a linear layer stood. `blocked` are its weights [O, I] in oneDNN's order, which is no state: a state
    dict holds the weights as they were. slow: of how many rows a product takes longer than of more."""

    slow: frozenset[int] = frozenset()

    def __init__(self, linear: nn.Linear):
        super().__init__()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self.blocked, self.bias = reordered(linear.weight.detach()), linear.bias
        self.parts: dict[tuple[int, int], Tensor] = {}

    @property
    def weight(self) -> Tensor:
        """The weights as they were, made anew in each call."""
        return self.blocked.to_dense()

    def forward(self, x: Tensor, route: Route = 0) -> Tensor:
        if torch.is_grad_enabled() and x.requires_grad:  # the kernel knows no gradients
            return F.linear(x, self.weight, self.bias)
        return filled(x, self.slow, lambda rows: _product(rows, self.blocked, self.bias))

    def rows(self, x: Tensor, low: int, high: int) -> Tensor:
        """As `Linear.rows`; the part that is asked for is kept."""
        if (low, high) not in self.parts:
            self.parts[low, high] = reordered(self.weight[low:high])
        part, bias = self.parts[low, high], None if self.bias is None else self.bias[low:high]
        return filled(x, self.slow, lambda rows: _product(rows, part, bias))

    def _save_to_state_dict(self, destination: MutableMapping[str, Any], prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        destination[f"{prefix}weight"] = self.weight

    def extra_repr(self) -> str:
        return f"{self.in_features}, {self.out_features}, bias={self.bias is not None}"


def reordered(weight: Tensor) -> Tensor:
    return torch.ops.mkldnn._reorder_linear_weight(weight, ROWS)


def _product(x: Tensor, blocked: Tensor, bias: Tensor | None) -> Tensor:
    return torch.ops.mkldnn._linear_pointwise(x, blocked, bias, "none", [], "")


def worthwhile(weight: Tensor) -> bool:
    """Whether this weight [O, I] is worth reordering: a large one, on a CPU where that is quicker."""
    return weight.device.type == "cpu" and weight.numel() >= LARGE and pays(weight.dtype)


@cache
def pays(dtype: torch.dtype) -> bool:
    """Whether products of two rows are clearly quicker here; measured once a process, in some milliseconds."""
    if not torch.backends.mkldnn.is_available() or dtype not in (torch.float32, torch.bfloat16):
        return False
    weight, x = torch.ones(PROBE, dtype=dtype), torch.ones(2, PROBE[1], dtype=dtype)
    try:
        blocked = reordered(weight)
        return MARGIN * seconds(lambda: _product(x, blocked, None)) < seconds(lambda: F.linear(x, weight))
    except RuntimeError:  # a type for which this CPU has no instructions
        return False

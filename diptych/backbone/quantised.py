"""Linear layers whose weights are whole numbers of 8 or 4 bits: for memory, at the price of some error and time.

Only weights are rounded, but for "int8-dynamic"; what goes through them is computed in the model's own type. A layer's
numbers are made whole again in each call, and forgotten. Plain operations of torch: they run wherever the model runs.
On CPUs int8 has kernels that read the numbers as they are (`products`). O outputs, I inputs.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, MutableMapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from diptych.backbone.packing import Route
from diptych.backbone.products import all_whole, exact_in_8_bits, few, in_order, whole_numbers

GROUP = 32  # inputs that share a scale of 4-bit numbers: their scales add half a bit a number
STEPS = (1.0, 1.05, 0.95, 0.9, 0.85, 0.8, 0.75, 0.7)  # of the step at which nothing is cut off, those that are tried
ROWS = 256  # that are rounded at a time: what is tried then stays in a CPU's cache


class Quantised(nn.Module, ABC):
    """Stands where a linear layer stood. `codes` and `scale` are buffers, the bias stays as it is."""

    codes: Tensor
    scale: Tensor

    def __init__(self, linear: nn.Linear, codes: Tensor, scale: Tensor):
        super().__init__()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self.register_buffer("codes", codes)
        self.register_buffer("scale", scale)
        self.bias = linear.bias

    @abstractmethod
    def whole(self, dtype: torch.dtype) -> Tensor:
        """The weights [O, I], as nearly as they are known."""

    def forward(self, x: Tensor, route: Route = 0) -> Tensor:
        return F.linear(x, self.whole(x.dtype), None if self.bias is None else self.bias.to(x.dtype))

    def extra_repr(self) -> str:
        return f"{self.in_features}, {self.out_features}, bias={self.bias is not None}"


class Int8(Quantised):
    """codes int8 [O, I] in -127..127 and one float32 scale an output, [O, 1]."""

    @classmethod
    def of(cls, linear: nn.Linear) -> Int8:
        weight = linear.weight.detach().float()
        scale = _nonzero(weight.abs().amax(1, keepdim=True)) / 127
        return cls(linear, (weight / scale).round().to(torch.int8), scale)

    def whole(self, dtype: torch.dtype) -> Tensor:
        return self.codes.to(dtype).mul_(self.scale.to(dtype))

    def forward(self, x: Tensor, route: Route = 0) -> Tensor:
        """The scale is that of an output, so it can wait until there is one: a smaller tensor, and no rounding."""
        if few(x, self.codes):
            y = whole_numbers(x, self.codes, self.scale[:, 0])
        else:
            y = F.linear(x, self.codes.to(x.dtype)) * self.scale[:, 0].to(x.dtype)
        return y if self.bias is None else y + self.bias.to(x.dtype)


class Int8Dynamic(Int8):
    """`Int8` through which tokens go as whole numbers too: each is rounded to -127..127 with a scale of its own. On
    CPUs the quickest of all, at nearly five times the error of int8 (on the logits of janus-emoji). There the codes
    lie in oneDNN's order, and only so. slow: as in `Reordered`."""

    blocked: Tensor | None = None
    slow: frozenset[int] = frozenset()

    @classmethod
    def of(cls, linear: nn.Linear) -> Int8Dynamic:
        made = super().of(linear)
        assert isinstance(made, cls)
        if made.codes.device.type == "cpu" and exact_in_8_bits():
            made.blocked, made._buffers["codes"] = in_order(made.codes), None
        return made

    def whole(self, dtype: torch.dtype) -> Tensor:
        codes = self.codes if self.blocked is None else self.blocked.to_dense().t()
        return codes.to(dtype, copy=True).mul_(self.scale.to(dtype))

    def forward(self, x: Tensor, route: Route = 0) -> Tensor:
        bias = None if self.bias is None else self.bias.to(x.dtype)
        if torch.is_grad_enabled() and x.requires_grad:  # rounding has no gradient
            return F.linear(x, self.whole(x.dtype), bias)
        scale = _nonzero(x.abs().amax(-1, keepdim=True).float()) / 127
        tokens = (x / scale).round_()
        if self.blocked is None:
            y = F.linear(tokens.to(x.dtype), self.codes.to(x.dtype)).float() * self.scale[:, 0]
        else:
            y = all_whole(tokens, self.blocked, self.scale[:, 0], self.slow)
        y = (y * scale).to(x.dtype)
        return y if bias is None else y + bias

    def _save_to_state_dict(self, destination: MutableMapping[str, Any], prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        if self.blocked is not None:
            destination[f"{prefix}codes"] = self.blocked.to_dense().t()


class Int4(Quantised):
    """codes uint8 [O, I / 2]: of each two numbers in 0..15 the lower bits belong to the first half of the inputs, the
    upper to the second; 8 is zero. scale bfloat16 [O, I / GROUP, 1].

    The number of a group that is farthest from zero becomes about -8, whatever its sign, as llama.cpp's Q4_0 has it: a
    finer step than with +-7. Of `STEPS` each group has the one whose squared error is least: a finer one that cuts the
    farthest number off is often better for the others.
    """

    @classmethod
    def of(cls, linear: nn.Linear) -> Int4:
        parts = [cls.rounded(part) for part in linear.weight.detach().split(ROWS)]
        codes, scale = (torch.cat(several) for several in zip(*parts, strict=True))
        return cls(linear, codes, scale)

    @staticmethod
    def rounded(weight: Tensor) -> tuple[Tensor, Tensor]:
        """Some rows of the weights -> codes and scale."""
        groups = weight.float().unflatten(1, (-1, GROUP))
        widest = _nonzero(groups.gather(-1, groups.abs().argmax(-1, keepdim=True))) / -8
        scale, least = widest, torch.full_like(widest, torch.inf)
        for step in STEPS:
            tried = (widest * step).to(torch.bfloat16).float()
            gap = (groups / tried).round_().clamp_(-8, 7).mul_(tried).sub_(groups)
            error = torch.linalg.vector_norm(gap, dim=-1, keepdim=True)
            scale, least = torch.where(error < least, tried, scale), torch.minimum(error, least)
        low, high = (groups / scale).round_().clamp_(-8, 7).add_(8).to(torch.uint8).flatten(1).chunk(2, 1)
        return low | high << 4, scale.to(torch.bfloat16)

    def whole(self, dtype: torch.dtype) -> Tensor:
        codes = torch.cat([self.codes & 15, self.codes >> 4], 1).to(dtype).sub_(8)
        return codes.unflatten(1, (self.scale.shape[1], -1)).mul_(self.scale.to(dtype)).flatten(1)


def int4(linear: nn.Linear) -> Quantised:
    """In 4 bits; in 8 where the inputs cannot be cut into groups."""
    return Int8.of(linear) if linear.in_features % GROUP else Int4.of(linear)


KINDS: Mapping[str, Callable[[nn.Linear], Quantised]] = {
    "int8": Int8.of,
    "int8-dynamic": Int8Dynamic.of,
    "int4": int4,
}


def _nonzero(values: Tensor) -> Tensor:
    """Rows of zeros are zeros at any scale."""
    return torch.where(values == 0, 1.0, values)

"""Products of a few rows on CPUs, and with matrices of whole numbers. I inputs, O outputs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from diptych.timing import seconds

LARGE = 2**20  # weights from which a matrix is read from memory, not from a cache; smaller ones are left alone
FEW = 16  # rows up to which a product is bound by memory, or nearly
FULL = 4  # rows that some CPUs multiply sooner than fewer
BEYOND = 2**26  # bytes of matrices that together no cache holds


def few(x: Tensor, weight: Tensor) -> bool:
    """Whether x [..., I] with weight [O, I] is a product for which kernels are chosen: nothing to learn, few rows on a
    CPU, and a large matrix."""
    rows = x.numel() // x.shape[-1]
    return x.device.type == "cpu" and rows <= FEW and weight.numel() >= LARGE and not torch.is_grad_enabled()


def filled(x: Tensor, slow: frozenset[int], product: Callable[[Tensor], Tensor]) -> Tensor:
    """A product [..., O] of x [..., I]; of FULL rows, some of them zeros, where there are as few as `slow` names."""
    flat = x.reshape(-1, x.shape[-1])
    rows = len(flat)
    y = product(F.pad(flat, (0, 0, 0, FULL - rows)))[:rows] if rows in slow else product(flat)
    return y.view(*x.shape[:-1], y.shape[-1])


def slow_rows(layers: Sequence[Any], dtype: torch.dtype) -> frozenset[int]:
    """How many rows, below FULL, take these layers longer than FULL of them, and come out bit for bit the same among
    them: times differ from run to run, answers shall not. oneDNN's kernels for so few do not read memory as fast as it
    can be read: on one core of a Zen 4 two rows took 1.5 times as long as four in bfloat16 and int8, 1.7 times in
    float32. Layers that a cache holds show nothing of it, and gain nothing."""
    generator = torch.Generator().manual_seed(0)
    tokens = [torch.randn(FULL, layer.in_features, generator=generator).to(dtype) for layer in layers]

    def made(rows: int) -> list[Tensor]:
        return [layer(x[:rows]) for layer, x in zip(layers, tokens, strict=True)]

    with torch.inference_mode():
        whole, full = made(FULL), seconds(partial(made, FULL))
        alike = [n for n in range(1, FULL) if all(torch.equal(a[:n], b) for a, b in zip(whole, made(n), strict=True))]
        return frozenset(n for n in alike if full < seconds(partial(made, n)))


def whole_numbers(x: Tensor, codes: Tensor, scale: Tensor) -> Tensor:
    """x [..., I] with int8 codes [O, I] and a scale an output [O], without making the weights floats in memory first.

    x is rounded to bfloat16, for which torch has the kernel: 2^-9 of a number at most, below what int8 loses.
    """
    flat = x.flatten(0, -2).to(torch.bfloat16)
    y = torch.ops.aten._weight_int8pack_mm(flat, codes, scale.to(torch.bfloat16))
    return y.to(x.dtype).unflatten(0, x.shape[:-1])


def in_order(codes: Tensor) -> Tensor:
    """int8 codes [O, I] as oneDNN reads them."""
    return torch.ops.onednn.qlinear_prepack(codes, [FEW, codes.shape[1]])


def all_whole(tokens: Tensor, blocked: Tensor, scale: Tensor, slow: frozenset[int] = frozenset()) -> Tensor:
    """tokens Float[..., I], whole numbers in -127..127, with codes `in_order` and a scale an output Float[O] ->
    Float[..., O], float32. slow: as `filled` has it."""
    shifted = tokens.to(torch.int8).view(torch.uint8) ^ 128  # 128 more, and quicker than adding it
    zeros, last = torch.zeros(len(scale), dtype=torch.int32), (None, 1.0, 0, torch.float32, "none", [], "")
    return filled(
        shifted, slow, lambda x: torch.ops.onednn.qlinear_pointwise(x, 1.0, 128, blocked, scale, zeros, *last)
    )


@cache
def exact_in_8_bits() -> bool:
    """Whether `all_whole` adds up exactly here: CPUs without VNNI or its like may cut sums off at 16 bits."""
    if not torch.backends.mkldnn.is_available():
        return False
    tokens, codes = torch.full((2, 64), 127.0), torch.full((16, 64), 127, dtype=torch.int8)
    found = all_whole(tokens, in_order(codes), torch.ones(16))
    return bool((found == 64 * 127**2).all())

"""Products with matrices of whole numbers on CPUs. I inputs, O outputs."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

LARGE = 2**20  # weights from which a matrix is read from memory, not from a cache; smaller ones are left alone
FEW = 16  # rows up to which a product is bound by memory, or nearly


def few(x: Tensor, weight: Tensor) -> bool:
    """Whether x [..., I] with weight [O, I] is a product for which kernels are chosen: nothing to learn, few rows on a
    CPU, and a large matrix."""
    rows = x.numel() // x.shape[-1]
    return x.device.type == "cpu" and rows <= FEW and weight.numel() >= LARGE and not torch.is_grad_enabled()


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


def all_whole(tokens: Tensor, blocked: Tensor, scale: Tensor) -> Tensor:
    """tokens Float[..., I], whole numbers in -127..127, with codes `in_order` and a scale an output Float[O] ->
    Float[..., O], float32."""
    shifted = tokens.add(128).to(torch.uint8).flatten(0, -2)
    zeros = torch.zeros(len(scale), dtype=torch.int32)
    last = None, 1.0, 0, torch.float32, "none", [], ""
    return torch.ops.onednn.qlinear_pointwise(shifted, 1.0, 128, blocked, scale, zeros, *last).unflatten(
        0, tokens.shape[:-1]
    )


@cache
def exact_in_8_bits() -> bool:
    """Whether `all_whole` adds up exactly here: CPUs without VNNI or its like may cut sums off at 16 bits."""
    if not torch.backends.mkldnn.is_available():
        return False
    tokens, codes = torch.full((2, 64), 127.0), torch.full((16, 64), 127, dtype=torch.int8)
    found = all_whole(tokens, in_order(codes), torch.ones(16))
    return bool((found == 64 * 127**2).all())

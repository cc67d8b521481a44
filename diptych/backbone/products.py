"""Products of a few tokens with a large matrix on CPUs, where which kernel is called matters more than its arithmetic.

A token at a time, a product reads every weight once and is bound by memory. Of two to a dozen rows, torch's linear
layer in float32 took twice the time of the same product written the other way round, W x^T, on a CPU with AVX2. Which
is quicker is measured once a process. R rows, I inputs, O outputs.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

LARGE = 2**20  # weights from which a matrix is read from memory, not from a cache; smaller ones are left alone
FEW = 16  # rows up to which a product is bound by memory, or nearly
MARGIN = 1.25  # a kernel is changed only where it pays clearly: runs on one machine shall not differ
PROBE, PROBES = (2048, 1024), 5


def few(x: Tensor, weight: Tensor) -> bool:
    """Whether x [..., I] with weight [O, I] is a product for which kernels are chosen: nothing to learn, few rows on a
    CPU, and a large matrix."""
    rows = x.numel() // x.shape[-1]
    return x.device.type == "cpu" and rows <= FEW and weight.numel() >= LARGE and not torch.is_grad_enabled()


def linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """`F.linear`, x [..., I], weight [O, I] -> [..., O], by the quicker kernel."""
    if few(x, weight) and x.dtype == weight.dtype == torch.float32 and turning_pays(x.numel() // x.shape[-1]):
        return turned(x, weight, bias)
    return F.linear(x, weight, bias)


def turned(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """`F.linear` as (W x^T)^T."""
    y = (weight @ x.flatten(0, -2).t()).t().unflatten(0, x.shape[:-1])
    return y if bias is None else y + bias


@cache
def turning_pays(rows: int) -> bool:
    """Whether `turned` is clearly quicker for so many rows here; measured in some milliseconds."""
    if rows == 1:
        return False
    weight, x = torch.ones(PROBE), torch.ones(rows, PROBE[1])
    return MARGIN * _seconds(lambda: turned(x, weight, None)) < _seconds(lambda: F.linear(x, weight))


def whole_numbers(x: Tensor, codes: Tensor, scale: Tensor) -> Tensor:
    """x [..., I] with int8 codes [O, I] and a scale an output [O], without making the weights floats in memory first.

    x is rounded to bfloat16, for which torch has the kernel: 2^-9 of a number at most, below what int8 loses.
    """
    flat = x.flatten(0, -2).to(torch.bfloat16)
    y = torch.ops.aten._weight_int8pack_mm(flat, codes, scale.to(torch.bfloat16))
    return y.to(x.dtype).unflatten(0, x.shape[:-1])


def _seconds(work: Callable[[], object]) -> float:
    """The shortest of some runs, after one that does not count."""
    work()
    return min(_timed(work) for _ in range(PROBES))


def _timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began

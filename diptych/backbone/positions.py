"""Rotary positions (RoFormer, arXiv 2104.09864), in the half-split form of Llama, Qwen and Phi."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def frequencies(width: int, theta: float) -> Tensor:
    """Float32[width / 2]: how far each pair of a head's `width` turning channels turns per position."""
    return 1.0 / theta ** (torch.arange(0, width, 2, dtype=torch.float32) / width)


def angles(position: Tensor, width: int, theta: float) -> tuple[Tensor, Tensor]:
    """Int[...] positions -> cos and sin, Float32[..., width / 2]. Float32 whatever the model's dtype: at position
    4,000 bfloat16 is off by whole turns."""
    return turned(position, frequencies(width, theta))


def turned(position: Tensor, rates: Tensor) -> tuple[Tensor, Tensor]:
    """`angles` at these `frequencies`."""
    turn = position.to(torch.float32)[..., None] * rates.to(position.device)
    return turn.cos(), turn.sin()


def slowed(rates: Tensor, factor: float, low: float, high: float, original: int) -> Tensor:
    """Llama 3's scaling of `frequencies` to longer texts: pairs that turn fewer than `low` times within `original`
    positions are slowed by `factor`, those that turn more than `high` times stay, others lie in between."""
    turns = original * rates / (2 * math.pi)
    kept = ((turns - low) / (high - low)).clamp(0, 1)
    return (1 - kept) * rates / factor + kept * rates


def grid_angles(cell: Tensor, width: int, theta: float) -> tuple[Tensor, Tensor]:
    """(row, column) Float[..., 2] -> cos and sin, Float32[..., width / 2], the channels in turn by row and by column
    (2-D rotary positions, as UniDisc has them). Where a cell is infinite both are zero: nothing is known of its place,
    and its queries and keys vanish."""
    turn = cell.to(torch.float32)[..., None, :] * frequencies(width // 2, theta).to(cell.device)[:, None]
    turn = turn.flatten(-2)
    return turn.cos().nan_to_num(0.0), turn.sin().nan_to_num(0.0)


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn the first 2 * cos.shape[-1] channels of x [B, H, T, E]; cos and sin [B, 1, T, A]. The rest stays (Phi)."""
    half = cos.shape[-1]
    cos, sin = cos.to(x.dtype), sin.to(x.dtype)
    a, b, rest = x[..., :half], x[..., half : 2 * half], x[..., 2 * half :]
    turned = (a * cos - b * sin, b * cos + a * sin)
    return torch.cat(turned if rest.shape[-1] == 0 else (*turned, rest), -1)

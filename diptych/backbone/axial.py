"""Rotary positions along several axes, in the interleaved form of Flux: channels 2 i and 2 i + 1 are one pair."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def axial_angles(place: Tensor, widths: Sequence[int], theta: float) -> tuple[Tensor, Tensor]:
    """place [..., A], one number for each axis -> cos and sin, Float32[..., sum(widths) / 2].

    Axis a turns `widths[a]` channels. Computed in float64, as Flux' tables are, where the device has it.
    """
    turns, kind = [], torch.float32 if place.device.type == "mps" else torch.float64
    for axis, width in enumerate(widths):
        rate = 1.0 / theta ** (torch.arange(0, width, 2, dtype=kind, device=place.device) / width)
        turns.append(place[..., axis, None].to(kind) * rate)
    turn = torch.cat(turns, -1)
    return turn.cos().float(), turn.sin().float()


def rotate_pairs(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn each pair of neighbouring channels of x [B, H, T, E]; cos and sin [B, 1, T, E / 2]. In float32."""
    a, b = x.float().unflatten(-1, (-1, 2)).unbind(-1)
    return torch.stack([a * cos - b * sin, b * cos + a * sin], -1).flatten(-2).to(x.dtype)

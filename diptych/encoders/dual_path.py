"""Latents to tokens along two paths, for what they mean and for how they look (Show-o2, arXiv 2506.15564).

B pictures, C channels of a latent, h and w height and width of their grid, N patches of 2 x 2 latents, D width.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from diptych.encoders.vit import Block, ViTConfig
from diptych.errors import InputError


class DualPath(nn.Module):
    """`meaning` is a vision transformer over latents, distilled from SigLIP; `look` one convolution; `fuse` an MLP over
    both. vit: of the transformer, its patch in latents and its image_size ** 2 places in the position table."""

    def __init__(self, vit: ViTConfig, channels: int, width: int, places: int):
        super().__init__()
        self.patch = vit.patch
        self.meaning_in = nn.Conv2d(channels, vit.width, vit.patch, vit.patch)
        self.position = nn.Parameter(torch.zeros(places, vit.width))
        self.blocks = nn.Sequential(*(Block(vit) for _ in range(vit.depth)))
        self.look = nn.Conv2d(channels, width, vit.patch, vit.patch)
        both = vit.width + width
        self.fuse = nn.Sequential(
            nn.RMSNorm(both, eps=1e-6), nn.Linear(both, width), nn.GELU(), nn.Linear(width, width)
        )

    def forward(self, latents: Tensor) -> Tensor:
        """[B, C, h, w] -> [B, N, D], row by row. InputError where h or w does not divide by the patch."""
        if latents.shape[-2] % self.patch or latents.shape[-1] % self.patch:
            height, width = latents.shape[-2:]
            raise InputError(f"latents of {height}x{width} cannot be cut into patches of {self.patch}x{self.patch}")
        return self.fuse(torch.cat([self.meaning(latents), _rows(self.look(latents))], -1))

    def meaning(self, latents: Tensor) -> Tensor:
        """[B, C, h, w] -> [B, N, width of the transformer]."""
        patches = self.meaning_in(latents)
        return self.blocks(_rows(patches) + self.positions(*patches.shape[-2:]))

    def positions(self, height: int, width: int) -> Tensor:
        """The table [N, width]; for a grid of another size it is stretched, as a square (bicubic)."""
        if height * width == len(self.position):
            return self.position
        side = math.isqrt(len(self.position))
        plane = self.position.T.unflatten(1, (side, side))[None].float()
        plane = F.interpolate(plane, (height, width), mode="bicubic", align_corners=False)
        return plane[0].flatten(1).T.to(self.position.dtype)


def alike(features: Tensor, teacher: Tensor) -> Tensor:
    """The loss with which `meaning` is distilled: -log of the cosine between features and those of a teacher, both
    [..., width], clamped to [1e-4, 0.9999], in the mean."""
    return -F.cosine_similarity(features.float(), teacher.float(), -1).clamp(1e-4, 0.9999).log().mean()


def _rows(plane: Tensor) -> Tensor:
    """[B, W, h, w] -> [B, h w, W]."""
    return plane.flatten(2).transpose(1, 2)

"""Endless crops to train the judge on: one glyph each, somewhat off centre, on a background, often damaged.

Drawn straight from the glyphs, not from scenes: every class, colour and style alike, at every size, with parts of
neighbours at the border.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Generator, Tensor
from torch.nn.functional import affine_grid, grid_sample, interpolate

from diptych.data.worlds.emoji.atlas import glyph
from diptych.data.worlds.emoji.rules import BACKGROUNDS, COLORS, STYLES
from diptych.evaluation.emoji.classifier import CROP, IDS, MARGIN
from diptych.evaluation.emoji.corruptions import corrupt, uniform

GLYPH = 56
NATIVE_RATE = 0.42
OTHER_BACKGROUND_RATE = 0.08
NEIGHBOUR_RATE = 0.35
SHORTEST, LONGEST = 13, 60  # of the objects, in pixels, before the crop is scaled


@dataclass(frozen=True)
class Crops:
    """pixels float [N, 3, 32, 32] 0 to 1; objects, colors (0: native) and styles are class indices [N]."""

    pixels: Tensor
    objects: Tensor
    colors: Tensor
    styles: Tensor


def all_glyphs() -> Tensor:
    """Every class in every style, centred: float [394 * 4, 4, 56, 56], straight RGBA, 0 to 1."""
    stack = np.zeros((len(IDS) * len(STYLES), GLYPH, GLYPH, 4), np.float32)
    for number, (name, style) in enumerate((name, style) for name in IDS for style in STYLES):
        pixels = glyph(style, name)
        height, width = pixels.shape[:2]
        top, left = (GLYPH - height) // 2, (GLYPH - width) // 2
        stack[number, top : top + height, left : left + width] = pixels / 255
    return torch.from_numpy(stack).permute(0, 3, 1, 2).contiguous()


class CropSource:
    """Draws batches from a seed."""

    def __init__(self, seed: int) -> None:
        self.rng = Generator().manual_seed(seed)
        self.glyphs = all_glyphs()
        self.paints = torch.tensor(list(COLORS.values())) / 255
        self.backgrounds = torch.tensor(list(BACKGROUNDS.values())) / 255
        alpha = self.glyphs[:, 3]
        self.light = (self.glyphs[:, :3] * torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)).sum(1)
        total = alpha.sum((1, 2))
        self.mean = ((self.light * alpha).sum((1, 2)) / total).view(-1, 1, 1)
        variance = ((self.light - self.mean) ** 2 * alpha).sum((1, 2)) / total
        self.spread = variance.sqrt().clamp(min=12 / 255).view(-1, 1, 1)

    def batch(self, count: int = 128) -> Crops:
        """One batch; all its objects have one size and one history of damage."""
        number = torch.randint(len(self.glyphs), (count,), generator=self.rng)
        painted = 1 + torch.randint(len(self.paints), (count,), generator=self.rng)
        color = torch.where(self._rand(count) < NATIVE_RATE, 0, painted)
        longer = int(SHORTEST + (LONGEST - SHORTEST) * uniform(self.rng, 0, 1) ** 1.7)
        pixels = corrupt(self._compose(self._sprites(number, color), longer), self.rng, longer)
        if pixels.shape[-1] != CROP:
            pixels = interpolate(pixels, size=(CROP, CROP), mode="bilinear", antialias=True)
        pixels = pixels.clamp(0, 1) + (self._rand(count, 3, 1, 1) - 0.5) * 0.04
        return Crops(pixels, number // len(STYLES), color, number % len(STYLES))

    def _rand(self, *shape: int) -> Tensor:
        return torch.rand(shape, generator=self.rng)

    def _sprites(self, number: Tensor, color: Tensor) -> Tensor:
        """Painted, premultiplied glyphs [N, 4, 56, 56]; the same rule as the renderer's, in floats."""
        pixels = self.glyphs[number]
        alpha = pixels[:, 3:]
        tone = ((self.light[number] - self.mean[number]) / (2 * self.spread[number])).clamp(-1, 1)[:, None]
        paint = self.paints[(color - 1).clamp(min=0)][:, :, None, None]
        painted = paint + torch.where(tone < 0, paint * tone * (140 / 256), (1 - paint) * tone * (115 / 256))
        rgb = torch.where((color > 0).view(-1, 1, 1, 1), painted, pixels[:, :3])
        return torch.cat([rgb * alpha, alpha], 1)

    def _compose(self, sprites: Tensor, longer: int) -> Tensor:
        """Sprites over backgrounds, as a box found with some error would be cut out: [N, 3, F, F]."""
        count, field = len(sprites), round(longer * (1 + 2 * MARGIN))
        sprites = interpolate(sprites, size=(longer, longer), mode="bilinear", antialias=True)
        pose = torch.zeros(count, 2, 3)
        pose[:, 0, 0] = pose[:, 1, 1] = field / longer * (0.86 + 0.3 * self._rand(count))
        pose[:, :, 2] = (self._rand(count, 2) - 0.5) * 0.22
        canvas = self._background(count).view(count, 3, 1, 1).expand(count, 3, field, field)
        if uniform(self.rng, 0, 1) < NEIGHBOUR_RATE:
            angle, distance = 2 * math.pi * self._rand(count), 2.1 + 0.5 * self._rand(count)
            beside = pose.clone()
            beside[:, 0, 2], beside[:, 1, 2] = angle.cos() * distance, angle.sin() * distance
            canvas = _over(sprites.roll(1, 0), beside, canvas)
        return _over(sprites, pose, canvas).clamp(0, 1)

    def _background(self, count: int) -> Tensor:
        known = self.backgrounds[torch.randint(len(self.backgrounds), (count,), generator=self.rng)]
        return torch.where((self._rand(count) < OTHER_BACKGROUND_RATE)[:, None], self._rand(count, 3), known)


def _over(sprites: Tensor, pose: Tensor, canvas: Tensor) -> Tensor:
    grid = affine_grid(pose, [len(sprites), 4, *canvas.shape[2:]], align_corners=False)
    placed = grid_sample(sprites, grid, align_corners=False)
    return placed[:, :3] + canvas * (1 - placed[:, 3:])

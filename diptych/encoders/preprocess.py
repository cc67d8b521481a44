"""Pictures to tensors and back: resizing rules and normalisation, as values.

A `Preprocess` is what a card says about its model's pictures: which steps, which mean and deviation. Steps take and
give RGB PIL images, so that resampling is Pillow's, the one that published processors were trained with.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from PIL import Image as Pillow
from torch import Tensor

Step = Callable[[Pillow.Image], Pillow.Image]
Triple = tuple[float, float, float]

HALF: Triple = (0.5, 0.5, 0.5)  # pixels in [-1, 1]: SigLIP, every VQ and KL tokenizer
CLIP_MEAN: Triple = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD: Triple = (0.26862954, 0.26130258, 0.27577711)


@dataclass(frozen=True)
class Pad:
    """Resize so that the longer side is `size`, then centre on a square of one colour.

    Janus' `VLMImageProcessor`: sides are cut to whole pixels, not rounded, and are at least `minimum`.
    """

    size: int
    minimum: int = 14
    colour: tuple[int, int, int] = (127, 127, 127)
    resample: Pillow.Resampling = Pillow.Resampling.BICUBIC

    def __call__(self, image: Pillow.Image) -> Pillow.Image:
        longer = max(image.size)
        # divide first: the official order decides which whole number a product such as 0.58 * 100 is cut to
        width, height = (max(int(side / longer * self.size), self.minimum) for side in image.size)
        square = Pillow.new("RGB", (self.size, self.size), self.colour)
        place = ((self.size - width) // 2, (self.size - height) // 2)
        square.paste(image.resize((width, height), self.resample), place)
        return square


@dataclass(frozen=True)
class Fit:
    """Resize so that the longer side is `size`, the shorter rounded up, then centre on a square of one colour
    (Show-o2's frames of videos)."""

    size: int
    colour: tuple[int, int, int] = (0, 0, 0)
    resample: Pillow.Resampling = Pillow.Resampling.BICUBIC

    def __call__(self, image: Pillow.Image) -> Pillow.Image:
        scale = self.size / max(image.size)
        width, height = (min(math.ceil(side * scale), self.size) for side in image.size)
        place = ((self.size - width) // 2, (self.size - height) // 2)
        square = Pillow.new("RGB", (self.size, self.size), self.colour)
        square.paste(image.resize((width, height), self.resample), place)
        return square


@dataclass(frozen=True)
class Square:
    """Centre on a square of one colour, as large as the longer side, then resize it to `size` (LLaVA's
    `expand2square`)."""

    size: int
    colour: tuple[int, int, int] = (127, 127, 127)
    resample: Pillow.Resampling = Pillow.Resampling.BICUBIC

    def __call__(self, image: Pillow.Image) -> Pillow.Image:
        width, height = image.size
        longer = max(width, height)
        square = Pillow.new("RGB", (longer, longer), self.colour)
        square.paste(image, ((longer - width) // 2, (longer - height) // 2))
        return square.resize((self.size, self.size), self.resample)


@dataclass(frozen=True)
class Crop:
    """Resize so that the shorter side is `size`, then cut the square in the middle.

    An odd number of pixels too many: torchvision rounds where the cut begins (half to even), transformers cuts down.
    """

    size: int
    resample: Pillow.Resampling = Pillow.Resampling.BICUBIC
    rounds: bool = True

    def __call__(self, image: Pillow.Image) -> Pillow.Image:
        shorter = min(image.size)
        width, height = (int(self.size * side / shorter) for side in image.size)
        whole = round if self.rounds else int
        left, top = whole((width - self.size) / 2), whole((height - self.size) / 2)
        resized = image.resize((width, height), self.resample)
        return resized.crop((left, top, left + self.size, top + self.size))


@dataclass(frozen=True)
class Preprocess:
    """RGB picture -> Float[3, H, W]: the steps in order, then (x / 255 - mean) / std for each channel."""

    steps: tuple[Step, ...] = ()
    mean: Triple = HALF
    std: Triple = HALF

    def __call__(self, image: Pillow.Image) -> Tensor:
        image = image.convert("RGB")
        for step in self.steps:
            image = step(image)
        return normalise(image, self.mean, self.std)


def normalise(image: Pillow.Image, mean: Triple = HALF, std: Triple = HALF) -> Tensor:
    """RGB picture -> Float[3, H, W], (x / 255 - mean) / std."""
    pixels = torch.from_numpy(np.array(image, dtype=np.float32)).permute(2, 0, 1).contiguous() / 255
    return (pixels - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)


def janus_preprocess(size: int, mean: Triple = HALF, std: Triple = HALF, minimum: int = 14) -> Preprocess:
    """Janus' `VLMImageProcessor`: pad to a square with the mean colour, cut to whole numbers, then normalise."""
    red, green, blue = (int(channel * 255) for channel in mean)
    return Preprocess((Pad(size, minimum, (red, green, blue)),), mean, std)


def to_uint8(pixels: Tensor, rounding: Literal["trunc", "round"] = "trunc") -> Tensor:
    """Float[B, 3, H, W] in [-1, 1] -> UInt8[B, H, W, 3]; values outside are clamped.

    Published decoders either cut the fraction off (Janus, Show-o) or round (diffusers).
    """
    scaled = ((pixels.float() + 1) / 2 * 255).clamp(0, 255)
    whole = scaled.round() if rounding == "round" else scaled
    return whole.to(torch.uint8).movedim(1, -1)

"""What may have happened to a picture before it is judged, for training: differentiable nothing, just batches.

All functions take and give float [N, 3, H, W]; values stay near 0 to 1.
"""

import math

import torch
from torch import Generator, Tensor
from torch.nn.functional import avg_pool2d, interpolate, pad

BLOCK = 8
# Annex K of the JPEG standard (ITU-T T.81): brightness, then colour.
BRIGHTNESS_STEPS = """16 11 10 16 24 40 51 61 12 12 14 19 26 58 60 55 14 13 16 24 40 57 69 56 14 17 22 29 51 87 80 62
18 22 37 56 68 109 103 77 24 35 55 64 81 104 113 92 49 64 78 87 103 121 120 101 72 92 95 98 112 100 103 99"""
COLOR_STEPS = """17 18 24 47 99 99 99 99 18 21 26 66 99 99 99 99 24 26 56 99 99 99 99 99 47 66 99 99 99 99 99 99
99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99"""
TO_YCC = torch.tensor([[0.299, 0.587, 0.114], [-0.1687, -0.3313, 0.5], [0.5, -0.4187, -0.0813]])


def _table(text: str) -> Tensor:
    return torch.tensor([float(value) for value in text.split()]).view(BLOCK, BLOCK)


def _cosines() -> Tensor:
    """The orthonormal cosine transform as a matrix [8, 8]."""
    rows = [[math.cos((2 * n + 1) * k * math.pi / 16) for n in range(BLOCK)] for k in range(BLOCK)]
    scale = torch.tensor([math.sqrt(1 / 8)] + [math.sqrt(2 / 8)] * 7)
    return torch.tensor(rows) * scale[:, None]


STEPS = torch.stack([_table(BRIGHTNESS_STEPS), _table(COLOR_STEPS), _table(COLOR_STEPS)]).view(1, 3, 1, 1, 8, 8)
COSINES = _cosines()


def uniform(rng: Generator, low: float, high: float) -> float:
    return low + (high - low) * float(torch.rand((), generator=rng))


def to_blocks(x: Tensor) -> Tensor:
    """[N, C, H, W] (multiples of 8) to cosine coefficients [N, C, H/8, W/8, 8, 8]."""
    n, channels, height, width = x.shape
    blocks = x.view(n, channels, height // BLOCK, BLOCK, width // BLOCK, BLOCK).permute(0, 1, 2, 4, 3, 5)
    return COSINES @ blocks @ COSINES.T


def from_blocks(coefficients: Tensor) -> Tensor:
    n, channels, down, across = coefficients.shape[:4]
    blocks = COSINES.T @ coefficients @ COSINES
    return blocks.permute(0, 1, 2, 4, 3, 5).reshape(n, channels, down * BLOCK, across * BLOCK)


def jpeg(x: Tensor, quality: int) -> Tensor:
    """JPEG with colour at half resolution, at a quality from 1 to 95."""
    height, width = x.shape[2:]
    padded = pad(x.clamp(0, 1), (0, -width % 16, 0, -height % 16), "replicate")
    ycc = torch.einsum("ij,njhw->nihw", TO_YCC, padded * 255)
    color = interpolate(avg_pool2d(ycc[:, 1:], 2), scale_factor=2, mode="bilinear")
    steps = (STEPS * ((200 - 2 * quality) / 100 if quality >= 50 else 50 / quality)).round().clamp(1)
    ycc = from_blocks((to_blocks(torch.cat([ycc[:, :1] - 128, color], 1)) / steps).round() * steps)
    ycc = torch.cat([ycc[:, :1] + 128, ycc[:, 1:]], 1)
    rgb = torch.einsum("ij,njhw->nihw", torch.linalg.inv(TO_YCC), ycc) / 255
    return rgb[..., :height, :width].clamp(0, 1)


def shrink_and_grow(x: Tensor, factor: float) -> Tensor:
    """Loses detail as by resizing to `factor` of the size and back."""
    height, width = x.shape[2:]
    small = (max(6, round(height * factor)), max(6, round(width * factor)))
    return interpolate(
        interpolate(x, size=small, mode="bilinear", antialias=True), size=(height, width), mode="bilinear"
    )


def coarse_patches(x: Tensor, rng: Generator) -> Tensor:
    """What a small patch tokenizer leaves: each 8 x 8 patch keeps its low frequencies, slightly wrong.

    The falloff takes part of the mean too, so the coarsest pictures are up to a tenth darker. The grid lies
    anywhere; seams between patches are partly smoothed, as a convolutional decoder does.
    """
    height, width = x.shape[2:]
    left, top = (int(torch.randint(BLOCK, (), generator=rng)) for _ in range(2))
    padded = pad(x, (left, -(width + left) % BLOCK, top, -(height + top) % BLOCK), "replicate")
    coefficients = to_blocks(padded)
    keep = uniform(rng, 1.5, 7.0)
    frequency = torch.arange(BLOCK).float()
    falloff = torch.sigmoid((keep - (frequency[:, None] + frequency[None])) / 0.7)
    wrong = torch.randn(coefficients.shape, generator=rng) * uniform(rng, 0.0, 0.12)
    patches = from_blocks((coefficients + wrong * (frequency[:, None] + frequency[None] > 0)) * falloff)
    patches = patches[..., top : top + height, left : left + width]
    return torch.lerp(patches, shrink_and_grow(patches, 0.6), uniform(rng, 0.0, 1.0))


def corrupt(x: Tensor, rng: Generator, longer: int) -> Tensor:
    """One random history for the whole batch of crops whose objects are `longer` pixels long: often none at all."""

    def happens(rate: float) -> bool:
        return uniform(rng, 0, 1) < rate

    if not happens(0.62):
        return x
    if longer >= 16 and happens(0.3):
        x = coarse_patches(x, rng)
    elif longer >= 16 and happens(0.75):
        x = shrink_and_grow(x, uniform(rng, max(0.25, 7 / longer), 0.85))
    if happens(0.4):
        x = x + torch.randn(x.shape, generator=rng) * uniform(rng, 0, 12 / 255)
    if happens(0.4):
        x = jpeg(x, int(uniform(rng, 45, 90)))
    return x

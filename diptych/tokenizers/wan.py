"""Wan 2.1's causal 3-D autoencoder (arXiv 2503.20314): images and short videos as continuous latents.

A frame is seen by itself and by later frames only, so an image is a video of one frame. Official code: Wan-Video/
Wan2.1, wan/modules/vae.py, which runs in chunks of four frames and keeps the last two of each layer's; the numbers are
those of the whole video at once, as here.

B videos, C channels, T frames, H and W height and width. 1 + 4 k frames of 8 h x 8 w pixels are 1 + k frames of h x w
latents.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from diptych.errors import InputError
from diptych.tokenizers.latents import LOGVAR_RANGE, Moments

# Constants of the official code: of each channel's latents over the training data.
MEAN = (-0.7571, -0.7089, -0.9113, 0.1075, -0.1745, 0.9653, -0.1517, 1.5508)
MEAN += (0.4134, -0.0715, 0.5517, -0.3632, -0.1922, -0.9497, 0.2503, -0.2921)
STD = (2.8184, 1.4541, 2.3275, 2.6558, 1.2196, 1.7708, 2.6052, 2.0743)
STD += (3.2687, 2.1526, 2.8652, 1.5579, 1.6382, 1.1253, 2.8251, 1.9160)
PUBLISHED = {
    "dim": 96,
    "z_dim": 16,
    "dim_mult": [1, 2, 4, 4],
    "num_res_blocks": 2,
    "temperal_downsample": [False, True, True],
    "latents_mean": MEAN,
    "latents_std": STD,
}


@dataclass(frozen=True)
class WanConfig:
    """Sizes. `widths`: channels of each level, the finest first; `blocks`: residual blocks of a level on the way down,
    one more on the way up; `slower`: whether the step from a level to the next also halves the frames."""

    stem: int
    widths: tuple[int, ...]
    blocks: int
    slower: tuple[bool, ...]
    latent: int
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> WanConfig:
        """From the arguments of the official class."""
        if config.get("attn_scales"):
            raise ValueError("attention outside the middle is in no published Wan autoencoder")
        return cls(
            stem=config["dim"],
            widths=tuple(config["dim"] * m for m in config["dim_mult"]),
            blocks=config["num_res_blocks"],
            slower=tuple(config["temperal_downsample"]),
            latent=config["z_dim"],
            mean=tuple(config["latents_mean"]),
            std=tuple(config["latents_std"]),
        )


class CausalConv(nn.Conv3d):
    """A convolution that sees `kernel - 1` frames back; zeros stand before the first. It keeps height and width."""

    def __init__(self, width_in: int, width_out: int, kernel: int | tuple[int, int, int], **kwargs: Any):
        super().__init__(width_in, width_out, kernel, **kwargs)
        _, height, width = self.kernel_size
        self.margin = (width // 2, width // 2, height // 2, height // 2, self.kernel_size[0] - 1, 0)

    def forward(self, x: Tensor) -> Tensor:  # [B, C, T, H, W] -> [B, C', T, H, W]
        return super().forward(F.pad(x, self.margin))


class ChannelNorm(nn.Module):
    """RMS norm over the channels, axis 1. axes: how many follow it."""

    def __init__(self, width: int, axes: int):
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(width, *[1] * axes))
        self.scale = width**0.5

    def forward(self, x: Tensor) -> Tensor:
        return F.normalize(x, dim=1) * self.scale * self.gamma


class ResidualBlock(nn.Module):
    """Norm, swish, causal convolution, twice, beside a shortcut."""

    def __init__(self, width_in: int, width_out: int):
        super().__init__()
        self.norm1, self.conv1 = ChannelNorm(width_in, 3), CausalConv(width_in, width_out, 3)
        self.norm2, self.conv2 = ChannelNorm(width_out, 3), CausalConv(width_out, width_out, 3)
        self.shortcut = nn.Identity() if width_in == width_out else CausalConv(width_in, width_out, 1)

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv1(F.silu(self.norm1(x)))
        return self.shortcut(x) + self.conv2(F.silu(self.norm2(h)))


class FrameAttention(nn.Module):
    """Self-attention over the places of each frame, one head as wide as the map."""

    def __init__(self, width: int):
        super().__init__()
        self.norm, self.qkv, self.out = (
            ChannelNorm(width, 2),
            nn.Conv2d(width, 3 * width, 1),
            nn.Conv2d(width, width, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        frames = x.transpose(1, 2).flatten(0, 1)
        q, k, v = self.qkv(self.norm(frames)).flatten(2).transpose(1, 2)[:, None].chunk(3, -1)
        seen = F.scaled_dot_product_attention(q, k, v)[:, 0].transpose(1, 2).unflatten(2, frames.shape[2:])
        return x + self.out(seen).unflatten(0, (len(x), -1)).transpose(1, 2)


def framewise(layer: nn.Module, x: Tensor) -> Tensor:
    """A layer of images on each frame: [B, C, T, H, W] -> [B, C', T, H', W']."""
    return layer(x.transpose(1, 2).flatten(0, 1)).unflatten(0, (len(x), -1)).transpose(1, 2)


class Downsample(nn.Module):
    """Half of height and width; `slower` also halves the frames after the first, which stays as it is."""

    def __init__(self, width: int, slower: bool):
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, 2)
        self.time = nn.Conv3d(width, width, (3, 1, 1), (2, 1, 1)) if slower else None

    def forward(self, x: Tensor) -> Tensor:
        x = framewise(self.conv, F.pad(x, (0, 1, 0, 1)))
        if self.time is None or x.shape[2] == 1:
            return x
        return torch.cat([x[:, :, :1], self.time(x)], 2)


class Upsample(nn.Module):
    """Twice the height and width, half of the channels; `faster` also doubles the frames after the first, which its
    convolution over time does not see."""

    def __init__(self, width: int, faster: bool):
        super().__init__()
        self.conv = nn.Conv2d(width, width // 2, 3, padding=1)
        self.time = CausalConv(width, 2 * width, (3, 1, 1)) if faster else None

    def forward(self, x: Tensor) -> Tensor:
        if self.time is not None and x.shape[2] > 1:
            pairs = self.time(x[:, :, 1:]).unflatten(1, (2, -1))  # [B, 2, C, T - 1, H, W]
            x = torch.cat([x[:, :, :1], pairs.movedim(1, 3).flatten(2, 3)], 2)
        return framewise(self.conv, F.interpolate(x, scale_factor=(1.0, 2.0, 2.0), mode="nearest"))


class Half(nn.Module):
    """What both halves have: a first convolution, levels in the order in which they are applied, the middle at the
    coarsest of them, a last convolution."""

    def __init__(
        self, width_in: int, levels: Sequence[nn.Module], width_out: int, coarsest: int, ends: tuple[int, int]
    ):
        """ends: channels of what comes in and of what comes out."""
        super().__init__()
        self.conv_in, self.levels = CausalConv(ends[0], width_in, 3), nn.Sequential(*levels)
        self.middle = nn.Sequential(
            ResidualBlock(coarsest, coarsest), FrameAttention(coarsest), ResidualBlock(coarsest, coarsest)
        )
        self.norm_out, self.conv_out = ChannelNorm(width_out, 3), CausalConv(width_out, ends[1], 3)

    def finish(self, x: Tensor) -> Tensor:
        return self.conv_out(F.silu(self.norm_out(x)))


class Encoder(Half):
    """Pixels to features of 2 `latent` channels."""

    def __init__(self, c: WanConfig):
        down, width = list[nn.Module](), c.stem
        for level, wide in enumerate(c.widths):
            down += [ResidualBlock(a, wide) for a in [width] + [wide] * (c.blocks - 1)]
            width = wide
            if level < len(c.slower):
                down.append(Downsample(width, c.slower[level]))
        super().__init__(c.stem, down, width, width, (3, 2 * c.latent))

    def forward(self, pixels: Tensor) -> Tensor:
        return self.finish(self.middle(self.levels(self.conv_in(pixels))))


class Decoder(Half):
    """Features to pixels."""

    def __init__(self, c: WanConfig):
        up, width = list[nn.Module](), c.widths[-1]
        for level in reversed(range(len(c.widths))):
            up += [ResidualBlock(a, c.widths[level]) for a in [width] + [c.widths[level]] * c.blocks]
            width = c.widths[level]
            if level:
                up.append(Upsample(width, c.slower[level - 1]))
                width //= 2
        super().__init__(c.widths[-1], up, width, c.widths[-1], (c.latent, 3))

    def forward(self, features: Tensor) -> Tensor:
        return self.finish(self.levels(self.middle(self.conv_in(features))))


class WanTokenizer(nn.Module):
    """Images and videos to latents and back. Latents are handed out as (z - mean) / std of each channel."""

    def __init__(self, config: WanConfig):
        super().__init__()
        self.config = config
        self.encoder, self.decoder = Encoder(config), Decoder(config)
        self.quant_conv = CausalConv(2 * config.latent, 2 * config.latent, 1)
        self.post_quant_conv = CausalConv(config.latent, config.latent, 1)

    @property
    def factor(self) -> int:
        """Pixels per latent along height and width."""
        return 2 ** len(self.config.slower)

    @property
    def pace(self) -> int:
        """Frames per frame of latents, after the first."""
        return 2 ** sum(self.config.slower)

    def moments(self, pixels: Tensor) -> Moments:
        """Float[B, 3, T, H, W] in [-1, 1] -> the latents' mean, and the log variance as it is in the encoder's own
        units. InputError if T is not 1 + 4 k, or H or W do not divide by `factor`."""
        frames, height, width = pixels.shape[2:]
        if (frames - 1) % self.pace or height % self.factor or width % self.factor:
            raise InputError(
                f"{frames} frames of {height}x{width} pixels cannot be encoded: make them 1 or 1 + {self.pace} k "
                f"frames, and height and width multiples of {self.factor}"
            )
        mean, logvar = self.quant_conv(self.encoder(pixels.to(self.quant_conv.weight.dtype))).chunk(2, 1)
        return Moments((mean - self._channels("mean", mean)) / self._channels("std", mean), logvar.clamp(*LOGVAR_RANGE))

    def encode(self, pixels: Tensor, noise: Tensor | None = None) -> Tensor:
        """Float[B, 3, T, H, W] in [-1, 1] -> Float[B, C, t, h, w]: the mean, or with standard normal `noise` a sample.

        As published the noise is not brought to the latents' units: exp(logvar / 2) is not divided by `std`.
        """
        mean, logvar = self.moments(pixels)
        if noise is None:
            return mean
        if noise.shape != mean.shape:
            raise InputError(f"noise for these pixels has the shape {list(mean.shape)}, not {list(noise.shape)}")
        return mean + torch.exp(0.5 * logvar) * noise.to(mean)

    def decode(self, latents: Tensor) -> Tensor:
        """Float[B, C, t, h, w] -> Float[B, 3, T, H, W], about [-1, 1], not clamped."""
        z = latents.to(self.post_quant_conv.weight.dtype)
        return self.decoder(self.post_quant_conv(z * self._channels("std", z) + self._channels("mean", z)))

    def _channels(self, name: str, like: Tensor) -> Tensor:
        """A constant of each channel, [C, 1, 1, 1]."""
        return torch.tensor(getattr(self.config, name), dtype=like.dtype, device=like.device).view(-1, 1, 1, 1)

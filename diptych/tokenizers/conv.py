"""The convolutional encoder and decoder of CompVis' autoencoders: one module, many published tokenizers.

VQGAN (taming-transformers, `taming/modules/diffusionmodules/model.py`), LDM, SD, SDXL and FLUX KL-VAEs, MAR's KL-16,
LlamaGen's VQ-16, MAGVIT-v2 as Open-MAGVIT2 and Show-o write it, and the image VQGAN of Chameleon differ in widths,
in the number of residual blocks and in where attention stands; all of that is in `ConvConfig`.

B images, C channels, H and W height and width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from diptych.errors import InputError


@dataclass(frozen=True)
class Level:
    """One resolution: its width in channels, its residual blocks, and whether attention follows each of them."""

    width: int
    blocks: int
    attention: bool = False


@dataclass(frozen=True, kw_only=True)
class ConvConfig:
    """One half of an autoencoder. `levels` always run from the finest to the coarsest, for a decoder too.

    Neighbouring levels differ by a factor of two in height and width. `stem` is the width of an encoder's first
    convolution (a decoder starts with the width of its coarsest level). `double` doubles an encoder's output
    channels: mean and log variance of a KL-VAE. `pad` says how a 3x3 convolution of stride two is padded: "end" only
    right and below (CompVis), "both" on all four sides.
    """

    levels: tuple[Level, ...]
    stem: int
    latent: int
    pixels: int = 3
    double: bool = False
    middle_attention: bool = True
    groups: int = 32
    eps: float = 1e-6
    pad: Literal["end", "both"] = "end"

    @property
    def factor(self) -> int:
        """Pixels per latent along each side."""
        return 2 ** (len(self.levels) - 1)


def compvis(
    width: int,
    multipliers: tuple[int, ...],
    blocks: int,
    latent: int,
    *,
    attention: tuple[int, ...] = (),
    decoder_attention: tuple[int, ...] | None = None,
    double: bool = False,
    groups: int = 32,
) -> tuple[ConvConfig, ConvConfig]:
    """Encoder and decoder from the numbers of a CompVis config: ch, ch_mult, num_res_blocks, z_channels.

    The decoder has one block more on each level. `attention` names the levels (0 the finest) whose blocks are followed
    by attention; the decoder has the same unless `decoder_attention` says otherwise. CompVis' `attn_resolutions` are
    sides in pixels at the training size: level i has side `resolution / 2**i`.
    """
    there = attention if decoder_attention is None else decoder_attention

    def levels(count: int, where: tuple[int, ...]) -> tuple[Level, ...]:
        return tuple(Level(width * m, count, i in where) for i, m in enumerate(multipliers))

    encoder = ConvConfig(levels=levels(blocks, attention), stem=width, latent=latent, double=double, groups=groups)
    decoder = ConvConfig(levels=levels(blocks + 1, there), stem=width, latent=latent, groups=groups)
    return encoder, decoder


class ResidualBlock(nn.Module):
    """Norm, swish, 3x3 convolution, twice, beside a shortcut that is a 1x1 convolution where the width changes."""

    def __init__(self, width_in: int, width_out: int, groups: int, eps: float) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(groups, width_in, eps)
        self.conv1 = nn.Conv2d(width_in, width_out, 3, padding=1)
        self.norm2 = nn.GroupNorm(groups, width_out, eps)
        self.conv2 = nn.Conv2d(width_out, width_out, 3, padding=1)
        self.shortcut = nn.Identity() if width_in == width_out else nn.Conv2d(width_in, width_out, 1)

    def forward(self, x: Tensor) -> Tensor:  # [B, C, H, W] -> [B, C', H, W]
        h = self.conv1(F.silu(self.norm1(x)))
        h = self.conv2(F.silu(self.norm2(h)))
        return self.shortcut(x) + h


class Attention(nn.Module):
    """Self-attention over all places of a feature map, one head as wide as the map, scale C**-0.5."""

    def __init__(self, width: int, groups: int, eps: float) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(groups, width, eps)
        self.q = nn.Conv2d(width, width, 1)
        self.k = nn.Conv2d(width, width, 1)
        self.v = nn.Conv2d(width, width, 1)
        self.out = nn.Conv2d(width, width, 1)

    def forward(self, x: Tensor) -> Tensor:  # [B, C, H, W] -> [B, C, H, W]
        h = self.norm(x)
        q, k, v = (conv(h).flatten(2).transpose(1, 2).unsqueeze(1) for conv in (self.q, self.k, self.v))
        seen = F.scaled_dot_product_attention(q, k, v)  # [B, 1, H * W, C]
        return x + self.out(seen.squeeze(1).transpose(1, 2).unflatten(2, x.shape[2:]))


class Downsample(nn.Module):
    """A 3x3 convolution of stride two."""

    def __init__(self, width: int, pad: Literal["end", "both"]) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, stride=2)
        self.margin = (0, 1, 0, 1) if pad == "end" else (1, 1, 1, 1)

    def forward(self, x: Tensor) -> Tensor:  # [B, C, H, W] -> [B, C, H / 2, W / 2]
        return self.conv(F.pad(x, self.margin))


class Upsample(nn.Module):
    """Every pixel twice in both directions, then a 3x3 convolution."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:  # [B, C, H, W] -> [B, C, 2H, 2W]
        return self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))


class Stage(nn.Module):
    """One level: residual blocks, each followed by attention where the level has it, then the way to the next level."""

    def __init__(self, width_in: int, level: Level, config: ConvConfig, resample: nn.Module) -> None:
        super().__init__()
        widths = [width_in] + [level.width] * level.blocks
        self.blocks = nn.ModuleList(
            ResidualBlock(a, b, config.groups, config.eps) for a, b in zip(widths, widths[1:], strict=False)
        )
        heads = level.blocks if level.attention else 0
        self.attention = nn.ModuleList(Attention(level.width, config.groups, config.eps) for _ in range(heads))
        self.resample = resample

    def forward(self, x: Tensor) -> Tensor:  # [B, C, H, W] -> [B, C', H', W']
        for i, block in enumerate(self.blocks):
            x = block(x)
            if self.attention:
                x = self.attention[i](x)
        return self.resample(x)


class Middle(nn.Module):
    """Block, attention, block at the coarsest level."""

    def __init__(self, width: int, config: ConvConfig) -> None:
        super().__init__()
        self.block1 = ResidualBlock(width, width, config.groups, config.eps)
        self.attention = Attention(width, config.groups, config.eps) if config.middle_attention else nn.Identity()
        self.block2 = ResidualBlock(width, width, config.groups, config.eps)

    def forward(self, x: Tensor) -> Tensor:  # [B, C, H, W] -> [B, C, H, W]
        return self.block2(self.attention(self.block1(x)))


class Encoder(nn.Module):
    """Pixels [B, 3, H, W] in [-1, 1] to features [B, latent (or 2 latent), H / factor, W / factor]."""

    def __init__(self, config: ConvConfig) -> None:
        super().__init__()
        self.factor = config.factor
        self.conv_in = nn.Conv2d(config.pixels, config.stem, 3, padding=1)
        self.levels = nn.ModuleList()
        width = config.stem
        for i, level in enumerate(config.levels):
            last = i == len(config.levels) - 1
            resample = nn.Identity() if last else Downsample(level.width, config.pad)
            self.levels.append(Stage(width, level, config, resample))
            width = level.width
        self.middle = Middle(width, config)
        self.norm_out = nn.GroupNorm(config.groups, width, config.eps)
        self.conv_out = nn.Conv2d(width, config.latent * (2 if config.double else 1), 3, padding=1)

    def forward(self, pixels: Tensor) -> Tensor:
        height, width = pixels.shape[-2:]
        if height % self.factor or width % self.factor:
            raise InputError(
                f"an image of {height}x{width} pixels cannot be encoded: make height and width multiples of "
                f"{self.factor}"
            )
        x = self.conv_in(pixels)
        for level in self.levels:
            x = level(x)
        return self.conv_out(F.silu(self.norm_out(self.middle(x))))


class Decoder(nn.Module):
    """Features [B, latent, h, w] to pixels [B, 3, factor h, factor w], about [-1, 1], not clamped.

    `levels.0` is the coarsest: the levels stand in the order in which they are applied.
    """

    def __init__(self, config: ConvConfig) -> None:
        super().__init__()
        self.factor = config.factor
        width = config.levels[-1].width
        self.conv_in = nn.Conv2d(config.latent, width, 3, padding=1)
        self.middle = Middle(width, config)
        self.levels = nn.ModuleList()
        for i, level in reversed(list(enumerate(config.levels))):
            resample = Upsample(level.width) if i else nn.Identity()
            self.levels.append(Stage(width, level, config, resample))
            width = level.width
        self.norm_out = nn.GroupNorm(config.groups, width, config.eps)
        self.conv_out = nn.Conv2d(width, config.pixels, 3, padding=1)

    def forward(self, features: Tensor) -> Tensor:
        x = self.middle(self.conv_in(features))
        for level in self.levels:
            x = level(x)
        return self.conv_out(F.silu(self.norm_out(x)))


def pointwise(width_in: int, width_out: int) -> nn.Conv2d:
    """The 1x1 convolution between an encoder or decoder and its quantiser (`quant_conv`, `post_quant_conv`)."""
    return nn.Conv2d(width_in, width_out, 1)

"""One vision transformer for the encoders of unified models: SigLIP, CLIP, EVA and MAE differ in their configs.

B images, N tokens, D width, H heads, E width of a head.
Pre-norm blocks as in ViT (arXiv 2010.11929); names of parameters follow timm, with query, key and value apart.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from diptych.errors import InputError

Activation = Literal["gelu", "gelu-tanh", "quick-gelu"]


def quick_gelu(x: Tensor) -> Tensor:
    """OpenAI CLIP's approximation of GELU."""
    return x * torch.sigmoid(1.702 * x)


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": F.gelu,
    "gelu-tanh": partial(F.gelu, approximate="tanh"),
    "quick-gelu": quick_gelu,
}


@dataclass(frozen=True, kw_only=True)
class ViTConfig:
    """Sizes and switches of a vision transformer.

    `image_size`: side in pixels for which the position table is made; `hidden`: width of the MLP.
    `select`: which hidden state is returned, counted as transformers does: 0 is the input of the first block, -1 the
    output of the last, -2 of the one before (LLaVA's choice for CLIP). Blocks behind it exist but are not run.
    `norm_in`: CLIP's norm before the first block; `norm_out`: the norm after the selected block.
    `stem`: widths of a convolutional stem in place of the patch convolution (arXiv 2106.14881): the first at full
    resolution, each further one at half of the one before. A small encoder learns far sooner with it.
    `class_token`: a learned token stands before the patches; `return_class`: it is returned with them.
    """

    image_size: int
    patch: int
    width: int
    depth: int
    heads: int
    hidden: int
    activation: Activation = "gelu"
    eps: float = 1e-6
    positions: bool = True
    class_token: bool = False
    return_class: bool = False
    norm_in: bool = False
    norm_out: bool = True
    patch_bias: bool = True
    bias: bool = True
    layer_scale: bool = False
    select: int = -1
    stem: tuple[int, ...] = ()

    @property
    def grid(self) -> int:
        """Patches along each side at `image_size`."""
        return self.image_size // self.patch

    @property
    def blocks_run(self) -> int:
        """How many blocks lie before the selected hidden state."""
        return self.select if self.select >= 0 else self.depth + 1 + self.select


class Block(nn.Module):
    """Attention over all tokens, then an MLP, each behind its norm and beside a residual."""

    def __init__(self, config: ViTConfig) -> None:
        super().__init__()
        width = config.width
        self.heads = config.heads
        self.activation = ACTIVATIONS[config.activation]
        self.norm1 = nn.LayerNorm(width, config.eps)
        self.q = nn.Linear(width, width, config.bias)
        self.k = nn.Linear(width, width, config.bias)
        self.v = nn.Linear(width, width, config.bias)
        self.out = nn.Linear(width, width, config.bias)
        self.norm2 = nn.LayerNorm(width, config.eps)
        self.fc1 = nn.Linear(width, config.hidden, config.bias)
        self.fc2 = nn.Linear(config.hidden, width, config.bias)
        self.scale1 = nn.Parameter(torch.ones(width)) if config.layer_scale else 1.0
        self.scale2 = nn.Parameter(torch.ones(width)) if config.layer_scale else 1.0

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:  # [B, N, D] -> [B, N, D]
        """mask: Bool, broadcast to [B, H, N, N], True where a token sees another."""
        x = x + self.attend(self.norm1(x), mask) * self.scale1
        return x + self.fc2(self.activation(self.fc1(self.norm2(x)))) * self.scale2

    def attend(self, x: Tensor, mask: Tensor | None = None) -> Tensor:  # [B, N, D] -> [B, N, D]
        q, k, v = (linear(x).unflatten(2, (self.heads, -1)).transpose(1, 2) for linear in (self.q, self.k, self.v))
        return self.out(F.scaled_dot_product_attention(q, k, v, attn_mask=mask).transpose(1, 2).flatten(2))


class Residual(nn.Module):
    """A 3x3 convolution beside a shortcut."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = _convolved(width, width, 1)

    def forward(self, x: Tensor) -> Tensor:  # [B, C, H, W] -> [B, C, H, W]
        return x + self.conv(x)


def _convolved(width_in: int, width_out: int, stride: int) -> nn.Sequential:
    conv = nn.Conv2d(width_in, width_out, 3, stride, 1, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(width_out), nn.SiLU())


def patches(config: ViTConfig) -> nn.Module:
    """Pixels [B, 3, H, W] -> [B, D, H / patch, W / patch]: one convolution, or a stem of several.

    Raises InputError for a stem whose strides do not make up the patch.
    """
    if not config.stem:
        return nn.Conv2d(3, config.width, config.patch, stride=config.patch, bias=config.patch_bias)
    if 2 ** (len(config.stem) - 1) != config.patch:
        raise InputError(
            f"a stem of {len(config.stem)} widths makes patches of {2 ** (len(config.stem) - 1)}, not {config.patch}"
        )
    layers: list[nn.Module] = [_convolved(3, config.stem[0], 1)]
    for width_in, width_out in pairwise(config.stem):
        layers += [_convolved(width_in, width_out, 2), Residual(width_out)]
    return nn.Sequential(*layers, nn.Conv2d(config.stem[-1], config.width, 1))


class ViT(nn.Module):
    """Pixels [B, 3, H, W], normalised as the encoder was trained, to features [B, N, D], row by row.

    H and W may differ from `image_size`: the position table is then interpolated (bicubic, as transformers does).
    """

    def __init__(self, config: ViTConfig) -> None:
        super().__init__()
        self.config = config
        self.patch = patches(config)
        tokens = config.grid**2 + int(config.class_token)
        self.position = nn.Parameter(torch.randn(1, tokens, config.width) * 0.02) if config.positions else None
        self.class_token = nn.Parameter(torch.zeros(1, 1, config.width)) if config.class_token else None
        self.norm_in = nn.LayerNorm(config.width, config.eps) if config.norm_in else nn.Identity()
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.depth))
        self.norm = nn.LayerNorm(config.width, config.eps) if config.norm_out else nn.Identity()

    def forward(self, pixels: Tensor) -> Tensor:
        x = self.norm_in(self.embed(pixels))
        for block in self.blocks[: self.config.blocks_run]:
            x = block(x)
        x = self.norm(x)
        return x[:, 1:] if self.class_token is not None and not self.config.return_class else x

    def embed(self, pixels: Tensor) -> Tensor:  # [B, 3, H, W] -> [B, N, D]
        """Patches, behind the class token if there is one, with their positions."""
        height, width = pixels.shape[-2:]
        if height % self.config.patch or width % self.config.patch:
            raise InputError(
                f"an image of {height}x{width} pixels cannot be cut into patches: make height and width multiples "
                f"of {self.config.patch}"
            )
        features = self.patch(pixels.to(next(self.patch.parameters()).dtype))
        x = features.flatten(2).transpose(1, 2)
        if self.class_token is not None:
            x = torch.cat([self.class_token.expand(len(x), -1, -1), x], dim=1)
        return x if self.position is None else x + self.positions(*features.shape[-2:])

    def positions(self, height: int, width: int) -> Tensor:  # -> [1, N, D]
        """The table for a grid of height x width patches; the class token's entry is left as it is."""
        assert self.position is not None
        side = self.config.grid
        if (height, width) == (side, side):
            return self.position
        first, table = self.position.split([int(self.config.class_token), side * side], dim=1)
        plane = table.transpose(1, 2).unflatten(2, (side, side)).float()
        plane = F.interpolate(plane, size=(height, width), mode="bicubic", align_corners=False)
        return torch.cat([first, plane.flatten(2).transpose(1, 2).to(first.dtype)], dim=1)

"""A shallow U-ViT: grids of latents as a transformer's tokens and back (JanusFlow, arXiv 2411.07975).

On the way in a convolution makes patches and ConvNeXt blocks (V2, arXiv 2301.00808) look at their neighbours; what they
found also passes by the transformer and meets its answer on the way out. Both ways are conditioned on the flow time.
deepseek-ai/Janus, janus/janusflow/models/uvit.py. B images, C channels, h and w height and width, E width of a time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from diptych.backbone.transformer import RMSNorm


@dataclass(frozen=True, kw_only=True)
class UViTConfig:
    """channels: of a latent; width: of its patches inside; answer: channels of what the transformer answers; time: E.

    kernel, stride, padding: of the convolution that makes patches; doublings: how often the way out doubles height and
    width; blocks_in, blocks_out: how many blocks each way has. `bias_in`, `bias_out`: whether its layers have biases.
    """

    channels: int
    width: int
    answer: int
    time: int
    kernel: int
    stride: int
    padding: int
    doublings: int
    blocks_in: int
    blocks_out: int
    bias_in: bool = True
    bias_out: bool = True
    eps_in: float = 1e-6
    eps_out: float = 1e-6
    expansion: int = 4


class ChannelNorm(RMSNorm):
    """RMSNorm over the channels of a map [B, C, h, w]."""

    def forward(self, x: Tensor, route: int = 0) -> Tensor:  # type: ignore[override]
        return super().forward(x.movedim(1, -1)).movedim(-1, 1)


class ResponseNorm(nn.Module):
    """ConvNeXt V2's global response normalisation of [B, h, w, C]: channels compete by their norms over the map."""

    def __init__(self, width: int):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1, 1, 1, width))
        self.bias = nn.Parameter(torch.zeros(1, 1, 1, width))

    def forward(self, x: Tensor) -> Tensor:
        norm = torch.linalg.vector_norm(x, dim=(1, 2), keepdim=True)
        return self.bias + (self.weight * norm / (norm.mean(-1, keepdim=True) + 1e-6) + 1) * x


class ConvNeXt(nn.Module):
    """[B, C, h, w] and the time's embedding [B, E] -> [B, C, h, w]; scaled and shifted behind the residual."""

    def __init__(self, width: int, time: int, eps: float, bias: bool, expansion: int):
        super().__init__()
        self.depthwise = nn.Conv2d(width, width, 7, padding=3, groups=width, bias=bias)
        self.norm = ChannelNorm(width, eps=eps)
        self.up = nn.Linear(width, expansion * width, bias)
        self.norm_up = ResponseNorm(expansion * width)
        self.down = nn.Linear(expansion * width, width, bias)
        self.modulate = nn.Linear(time, 2 * width, bias)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        y = self.norm(self.depthwise(x)).movedim(1, -1)
        x = x + self.down(self.norm_up(F.gelu(self.up(y)))).movedim(-1, 1)
        scale, shift = self.modulate(F.silu(time))[..., None, None].chunk(2, 1)
        return x * (1 + scale) + shift


class Entered(NamedTuple):
    """features [B, C, h, w] of the patches, and the embedded time [B, E]."""

    features: Tensor
    time: Tensor


class UViTIn(nn.Module):
    """Latents [B, C, H, W] and sinusoids [B, width] of their times (`objectives.flow.waves`) -> `Entered`."""

    def __init__(self, c: UViTConfig):
        super().__init__()
        self.time = nn.Sequential(
            nn.Linear(c.width, c.time, c.bias_in), nn.SiLU(), nn.Linear(c.time, c.time, c.bias_in)
        )
        self.patch = nn.Conv2d(c.channels, c.width, c.kernel, c.stride, c.padding)
        self.blocks = nn.ModuleList(
            ConvNeXt(c.width, c.time, c.eps_in, c.bias_in, c.expansion) for _ in range(c.blocks_in)
        )

    def forward(self, latents: Tensor, waves: Tensor) -> Entered:
        x, time = self.patch(latents), self.time(waves)
        for block in self.blocks:
            x = block(x, time)
        return Entered(x, time)


class UViTOut(nn.Module):
    """The transformer's answer [B, C', h, w] and what entered -> velocities [B, C, H, W]."""

    def __init__(self, c: UViTConfig):
        super().__init__()
        self.norm = ChannelNorm(c.answer, eps=c.eps_out)
        width = c.answer + c.width
        self.blocks = nn.ModuleList(
            ConvNeXt(width, c.time, c.eps_out, c.bias_out, c.expansion) for _ in range(c.blocks_out)
        )
        self.doublings = nn.ModuleList()
        for i in range(c.doublings):
            last = i == c.doublings - 1
            self.doublings.append(Doubling(c.width if i else width, c.channels if last else c.width, c))

    def forward(self, answer: Tensor, entered: Entered) -> Tensor:
        x = torch.cat([self.norm(answer), entered.features], 1)
        for block in self.blocks:
            x = block(x, entered.time)
        for double in self.doublings:
            x = double(x)
        return x


class Doubling(nn.Module):
    """Each place becomes 2 x 2: [B, C, h, w] -> [B, C', 2 h, 2 w]."""

    def __init__(self, width_in: int, width_out: int, c: UViTConfig):
        super().__init__()
        self.norm = ChannelNorm(width_in, eps=c.eps_out)
        self.conv = nn.Conv2d(width_in, 4 * width_out, 1, bias=c.bias_out)

    def forward(self, x: Tensor) -> Tensor:
        return F.pixel_shuffle(self.conv(self.norm(x)), 2)

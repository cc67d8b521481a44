"""Images as grids of continuous latents: the KL autoencoder of LDM, SD, SDXL, FLUX and MAR.

B images, C channels of a latent, h and w height and width of the grid.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from diptych.errors import InputError
from diptych.tokenizers.conv import ConvConfig, Decoder, Encoder, pointwise

LOGVAR_RANGE = (-30.0, 20.0)  # LDM's DiagonalGaussianDistribution


class Moments(NamedTuple):
    """The normal distribution an encoder gives, in its own units; both Float[B, C, h, w]."""

    mean: Tensor
    logvar: Tensor


class LatentTokenizer(nn.Module):
    """Pixels to latents and back. Latents are handed out as (z - shift) * scale, near unit variance.

    upcast: in float16 its sums overflow; it then computes in float32 (SD and SDXL; diffusers' `force_upcast`).
    """

    def __init__(
        self,
        encoder: Encoder,
        quant_conv: nn.Module,
        post_quant_conv: nn.Module,
        decoder: Decoder,
        scale: float = 1.0,
        shift: float = 0.0,
        upcast: bool = False,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.quant_conv = quant_conv
        self.post_quant_conv = post_quant_conv
        self.decoder = decoder
        self.scale, self.shift, self.upcast = scale, shift, upcast

    @property
    def factor(self) -> int:
        """Pixels per latent along each side."""
        return self.encoder.factor

    def moments(self, pixels: Tensor) -> Moments:
        """Float[B, 3, H, W] in [-1, 1] -> mean and log variance. InputError if H or W do not divide by `factor`."""
        both = self.quant_conv(self.encoder(pixels.to(self._precision())))
        mean, logvar = both.chunk(2, dim=1)
        return Moments(mean, logvar.clamp(*LOGVAR_RANGE))

    def encode(self, pixels: Tensor, noise: Tensor | None = None) -> Tensor:
        """Float[B, 3, H, W] in [-1, 1] -> Float[B, C, h, w]: the mean, or with standard normal `noise` a sample."""
        mean, logvar = self.moments(pixels)
        if noise is not None:
            if noise.shape != mean.shape:
                raise InputError(f"noise for these pixels has the shape {list(mean.shape)}, not {list(noise.shape)}")
            mean = mean + torch.exp(0.5 * logvar) * noise.to(mean)
        return (mean - self.shift) * self.scale

    def decode(self, latents: Tensor) -> Tensor:
        """Float[B, C, h, w] -> Float[B, 3, factor h, factor w], about [-1, 1], not clamped."""
        z = latents.to(self._precision()) / self.scale + self.shift
        return self.decoder(self.post_quant_conv(z))

    def _precision(self) -> torch.dtype:
        """The type to compute in, once the weights are in it."""
        if self.upcast and self.decoder.conv_in.weight.dtype == torch.float16:
            self.float()
        return self.decoder.conv_in.weight.dtype


def kl_tokenizer(
    encoder: ConvConfig,
    decoder: ConvConfig,
    *,
    scale: float,
    shift: float = 0.0,
    pointwise_convs: bool = True,
    upcast: bool = False,
) -> LatentTokenizer:
    """A KL autoencoder; FLUX and SD3 have no 1x1 convolutions around the latents. `encoder` must be `double`."""
    if not encoder.double:
        raise InputError("the encoder of a KL autoencoder gives mean and variance: build its config with double=True")
    into = pointwise(2 * encoder.latent, 2 * encoder.latent) if pointwise_convs else nn.Identity()
    out = pointwise(decoder.latent, decoder.latent) if pointwise_convs else nn.Identity()
    return LatentTokenizer(Encoder(encoder), into, out, Decoder(decoder), scale, shift, upcast)

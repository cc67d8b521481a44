"""Images as grids of codes: quantisers, and the tokenizer that puts one between an encoder and a decoder.

B images, C channels of a latent, h and w height and width of the grid, K entries of a codebook.
A quantiser is any module with `encode`, `decode` and `quantise`; a grid of codes is Int[B, h, w] for one code a place,
and quantisers with several codes a place append one axis.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from diptych.errors import InputError
from diptych.tokenizers.conv import ConvConfig, Decoder, Encoder, pointwise

DISTANCES_AT_ONCE = 2**24  # of 4 bytes: places x entries compared in one go


class Quantised(NamedTuple):
    """What a quantiser makes of a latent, with what training needs."""

    z: Tensor  # Float[B, C, h, w]: the latent as it is compared with the codebook
    quant: Tensor  # Float[B, C, h, w]: the chosen entries; gradients pass to z as if nothing had been quantised
    codes: Tensor  # Int[B, h, w]
    losses: dict[str, Tensor]  # scalars, weighted, to be added up


class Quantiser(Protocol):
    """Latents to codes and back."""

    def encode(self, z: Tensor) -> Tensor: ...  # Float[B, C, h, w] -> Int[B, h, w]

    def decode(self, codes: Tensor) -> Tensor: ...  # Int[B, h, w] -> Float[B, C, h, w]

    def quantise(self, z: Tensor) -> Quantised: ...  # Float[B, C, h, w]


class VQ(nn.Module):
    """The nearest entry of a codebook (VQ-VAE, arXiv 1711.00937); with `normalise`, of unit vectors (2110.04627).

    The codebook is stored as it was trained and normalised whenever it is used, as in LlamaGen's `VectorQuantizer`.
    """

    def __init__(self, codes: int, width: int, *, normalise: bool = True, commitment: float = 0.25) -> None:
        super().__init__()
        self.codebook = nn.Parameter(torch.empty(codes, width).uniform_(-1.0 / codes, 1.0 / codes))
        self.normalise = normalise
        self.commitment = commitment

    def entries(self) -> Tensor:  # -> Float[K, C]
        """The codebook as it is used."""
        return F.normalize(self.codebook, dim=-1) if self.normalise else self.codebook

    def encode(self, z: Tensor) -> Tensor:
        """The nearest entry of every place. Float[B, C, h, w] -> Int[B, h, w]."""
        return self._nearest(self._comparable(z))

    def decode(self, codes: Tensor) -> Tensor:
        """Int[B, h, w] in 0..K-1 -> Float[B, C, h, w]."""
        return F.embedding(codes, self.entries()).movedim(-1, 1)

    def quantise(self, z: Tensor) -> Quantised:
        """Codes with the straight-through estimator and both losses. Always computed in float32."""
        z = self._comparable(z)
        codes = self._nearest(z)
        chosen = self.decode(codes)
        losses = {
            "codebook": F.mse_loss(chosen.float(), z.detach()),
            "commitment": self.commitment * F.mse_loss(z, chosen.detach().float()),
        }
        return Quantised(z, z + (chosen - z).detach(), codes, losses)

    def _comparable(self, z: Tensor) -> Tensor:
        # bfloat16 has too few digits to tell neighbouring entries apart
        z = z.float()
        return F.normalize(z, dim=1) if self.normalise else z

    @torch.no_grad()
    def _nearest(self, z: Tensor) -> Tensor:
        entries = self.entries().float()
        places = z.movedim(1, -1).reshape(-1, z.shape[1])
        halves = entries.square().sum(1) / 2  # |z - e|^2 = |z|^2 + 2 (|e|^2 / 2 - z.e), and |z|^2 is common to all e
        rows = max(1, DISTANCES_AT_ONCE // len(entries))
        with torch.autocast(z.device.type, enabled=False):
            found = [torch.addmm(halves, part, entries.T, alpha=-1).argmin(1) for part in places.split(rows)]
        return torch.cat(found).view(z.shape[0], *z.shape[2:])


class VisualTokenizer(nn.Module):
    """Pixels to codes and back: encoder, 1x1 convolution, quantiser, 1x1 convolution, decoder."""

    def __init__(
        self,
        encoder: Encoder,
        quant_conv: nn.Module,
        quantiser: Quantiser,
        post_quant_conv: nn.Module,
        decoder: Decoder,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.quant_conv = quant_conv
        self.quantiser: Any = quantiser  # what else it has, such as a codebook, is known to who built it
        self.post_quant_conv = post_quant_conv
        self.decoder = decoder

    @property
    def factor(self) -> int:
        """Pixels per code along each side."""
        return self.encoder.factor

    def encode(self, pixels: Tensor) -> Tensor:
        """Float[B, 3, H, W] in [-1, 1] -> Int[B, H / factor, W / factor]. InputError if H or W do not divide."""
        return self.quantiser.encode(self.latent(pixels))

    def decode(self, codes: Tensor) -> Tensor:
        """Int[B, h, w] -> Float[B, 3, factor h, factor w], about [-1, 1], not clamped."""
        if codes.is_floating_point():
            raise InputError(f"codes must be integers, not {codes.dtype}: pass what `encode` returned")
        return self.rebuild(self.quantiser.decode(codes))

    def quantise(self, pixels: Tensor) -> Quantised:
        """Latent, chosen entries, codes and losses of Float[B, 3, H, W] in [-1, 1]."""
        return self.quantiser.quantise(self.latent(pixels))

    def latent(self, pixels: Tensor) -> Tensor:
        """What is quantised: Float[B, 3, H, W] in [-1, 1] -> Float[B, C, h, w]."""
        return self.quant_conv(self.encoder(pixels.to(self.encoder.conv_in.weight.dtype)))

    def rebuild(self, quant: Tensor) -> Tensor:
        """From entries of the codebook to pixels: Float[B, C, h, w] -> Float[B, 3, factor h, factor w]."""
        return self.decoder(self.post_quant_conv(quant.to(self.decoder.conv_in.weight.dtype)))

    def reconstruct(self, pixels: Tensor) -> Tensor:
        """There and back: Float[B, 3, H, W] -> Float[B, 3, H, W]."""
        return self.decode(self.encode(pixels))

    def forward(self, pixels: Tensor) -> tuple[Tensor, Quantised]:
        """For training: the reconstruction, through which gradients reach the encoder, and the quantisation."""
        quantised = self.quantise(pixels)
        return self.rebuild(quantised.quant), quantised


def vq_tokenizer(
    encoder: ConvConfig, decoder: ConvConfig, codes: int, width: int, *, normalise: bool = True
) -> VisualTokenizer:
    """A VQGAN with `codes` entries of `width` channels; VQ-16 of LlamaGen and Janus normalises, taming's does not."""
    return VisualTokenizer(
        Encoder(encoder),
        pointwise(encoder.latent, width),
        VQ(codes, width, normalise=normalise),
        pointwise(width, decoder.latent),
        Decoder(decoder),
    )

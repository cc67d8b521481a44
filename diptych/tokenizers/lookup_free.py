"""Lookup-free quantisation, and MAGVIT-v2's image tokenizer as Show-o and MMaDA use it.

MAGVIT-v2 (arXiv 2310.05737); official file: showlab/Show-o, models/modeling_magvitv2.py.
B images, C channels (bits) of a latent, h and w height and width of the grid.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from diptych.tokenizers.codes import Quantised, VisualTokenizer
from diptych.tokenizers.conv import ConvConfig, Decoder, Encoder, Level, pointwise

# The official class takes no arguments: these are its sizes. `num_res_blocks` runs by level, 0 the finest.
ENCODER = {"ch": 128, "ch_mult": [1, 2, 2, 4, 4], "num_res_blocks": [4, 3, 4, 3, 4], "z_channels": 13}
DECODER = {"ch": 128, "ch_mult": [1, 1, 2, 2, 4], "num_res_blocks": [4, 4, 3, 4, 3], "z_channels": 13}


class LFQ(nn.Module):
    """Each channel of the latent is one bit, its sign; the first is the most significant. Zero counts as minus.

    There is no codebook to learn or to store: an entry is the bits of its number as -1 and +1.
    """

    def __init__(self, bits: int, *, commitment: float = 0.1, beta: float = 0.25, entropy: float = 0.1) -> None:
        super().__init__()
        self.bits = bits
        self.commitment, self.beta, self.entropy = commitment, beta, entropy

    def encode(self, z: Tensor) -> Tensor:
        """Float[B, C, h, w] -> Int[B, h, w] in 0..2**C-1."""
        return ((z > 0) * (1 << self._shifts(z.device)).view(-1, 1, 1)).sum(1)

    def decode(self, codes: Tensor) -> Tensor:
        """Int[B, h, w] in 0..2**C-1 -> Float[B, C, h, w] of -1 and +1."""
        bits = (codes[:, None] >> self._shifts(codes.device).view(-1, 1, 1)) & 1
        return bits * 2.0 - 1

    def quantise(self, z: Tensor) -> Quantised:
        """Codes with the straight-through estimator and both losses. Always computed in float32.

        The second share of the commitment goes through the straight-through estimator, as published: it counts in the
        loss's value and takes from its gradient.
        """
        z = z.float()
        signs = torch.where(z > 0, 1.0, -1.0)
        passing = z + (signs - z).detach()
        losses = {
            "commitment": self.commitment * (F.mse_loss(z, signs) + self.beta * F.mse_loss(passing, z.detach())),
            "entropy": self.entropy * self._uncertainty(z),
        }
        return Quantised(z, passing, self.encode(z), losses)

    def _uncertainty(self, z: Tensor) -> Tensor:
        """How unsure the bits are, less how evenly each is used: both mean entropies, bits being -(z -+ 1)^2 likely."""
        sure = torch.sigmoid(4 * z)  # the difference of the two logits
        used = sure.mean((0, 2, 3))
        return F.binary_cross_entropy_with_logits(4 * z, sure) - F.binary_cross_entropy(used, used)

    def _shifts(self, device: torch.device) -> Tensor:
        return torch.arange(self.bits - 1, -1, -1, device=device)


def magvitv2(config: Mapping[str, Any]) -> VisualTokenizer:
    """MAGVIT-v2 from its config.json: official sizes, unless the config states its own as `encoder` and `decoder`."""
    encoder, decoder = (_half(official | config.get(name, {})) for name, official in HALVES.items())
    bits = encoder.latent
    return VisualTokenizer(
        Encoder(encoder), pointwise(bits, bits), LFQ(bits), pointwise(bits, decoder.latent), Decoder(decoder)
    )


HALVES = {"encoder": ENCODER, "decoder": DECODER}


def magvitv2_levels(config: Mapping[str, Any]) -> int:
    """How many resolutions its decoder has, after which its published tensors are numbered."""
    return len((DECODER | config.get("decoder", {}))["ch_mult"])


def _half(sizes: Mapping[str, Any]) -> ConvConfig:
    blocks = zip(sizes["ch_mult"], sizes["num_res_blocks"], strict=True)
    levels = tuple(Level(sizes["ch"] * width, count) for width, count in blocks)
    return ConvConfig(levels=levels, stem=sizes["ch"], latent=sizes["z_channels"])

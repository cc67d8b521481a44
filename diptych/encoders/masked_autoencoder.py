"""A masked autoencoder over a grid of latents, most of which may be unknown (MAE, arXiv 2111.06377; MAR, 2406.11838).

The encoder sees the known latents only, the decoder says something of every place. Whatever stands between the two,
such as a language model, adds to the encoder's output. Official code: LTH14/mar, models/mar.py.
B samples, N places of the grid, C channels of a latent, D and E widths of encoder and decoder, K buffer tokens.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from diptych.encoders.vit import Block, ViTConfig


@dataclass(frozen=True, kw_only=True)
class AutoencoderConfig:
    """side: places along each side for which the position tables are made; buffer: tokens that stand before them."""

    channels: int
    side: int
    buffer: int
    encoder: ViTConfig
    decoder: ViTConfig


class MaskedAutoencoder(nn.Module):
    """`encode` known latents, `decode` every place. Buffer tokens stand in front; a row with fewer known latents than
    another is followed by tokens without meaning, which no other token sees."""

    def __init__(self, config: AutoencoderConfig):
        super().__init__()
        self.config = config
        width, decoder_width, places = config.encoder.width, config.decoder.width, config.side**2
        self.latent = nn.Linear(config.channels, width)
        self.latent_norm = nn.LayerNorm(width, eps=1e-6)
        self.buffer = nn.Parameter(torch.zeros(1, width))
        self.unknown = nn.Parameter(torch.zeros(1, 1, decoder_width))
        self.bridge = nn.Linear(width, decoder_width)
        self.encoder_blocks, self.encoder_norm = _blocks(config.encoder)
        self.decoder_blocks, self.decoder_norm = _blocks(config.decoder)
        self.encoder_position = nn.Parameter(torch.zeros(1, config.buffer + places, width))
        self.decoder_position = nn.Parameter(torch.zeros(1, config.buffer + places, decoder_width))
        self.out_position = nn.Parameter(torch.zeros(1, places, decoder_width))

    def encode(self, latents: Tensor, known: Tensor, grid: tuple[int, ...]) -> Tensor:
        """Float[B, N, C], Bool[B, N] -> [B, K + n, D], n the most that are known in a row."""
        x = self.latent(latents.to(self.latent.weight.dtype))
        x = torch.cat([self.buffer.to(x.dtype).expand(len(x), self.config.buffer, -1), x], 1)
        x = self.latent_norm(x + self.places(self.encoder_position, grid))
        seen = self.seen(known)
        counts = seen.sum(1)
        longest, shortest = int(counts.max()), int(counts.min())
        first = (~seen).long().argsort(dim=1, stable=True)[:, :longest]
        x = x.gather(1, first[..., None].expand(-1, -1, x.shape[-1]))
        mask = None if shortest == longest else _first(counts, longest)[:, None, None]
        for block in self.encoder_blocks:
            x = block(x, mask)
        return self.encoder_norm(x)

    def decode(self, x: Tensor, known: Tensor, grid: tuple[int, ...], under: Tensor | None = None) -> Tensor:
        """What `encode` gave, with something added -> [B, N, E].

        under [B, K + N, D]: what stands in unknown places, instead of the mask token (the picture to be edited)."""
        seen = self.seen(known)
        if under is None:
            whole = self.unknown.to(x.dtype).expand(*seen.shape, -1).clone()
        else:
            whole = self.bridge(under).clone()
        whole[seen] = self.bridge(x)[_first(seen.sum(1), x.shape[1])].to(whole.dtype)
        whole = whole + self.places(self.decoder_position, grid)
        for block in self.decoder_blocks:
            whole = block(whole)
        return self.decoder_norm(whole)[:, self.config.buffer :] + self.places(self.out_position, grid)

    def seen(self, known: Tensor) -> Tensor:
        """Bool[B, N] -> Bool[B, K + N]: buffer tokens always are."""
        return F.pad(known, (self.config.buffer, 0), value=True)

    def buffer_last(self, x: Tensor, known: Tensor) -> Tensor:
        """[B, K + n, ...] with the buffer in front -> the same with the buffer behind each row's known latents."""
        place, count, size = self._places_in(x, known)
        source = torch.where(place < count, place + size, torch.where(place < count + size, place - count, place))
        return x.gather(1, source[..., None].expand_as(x))

    def buffer_first(self, x: Tensor, known: Tensor) -> Tensor:
        """The way back from `buffer_last`."""
        place, count, size = self._places_in(x, known)
        source = torch.where(place < size, place + count, torch.where(place < count + size, place - size, place))
        return x.gather(1, source[..., None].expand_as(x))

    def _places_in(self, x: Tensor, known: Tensor) -> tuple[Tensor, Tensor, int]:
        return torch.arange(x.shape[1], device=x.device)[None], known.sum(1, keepdim=True), self.config.buffer

    def places(self, table: Tensor, grid: tuple[int, ...]) -> Tensor:
        """A position table for another grid of places, resized bilinearly; the buffer's part stays."""
        side = self.config.side
        if grid == (side, side):
            return table
        first, own = table.split([table.shape[1] - side * side, side * side], 1)
        plane = own.transpose(1, 2).unflatten(2, (side, side)).float()
        plane = F.interpolate(plane, grid, mode="bilinear", align_corners=False)
        return torch.cat([first, plane.flatten(2).transpose(1, 2).to(table.dtype)], 1)


def _blocks(config: ViTConfig) -> tuple[nn.ModuleList, nn.LayerNorm]:
    return nn.ModuleList(Block(config) for _ in range(config.depth)), nn.LayerNorm(config.width, eps=config.eps)


def _first(counts: Tensor, length: int) -> Tensor:
    """Bool[B, length]: the first `counts` Int[B] of each row."""
    return torch.arange(length, device=counts.device) < counts[:, None]

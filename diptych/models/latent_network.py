"""A network that sees pictures with a vision transformer and writes them as latents, or reads what could be written
(BAGEL).

B pictures, N slots, C numbers a slot.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from diptych.backbone.packing import Span
from diptych.backbone.transformer import Backbone
from diptych.encoders.navit import by_shape
from diptych.models.latents import Latents, patched, picture, unpatched
from diptych.models.network import Made, Network, Piece, Seen, Traced
from diptych.tokenizers.latents import LatentTokenizer


class SeenAndWritten(Network):
    """eyes: `encoder`, a NaViT, `project` to the backbone's width, and `places`, a table of where patches are.
    draw: the port of latents, `patch` x `patch` of them a token. tokenizer: the KL autoencoder of these."""

    def __init__(
        self,
        backbone: Backbone,
        eyes: nn.ModuleDict,
        draw: Latents,
        tokenizer: LatentTokenizer,
        patch: int,
        shift: float,
    ):
        """shift: of the times at which pictures are learned."""
        super().__init__()
        self.backbone, self.eyes, self.draw, self.tokenizer = backbone, eyes, draw, tokenizer
        self.patch, self.shift = patch, shift

    @property
    def stride(self) -> int:
        """Pixels a token along each side of a picture that is written."""
        return self.patch * self.tokenizer.factor

    @property
    def channels(self) -> int:
        """Numbers of one latent."""
        return self.draw.out.out_features // self.patch**2

    def see(self, pictures: list[Tensor]) -> list[Tensor]:
        encoder: Any = self.eyes["encoder"]

        def seen(numbers: list[int], pixels: Tensor) -> Tensor:
            height, width = (side // encoder.config.patch for side in pixels.shape[-2:])
            features = self.eyes["project"](encoder(pixels.to(self.device, self.dtype)))
            return self.draw.marked(features + self.eyes["places"](height, width).to(features.dtype))

        return by_shape(pictures, seen)

    def trace(self, pictures: list[Traced]) -> list[Made]:
        def latents(numbers: list[int], pixels: Tensor) -> Tensor:
            noise = [pictures[i].noise for i in numbers]
            drawn = [n for n in noise if n is not None]
            return self.encode(pixels.to(self.device), torch.stack(drawn).to(self.device) if drawn else None)

        grids = [tuple(side // self.stride for side in p.pixels.shape[-2:]) for p in pictures]
        return [Made(*pair) for pair in zip(by_shape([p.pixels for p in pictures], latents), grids, strict=True)]

    def encode(self, pixels: Tensor, noise: Tensor | None = None) -> Tensor:
        """Pixels [B, 3, H, W] in [-1, 1] -> slots [B, N, C]; noise [B, c, h, w] for a sample of the VAE's."""
        return patched(self.tokenizer.encode(pixels, noise), self.patch)

    def recall(self, made: list[Made]) -> list[Tensor]:
        clean = torch.zeros(1, device=self.device)
        return [self.draw.marked(self.draw.tokens(m.slots[None].to(self.device), clean, m.grid)[0]) for m in made]

    def placed(self, piece: Piece, n: int) -> Span:
        return Span("full", still=True) if isinstance(piece, Seen) else picture(n)

    def decode(self, slots: Tensor, grid: tuple[int, ...]) -> Tensor:
        return self.tokenizer.decode(unpatched(slots, grid, self.patch))

"""CLIP's text tower (arXiv 2103.00020): ids to hidden states and one pooled vector.

transformers' `CLIPTextModelWithProjection`. B texts, L positions, D width, P width of the projection.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from diptych.encoders.vit import Activation, Block, ViTConfig

# What transformers' CLIPTextConfig leaves out of a config.json
DEFAULTS = {
    "vocab_size": 49408,
    "hidden_size": 512,
    "intermediate_size": 2048,
    "projection_dim": 512,
    "num_hidden_layers": 12,
    "num_attention_heads": 8,
    "max_position_embeddings": 77,
    "hidden_act": "quick_gelu",
    "layer_norm_eps": 1e-5,
    "eos_token_id": 49407,
}
LARGEST = 2  # an eos id of old configs that is no eos: they pool at the largest id, which the eos once was


@dataclass(frozen=True, kw_only=True)
class CLIPTextConfig:
    """Sizes of a text tower. `length`: positions; `hidden`: width of the MLP; `eos`: the id at which a text is pooled,
    or `LARGEST`. `mask`: beyond the vocabulary one id more, a mask token whose embedding is learned apart (Muddit)."""

    vocab: int
    length: int
    width: int
    depth: int
    heads: int
    hidden: int
    projection: int
    activation: Activation = "quick-gelu"
    eps: float = 1e-5
    eos: int = LARGEST
    mask: bool = False

    @property
    def blocks(self) -> ViTConfig:
        """The same blocks as CLIP's vision tower has, over `length` positions."""
        return ViTConfig(
            image_size=self.length,
            patch=1,
            width=self.width,
            depth=self.depth,
            heads=self.heads,
            hidden=self.hidden,
            activation=self.activation,
            eps=self.eps,
        )


def clip_text(config: dict[str, Any], mask: bool = False) -> CLIPTextConfig:
    """Sizes from transformers' config of a text tower."""
    c = DEFAULTS | config
    return CLIPTextConfig(
        vocab=c["vocab_size"],
        length=c["max_position_embeddings"],
        width=c["hidden_size"],
        depth=c["num_hidden_layers"],
        heads=c["num_attention_heads"],
        hidden=c["intermediate_size"],
        projection=c["projection_dim"],
        activation=c["hidden_act"].replace("_", "-"),
        eps=c["layer_norm_eps"],
        eos=c["eos_token_id"],
        mask=mask,
    )


class CausalBlock(Block):
    """A block in which every position sees itself and those before it; there is no other mask."""

    def attend(self, x: Tensor, mask: Tensor | None = None) -> Tensor:  # [B, L, D] -> [B, L, D]
        q, k, v = (linear(x).unflatten(2, (self.heads, -1)).transpose(1, 2) for linear in (self.q, self.k, self.v))
        return self.out(F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).flatten(2))


class CLIPTextStates(NamedTuple):
    """hidden [B, L, D]: what enters the last block (transformers' `hidden_states[-2]`); pooled [B, P]."""

    hidden: Tensor
    pooled: Tensor


class CLIPText(nn.Module):
    """Int[B, L] -> `CLIPTextStates`."""

    def __init__(self, config: CLIPTextConfig) -> None:
        super().__init__()
        self.config = config
        self.table = nn.Embedding(config.vocab, config.width)
        self.mask = nn.Parameter(torch.zeros(config.width)) if config.mask else None
        self.position = nn.Parameter(torch.zeros(config.length, config.width))
        self.blocks = nn.ModuleList(CausalBlock(config.blocks) for _ in range(config.depth))
        self.norm = nn.LayerNorm(config.width, config.eps)
        self.project = nn.Linear(config.width, config.projection, bias=False)

    def forward(self, ids: Tensor) -> CLIPTextStates:
        x = hidden = self.embed(ids)
        for block in self.blocks:
            x, hidden = block(x), x
        rows = torch.arange(len(ids), device=ids.device)
        return CLIPTextStates(hidden, self.project(self.norm(x[rows, self.pooled_at(ids)])))

    def embed(self, ids: Tensor) -> Tensor:  # Int[B, L] -> [B, L, D]
        x = self.table(ids.clamp(max=self.config.vocab - 1))
        if self.mask is not None:
            x = torch.where((ids == self.config.vocab)[..., None], self.mask, x)
        return x + self.position[: ids.shape[1]]

    def pooled_at(self, ids: Tensor) -> Tensor:  # Int[B, L] -> Int[B]
        """Where a text is pooled: at its first eos, the first position if it has none; or at its largest id."""
        if self.config.eos == LARGEST:
            return ids.argmax(-1)
        return (ids == self.config.eos).int().argmax(-1)

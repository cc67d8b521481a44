"""One transformer for every family: what differs is in its `BackboneConfig`.

Llama, Qwen2, Qwen3, Phi, LLaDA and their mixtures of transformers (BAGEL, LMFusion) are settings of this block.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from diptych.attention import Lowering, attend, attend_one, lower_dense
from diptych.backbone.blocks import Blocks
from diptych.backbone.cache import Cache
from diptych.backbone.experts import copies, grouped, order_of, placed
from diptych.backbone.packing import Packed, Route
from diptych.backbone.positions import angles, grid_angles, rotate


@dataclass(frozen=True)
class BackboneConfig:
    """Sizes and switches. `bias`: none (Llama) | qkv (Qwen2) | mlp (UniDisc) | all (Phi). `parallel`: attention and MLP
    side by side behind one norm (Phi). `rotary`: the share of a head's width that turns. `norm_qk`: a norm on each
    head's queries and keys (Qwen3, BAGEL); `norm_qk_whole`: one LayerNorm, with torch's eps, over all heads together;
    `sandwich`: a norm also behind attention and MLP (UniDisc). `tied`: the output head is the embedding table."""

    width: int
    depth: int
    heads: int
    kv_heads: int
    hidden: int
    vocab: int
    head_width: int | None = None
    experts: int = 1
    bias: str = "none"
    norm: str = "rms"
    norm_qk: bool = False
    norm_qk_whole: bool = False
    sandwich: bool = False
    mlp: str = "silu-gated"
    parallel: bool = False
    rotary: float = 1.0
    theta: float = 1e4
    eps: float = 1e-6
    tied: bool = False
    head_bias: bool = False

    @property
    def head(self) -> int:
        """Width of one attention head."""
        return self.head_width or self.width // self.heads


class Linear(nn.Linear):
    """A linear layer of which there is one copy, whatever the route."""

    def forward(self, x: Tensor, route: Route = 0) -> Tensor:
        return flat_linear(x, self.weight, self.bias)

    def rows(self, x: Tensor, low: int, high: int) -> Tensor:
        """Only the outputs low..high."""
        return flat_linear(x, self.weight[low:high], None if self.bias is None else self.bias[low:high])


def flat_linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """`F.linear` of x [..., I] as one matrix. Of a last token that was cut out of a row torch makes batched products in
    bfloat16, and copies the weights for it: 2 s instead of 0.02 s for a head of 102,400 words on two cores."""
    return F.linear(x.reshape(-1, x.shape[-1]), weight, bias).view(*x.shape[:-1], len(weight))


class RMSNorm(nn.RMSNorm):
    def forward(self, x: Tensor, route: Route = 0) -> Tensor:
        return F.rms_norm(x, self.normalized_shape, self.weight, self.eps)


class LayerNorm(nn.LayerNorm):
    def forward(self, x: Tensor, route: Route = 0) -> Tensor:
        return F.layer_norm(x, self.normalized_shape, self.weight, self.bias, self.eps)


NORMS: dict[str, type[nn.Module]] = {"rms": RMSNorm, "layer": LayerNorm}


class Block(nn.Module):
    """Attention and MLP, each behind a norm and added to the stream."""

    def __init__(self, c: BackboneConfig):
        super().__init__()
        self.config = c
        width, inner, kv = c.width, c.heads * c.head, c.kv_heads * c.head
        qkv_bias, bias, mlp_bias = c.bias in ("qkv", "all"), c.bias == "all", c.bias in ("mlp", "all")

        def layer(a: int, b: int, biased: bool) -> nn.Module:
            return copies(lambda: Linear(a, b, biased), c.experts)

        def norm(size: int) -> nn.Module:
            return copies(lambda: NORMS[c.norm](size, eps=c.eps), c.experts)

        self.q, self.k, self.v = (
            layer(width, inner, qkv_bias),
            layer(width, kv, qkv_bias),
            layer(width, kv, qkv_bias),
        )
        self.out = layer(inner, width, bias)
        self.gate = layer(width, c.hidden, mlp_bias) if c.mlp == "silu-gated" else None
        self.up, self.down = layer(width, c.hidden, mlp_bias), layer(c.hidden, width, mlp_bias)
        self.norm_attn = norm(width)
        self.norm_mlp = None if c.parallel else norm(width)
        self.norm_q, self.norm_k = (norm(c.head), norm(c.head)) if c.norm_qk else (None, None)
        if c.norm_qk_whole:
            self.norm_q, self.norm_k = (copies(lambda n=n: LayerNorm(n), c.experts) for n in (inner, kv))
        self.norm_attn_out, self.norm_mlp_out = (norm(width), norm(width)) if c.sandwich else (None, None)

    def project(self, y: Tensor, turn: tuple[Tensor, Tensor], route: Route) -> tuple[Tensor, Tensor, Tensor]:
        """y [B, T, D] -> queries [B, H, T, E], keys and values [B, K, T, E], rotated."""
        c = self.config

        def heads(layer: nn.Module, norm: nn.Module | None, n: int) -> Tensor:
            t = layer(y, route)
            if c.norm_qk_whole:
                t = t if norm is None else norm(t, route)
                return placed(t, route).unflatten(-1, (n, c.head)).transpose(1, 2)
            t = t.unflatten(-1, (n, c.head))
            return placed(t if norm is None else norm(t, route), route).transpose(1, 2)

        q, k = heads(self.q, self.norm_q, c.heads), heads(self.k, self.norm_k, c.kv_heads)
        return rotate(q, *turn), rotate(k, *turn), heads(self.v, None, c.kv_heads)

    def feed(self, y: Tensor, route: Route) -> Tensor:
        up = self.up(y, route)
        up = F.gelu(up, approximate="tanh") if self.gate is None else F.silu(self.gate(y, route)) * up
        return self.down(up, route)

    def finish(self, x: Tensor, y: Tensor, attended: Tensor, route: Route) -> Tensor:
        """x the stream, y its normed form, attended [B, H, T, E] -> the stream after this block."""
        heard = self.out(grouped(attended.transpose(1, 2).flatten(2), route), route)
        after = x + (heard if self.norm_attn_out is None else self.norm_attn_out(heard, route))
        fed = self.feed(y if self.norm_mlp is None else self.norm_mlp(after, route), route)
        return after + (fed if self.norm_mlp_out is None else self.norm_mlp_out(fed, route))

    def forward(
        self, x: Tensor, turn: tuple[Tensor, Tensor], route: Route, lowering: Lowering, cache: Cache | None, layer: int
    ) -> Tensor:
        y = self.norm_attn(x, route)
        q, k, v = self.project(y, turn, route)
        if cache is not None:
            k, v = cache.write(layer, k, v)
        return self.finish(x, y, attend(q, k, v, lowering), route)

    def one(
        self, x: Tensor, turn: tuple[Tensor, Tensor], route: Route, hidden: Tensor | None, cache: Cache, layer: int
    ):
        """`forward` for one token a row, of which every kept key is visible."""
        y = self.norm_attn(x, route)
        q, k, v = self.project(y, turn, route)
        return self.finish(x, y, attend_one(q, *cache.write(layer, k, v), hidden), route)


class Backbone(nn.Module):
    """Embedding table, blocks, last norm, output head. `forward` gives hidden states; heads run where they are read."""

    def __init__(self, config: BackboneConfig):
        super().__init__()
        self.config = config
        self.embed = nn.Embedding(config.vocab, config.width)
        self.blocks = Blocks(Block(config) for _ in range(config.depth))
        self.norm = copies(lambda: NORMS[config.norm](config.width, eps=config.eps), config.experts)
        self.head = Linear(config.width, config.vocab, bias=config.head_bias)
        if config.tied:
            self.head.weight = self.embed.weight

    def turn(self, position: Tensor, cell: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """cos and sin of Int[B, T] positions, [B, 1, T, A]; of tokens on a grid by their `cell` [B, T, 2]."""
        width, theta = int(self.config.head * self.config.rotary), self.config.theta
        cos, sin = angles(position, width, theta)
        if cell is not None:
            placed = ~cell.isnan().any(-1, keepdim=True)
            across, up = grid_angles(cell, width, theta)
            cos, sin = torch.where(placed, across, cos), torch.where(placed, up, sin)
        return cos[:, None], sin[:, None]

    def forward(self, packed: Packed, cache: Cache | None = None) -> Tensor:
        """-> hidden states after the last norm, [B, T, D]. With a cache: written after its end, not committed."""
        return self.norm(self.stream(packed, cache), packed.route)

    def stream(self, packed: Packed, cache: Cache | None = None) -> Tensor:
        """What the last block leaves, before the last norm."""
        keys = packed.visibility if cache is None else cache.open(packed.visibility)
        lowering = packed.lowering or lower_dense(packed.visibility, keys, packed.bias)
        turn, route = self.turn(packed.position, packed.cell), order_of(packed.route, packed.x)
        x = grouped(packed.x, route)
        for layer, block in enumerate(self.blocks):
            x = block(x, turn, route, lowering, cache, layer)
        return placed(x, route)

    def one(self, x: Tensor, cache: Cache, expert: int = 0) -> Tensor:
        """The fast path: one token a row, x [B, 1, D], that sees every kept key. No packing, no mask. Not committed."""
        hidden = cache.open_one()
        turn = self.turn(cache.next_position[:, None])
        for layer, block in enumerate(self.blocks):
            x = block.one(x, turn, expert, hidden, cache, layer)  # type: ignore[operator]
        return self.norm(x, expert)

    def new_cache(self, batch: int, capacity: int) -> Cache:
        c, weight = self.config, self.embed.weight
        return Cache(c.depth, batch, c.kv_heads, c.head, capacity, weight.dtype, weight.device)


def seeded(backbone: Backbone, seed: int, scale: float = 0.02) -> Backbone:
    """Fresh weights: N(0, scale), residual outputs narrowed by depth (GPT-2), norms one, biases zero."""
    generator = torch.Generator().manual_seed(seed)
    narrow = scale / (2 * backbone.config.depth) ** 0.5
    for name, parameter in backbone.named_parameters():
        if parameter.ndim < 2:
            parameter.data.fill_(0.0 if name.endswith("bias") else 1.0)
        else:
            spread = narrow if ".out." in name or ".down." in name else scale
            parameter.data.copy_(torch.randn(parameter.shape, generator=generator) * spread)
    return backbone

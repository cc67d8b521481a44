"""A transformer whose tokens are text or latents at a flow time, told apart in every layer (lucidrains' Transfusion).

Text has scales of its own around attention and MLP, latents have scale, shift and gate from their time (adaLN-zero,
arXiv 2212.09748). Logits are capped, heads gated, queries and keys normalised; early layers skip to late ones, and a
layer's input is a weighted mean of all hidden states before it. lucidrains/transfusion-pytorch,
transfusion_pytorch/transfusion.py: Transformer. B rows, T tokens, D width, H heads, E width of a head, S keys.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from diptych.attention import lower_dense
from diptych.backbone.blocks import Blocks
from diptych.backbone.cache import Cache
from diptych.backbone.packing import Packed, Route
from diptych.backbone.transformer import Linear

LATENT = 1  # the expert that tokens of latents name; text names 0


@dataclass(frozen=True, kw_only=True)
class AdaptiveConfig:
    """hidden: width of the gated MLP; cap: of attention logits; laser: attention over exponentials of values
    (arXiv 2411.03493), which are capped at this; 0: off. value_residual: values are mixed with those of the first layer
    (arXiv 2410.17897)."""

    width: int
    depth: int
    heads: int
    head: int
    hidden: int
    vocab: int
    cap: float = 50.0
    laser: float = 0.0
    skips: bool = True
    gates: bool = True
    norm_qk: bool = True
    value_residual: bool = False

    def skipped_to(self, layer: int) -> bool:
        """Does an early layer skip to this one (counted from 0)?"""
        return self.skips and layer >= self.depth / 2


class UnitNorm(nn.Module):
    """RMS normalisation whose weight is an offset from one."""

    def __init__(self, width: int):
        super().__init__()
        self.gamma = nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        return F.normalize(x, dim=-1) * math.sqrt(x.shape[-1]) * (self.gamma + 1)


class TimedTable(nn.Embedding):
    """Ids -> tokens [..., D + 1]: the last channel of every token is its time, 0 for text."""

    def forward(self, input: Tensor) -> Tensor:
        return F.pad(super().forward(input), (0, 1))


class Condition(NamedTuple):
    """time [B, T, 4 D]: what modulates latents; latent Bool[B, T, 1]."""

    time: Tensor
    latent: Tensor


class Clock(nn.Module):
    """Times [B, T] -> [B, T, 4 D]."""

    waves: Tensor

    def __init__(self, width: int):
        super().__init__()
        self.register_buffer("waves", torch.zeros(width // 2))
        self.project = nn.Linear(width + 1, 4 * width)

    def forward(self, time: Tensor) -> Tensor:
        angle = 2 * torch.pi * time[..., None] * self.waves
        return F.silu(self.project(torch.cat([time[..., None], angle.sin(), angle.cos()], -1)))


class Around(nn.Module):
    """What stands before and behind attention or an MLP."""

    def __init__(self, width: int):
        super().__init__()
        self.gamma, self.scale = nn.Parameter(torch.zeros(width)), nn.Parameter(torch.zeros(width))
        self.film, self.gate = nn.Linear(4 * width, 2 * width), nn.Linear(4 * width, width)

    def before(self, x: Tensor, c: Condition) -> Tensor:  # [B, T, D] -> [B, T, D]
        x = F.layer_norm(x, x.shape[-1:])
        scale, shift = self.film(c.time).chunk(2, -1)
        return torch.where(c.latent, x * (scale + 1) + shift, x * (self.gamma + 1))

    def behind(self, x: Tensor, c: Condition) -> Tensor:  # [B, T, D] -> [B, T, D]
        return x * torch.where(c.latent, self.gate(c.time).sigmoid(), self.scale + 1)


def rotate_pairs(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn neighbouring channels of x [B, H, T, E] by cos and sin [B, 1, T, E / 2]."""
    a, b = x[..., 0::2], x[..., 1::2]
    return torch.stack([a * cos - b * sin, b * cos + a * sin], -1).flatten(-2)


class Attention(nn.Module):
    """y [B, T, D] over its own and the kept keys -> [B, T, D], and the values before they were mixed."""

    def __init__(self, c: AdaptiveConfig, layer: int):
        super().__init__()
        self.config = c
        inner = c.heads * c.head
        self.q, self.k, self.v = (nn.Linear(c.width, inner, bias=False) for _ in range(3))
        self.out = nn.Linear(inner, c.width, bias=False)
        self.norm_q, self.norm_k = UnitNorm(c.head), UnitNorm(c.head)
        self.gates = nn.Linear(c.width, c.heads, bias=False) if c.gates else None
        self.mix = nn.Linear(c.width, c.heads) if c.value_residual and layer else None

    def forward(self, y: Tensor, see: Seeing, layer: int, first: Tensor | None) -> tuple[Tensor, Tensor]:
        c = self.config
        q, k, own = (p(y).unflatten(-1, (c.heads, c.head)).transpose(1, 2) for p in (self.q, self.k, self.v))
        if c.norm_qk:
            q, k = self.norm_q(q), self.norm_k(k)
        v = own
        if self.mix is not None and first is not None:
            share = self.mix(y).sigmoid().transpose(1, 2)[..., None]
            v = own * share + first * (1 - share)
        q, k = rotate_pairs(q, *see.turn), rotate_pairs(k, *see.turn)
        if see.cache is not None:
            k, v = see.cache.write(layer, k, v)
        heard = capped(q, k, v, see.mask, c.cap, c.laser)
        if self.gates is not None:
            heard = heard * self.gates(y).sigmoid().transpose(1, 2)[..., None]
        return self.out(heard.transpose(1, 2).flatten(2)), own


def capped(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, cap: float, laser: float = 0.0) -> Tensor:
    """q [B, H, T, E], k and v [B, H, S, E], mask Bool[B, 1, T, S] -> [B, H, T, E]; logits are cap * tanh(. / cap)."""
    logits = cap * torch.tanh((q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2) / cap)
    if mask is not None:
        logits = logits.masked_fill(~mask, float("-inf"))
    weights = logits.softmax(-1)
    if not laser:
        return weights @ v
    return (weights @ (laser * torch.tanh(v / laser)).exp()).clamp(min=1e-20).log()


class Seeing(NamedTuple):
    """What a forward's tokens see: cos and sin of their positions, a mask over all keys, the kept keys."""

    turn: tuple[Tensor, Tensor]
    mask: Tensor | None
    cache: Cache | None


class Mean(nn.Module):
    """Hidden states, each [B, T, D] -> their mean, weighted by what one learned query finds in each."""

    def __init__(self, width: int):
        super().__init__()
        self.norm, self.query = UnitNorm(width), nn.Parameter(torch.zeros(width))

    def forward(self, states: list[Tensor]) -> Tensor:
        all_states = torch.stack(states, -2)
        weights = (self.norm(all_states) @ self.query * all_states.shape[-1] ** -0.5).softmax(-1)
        return (weights[..., None] * all_states).sum(-2)


class AdaptiveBlock(nn.Module):
    """The stream x [B, T, D] -> the stream after this block, and its values [B, H, T, E]."""

    def __init__(self, c: AdaptiveConfig, layer: int):
        super().__init__()
        self.layer = layer
        self.skip = nn.Linear(2 * c.width, c.width, bias=False) if c.skipped_to(layer) else None
        self.around_attention, self.attention = Around(c.width), Attention(c, layer)
        self.around_mlp = Around(c.width)
        self.up, self.down = nn.Linear(c.width, 2 * c.hidden), nn.Linear(c.hidden, c.width)
        self.mean = Mean(c.width)

    def forward(self, x: Tensor, skips: list[Tensor], c: Condition, see: Seeing, first: Tensor | None):
        """skips: inputs of early layers, the latest of which it takes where there is a skip to it; first: the first
        layer's values."""
        if self.skip is not None:
            x = x + self.skip(torch.cat([x, skips.pop()], -1))
        heard, values = self.attention(self.around_attention.before(x, c), see, self.layer, first)
        x = x + self.around_attention.behind(heard, c)
        return x + self.around_mlp.behind(self.feed(self.around_mlp.before(x, c)), c), values

    def feed(self, y: Tensor) -> Tensor:
        value, gate = self.up(y).chunk(2, -1)
        return self.down(value * F.gelu(gate))


class Adaptive(nn.Module):
    """Packed tokens [B, T, D + 1], the last channel their time -> hidden states [B, T, D], for `Context` and training
    like any other backbone. Tokens of latents name the expert `LATENT`."""

    frequencies: Tensor

    def __init__(self, config: AdaptiveConfig):
        super().__init__()
        self.config = config
        self.embed = TimedTable(config.vocab, config.width)
        self.register_buffer("frequencies", torch.zeros(config.head // 2))
        self.clock = Clock(config.width)
        self.blocks = Blocks(AdaptiveBlock(config, i) for i in range(config.depth))
        self.norm = UnitNorm(config.width)
        self.head = Linear(config.width, config.vocab, bias=False)

    def forward(self, packed: Packed, cache: Cache | None = None) -> Tensor:
        """With a cache: written after its end, not committed."""
        keys = packed.visibility if cache is None else cache.open(packed.visibility)
        free = packed.lowering is not None and packed.lowering.kind == "open"
        mask = None if free else lower_dense(packed.visibility, keys).mask
        return self._run(packed.x, packed.route, Seeing(self._turn(packed.position), mask, cache))

    def one(self, x: Tensor, cache: Cache, expert: int = 0) -> Tensor:
        """One token a row, [B, 1, D + 1], that sees every kept key. Not committed."""
        hidden = cache.open_one()
        mask = None if hidden is None else ~hidden[:, None, None]
        return self._run(x, expert, Seeing(self._turn(cache.next_position[:, None]), mask, cache))

    def _run(self, x: Tensor, route: Route, see: Seeing) -> Tensor:
        x, time = x[..., :-1], x[..., -1]
        condition = Condition(self.clock(time), _latent(route, time))
        states, skips, first = [x], list[Tensor](), None
        for layer, block in enumerate(self.blocks):
            if layer < self.config.depth // 2:
                skips.append(x)
            x, values = block(x, skips, condition, see, first)
            first = values if first is None else first
            states.append(x)
            x = block.mean(states)  # type: ignore[operator]
        return self.norm(x)

    def _turn(self, position: Tensor) -> tuple[Tensor, Tensor]:
        """cos and sin, [B, 1, T, E / 2]."""
        angle = (position[..., None] * self.frequencies)[:, None]
        return angle.cos(), angle.sin()

    def new_cache(self, batch: int, capacity: int) -> Cache:
        c, weight = self.config, self.embed.weight
        return Cache(c.depth, batch, c.heads, c.head, capacity, weight.dtype, weight.device)


def _latent(route: Route, time: Tensor) -> Tensor:
    """Bool[B, T, 1]: the tokens that are latents."""
    if isinstance(route, int):
        return torch.full((1, 1, 1), route == LATENT, device=time.device)
    found = torch.zeros(time.numel(), dtype=torch.bool, device=time.device)
    for expert, index in enumerate(route):
        found[index] = expert == LATENT
    return found.view(*time.shape, 1)

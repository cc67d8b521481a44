"""The multimodal diffusion transformer of SD3 and Flux (arXiv 2403.03206) as a backbone over packed tokens.

Text and image are two streams that attend to each other: in double blocks each has weights of its own, in single
blocks both share them. Which stream a token belongs to is its expert (`TEXT`, `IMAGE`), so that a packed row may hold
both in any order. What modulates a sample (time, pooled text, sizes) comes in as tokens too, which nobody sees:
`CONDITION` and `TIME` tokens of a sample are each summed up, and their mixture shifts, scales and gates every block
(adaLN-zero, arXiv 2212.09748). Thus context and canvas each bring what they know of the condition.

B rows, T tokens, S samples, D width, H heads, E width of a head.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from diptych.attention import OPEN, Lowering, Visibility, attend, lower_dense
from diptych.backbone.axial import axial_angles, rotate_pairs
from diptych.backbone.blocks import Blocks
from diptych.backbone.cache import Cache
from diptych.backbone.experts import Experts, copies
from diptych.backbone.packing import Packed, Route
from diptych.backbone.transformer import RMSNorm

TEXT, IMAGE, CONDITION, TIME = range(4)  # a token's expert


@dataclass(frozen=True)
class MMDiTConfig:
    """Sizes. `double`, `single`: how many blocks of each kind; `axes`: how many channels of a head turn by each of
    position, row and column; `vocab`: entries of the image's code table."""

    width: int
    heads: int
    double: int
    single: int
    axes: Sequence[int]
    vocab: int
    hidden: int
    theta: float = 1e4
    eps: float = 1e-6

    @property
    def head(self) -> int:
        """Width of one attention head."""
        return self.width // self.heads


class Streams(NamedTuple):
    """What the tokens of one forward have in common over all blocks."""

    turn: tuple[Tensor, Tensor]  # cos and sin [B, 1, T, E / 2]
    route: Route  # the flat indices of text and of image tokens
    lowering: Lowering
    condition: Tensor  # [S, D]
    owner: Tensor  # Int[B, T]: the sample a token belongs to
    stream: Tensor  # Int[B, T]: TEXT or IMAGE


def modulated(x: Tensor, shift: Tensor, scale: Tensor, eps: float) -> Tensor:
    """x [B, T, D], normed without weights, then scaled and shifted."""
    return F.layer_norm(x, x.shape[-1:], eps=eps) * (1 + scale) + shift


class Attention(nn.Module):
    """Queries and keys with a norm on each head, rotated; `copies` makes one layer, or one for each stream."""

    def __init__(self, c: MMDiTConfig, streams: int):
        super().__init__()
        self.heads = c.heads
        self.q, self.k, self.v = (copies(lambda: nn.Linear(c.width, c.width), streams) for _ in range(3))
        self.norm_q, self.norm_k = (copies(lambda: RMSNorm(c.head, eps=c.eps), streams) for _ in range(2))

    def forward(self, y: Tensor, s: Streams) -> Tensor:
        """y [B, T, D] -> what each token heard [B, T, D], before an output projection."""

        def heads(layer: nn.Module, norm: nn.Module | None) -> Tensor:
            t = _routed(layer, y, s.route).unflatten(-1, (self.heads, -1))
            return (t if norm is None else _routed(norm, t, s.route)).transpose(1, 2)

        q, k = rotate_pairs(heads(self.q, self.norm_q), *s.turn), rotate_pairs(heads(self.k, self.norm_k), *s.turn)
        return attend(q, k, heads(self.v, None), s.lowering).transpose(1, 2).flatten(2)


class Double(nn.Module):
    """Joint attention of two streams, then an MLP of each; every layer twice."""

    def __init__(self, c: MMDiTConfig):
        super().__init__()
        self.eps = c.eps
        self.modulate = nn.ModuleList(nn.Linear(c.width, 6 * c.width) for _ in (TEXT, IMAGE))
        self.attention = Attention(c, 2)
        self.out = copies(lambda: nn.Linear(c.width, c.width), 2)
        self.up, self.down = (copies(lambda s=s: nn.Linear(*s), 2) for s in _mlp(c))

    def forward(self, x: Tensor, s: Streams) -> Tensor:
        table = torch.stack([layer(s.condition) for layer in self.modulate])  # [2, S, 6 D]
        shift1, scale1, gate1, shift2, scale2, gate2 = table[s.stream, s.owner].chunk(6, -1)
        heard = self.attention(modulated(x, shift1, scale1, self.eps), s)
        x = x + gate1 * _routed(self.out, heard, s.route)
        up = _routed(self.up, modulated(x, shift2, scale2, self.eps), s.route)
        return x + gate2 * _routed(self.down, F.gelu(up, approximate="tanh"), s.route)


class Single(nn.Module):
    """Attention and MLP side by side behind one norm, their results brought together by one projection."""

    def __init__(self, c: MMDiTConfig):
        super().__init__()
        self.eps = c.eps
        self.modulate = nn.Linear(c.width, 3 * c.width)
        self.attention = Attention(c, 1)
        self.up = nn.Linear(*_mlp(c)[0])
        self.out = nn.Linear(c.width + c.hidden, c.width)

    def forward(self, x: Tensor, s: Streams) -> Tensor:
        shift, scale, gate = self.modulate(s.condition)[s.owner].chunk(3, -1)
        y = modulated(x, shift, scale, self.eps)
        return x + gate * self.out(torch.cat([self.attention(y, s), F.gelu(self.up(y), approximate="tanh")], -1))


class Condition(nn.Module):
    """The sums of a sample's CONDITION and TIME tokens -> what modulates it.

    A CONDITION token is a share of the first layer's output (the layer is linear, so that pooled text and sizes may
    come from different places); a TIME token is an embedded time.
    """

    def __init__(self, width: int):
        super().__init__()
        self.shared = nn.Linear(width, width, bias=False)
        self.mix = two_layers(width, width)

    def forward(self, shares: Tensor, time: Tensor) -> Tensor:  # [S, D] each -> [S, D]
        return time + self.mix(self.shared(F.silu(shares)))


def two_layers(width_in: int, width: int) -> nn.Sequential:
    """Linear, SiLU, linear: diffusers' `TimestepEmbedding`."""
    return nn.Sequential(nn.Linear(width_in, width), nn.SiLU(), nn.Linear(width, width))


class MMDiT(nn.Module):
    """Packed tokens -> hidden states, for `Context` and the training loop like any other backbone.

    Every token sees its whole sample (spans look "all"), so nothing is cached. `embed` is the image's code table.
    """

    def __init__(self, config: MMDiTConfig):
        super().__init__()
        self.config = config
        self.embed = nn.Embedding(config.vocab, config.width)
        self.condition = Condition(config.width)
        self.doubles = Blocks(Double(config) for _ in range(config.double))
        self.singles = Blocks(Single(config) for _ in range(config.single))

    def forward(self, packed: Packed, cache: Cache | None = None) -> Tensor:
        """-> hidden states [B, T, D]; those of condition and time tokens mean nothing."""
        kinds = _kinds(packed)
        # columns that hold nothing but conditions are left out: the rest can then do without a mask
        columns = (kinds < CONDITION).any(0).nonzero()[:, 0]
        streams, x = self._streams(packed, kinds, columns), packed.x[:, columns]
        for block in chain(self.doubles, self.singles):
            x = block(x, streams)
        return torch.zeros_like(packed.x).index_copy(1, columns, x)

    def _streams(self, packed: Packed, kinds: Tensor, columns: Tensor) -> Streams:
        sample = packed.visibility.sample.clamp(min=0)
        samples = int(sample.max()) + 1
        owner = torch.arange(len(sample), device=sample.device)[:, None] * samples + sample
        condition = self._condition(packed.x, kinds, owner, len(sample) * samples)
        kinds = kinds[:, columns]
        return Streams(
            turn=self._turn(packed, columns),
            route=tuple((kinds.flatten() == k).nonzero()[:, 0] for k in (TEXT, IMAGE)),
            lowering=_lowering(packed, kinds, columns),
            condition=F.silu(condition),
            owner=owner[:, columns],
            stream=kinds.clamp(max=IMAGE),
        )

    def _condition(self, x: Tensor, kinds: Tensor, owner: Tensor, samples: int) -> Tensor:
        """-> [S, D] of all samples."""
        sums = []
        for kind in (CONDITION, TIME):
            where = kinds == kind
            sums.append(x.new_zeros(samples, x.shape[-1]).index_add(0, owner[where], x[where]))
        return self.condition(*sums)

    def _turn(self, packed: Packed, columns: Tensor) -> tuple[Tensor, Tensor]:
        """By position, row and column; tokens that stand on no grid are in row and column 0."""
        place = packed.position[..., None].float().repeat(1, 1, 3)
        place[..., 1:] = 0.0 if packed.cell is None else packed.cell.nan_to_num(0.0)
        cos, sin = axial_angles(place[:, columns], self.config.axes, self.config.theta)
        return cos[:, None], sin[:, None]

    def new_cache(self, batch: int, capacity: int) -> Cache:
        """An empty one: no layer keeps anything."""
        c, weight = self.config, self.embed.weight
        return Cache(0, batch, c.heads, c.head, capacity, weight.dtype, weight.device)


def _kinds(packed: Packed) -> Tensor:
    """Int[B, T]: each token's expert."""
    shape, route = packed.x.shape[:2], packed.route
    if isinstance(route, int):
        return packed.position.new_full(shape, route)
    kinds = packed.position.new_zeros(shape[0] * shape[1])
    for kind, index in enumerate(route):
        kinds[index] = kind
    return kinds.view(shape)


def _lowering(packed: Packed, kinds: Tensor, columns: Tensor) -> Lowering:
    """Condition tokens are seen by nobody, like padding."""
    hidden = kinds >= CONDITION
    if packed.lowering is not None and packed.lowering.kind == "open" and not hidden.any():
        return OPEN
    sample, *rest = (field[:, columns] for field in packed.visibility)
    seen = Visibility(sample.masked_fill(hidden, -1), *rest)
    return lower_dense(seen, seen)


def _routed(layer: nn.Module, x: Tensor, route: Route) -> Tensor:
    return layer(x, route) if isinstance(layer, Experts) else layer(x)


def _mlp(c: MMDiTConfig) -> tuple[tuple[int, int], tuple[int, int]]:
    return (c.width, c.hidden), (c.hidden, c.width)

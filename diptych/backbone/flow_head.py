"""A language model with a flow head on top (Show-o2, arXiv 2506.15564).

The head is a smaller transformer over the last hidden states of all tokens, text too. Tokens on which noise stands, or
stood, are modulated by the time of it (adaLN-zero, arXiv 2212.09748). It runs only where something is drawn: texts are
written without it, and what they left undone is made up for when a picture is begun.

B rows, T tokens, D and W widths of the language model and of the head. Tokens are D + W wide: behind what the language
model reads stands the embedded time, in the first token of a span alone, for the whole span; everywhere else zeros.
Hidden states are D + W wide too: the language model's, and the head's, or zeros where it did not run.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from diptych.attention import Lowering, Visibility, attend, lower_dense
from diptych.backbone.blocks import Blocks
from diptych.backbone.cache import Cache
from diptych.backbone.packing import Packed, Route
from diptych.backbone.positions import frequencies, slowed, turned
from diptych.backbone.transformer import Backbone, BackboneConfig, Block, Linear

DRAWN = 1  # the expert of tokens for which the head runs; the weights of the language model are the same for all


@dataclass(frozen=True)
class FlowHeadConfig:
    """block: sizes. eps_qk: of the norms on queries and keys; scaling: factor, low, high and original positions of
    Llama 3's rotary scaling."""

    block: BackboneConfig
    eps_qk: float = 1e-6
    scaling: tuple[float, float, float, int] = (32.0, 1.0, 4.0, 8192)


class Modulation(NamedTuple):
    """table: embedded times, [k, W]; owner: Int[B, T], which of them modulates a token, k for none."""

    table: Tensor
    owner: Tensor


def modulation(times: Tensor, visibility: Visibility) -> Modulation:
    """times [B, T, W] as they stand in the tokens -> which modulates which."""
    begins = times.ne(0).any(-1)
    table = times[begins]
    numbers = torch.full(begins.shape, len(table), device=times.device)
    numbers[begins] = torch.arange(len(table), device=times.device)
    owner = numbers.gather(1, visibility.span.clamp(min=0))
    return Modulation(table, owner.masked_fill(visibility.sample < 0, len(table)))


class ModulatedBlock(Block):
    """A block whose norms are shifted and scaled and whose residuals are gated, where a token has a time."""

    def __init__(self, c: FlowHeadConfig):
        super().__init__(c.block)
        width = c.block.width
        assert isinstance(self.norm_q, nn.RMSNorm) and isinstance(self.norm_k, nn.RMSNorm)
        self.norm_q.eps = self.norm_k.eps = c.eps_qk
        self.modulate = nn.Linear(width, 6 * width)

    def run(
        self, x: Tensor, time: Modulation, turn: tuple[Tensor, Tensor], lowering: Lowering, cache: Cache | None, at: int
    ) -> Tensor:
        """x [B, T, W] -> [B, T, W]; at: the number of its layer in the cache."""
        timeless = x.new_tensor([0, 0, 1, 0, 0, 1]).repeat_interleave(x.shape[-1])[None]
        table = torch.cat([self.modulate(F.silu(time.table)), timeless])
        shift1, scale1, gate1, shift2, scale2, gate2 = table[time.owner].chunk(6, -1)
        q, k, v = self.project(self.norm_attn(x) * (1 + scale1) + shift1, turn, 0)
        if cache is not None:
            k, v = cache.write(at, k, v)
        x = x + gate1 * self.out(attend(q, k, v, lowering).transpose(1, 2).flatten(2))
        assert self.norm_mlp is not None
        return x + gate2 * self.feed(self.norm_mlp(x) * (1 + scale2) + shift2, 0)


class FlowHead(nn.Module):
    """Hidden states of a language model [B, T, D] -> [B, T, W]. Of one width, they enter as they are."""

    def __init__(self, width: int, c: FlowHeadConfig):
        super().__init__()
        self.config, inner = c, c.block.width
        same = width == inner
        self.into = (
            nn.Identity() if same else nn.Sequential(nn.Linear(width, inner), nn.GELU(), nn.Linear(inner, inner))
        )
        self.blocks = Blocks(ModulatedBlock(c) for _ in range(c.block.depth))

    def forward(
        self, hidden: Tensor, time: Modulation, position: Tensor, lowering: Lowering, cache: Cache | None = None
    ) -> Tensor:
        c, x = self.config, self.into(hidden)
        cos, sin = turned(position, slowed(frequencies(c.block.head, c.block.theta), *c.scaling))
        for at, block in enumerate(self.blocks):
            assert isinstance(block, ModulatedBlock)
            x = block.run(x, time, (cos[:, None], sin[:, None]), lowering, cache, at)
        return x


class FlowCache(Cache):
    """Beside the language model's keys: what it answered [B, S, D + W], times behind, and the head's own keys, of which
    the first `upper.length` are as they should be."""

    def __init__(self, upper: Cache, wide: int, *args: Any):
        super().__init__(*args)
        self.upper = upper
        batch, capacity = self.k.shape[1], self.k.shape[3]
        self.below = self.k.new_empty(batch, capacity, wide)
        self.position = self.ints.new_empty(batch, capacity)

    def reserve(self, tokens: int) -> None:
        super().reserve(tokens)
        if extra := self.k.shape[3] - self.below.shape[1]:
            self.below = torch.cat([self.below, self.below.new_empty(len(self.below), extra, self.below.shape[2])], 1)
            self.position = torch.cat([self.position, self.position.new_empty(len(self.position), extra)], 1)

    def first(self, rows: int) -> FlowCache:
        part = super().first(rows)
        assert isinstance(part, FlowCache)
        part.upper = self.upper.first(rows)
        part.below, part.position = self.below[:rows], self.position[:rows]
        return part

    def note(self, hidden: Tensor, time: Tensor, position: Tensor) -> None:
        """What the language model answered to the coming tokens [B, n, D], and their times [B, n, W]."""
        here = slice(self.length, self.length + hidden.shape[1])
        self.below[:, here], self.position[:, here] = torch.cat([hidden, time], -1), position

    def seen(self, n: int) -> tuple[int, Visibility]:
        """With n coming tokens: the first that the head has not seen, and the visibility of all."""
        begin, end = self.upper.length, self.length + n
        self.upper.reserve(end - begin)
        return begin, Visibility(*self.ints[:, :, :end])


class WithFlowHead(Backbone):
    """`Backbone` that answers with its own hidden states and, to tokens of expert `DRAWN`, with those of the head."""

    def __init__(self, config: BackboneConfig, head: FlowHeadConfig):
        super().__init__(config)
        self.wide = config.width + head.block.width
        self.embed = Wide(config.vocab, config.width, self.wide)
        self.head = Narrow(config.width, config.vocab, bias=config.head_bias)
        if config.tied:
            self.head.weight = self.embed.weight
        self.flow = FlowHead(config.width, head)

    def forward(self, packed: Packed, cache: Cache | None = None) -> Tensor:
        width = self.config.width
        x, time = packed.x[..., :width], packed.x[..., width:]
        hidden = super().forward(replace(packed, x=x), cache)
        if isinstance(cache, FlowCache):
            cache.note(hidden, time, packed.position)
        flow = self._flow(hidden, time, packed, cache) if _draws(packed) else torch.zeros_like(time)
        return torch.cat([hidden, flow], -1)

    def _flow(self, hidden: Tensor, time: Tensor, packed: Packed, cache: Cache | None) -> Tensor:
        if not isinstance(cache, FlowCache):
            lowering = packed.lowering or lower_dense(packed.visibility, packed.visibility, packed.bias)
            return self.flow(hidden, modulation(time, packed.visibility), packed.position, lowering)
        n, width = hidden.shape[1], self.config.width
        begin, keys = cache.seen(n)
        queries, end = Visibility(*(field[:, begin:] for field in keys)), cache.length + n
        lowering = (packed.lowering if begin == cache.length else None) or lower_dense(queries, keys)
        table, owner = modulation(cache.below[:, :end, width:], keys)
        below, at = cache.below[:, begin:end, :width], cache.position[:, begin:end]
        flow = self.flow(below, Modulation(table, owner[:, begin:]), at, lowering, cache.upper)
        cache.upper.length = cache.length
        return flow[:, -n:]

    def one(self, x: Tensor, cache: Cache, expert: int = 0) -> Tensor:
        hidden = super().one(x[..., : self.config.width], cache, expert)
        time = x[..., self.config.width :]
        if isinstance(cache, FlowCache):
            cache.note(hidden, time, cache.next_position[:, None])
        return torch.cat([hidden, torch.zeros_like(time)], -1)

    def new_cache(self, batch: int, capacity: int) -> FlowCache:
        c, head, weight = self.config, self.flow.config.block, self.embed.weight
        kind = weight.dtype, weight.device
        upper = Cache(head.depth, batch, head.kv_heads, head.head, capacity, *kind)
        return FlowCache(upper, self.wide, c.depth, batch, c.kv_heads, c.head, capacity, *kind)


class Wide(nn.Embedding):
    """A table of embeddings with room behind them for a time."""

    def __init__(self, count: int, width: int, wide: int):
        super().__init__(count, width)
        self.room = wide - width

    def forward(self, ids: Tensor) -> Tensor:
        return F.pad(super().forward(ids), (0, self.room))


class Narrow(Linear):
    """A linear layer over the first `in_features` numbers of wider hidden states."""

    def forward(self, x: Tensor, route: Route = 0) -> Tensor:
        return super().forward(x[..., : self.in_features])

    def rows(self, x: Tensor, low: int, high: int) -> Tensor:
        return super().rows(x[..., : self.in_features], low, high)


def _draws(packed: Packed) -> bool:
    if isinstance(packed.route, int):
        return packed.route == DRAWN
    return len(packed.route) > DRAWN

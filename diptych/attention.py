"""Who may look at whom: one rule, and the forms in which attention kernels want it.

A span of tokens declares its visibility in two words: how far it *looks* and for which *audience* it is. Packing
lowers them to four integers a token (`Visibility`). The dense form of the rule is its definition; the cheaper
lowerings below are equal to it wherever they are chosen (tests/attention).

The rule equals the masks of BAGEL, Show-o, Show-o2 and transfusion-pytorch.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from diptych.timing import MARGIN, seconds

LATER = 0  # seen by every token whose horizon passes it
EVERYONE = 1  # seen by its whole sample, earlier tokens included
KIN = 2  # seen inside its own span only (a noised image beside its clean copy)

PART = 2**22  # bytes of keys that are multiplied at a time, of one query

Look = Literal["causal", "full", "all"]


class Visibility(NamedTuple):
    """Four integers a token, each Int[B, T].

    sample:   the sample a token belongs to (a row may pack several); -1 is padding, seen by nobody.
    span:     the span it belongs to.
    horizon:  it sees the keys whose index lies below its horizon.
    audience: LATER, EVERYONE or KIN.
    """

    sample: Tensor
    span: Tensor
    horizon: Tensor
    audience: Tensor

    def to(self, device: torch.device | str) -> Visibility:
        return Visibility(*(field.to(device, non_blocking=True) for field in self))


def rule(queries: Visibility, keys: Visibility) -> Callable[..., Tensor]:
    """The rule in FlexAttention's form: `(batch, head, query, key) -> Bool`."""

    def visible(b: Tensor, h: Tensor | int, i: Tensor, j: Tensor) -> Tensor:
        within = (j < queries.horizon[b, i]) | (keys.audience[b, j] == EVERYONE)
        addressed = (keys.audience[b, j] != KIN) | (queries.span[b, i] == keys.span[b, j])
        return within & addressed & (queries.sample[b, i] == keys.sample[b, j])

    return visible


def dense(queries: Visibility, keys: Visibility) -> Tensor:
    """The rule as Bool[B, 1, Tq, Tk], True where a query sees a key."""
    device = queries.horizon.device
    b = torch.arange(queries.horizon.shape[0], device=device)[:, None, None]
    i = torch.arange(queries.horizon.shape[1], device=device)[None, :, None]
    j = torch.arange(keys.horizon.shape[1], device=device)[None, None, :]
    return rule(queries, keys)(b, 0, i, j)[:, None]


class Lowering(NamedTuple):
    """How one forward attends.

    causal: plain causal attention. Valid where every row is one causal sample, padded on the right if at all.
    open:   every query sees every key.
    dense:  `mask` is Bool[B, 1, Tq, Tk], or Float to be added to the logits.
    flex:   `mask` is a FlexAttention BlockMask.
    """

    kind: Literal["causal", "open", "dense", "flex"]
    mask: Any = None


CAUSAL = Lowering("causal")
OPEN = Lowering("open")


def lower_dense(queries: Visibility, keys: Visibility, bias: Tensor | None = None) -> Lowering:
    """A row of padding sees nothing; it is let see everything, so that its softmax stays finite. Nobody reads it.

    bias [B, Tk]: added to the logits with which queries of other spans see a key.
    """
    mask = dense(queries, keys)
    mask = mask | ~mask.any(-1, keepdim=True)
    if bias is None:
        return Lowering("dense", mask)
    others = queries.span[:, None, :, None] != keys.span[:, None, None, :]
    return Lowering("dense", (others * bias[:, None, None]).masked_fill(~mask, float("-inf")))


def lower_flex(queries: Visibility, keys: Visibility) -> Lowering:
    """For long packed sequences on an accelerator: blocks nobody sees are never computed."""
    from torch.nn.attention.flex_attention import create_block_mask

    batch, length = queries.horizon.shape
    mask = create_block_mask(
        rule(queries, keys), batch, None, length, keys.horizon.shape[1], device=str(queries.horizon.device)
    )
    return Lowering("flex", mask)


def attend(q: Tensor, k: Tensor, v: Tensor, lowering: Lowering) -> Tensor:
    """q [B, H, Tq, E], k and v [B, K, Tk, E], H a multiple of K -> [B, H, Tq, E]; scale E^-0.5."""
    grouped = q.shape[1] != k.shape[1]
    if lowering.kind == "flex":
        from torch.nn.attention.flex_attention import flex_attention

        return flex_attention(q, k, v, block_mask=lowering.mask, enable_gqa=grouped)  # type: ignore[return-value]
    mask = lowering.mask
    if mask is not None and mask.dtype != torch.bool:
        mask = mask.to(q.dtype)  # of another precision under autocast
    return F.scaled_dot_product_attention(
        q, k, v, attn_mask=mask, is_causal=lowering.kind == "causal", enable_gqa=grouped
    )


def attend_one(q: Tensor, k: Tensor, v: Tensor, hidden: Tensor | None) -> Tensor:
    """Attention of one query a row. Heads that share keys stand as these keys' queries, so that nothing is repeated.

    q [B, H, 1, E], k and v [B, K, S, E]; `hidden` Bool[B, S] marks keys that are padding -> [B, H, 1, E].
    """
    asked = q.view(len(q), k.shape[1], -1, q.shape[-1])
    by = _by_products if q.device.type == "cpu" and products_pay(q.dtype) else _fused
    return by(asked, k, v, hidden).view(q.shape)


def _fused(q: Tensor, k: Tensor, v: Tensor, hidden: Tensor | None) -> Tensor:
    return F.scaled_dot_product_attention(q, k, v, attn_mask=None if hidden is None else ~hidden[:, None, None])


def _by_products(q: Tensor, k: Tensor, v: Tensor, hidden: Tensor | None) -> Tensor:
    """q [B, K, G, E] -> the same shape. Keys stand first in the product: a matrix by a vector takes a third of a vector
    by a matrix. torch copies keys that are part of a longer cache, so they come in parts that a CPU's caches hold."""
    some = max(1, PART // (k.shape[2] * k.shape[3] * k.element_size()))
    asked, keys, values = ((t.flatten(0, 1).split(some)) for t in (q * q.shape[-1] ** -0.5, k, v))
    scores = torch.cat([torch.bmm(a, b.mT) for a, b in zip(keys, asked, strict=True)]).mT  # [B K, G, S]
    if hidden is not None:
        scores = scores.masked_fill(hidden.repeat_interleave(k.shape[1], 0)[:, None], float("-inf"))
    weights = scores.softmax(-1, dtype=torch.float32).to(v.dtype)
    heard = [torch.bmm(a, b) for a, b in zip(weights.split(some), values, strict=True)]
    return torch.cat(heard).view(q.shape)


@cache
def products_pay(dtype: torch.dtype) -> bool:
    """Whether for one query two small matrix products are clearly quicker than the fused kernel. Measured once a
    process for half types, with keys that are part of a longer cache: on a Zen 4 they take a quarter of its time to
    all of it; with AMX two products of another form took up to twelve times as long."""
    if dtype.itemsize > 2:
        return False  # hardly a difference anywhere, and last bits that differ between two runs
    q, k = torch.ones(2, 16, 1, 128, dtype=dtype), torch.ones(2, 16, 320, 128, dtype=dtype)[:, :, :256]
    with torch.inference_mode():
        return MARGIN * seconds(lambda: _by_products(q, k, k, None)) < seconds(lambda: _fused(q, k, k, None))

"""Keys and values of what has been said, preallocated.

A forward writes after the end; only `commit` makes it stay. Visits that are tried and forgotten (flow, masked
tokens) are simply overwritten by the next one.
"""

from __future__ import annotations

from copy import copy

import torch
from torch import Tensor

from diptych.attention import Visibility
from diptych.backbone.packing import Packed


class Cache:
    """Room for `capacity` tokens of `batch` rows; grows by doubling.

    k, v: [L, B, K, S, E]. `length` tokens of every row are kept; rows that began later have padding in front.
    """

    def __init__(self, layers: int, batch: int, heads: int, width: int, capacity: int, dtype: torch.dtype, device):
        shape = (layers, batch, heads, capacity, width)
        self.k = torch.empty(shape, dtype=dtype, device=device)
        self.v = torch.empty(shape, dtype=dtype, device=device)
        self.ints = torch.empty(4, batch, capacity, dtype=torch.int64, device=device)
        self.hidden = torch.zeros(batch, capacity, dtype=torch.bool, device=device)  # padding keys
        self.length = 0
        self.ragged = False  # some kept keys are padding
        self.private = False  # some kept keys are for their own span only
        self.next_position: Tensor = torch.zeros(batch, dtype=torch.int64, device=device)

    @property
    def clean(self) -> bool:
        """Every kept key is visible to whoever comes next."""
        return not (self.ragged or self.private)

    def reserve(self, tokens: int) -> None:
        """Make room for `tokens` more."""
        need, have = self.length + tokens, self.k.shape[3]
        if need <= have:
            return
        extra = max(need, 2 * have) - have
        self.k, self.v = (torch.cat([t, t.new_empty(*t.shape[:3], extra, t.shape[4])], 3) for t in (self.k, self.v))
        self.ints = torch.cat([self.ints, self.ints.new_empty(*self.ints.shape[:2], extra)], 2)
        self.hidden = torch.cat([self.hidden, self.hidden.new_zeros(len(self.hidden), extra)], 1)

    def first(self, rows: int) -> Cache:
        """The keys of the first rows, in the same memory: for what is only tried. Not to be committed to."""
        part = copy(self)
        part.k, part.v = self.k[:, :rows], self.v[:, :rows]
        part.ints, part.hidden, part.next_position = self.ints[:, :rows], self.hidden[:rows], self.next_position[:rows]
        part.ragged = bool(part.hidden[:, : self.length].any())
        return part

    def open(self, visibility: Visibility) -> Visibility:
        """Note who the coming tokens are; returns the visibility of all keys."""
        n = visibility.sample.shape[1]
        self.reserve(n)
        here = slice(self.length, self.length + n)
        for into, field in zip(self.ints, visibility, strict=True):
            into[:, here] = field
        self.hidden[:, here] = visibility.sample < 0
        return Visibility(*self.ints[:, :, : self.length + n])

    def open_one(self) -> Tensor | None:
        """Room for one token a row that sees every kept key; returns which keys are padding, if any are."""
        self.reserve(1)
        self.hidden[:, self.length] = False  # something tried and forgotten may have been padding here
        if not self.ragged:
            return None
        return self.hidden[:, : self.length + 1]

    def write(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """k, v [B, K, n, E] of the coming tokens -> all keys and values of that layer, [B, K, length + n, E]."""
        end = self.length + k.shape[2]
        self.k[layer][:, :, self.length : end] = k
        self.v[layer][:, :, self.length : end] = v
        return self.k[layer][:, :, :end], self.v[layer][:, :, :end]

    def commit(self, packed: Packed) -> None:
        self.length += packed.x.shape[1]
        self.next_position = packed.end
        self.ragged = self.ragged or packed.ragged
        self.private = self.private or packed.private

    def commit_one(self, advance: int) -> None:
        """Keep the single token a row that was just written."""
        self.ints[0, :, self.length] = 0
        self.ints[1, :, self.length] = self.length
        self.ints[2, :, self.length] = self.length + 1
        self.ints[3, :, self.length] = 0
        self.length += 1
        self.next_position = self.next_position + advance

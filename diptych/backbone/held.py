"""Keys that are kept though they are out of date: an approximation, for contexts in which everything sees everything.

There every visit changes every key, so that nothing can be kept exactly. Fast-dLLM (arXiv 2505.22618) keeps the keys of
the prompt and of finished blocks all the same while a block is written, and computes everything anew with the next.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from diptych.backbone.cache import Cache
from diptych.backbone.packing import Packed, Segment, Span, pack
from diptych.backbone.transformer import Backbone
from diptych.errors import InputError


@dataclass
class Held:
    """The last visit in which everything was computed: its packing, its keys, and the hidden states [R, n, D] of the
    visit's own n tokens."""

    backbone: Backbone
    whole: Packed
    cache: Cache
    hidden: Tensor

    @classmethod
    def of(cls, backbone: Backbone, whole: Packed, n: int) -> Held:
        batch, length = whole.x.shape[:2]
        cache = backbone.new_cache(batch, length)
        return cls(backbone, whole, cache, backbone(whole, cache)[:, -n:])

    def visit(self, tokens: Tensor, spans: Sequence[tuple[int, Span]], first: int) -> Tensor:
        """tokens [R, n, D], of which those from `first` on are computed anew over the kept keys of all others ->
        [R, n, D]; the first are answered as they were."""
        if any(span.look != "all" for _, span in spans) or self.whole.bias is not None:
            raise InputError("keys out of date serve only where everything sees everything; leave `refresh` out")
        if first == tokens.shape[1]:
            return self.hidden
        base = self.whole.x.shape[1] - tokens.shape[1] + first
        rows = [[Segment(row, spans[-1][1])] for row in tokens[:, first:]]
        start = self.whole.position[:, base].tolist()
        self.cache.length = base
        packed = pack(rows, start=start, base=base, clean=not self.whole.ragged)
        return torch.cat([self.hidden[:, :first], self.backbone(packed, self.cache)], 1)

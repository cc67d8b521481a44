"""What has been said so far, and what the backbone answers to more of it."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy

import torch
from torch import Tensor

from diptych.attention import EVERYONE, KIN, lower_dense
from diptych.backbone.cache import Cache
from diptych.backbone.held import Held
from diptych.backbone.packing import Packed, Sample, Segment, Span, longest, pack
from diptych.backbone.transformer import Backbone
from diptych.errors import InputError


class Context:
    """One row per guidance branch and sample; rows may differ in length and may be empty.

    `extend` says something for good, `probe` only tries it. Keys are cached unless somebody in the context looks at
    whatever follows ("all") or has a bias; then everything is computed anew, and nobody else need know.
    """

    def __init__(self, backbone: Backbone, rows: Sequence[Sample], room: int = 0):
        self.backbone = backbone
        self.cached = all(_keepable(s.span) for row in rows for s in row)
        self.last_hidden: Tensor | None = None  # [R, n, D] of what was said last, aligned to the right
        self._said: list[list[Sample]] = []  # each extension's rows, for when they must be said anew
        self._fixed: dict[tuple, Packed] = {}  # packings of visits of one shape
        self._held: Held | None = None  # keys that may be out of date, for who asks for such
        self._part: Context | None = None  # its first rows, for visits of those alone
        self.rows = len(rows)
        self._silent = set(range(self.rows))  # rows in which nothing has been said
        self.cache = self._new_cache(longest(rows) + room)
        self.extend(rows)

    def extend(self, rows: Sequence[Sample]) -> Tensor:
        """Say rows for good -> hidden states [R, n, D] of the new tokens, aligned to the right."""
        n = longest(rows)
        if not n:
            return self.backbone.embed.weight.new_zeros(self.rows, 0, self.backbone.config.width)
        self._part = None
        self._said.append(list(rows))
        self._silent -= {r for r, row in enumerate(rows) if longest([row])}
        self._fixed.clear()
        self._held = None
        if not self.cached or not all(_keepable(s.span) for row in rows for s in row):
            self.cached = False
            self.last_hidden = whole = self.backbone(pack(self._whole()))[:, -n:]
            return whole
        if self.cache.length and any(s.span.audience == EVERYONE for row in rows for s in row):
            self.cache, rows = self._new_cache(self.cache.length + n), self._whole()
        packed = self._pack(rows)
        hidden = self._lasting(self.backbone(packed, self.cache)[:, -n:], rows)
        self.cache.commit(packed)
        self.last_hidden = hidden
        return hidden

    def _lasting(self, hidden: Tensor, rows: Sequence[Sample]) -> Tensor:
        """hidden [R, n, D], in which a row to which nothing was added still ends as it did before."""
        same = [r for r, row in enumerate(rows) if not longest([row])]
        if same and self.last_hidden is not None:
            hidden = hidden.clone()
            hidden[same, -1] = self.last_hidden[same, -1]
        return hidden

    def ending(self, n: int) -> Tensor:
        """Hidden states of each row's last n tokens, [R, n, D]: what foretells the first slot of a lagging port.

        Raises InputError where a row is empty: nothing foretells anything there.
        """
        if self._silent or self.last_hidden is None:
            raise InputError(
                "this writer goes on from the last token, but a row of the context is empty; say something"
            )
        return self.last_hidden[:, -n:]

    def first(self, rows: int) -> Context:
        """The first rows as a context of their own, over the same keys: for visits that are only tried."""
        if rows == self.rows:
            return self
        if self._part is None or self._part.rows != rows:
            self._part = part = copy(self)
            part.cache, part.rows, part._fixed, part._held = self.cache.first(rows), rows, {}, None
            part._said = [said[:rows] for said in self._said]
            part._silent = {r for r in self._silent if r < rows}
            part.last_hidden = None if self.last_hidden is None else self.last_hidden[:rows]
        return self._part

    def probe(self, rows: Sequence[Sample]) -> Tensor:
        """What the backbone would answer, were this said -> [R, n, D], aligned to the right. Nothing is kept."""
        if self._passing([s.span for row in rows for s in row]):
            return self.backbone(self._pack(rows), self.cache)
        whole = [[*old, *new] for old, new in zip(self._whole(), rows, strict=True)]
        return self.backbone(pack(whole))[:, -longest(rows) :]

    def visit(self, tokens: Tensor, spans: Sequence[tuple[int, Span]], keep: bool) -> Tensor:
        """`extend` (keep) or `probe` of tokens [R, n, D] that stand alike in every row: as `spans` of so many tokens.

        The shape of a visit is packed once and used again for as long as nothing is kept in between.
        """
        if tokens.shape[1] == 1 and self.cached and self._plain(spans[0][1]):
            return self._visit_one(tokens, spans[0][1], keep)
        if keep:
            return self.extend([_segments(row, spans) for row in tokens])
        if self._passing([span for _, span in spans]):
            return self.backbone(self.packed(tokens, spans), self.cache)
        return self.backbone(self._fixed_whole(tokens, spans))[:, -tokens.shape[1] :]

    def revisit(self, tokens: Tensor, spans: Sequence[tuple[int, Span]], first: int, renew: bool) -> Tensor:
        """`visit` without keeping, by approximation: only the tokens from `first` on are computed; what was said and
        the tokens before are as the last visit that renewed found them. See backbone/held.py."""
        if renew or self._held is None:
            self._held = Held.of(self.backbone, self._fixed_whole(tokens, spans), tokens.shape[1])
            return self._held.hidden
        return self._held.visit(tokens, spans, first)

    def _visit_one(self, tokens: Tensor, span: Span, keep: bool) -> Tensor:
        hidden = self.backbone.one(tokens, self.cache, span.expert)  # type: ignore[arg-type]
        if keep:
            self.last_hidden = hidden
            self._silent.clear()
            self._part = None
            self._said.append([[Segment(row, span)] for row in tokens])
            self.cache.commit_one(1 if span.advance is None else span.advance)
        return hidden

    def _passing(self, spans: Sequence[Span]) -> bool:
        """May these be tried over the cache? Not where what was said before would be other, had it seen them."""
        heard = bool(self.cache.length) and any(span.audience == EVERYONE for span in spans)
        return self.cached and not heard and all(map(_keepable, spans))

    def _plain(self, span: Span) -> bool:
        """May a single token of this span take the fast path: everybody kept is visible to it, and it to the rest."""
        alone = span.audience not in (KIN, EVERYONE) and _keepable(span)
        return alone and not self.cache.private and isinstance(span.expert, int) and span.grid is None

    def packed(self, tokens: Tensor, spans: Sequence[tuple[int, Span]]) -> Packed:
        """A visit over the cache, packed once and used again for as long as nothing is kept in between."""
        key = (tokens.shape[1], tuple(spans), self.cache.length)
        if key not in self._fixed:
            self._fixed = {key: self._pack([_segments(row, spans) for row in tokens])}
        packed = self._fixed[key]
        packed.x = tokens
        return packed

    def _fixed_whole(self, tokens: Tensor, spans: Sequence[tuple[int, Span]]) -> Packed:
        """Everything said and this visit: of one visit to the next only the visit's own tokens differ."""
        n, key = tokens.shape[1], (tokens.shape[1], tuple(spans), -1)
        if key not in self._fixed:
            rows = zip(self._whole(), tokens, strict=True)
            self._fixed = {key: (packed := pack([[*said, *_segments(row, spans)] for said, row in rows]))}
            packed.lowering = packed.lowering or lower_dense(packed.visibility, packed.visibility, packed.bias)
            return packed
        packed = self._fixed[key]
        packed.x = torch.cat([packed.x[:, :-n], tokens], 1)
        return packed

    def _pack(self, rows: Sequence[Sample]) -> Packed:
        start = self.cache.next_position.tolist()
        return pack(rows, start=start, base=self.cache.length, clean=self.cache.clean)

    def _whole(self) -> list[list[Segment]]:
        return [[s for rows in self._said for s in rows[r]] for r in range(self.rows)]

    def _new_cache(self, capacity: int) -> Cache:
        return self.backbone.new_cache(self.rows, max(capacity, 16) if self.cached else 0)


def _keepable(span: Span) -> bool:
    """May keys said before it, and its own, be kept? Not where it looks ahead; biases are not kept with the keys."""
    return span.look != "all" and not span.bias


def _segments(tokens: Tensor, spans: Sequence[tuple[int, Span]]) -> list[Segment]:
    """tokens [n, D] of one row, cut into its spans."""
    sizes = [n for n, _ in spans]
    return [Segment(part, span) for part, (_, span) in zip(torch.split(tokens, sizes), spans, strict=True)]

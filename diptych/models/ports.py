"""Doors between canvases and the backbone that several families share."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from diptych.backbone.packing import Span
from diptych.backbone.transformer import Backbone
from diptych.canvas import Canvas, Port, Step, selected


class Words(Port):
    """Slots are ids low..high of the backbone's own table and head: text, and images that share its vocabulary.

    Open slots are fed as `mask`; `before` and `after` are ids that stand around the slots.
    """

    def __init__(
        self,
        backbone: Backbone,
        low: int = 0,
        high: int | None = None,
        *,
        mask: int | None = None,
        before: tuple[int, ...] = (),
        after: tuple[int, ...] = (),
        span: Span = Span(),  # noqa: B008 - immutable
        lag: int = 0,
    ):
        super().__init__()
        self._backbone = [backbone]  # in a list: its parameters are not this port's
        self.low, self.high = low, backbone.config.vocab if high is None else high
        self.mask, self.before, self.after, self.span, self.lag = mask, before, after, span, lag

    def embed(self, canvas: Canvas, step: Step) -> tuple[Tensor, Any]:
        ids = canvas.value.clamp(min=0) + self.low
        if self.mask is not None:
            ids = torch.where(canvas.known, ids, self.mask)
        ids = ids[:, step.feed]
        if self.before or self.after:
            ids = torch.cat([self._mark(self.before, ids), ids, self._mark(self.after, ids)], 1)
        return self._backbone[0].embed(ids), None

    def head(self, hidden: Tensor, memo: Any, where: Tensor | None = None) -> Tensor:
        hidden = hidden[:, len(self.before) : hidden.shape[1] - len(self.after)]
        head = self._backbone[0].head
        if (self.low, self.high) == (0, head.out_features):
            return head(selected(hidden, where))
        return head.rows(selected(hidden, where), self.low, self.high)

    @staticmethod
    def _mark(ids: tuple[int, ...], like: Tensor) -> Tensor:
        return torch.tensor(ids, dtype=like.dtype, device=like.device).expand(len(like), -1)


class MarkedWords(Words):
    """`Words` as Show-o and MMaDA learn them: every id of the vocabulary is answered for, and the marks around the
    slots are learned with them (`objectives.marked.Marked`)."""

    def head(self, hidden: Tensor, memo: Any, where: Tensor | None = None) -> Tensor:
        """hidden [R, marks + m, D] -> logits [R, marks + m, C] of all ids; with `where` Bool[R, m] those and the
        marks'."""
        if where is not None:
            where = F.pad(where, (len(self.before), len(self.after)), value=True)
        return self._backbone[0].head(selected(hidden, where))


class Codes(Port):
    """Slots are codes with a table and a head of their own; each is foretold by the token before it (Janus, LlamaGen).

    `table` embeds codes, `into` brings them to the backbone's width, `out` maps hidden states to logits.
    """

    lag = 1

    def __init__(self, table: nn.Embedding, into: nn.Module, out: nn.Module):
        super().__init__()
        self.table, self.into, self.out = table, into, out

    def tokens(self, codes: Tensor) -> Tensor:
        """Int[...] codes -> [..., D]."""
        return self.into(self.table(codes))

    def embed(self, canvas: Canvas, step: Step) -> tuple[Tensor, Any]:
        return self.tokens(canvas.value[:, step.feed].clamp(min=0)), None

    def head(self, hidden: Tensor, memo: Any, where: Tensor | None = None) -> Tensor:
        return self.out(selected(hidden, where))

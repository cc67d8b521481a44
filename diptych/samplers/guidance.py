"""How conditional and unconditional predictions combine. A guide maps branches [G, B, m, C] -> [B, m, C]."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from diptych.canvas import Canvas, Guide, Step


def alone(parts: Tensor, canvas: Canvas, step: Step) -> Tensor:
    """No guidance."""
    return parts[0]


def cfg(weight: float) -> Guide:
    """Classifier-free guidance u + w (c - u) (arXiv 2207.12598, in the convention of Janus, LlamaGen, JanusFlow)."""

    def guide(parts: Tensor, canvas: Canvas, step: Step) -> Tensor:
        conditional, unconditional = parts[0], parts[1]
        return unconditional + weight * (conditional - unconditional)

    return guide


def cfg_growing(weight: float) -> Guide:
    """`cfg` whose weight grows from 1 to `weight` with the share of slots that are settled after the visit; one counts
    as open in the last visit, too (Muse, arXiv 2301.00704; MAR's and Harmon's schedule "linear")."""

    def guide(parts: Tensor, canvas: Canvas, step: Step) -> Tensor:
        left = torch.as_tensor(step.left, device=parts.device).clamp(min=1)
        w = 1 + (weight - 1) * (canvas.slots - left) / canvas.slots
        if w.ndim and canvas.turn is not None and parts.ndim == 3:  # only the slots of this visit, those of all rows
            w = w[canvas.turn.nonzero()[:, 0]]
        w = w.view(-1, *[1] * (parts.ndim - 2)).to(parts.dtype)
        return parts[1] + w * (parts[0] - parts[1])

    return guide


def cfg_rising(weight: float) -> Guide:
    """(1 + w) c - w u with w = weight (1 - time): from no guidance at time 1 to all of it at time 0 (UniDisc)."""

    def guide(parts: Tensor, canvas: Canvas, step: Step) -> Tensor:
        conditional, unconditional = parts[0], parts[1]
        time = torch.as_tensor(step.time if step.seen is None else step.seen, device=parts.device)
        w = (weight * (1 - time)).view(-1, *[1] * (conditional.ndim - 1)).to(parts.dtype)
        return (1 + w) * conditional - w * unconditional

    return guide


Renorm = Literal["global", "batch", "channel", "text_channel"]


def cfg_text_image(text: float, image: float = 1.0, renorm: Renorm = "global", least: float = 0.0) -> Guide:
    """Two guides one after the other, for editing (BAGEL, modeling/bagel/bagel.py): branches (everything, without
    text, without images), the last only where `image` > 1. `text` <= 1 turns off both.

    renorm: what came out is scaled back to the norm of the first branch, by a factor in [least, 1]: of each picture
    ("global"), of each token ("channel"), of each token between the two guides ("text_channel"), or of all pictures
    together ("batch": the published "global" where several are written at once; a picture then depends on its
    neighbours).
    """

    def guide(parts: Tensor, canvas: Canvas, step: Step) -> Tensor:
        full = parts[0]
        if text <= 1:
            return full
        v = parts[1] + text * (full - parts[1])
        if renorm == "text_channel":
            v = _shrunk(v, full, (v.ndim - 1,), least)
        if image > 1:
            v = parts[2] + image * (v - parts[2])
        if renorm == "text_channel":
            return v
        first = {"global": 1, "batch": 0, "channel": v.ndim - 1}[renorm]
        return _shrunk(v, full, tuple(range(first, v.ndim)), least)

    return guide


def _shrunk(v: Tensor, to: Tensor, axes: tuple[int, ...], least: float) -> Tensor:
    """v scaled down to the norm of `to` over these axes; never up."""
    ceiling, norm = (torch.linalg.vector_norm(t, dim=axes, keepdim=True) for t in (to, v))
    return v * (ceiling / (norm + 1e-8)).clamp(least, 1)


@dataclass(frozen=True)
class Within:
    """A guide that acts only at times in (low, high] (arXiv 2404.07724); at others the first branch stands alone."""

    guide: Guide
    low: float
    high: float

    def acts(self, step: Step) -> bool:
        """Steps whose rows differ in time have no one answer; they are for guides that act always."""
        return self.low < float(step.time) <= self.high

    def __call__(self, parts: Tensor, canvas: Canvas, step: Step) -> Tensor:
        return self.guide(parts, canvas, step) if self.acts(step) else parts[0]

    def needs(self, step: Step, branches: int) -> int:
        """`Writer.needs`: outside the interval only the first branch is computed."""
        return branches if self.acts(step) else 1

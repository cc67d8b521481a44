"""How conditional and unconditional predictions combine. A guide maps branches [G, B, m, C] -> [B, m, C]."""

from __future__ import annotations

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


def cfg_rising(weight: float) -> Guide:
    """(1 + w) c - w u with w = weight (1 - time): from no guidance at time 1 to all of it at time 0 (UniDisc)."""

    def guide(parts: Tensor, canvas: Canvas, step: Step) -> Tensor:
        conditional, unconditional = parts[0], parts[1]
        time = torch.as_tensor(step.time if step.seen is None else step.seen, device=parts.device)
        w = (weight * (1 - time)).view(-1, *[1] * (conditional.ndim - 1)).to(parts.dtype)
        return (1 + w) * conditional - w * unconditional

    return guide


def cfg_text_image(text: float, image: float) -> Guide:
    """Two guides one after the other, for editing: branches (everything, without text, without images); the result is
    scaled back to the norm of the first (BAGEL's global renorm)."""

    def guide(parts: Tensor, canvas: Canvas, step: Step) -> Tensor:
        full, no_text, no_image = parts[0], parts[1], parts[2]
        v = no_text + text * (full - no_text)
        v = no_image + image * (v - no_image)
        rest = tuple(range(1, v.ndim))
        shrink = full.norm(dim=rest, keepdim=True) / (v.norm(dim=rest, keepdim=True) + 1e-8)
        return v * shrink.clamp(0, 1)

    return guide

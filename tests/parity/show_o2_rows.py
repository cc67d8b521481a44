"""Show-o2's recorded rows as rows of ours: what its cases have in common."""

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import torch
from torch import Tensor

import diptych
from diptych.attention import dense
from diptych.backbone.packing import Packed, Segment, pack
from diptych.canvas import Canvas, Step
from diptych.models.model import Model
from diptych.models.network import Ids, Made
from diptych.models.show_o2 import Marks
from diptych.objectives.tokens import whole
from tests.parity.sets import GoldenSet, close


@cache
@torch.inference_mode(False)  # whoever asks first
def model(golden: GoldenSet) -> Model:
    """With the ids of the marks as the recorded prompts have them: the sets hold no tokenizer."""
    found: Any = diptych.load(golden.folder, device="cpu", dtype="float32")
    case = golden.cases["gen_step"]
    ids, (begin, count) = case.outputs["text_tokens"][0].tolist(), case.outputs["modality_positions"][0, 0].tolist()
    found.dialogue.marked(Marks(ids[0], ids[begin + count + 1], ids[begin - 1], ids[begin + count]))
    return found


def slots(latents: Tensor) -> Tensor:
    """[B, C, h, w] or [B, C, T, h, w] -> [B, N, C]."""
    return latents.flatten(2).transpose(1, 2)


def latents(slots_: Tensor, grid: Sequence[int]) -> Tensor:
    return slots_.transpose(1, 2).unflatten(2, tuple(grid))


def made(latents_: Tensor, time: float | None = None) -> Made:
    """[1, C, h, w] as a piece."""
    return Made(slots(latents_)[0], tuple(latents_.shape[2:]), time)


def canvas(latents_: Tensor) -> Canvas:
    """Open, on its way."""
    start = whole(slots(latents_), tuple(latents_.shape[2:]))
    return replace(start, known=torch.zeros_like(start.known))


def omni(packed: Packed, positions: Tensor) -> None:
    """Causal, and full within each (offset, length): ours sees what the official mask allows."""
    ours = dense(packed.visibility, packed.visibility)[:, 0]
    index = torch.arange(ours.shape[-1])
    for row, spans in zip(ours, positions, strict=True):
        mask = index[None] <= index[:, None]
        for offset, length in spans.tolist():
            inside = (index >= offset) & (index < offset + length)
            mask = mask | (inside[None] & inside[:, None])
        close(row, mask, name="omni mask")


def hidden(found: Any, rows: list[list[Segment]]) -> tuple[Packed, Tensor]:
    packed = pack(rows, left=False)
    return packed, found.network.backbone(packed)


def drawn(found: Any, ids: Tensor, positions: Tensor, noisy: Canvas, time: Tensor | float) -> list[list[Segment]]:
    """Official rows of ids, in which a canvas takes the place of the placeholders."""
    port = found.network.draw
    tokens, _ = port.embed(noisy, Step(time=time))
    rows = []
    for row, ((offset, length),), own in zip(ids.tolist(), positions.tolist(), tokens, strict=True):
        before, after = found.network.read([[Ids(row[:offset])], [Ids(row[offset + length :])]])
        assert len(own) == length
        rows.append([*before, Segment(own, port.span), *after])
    return rows


def velocities(found: Any, answer: Tensor, positions: Tensor, noisy: Canvas, time: Tensor | float) -> Tensor:
    port = found.network.draw
    _, memo = port.embed(noisy, Step(time=time))
    spans = [row[offset : offset + n] for row, ((offset, n),) in zip(answer, positions.tolist(), strict=True)]
    return latents(port.head(torch.stack(spans), memo), noisy.grid)

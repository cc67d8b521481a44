"""Learning masked codes over the whole vocabulary, the marks around an image among them (Show-o, MMaDA)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from diptych.canvas import Canvas, Step
from diptych.objectives.tokens import Masked


class Marked(Masked):
    """What `models.ports.MarkedWords` foretells: every id of the vocabulary competes for a slot, code c being id
    `low` + c, and the marks `before` and `after` the slots, never hidden, are part of the mean. When the image is
    written only the codes' columns are looked at.

    Official files: showlab/Show-o, models/modeling_showo.py; Gen-Verse/MMaDA, models/modeling_mmada.py.
    """

    def __init__(self, low: int, before: tuple[int, ...], after: tuple[int, ...]):
        super().__init__()
        self.low, self.before, self.after = low, before, after

    def loss(self, condition: Tensor, target: Tensor, canvas: Canvas, step: Step) -> Tensor:
        """condition [k, vocabulary], row by row: marks before, hidden slots, marks after."""
        shown = target.new_tensor(self.before), target.new_tensor(self.after)
        labels = [
            part
            for codes, known in zip(target, canvas.known, strict=True)
            for part in (shown[0], codes[~known] + self.low, shown[1])
        ]
        return F.cross_entropy(condition.float(), torch.cat(labels))

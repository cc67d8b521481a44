"""Masked codes learned over the whole vocabulary, with the marks around them."""

import torch
import torch.nn.functional as F

from diptych.backbone.transformer import Backbone, BackboneConfig, seeded
from diptych.canvas import Canvas, Draws, Step
from diptych.models.ports import MarkedWords, Words
from diptych.objectives.marked import Marked

LOW, HIGH, BEFORE, AFTER = 4, 9, (1,), (2, 3)


def lesson() -> tuple[Backbone, MarkedWords, Marked, Canvas, torch.Tensor]:
    backbone = seeded(Backbone(BackboneConfig(8, 1, 2, 2, 8, 10)), 0)
    objective = Marked(LOW, BEFORE, AFTER)
    target = torch.tensor([[0, 1, 2, 3], [4, 3, 2, 1]])
    canvas, _ = objective.corrupt(target, (2, 2), Draws([3, 4]))
    return backbone, MarkedWords(backbone, LOW, HIGH, mask=9, before=BEFORE, after=AFTER), objective, canvas, target


def test_marks_and_hidden_slots_are_learned_over_every_id() -> None:
    backbone, port, objective, canvas, target = lesson()
    hidden = torch.randn(2, 7, 8, generator=torch.Generator().manual_seed(0))
    condition = port.head(hidden, None, objective.learned(canvas))
    labels = F.pad((target + LOW).masked_fill(canvas.known, -100), (1, 2))
    labels[:, 0], labels[:, -2], labels[:, -1] = 1, 2, 3
    expected = F.cross_entropy(backbone.head(hidden).flatten(0, 1), labels.flatten())
    assert torch.allclose(objective.loss(condition, target, canvas, Step()), expected)
    assert len(condition) == int((~canvas.known).sum()) + 6


def test_it_is_written_by_the_same_weights() -> None:
    """The whole vocabulary's columns hold those of the codes."""
    backbone, port, _, canvas, _ = lesson()
    words = Words(backbone, LOW, HIGH, mask=9, before=BEFORE, after=AFTER)
    tokens = [p.embed(canvas, Step())[0] for p in (port, words)]
    assert torch.equal(*tokens)
    hidden = torch.randn(2, 7, 8)
    assert torch.allclose(port.head(hidden, None)[:, 1:-2, LOW:HIGH], words.head(hidden, None), atol=1e-6)

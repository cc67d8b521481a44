"""Conditions left out, texts evened, and marks that are foretold and not said."""

import torch
import torch.nn.functional as F

from diptych.backbone.packing import Segment, pack
from diptych.canvas import Draws, Step, Writer
from diptych.models.network import Ids, Made, Seen
from diptych.models.ports import Words
from diptych.objectives.evened import Evened
from diptych.objectives.tokens import Token
from diptych.samplers.guidance import alone
from diptych.samplers.schedules import raster
from diptych.training.batches import Learn, losses
from diptych.training.dropout import BAGEL, GAP, leave_out
from tests.engine.forms import make

ROW = [Ids([1, 2]), Seen(torch.zeros(3, 2, 2)), Learn("image", torch.zeros(1, 2)), Made(torch.zeros(1, 2), (1, 1))]


def test_pictures_leave_their_position_and_texts_nothing() -> None:
    assert leave_out(ROW, dict.fromkeys(BAGEL, 1.0), Draws([0])) == [GAP, ROW[2], GAP]
    assert leave_out(ROW, {}, Draws([0])) == ROW
    packed = pack([[Segment(torch.zeros(0, 4), GAP.span), Segment(torch.zeros(2, 4))]])  # type: ignore[arg-type]
    assert packed.position.tolist() == [[1, 2]]


def test_chances_are_drawn_for_each_piece() -> None:
    kept = [leave_out([Ids([i]) for i in range(4)], {Ids: 0.5}, Draws([seed])) for seed in range(200)]
    count = sum(map(len, kept))
    assert 300 < count < 500 and len({len(row) for row in kept}) == 5


def test_texts_count_by_the_root_of_their_length() -> None:
    objective, logits = Evened(), torch.randn(3, 7)
    target = torch.tensor([[1, 2], [3, -100]])
    canvas, step = objective.corrupt(target, (2,), Draws([0, 1]))
    each = F.cross_entropy(logits, torch.tensor([1, 2, 3]), reduction="none")
    weights = torch.tensor([2**-0.5, 2**-0.5, 1.0])
    torch.testing.assert_close(objective.loss(logits, target, canvas, step), (each * weights).sum() / weights.sum())
    assert isinstance(step, Step)


@torch.no_grad()
def test_an_unsaid_mark_is_foretold_and_nobody_sees_it() -> None:
    """The same as two samples: one that ends before the mark, one that begins a text behind another."""
    tiny = make("next token")
    writer = Writer(Words(tiny.network.backbone, lag=1), Token(), raster, alone)
    writers = {"text": writer, "mark": writer, "later": writer}
    text, later = torch.tensor([4, 5]), torch.tensor([8])
    row = [Ids([3]), Learn("text", text), Learn("mark", torch.tensor([6]), unsaid=1), Ids([7]), Learn("later", later)]
    found = losses(tiny.network, writers, [row], Draws([0, 1, 2]))
    rows = [
        [Ids([3]), Learn("text", text), Learn("mark", torch.tensor([6]))],
        [Ids([3, 4, 5, 7]), Learn("later", later)],
    ]
    apart = losses(tiny.network, writers, rows, Draws([0, 1, 2]))
    assert found.keys() == apart.keys() == writers.keys()
    for name, loss in found.items():
        torch.testing.assert_close(loss, apart[name])

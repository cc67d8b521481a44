"""Four things must hold for every way of writing, whatever it is made of."""

import pytest
import torch

from diptych.backbone.context import Context
from diptych.canvas import Draws, Writer
from diptych.models.network import Ids
from diptych.models.ports import Words
from diptych.objectives.tokens import Token
from diptych.samplers.guidance import alone
from diptych.samplers.schedules import raster
from diptych.training.batches import Learn, losses
from tests.engine.forms import FLOWS, FORMS, Tiny, Uncached, make, target, written

PROMPTS = [[4, 5, 6, 7, 8], [9], [10, 11, 12]]
SEEDS = [3, 4, 5]


@pytest.mark.parametrize("name", FORMS)
def test_nothing_is_left_open(name: str) -> None:
    canvas = written(make(name), PROMPTS, SEEDS, Context)
    if name not in FLOWS:
        assert canvas.known.all()
    if not canvas.value.is_floating_point():
        assert canvas.value.min() >= 0
    assert canvas.value.isfinite().all()
    assert len({str(row) for row in canvas.value.tolist()}) == len(PROMPTS), "samples with other seeds are alike"


@pytest.mark.parametrize("name", FORMS)
def test_every_parameter_is_trained(name: str) -> None:
    tiny = make(name)
    sum(trained(tiny, None).values()).backward()
    dead = [key for key, p in tiny.network.named_parameters() if p.grad is None or not p.grad.any()]
    assert dead == []


@pytest.mark.parametrize("name", FORMS)
def test_packing_does_not_change_the_loss(name: str) -> None:
    tiny = make(name)
    alone_, packed = trained(tiny, None), trained(tiny, 64)
    assert alone_.keys() == packed.keys() == {"picture", "text"}
    for writer, loss in alone_.items():
        assert torch.allclose(loss, packed[writer], rtol=1e-5)


def trained(tiny: Tiny, width: int | None) -> dict[str, torch.Tensor]:
    """Losses of a picture and of the text around it, in samples of different lengths."""
    text = Writer(Words(tiny.network.backbone, lag=1), Token(), raster, alone)
    pictures, (begin, end) = target(tiny, len(PROMPTS)), (torch.tensor([7, 8]), torch.tensor([1, 2, 3]))
    rows = [
        [Ids(prompt), Learn("text", begin), Learn("picture", picture, tiny.form.grid), Ids([9]), Learn("text", end[:n])]
        for n, (prompt, picture) in enumerate(zip(PROMPTS, pictures, strict=True), 1)
    ]
    writers = {"picture": tiny.writer, "text": text}
    return losses(tiny.network, writers, rows, Draws(range(3 * len(rows))), width)


@pytest.mark.parametrize("name", FORMS)
def test_a_batch_is_its_samples(name: str) -> None:
    tiny = make(name)
    together = written(tiny, PROMPTS, SEEDS, Context)
    for i, (prompt, seed) in enumerate(zip(PROMPTS, SEEDS, strict=True)):
        alone_ = written(tiny, [prompt], [seed], Context)
        scale = max(1.0, alone_.value.abs().max().item())  # sums of other lengths round differently, by their size
        torch.testing.assert_close(together.value[i : i + 1], alone_.value, atol=1e-5 * scale, rtol=1e-5)


@pytest.mark.parametrize("name", FORMS)
def test_visits_are_one_forward_over_everything(name: str) -> None:
    tiny = make(name)
    cached, plain = written(tiny, PROMPTS, SEEDS, Context), written(tiny, PROMPTS, SEEDS, Uncached)
    torch.testing.assert_close(cached.value, plain.value, atol=1e-5, rtol=1e-5)

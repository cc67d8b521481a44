"""Masked slots whose network is told how far it is: schedule, objective, and texts that begin with what is given."""

import math
from dataclasses import replace

import pytest
import torch

from diptych.canvas import Canvas, Draws, Step
from diptych.objectives.timed import Timed
from diptych.objectives.tokens import argmax, whole
from diptych.samplers.annealed import annealed
from diptych.samplers.guidance import alone
from diptych.samplers.loop import settle
from tests.parity.tape import Tape


def canvas(slots: int, known: int = 0) -> Canvas:
    start = whole(torch.zeros(1, slots, dtype=torch.long), (slots,))
    return replace(start, known=torch.arange(slots)[None] < known)


@pytest.mark.parametrize("visits", [1, 2, 7])
def test_time_and_heat_fall(visits: int) -> None:
    steps = list(annealed(visits, 2.0)(canvas(24)))
    assert [step.time for step in steps] == [(visits - 1 - k) / visits for k in range(visits)]
    heats = [step.heat for step in steps]
    assert heats == pytest.approx([2 * (1 - k / (visits - 1)) for k in range(visits)] if visits > 1 else [0])
    assert steps[-1].heat == 0 and not torch.as_tensor(steps[-1].left).any()


def test_the_curve_counts_what_is_given() -> None:
    """Of 20 slots 8 are known: as many stay open as of a blank canvas, but fewer than were."""
    left = [int(torch.as_tensor(step.left)) for step in annealed(4, 2.0)(canvas(20, 8))]
    assert left == [11, 10, 7, 0]


def test_given_slots_are_never_hidden() -> None:
    target = torch.arange(40).view(2, 20)
    for seed in range(20):
        spoilt, _ = Timed().corrupt(target, (20,), Draws([seed, seed + 1]), torch.tensor([5, 19]))
        assert spoilt.known[0, :5].all() and spoilt.known[1, :19].all()
        assert (~spoilt.known).any(1).all()


def test_as_many_are_hidden_as_the_share_says() -> None:
    draws = Tape(uniform=[torch.tensor([[1 / 3], [0.0]]), torch.rand(2, 20)])
    spoilt, step = Timed(clock=1000.0).corrupt(torch.zeros(2, 20, dtype=torch.long), (20,), draws, torch.tensor([4, 0]))
    shares = [math.cos(math.pi / 6), 1.0]
    assert (~spoilt.known).sum(1).tolist() == [round(16 * shares[0]), 20]
    torch.testing.assert_close(step.time, 1000 * torch.tensor(shares))


def test_the_share_is_told_as_at_least() -> None:
    draws = Tape(uniform=[torch.ones(1, 1), torch.rand(1, 9)])
    spoilt, step = Timed(least=0.25).corrupt(torch.zeros(1, 9, dtype=torch.long), (9,), draws)
    assert step.time.tolist() == [0.25] and abs(float(spoilt.memo)) < 1e-6  # type: ignore[union-attr]
    assert (~spoilt.known).sum() == 1


def test_the_loss_weighs_samples_by_their_share() -> None:
    """Logits of zeros over 4 codes: each hidden slot costs log 4."""
    spoilt = whole(torch.zeros(2, 6, dtype=torch.long), (6,))
    spoilt.known = torch.arange(6) >= torch.tensor([[3], [1]])
    spoilt.memo = torch.tensor([0.5, 0.0])
    found = Timed().loss(torch.zeros(4, 4), spoilt.value, spoilt, Step())
    assert float(found) == pytest.approx(math.log(4) * (3 / 0.5 + 1 / Timed.WEIGHED) / 6 / 2, rel=1e-5)


def test_the_last_visit_may_rewrite_everything() -> None:
    logits = torch.eye(4)[None, None]  # slot i is likeliest i
    start = replace(canvas(4, 2), value=torch.full((1, 4), 3))
    objective = Timed(closing=argmax)
    between = objective.draw(logits, start, Step(time=0.5), alone, Draws([0]))
    assert settle(start, between, Step(left=1)).value[0, :2].tolist() == [3, 3]
    last = settle(start, objective.draw(logits, start, Step(), alone, Draws([0])), Step())
    assert last.value.tolist() == [[0, 1, 2, 3]] and last.known.all()
    kept = settle(start, Timed().draw(logits, start, Step(), alone, Draws([0])), Step())
    assert kept.value[0, :2].tolist() == [3, 3] and kept.known.all()

"""Visits that are extrapolated: exact for what moves along a polynomial, and off unless a writer asks for them."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from diptych.backbone.context import Context
from diptych.backbone.foreseen import Foresight, Series
from diptych.backbone.transformer import Backbone
from diptych.canvas import Draws
from diptych.samplers import guidance, schedules
from diptych.samplers.loop import blank, visits
from tests.engine.forms import Tiny, make


def test_a_line_is_continued() -> None:
    series, line = Series(), torch.tensor([1.0, -2.0])
    for visit in (0, 1, 4):
        series.note(3 + line * visit, visit, order=6)
    torch.testing.assert_close(series.at(6), 3 + line * 6)
    assert len(series.terms) == 3
    series.note(line, 7, order=0)
    assert len(series.terms) == 1 and series.at(9).equal(line)


def written(tiny: Tiny, **changes: Any) -> tuple[torch.Tensor, int]:
    """What is drawn in nine visits, and how many of them were computed."""
    writer, computed = replace(tiny.writer, schedule=schedules.euler(9, 2.0), **changes), 0
    stream = Backbone.stream

    def counted(*given: Any) -> torch.Tensor:
        nonlocal computed
        computed += 1
        return stream(*given)

    with torch.no_grad(), pytest.MonkeyPatch.context() as patch:
        context = Context(tiny.network.backbone, tiny.rows([[4, 5, 6], [7]]))
        start = blank(writer, 2, tiny.form.grid, Draws([1, 2]), "cpu")
        patch.setattr(Backbone, "stream", counted)
        *_, (_, after) = visits(context, writer, start, tiny.form.branches, Draws([1, 2]))
    return after.value, computed


def test_planned_visits_are_computed_and_others_not() -> None:
    tiny = make("flow in the backbone")
    exact, every = written(tiny)
    near, few = written(tiny, foresight=Foresight(every=3, warm=4))
    assert (every, few) == (9, 5)  # 0-3 and 6; 4, 5, 7 and 8 are foreseen
    assert not near.equal(exact) and (near - exact).abs().max() < 0.5 * exact.abs().max()
    same, all_ = written(tiny, foresight=Foresight(every=1))
    assert all_ == 9
    torch.testing.assert_close(same, exact)


def test_branches_that_stood_aside_have_series_of_their_own() -> None:
    """A branch is computed when it is asked for first, whatever the plan says."""
    tiny = make("flow in the backbone")
    guide = guidance.Within(tiny.writer.guide, 0.0, 0.5)
    asked = {"guide": guide, "needs": guide.needs}
    drawn, few = written(tiny, foresight=Foresight(every=20, warm=1), **asked)
    assert few == 2 and drawn.isfinite().all()

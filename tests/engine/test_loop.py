"""The loop: whose turn it is, who has ended, what was given beforehand, where a flow ends."""

from typing import Any

import pytest
import torch
from torch import Tensor

from diptych.backbone.context import Context
from diptych.backbone.packing import Span
from diptych.canvas import Canvas, Drawn, Draws, Port, Step, Writer
from diptych.models.ports import Words
from diptych.objectives.flow import Flow
from diptych.objectives.tokens import Masked, Token, race, sample
from diptych.samplers import guidance, schedules
from diptych.samplers.conversation import cut
from diptych.samplers.loop import blank, places, settle, surest, taken, visits
from tests.engine.forms import CHANNELS, FORMS, WIDTH, Tiny, canvas, make

# --- whose turn it is ------------------------------------------------------------------------------------------


def test_places_ties_and_the_settled_first() -> None:
    score, known = torch.tensor([[0.5, 0.9, 0.5, 0.1], [1.0, 1.0, 1.0, 1.0]]), torch.zeros(2, 4, dtype=torch.bool)
    known[0, 3] = True
    place = places(score, known)
    assert place.tolist() == [[2, 1, 3, 0], [0, 1, 2, 3]]
    assert taken(place, Step(left=2)).tolist() == [[False, True, False, True], [True, True, False, False]]
    assert taken(place, Step(left=torch.tensor([3, 0]))).sum(1).tolist() == [1, 4]


def test_slots_beyond_reach_wait() -> None:
    start = canvas(6, [[0], []])
    score = torch.tensor([[0.0, 0.1, 0.2, 0.9, 0.9, 0.9]]).expand(2, -1)
    chosen = surest(start, score, Step(left=4, reach=3)) & ~start.known
    assert chosen.tolist() == [[False, False, True, False, False, False], [False, True, True, False, False, False]]
    by_turn = surest(start, score, Step(take=1, reach=3)) & ~start.known
    assert by_turn.tolist() == [[False, False, True, False, False, False]] * 2
    uneven = surest(start, score, Step(take=torch.tensor([0, 2]), reach=3)) & ~start.known
    assert uneven.sum(1).tolist() == [0, 2]


def test_settled_slots_keep_their_values() -> None:
    start = canvas(4, [[1]], torch.tensor([[7, 8, 7, 7]]))
    drawn = Drawn(torch.tensor([[1, 2, 3, 4]]), torch.tensor([[0.1, 0.9, 0.8, 0.7]]))
    after = settle(start, drawn, Step(left=1))
    assert after.value.tolist() == [[7, 8, 3, 4]] and after.known.tolist() == [[False, True, True, True]]
    open_ = settle(start, drawn._replace(stays_open=torch.tensor([[False, False, True, False]])), Step(left=1))
    assert open_.value.tolist() == [[7, 8, 3, 4]] and open_.known.tolist() == [[False, True, False, True]]
    following = settle(start, Drawn(torch.tensor([[5]]), torch.ones(1, 1)), Step(left=1))
    assert following.value.tolist() == [[7, 8, 5, 7]] and following.known.tolist() == [[False, True, True, False]]
    moved = settle(start, Drawn(torch.tensor([[1, 2, 3, 4]])), Step())
    assert moved.value.tolist() == [[1, 2, 3, 4]] and torch.equal(moved.known, start.known)


# --- the loop --------------------------------------------------------------------------------------------------


def context(tiny: Tiny, rows: int) -> Context:
    return Context(tiny.network.backbone.requires_grad_(False), tiny.rows([[4, 5, 6], [7], [8, 9]][:rows]))


@pytest.mark.parametrize("name", [n for n in FORMS if n.startswith("masked")])
@torch.no_grad()
def test_what_is_given_beforehand_stays(name: str) -> None:
    """Inpainting: rows may differ in what they are given; a row may be given everything."""
    tiny = make(name)
    draws = Draws([0, 1, 2])
    start = blank(tiny.writer, 3, tiny.form.grid, draws, "cpu")
    start.known = canvas(start.slots, [[0, 3, 4], [], list(range(start.slots))]).known
    given = torch.randint(0, 9, start.known.shape).to(start.value.dtype)
    wide = start.known.view(*start.known.shape, *[1] * (start.value.ndim - 2))
    start.value = torch.where(wide, given.view(*given.shape, *[1] * (start.value.ndim - 2)), start.value)
    open_ = [start.known]
    for _, after in visits(context(tiny, 3), tiny.writer, start, tiny.form.branches, draws):
        assert (after.known | ~open_[-1]).all(), "a settled slot was opened again"
        open_.append(after.known)
    assert after.known.all()
    assert torch.equal(after.value[start.known], start.value[start.known])


@torch.no_grad()
def test_rows_end_one_by_one_and_the_loop_with_the_last() -> None:
    tiny = make("next token")
    stops = torch.tensor([[2], [5], [3]])  # the slot at which each row ends
    writer = Writer(
        Words(tiny.network.backbone, lag=1),
        Token(sample()),
        schedules.raster,
        guidance.alone,
        stop=lambda _, step: stops[:, 0] == step.index,
    )
    rows = [tiny.say(ids) for ids in ([1, 2], [3], [4])]
    start = blank(writer, 3, (9,), Draws([0, 1, 2]), "cpu")
    seen = list(visits(Context(tiny.network.backbone, rows), writer, start, 1, Draws([0, 1, 2])))
    assert [c.done.tolist() for _, c in seen[1:]] == [
        [False, False, False],
        [True, False, False],
        [True, False, True],
        [True, False, True],
        [True, True, True],
    ]
    *_, (_, alone) = visits(
        Context(tiny.network.backbone, rows[1:2]),
        writer_for(writer, 5),
        blank(writer, 1, (9,), Draws([1]), "cpu"),
        1,
        Draws([1]),
    )
    assert torch.equal(seen[-1][1].value[1], alone.value[0])


def writer_for(writer: Writer, last: int) -> Writer:
    return Writer(
        writer.port,
        writer.objective,
        writer.schedule,
        writer.guide,
        stop=lambda c, step: torch.tensor([step.index == last]),
    )


def test_text_is_cut_at_its_first_stop() -> None:
    assert cut(torch.tensor([4, 5, 9, 6, 9]), frozenset({9})) == ([4, 5], 9)
    assert cut(torch.tensor([4, 5]), frozenset({9})) == ([4, 5], None)


@torch.no_grad()
def test_a_mask_that_was_drawn_leaves_its_slot_open() -> None:
    """It has used up its turn all the same (MMaDA draws over the whole vocabulary, its mask id included)."""
    tiny = make("masked text in blocks")
    writer = Writer(tiny.writer.port, Masked(race(), reopens=7), turns, guidance.alone, "surest")
    draws = Draws(range(40))
    start = blank(writer, 40, (6,), draws, "cpu")
    rows = [tiny.say([1])] * 40
    *_, (_, after) = visits(Context(tiny.network.backbone, rows), writer, start, 1, draws)
    assert (after.value[~after.known] == 7).all() and (after.value[after.known] != 7).all()
    assert 0 < (~after.known).sum() < 40


def turns(start: Canvas):
    for i in range(3):
        yield Step(i, take=2)


class Truth(Port):
    """Answers with the velocity that leads from its noise to its data."""

    def __init__(self, velocity: Tensor):
        super().__init__()
        self.velocity, self.span = velocity, Span("full")

    def embed(self, canvas: Canvas, step: Step) -> tuple[Tensor, Any]:
        return torch.zeros(*canvas.value.shape[:2], WIDTH), self.velocity

    def head(self, hidden: Tensor, memo: Any, where: Tensor | None = None) -> Tensor:
        return memo


@pytest.mark.parametrize("ascending", [False, True])
@torch.no_grad()
def test_a_straight_flow_ends_at_the_data(ascending: bool) -> None:
    data, objective = torch.randn(2, 4, CHANNELS, generator=torch.Generator().manual_seed(0)), Flow(CHANNELS, ascending)
    noise = objective.blank(2, (2, 2), Draws([1, 2]), "cpu")
    port = Truth(data - noise if ascending else noise - data)
    writer = Writer(port, objective, schedules.euler(5, 2.0, ascending), guidance.alone)
    start = blank(writer, 2, (2, 2), Draws([1, 2]), "cpu")
    *_, (_, after) = visits(context(make("learnable queries"), 2), writer, start, 1, Draws([]))
    torch.testing.assert_close(after.value, data)


def test_flow_spoils_along_the_line_it_follows() -> None:
    """At any time the canvas and what is learned lead to the data: x - t v, or x + (1 - t) v where time ascends."""
    data = torch.randn(3, 4, CHANNELS)
    for ascending in (False, True):
        objective = Flow(CHANNELS, ascending)
        spoilt, step = objective.corrupt(data, (2, 2), Draws([1, 2, 3]))
        time = torch.as_tensor(step.time).view(-1, 1, 1)
        assert len(set(time.flatten().tolist())) == 3
        velocity = data - spoilt.memo if ascending else spoilt.memo - data
        torch.testing.assert_close(spoilt.value + ((1 - time) if ascending else -time) * velocity, data)
        assert objective.loss(velocity, data, spoilt, step) < 1e-10


@torch.no_grad()
def test_branches_that_a_guide_does_not_read_are_not_computed() -> None:
    """The same picture, from fewer rows; keys behind the context are written anew by whichever rows come next."""
    tiny, rows, counts = make("flow in the backbone"), list[int](), list[int]()
    form, port, visit = tiny.form, tiny.writer.port, Context.visit
    said = Context(tiny.network.backbone, tiny.rows([[4, 5, 6], [7]]))
    guide = guidance.Within(tiny.writer.guide, 0.4, 0.9)

    def counted(self: Context, tokens: Tensor, *rest: Any) -> Tensor:
        rows.append(len(tokens))
        return visit(self, tokens, *rest)

    pictures = []
    for needs in (None, guide.needs):
        writer = Writer(port, tiny.writer.objective, schedules.euler(5, 2.0), guide, needs=needs)
        start = blank(writer, 2, form.grid, Draws([1, 2]), "cpu")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Context, "visit", counted)
            *_, (_, after) = visits(said, writer, start, 3, Draws([1, 2]))
        pictures.append(after.value)
        counts, rows = [*counts, *rows], []
    assert counts == [6] * 5 + [2, 6, 6, 6, 2]
    torch.testing.assert_close(*pictures)

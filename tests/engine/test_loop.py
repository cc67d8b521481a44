"""The loop and what drives it: schedules, guidance, whose turn it is, who has ended, what was given beforehand."""

import math

import pytest
import torch
from torch import Tensor

from diptych.backbone.context import Context
from diptych.canvas import Canvas, Drawn, Draws, Step, Writer
from diptych.errors import InputError
from diptych.models.ports import Words
from diptych.objectives.tokens import Masked, Token, race, sample, whole
from diptych.samplers import guidance, schedules
from diptych.samplers.conversation import cut
from diptych.samplers.loop import blank, places, settle, surest, taken, visits
from tests.engine.forms import FORMS, Tiny, make
from tests.parity.sets import GoldenSet, sets


def canvas(slots: int, known: list[list[int]] | None = None, value: Tensor | None = None) -> Canvas:
    """One row for each list of settled slots."""
    known = [[]] if known is None else known
    settled = torch.zeros(len(known), slots, dtype=torch.bool)
    for row, own in zip(settled, known, strict=True):
        row[own] = True
    found = whole(torch.zeros(settled.shape, dtype=torch.long) if value is None else value, (slots,))
    found.known, found.rank = settled, -torch.arange(slots, dtype=torch.float32).expand(len(known), -1)
    return found


def left(schedule, start: Canvas) -> list[list[int]]:
    """Slots left open in each row after each visit."""
    return [torch.as_tensor(step.left).expand(len(start.known)).tolist() for step in schedule(start)]


# --- schedules -------------------------------------------------------------------------------------------------


def test_raster_feeds_the_slot_before() -> None:
    steps = list(schedules.raster(canvas(3)))
    assert [(s.feed, s.left, s.keep) for s in steps] == [
        (slice(0, 0), 2, True),
        (slice(0, 1), 1, True),
        (slice(1, 2), 0, True),
    ]


def test_cosine_rounds_as_float32_does() -> None:
    """At two thirds it falls below a half, so that floor(16 x) is 7; in float64 it would be 8."""
    at = schedules.cosine(4 / 6)
    assert at.dtype == torch.float32 and math.floor(16 * at) == 7
    assert left(schedules.reveal(6, schedules.cosine), canvas(16)) == [[15], [13], [11], [7], [4], [0]]


def test_linear_and_counts_of_rows_that_differ() -> None:
    assert left(schedules.reveal(4, schedules.linear), canvas(16)) == [[12], [8], [4], [0]]
    start = canvas(8, [[], [0, 1, 2, 3, 4], list(range(8))])
    assert left(schedules.reveal(3), start) == [[6, 2, 1], [3, 1, 1], [0, 0, 0]]
    assert left(schedules.reveal(5), canvas(2)) == [[1], [1], [1], [1], [0]]


def test_heat_compounds() -> None:
    heats = [step.heat for step in schedules.reveal(4, heat=2.0)(canvas(9))]
    assert heats == pytest.approx([2 * 3 / 4, 2 * 3 / 4 / 2, 2 * 3 / 4 / 2 / 4, 0.0])


def recorded() -> list[tuple[GoldenSet, str]]:
    """Published runs that note how many slots each visit left open, and how warm it was."""
    return [
        (golden, name)
        for golden in sets()
        for name, case in golden.cases.items()
        if {"mask_len", "temperature", "remask"} <= set(case.outputs)
    ]


@pytest.mark.parametrize(("golden", "name"), recorded(), ids=lambda x: x if isinstance(x, str) else x.name)
def test_published_counts_and_temperatures(golden: GoldenSet, name: str) -> None:
    case = golden.cases[name]
    counts, remask = case.outputs["mask_len"], case.outputs["remask"].bool()
    visits_, rows, slots = remask.shape
    open_ = case.inputs["input_ids"][:, -slots - 1 : -1] == golden.config["mask_token_id"]
    start = canvas(slots, [row.logical_not().nonzero()[:, 0].tolist() for row in open_])
    curve = {"cosine": schedules.cosine, "linear": schedules.linear}[case.settings["schedule"]]
    steps = list(schedules.reveal(visits_, curve, case.settings["temperature"])(start))
    ours = torch.tensor(left(schedules.reveal(visits_, curve), start))
    assert torch.equal(ours[:-1], counts[:-1].long()) and not ours[-1].any()
    torch.testing.assert_close(torch.tensor([s.heat for s in steps]), case.outputs["temperature"])


def test_text_in_blocks() -> None:
    steps = list(schedules.blocks(4, 6)(canvas(8)))
    assert [(s.left, s.reach) for s in steps] == [(6, 4), (5, 4), (4, 4), (2, 8), (1, 8), (0, 8)]


@pytest.mark.parametrize(("slots", "size", "visits_"), [(9, 4, 4), (8, 4, 5), (8, 4, 1), (3, 4, 4)])
def test_blocks_that_leave_slots_open_are_refused(slots: int, size: int, visits_: int) -> None:
    with pytest.raises(InputError, match="multiple"):
        list(schedules.blocks(size, visits_)(canvas(slots)))


def test_scales() -> None:
    steps = list(schedules.scales((1, 2, 3))(canvas(14)))
    assert [(s.feed, s.left) for s in steps] == [(slice(0, 1), 13), (slice(1, 5), 9), (slice(5, 14), 0)]
    with pytest.raises(InputError, match="fill"):
        list(schedules.scales((1, 2))(canvas(14)))


def test_euler_times() -> None:
    down = [(s.time, s.next) for s in schedules.euler(4)(canvas(1))]
    assert down == [(1.0, 0.75), (0.75, 0.5), (0.5, 0.25), (0.25, 0.0)]
    up = [(s.time, s.next) for s in schedules.euler(2, ascending=True)(canvas(1))]
    assert up == [(0.0, 0.5), (0.5, 1.0)]
    bent = [s.time for s in schedules.euler(4, shift=3.0)(canvas(1))]
    assert bent == pytest.approx([1.0, 0.9, 0.75, 0.5])
    assert [(s.index, s.keep) for s in schedules.once(canvas(1))] == [(0, True)]


# --- guidance --------------------------------------------------------------------------------------------------


def test_guidance() -> None:
    parts = torch.tensor([3.0, 1.0]).view(2, 1, 1, 1)
    assert guidance.alone(parts, canvas(1), Step()).item() == 3
    assert [guidance.cfg(w)(parts, canvas(1), Step()).item() for w in (0, 1, 2.5)] == [1, 3, 6]


def test_guidance_by_text_and_image_keeps_each_sample_in_bounds() -> None:
    full, no_text, no_image = torch.randn(3, 2, 4, 3, generator=torch.Generator().manual_seed(0))
    found = guidance.cfg_text_image(4.0, 2.0)(torch.stack([full, no_text, no_image]), canvas(4), Step())
    for i in range(2):
        v = no_text[i] + 4 * (full[i] - no_text[i])
        v = no_image[i] + 2 * (v - no_image[i])
        torch.testing.assert_close(found[i], v * min(1.0, float(full[i].norm() / v.norm())))
    assert torch.allclose(
        guidance.cfg_text_image(1.0, 1.0)(torch.stack([full, no_text, no_image]), canvas(4), Step()), full
    )


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
    if "blocks" in name:
        start.known[1:] = start.known[0]  # blocks count from a blank canvas
        start.value = torch.where(start.known, given, start.value)
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

"""In what order and in how many visits a canvas is filled, and how guidance branches combine."""

import math

import pytest
import torch

from diptych.canvas import Canvas, Step
from diptych.errors import InputError
from diptych.samplers import guidance, schedules
from tests.engine.forms import canvas
from tests.engine.published import cases_with, each
from tests.parity.sets import GoldenSet


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


@each(cases_with("mask_len", "temperature", "remask"))
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
    def turns(size: int, visits: int, start: Canvas) -> list[tuple[list[int], int | None]]:
        return [(torch.as_tensor(s.take).tolist(), s.reach) for s in schedules.blocks(size, visits)(start)]

    assert turns(4, 6, canvas(8)) == [([2], 4), ([1], 4), ([1], 4), ([2], 8), ([1], 8), ([1], 8)]
    assert turns(4, 4, canvas(6)) == [([2], 4), ([2], 4), ([1], 6), ([1], 6)]  # the last block is shorter
    assert turns(4, 4, canvas(8, [[0, 1, 4], []])) == [([1, 2], 4), ([1, 2], 4), ([2, 2], 8), ([1, 2], 8)]


@pytest.mark.parametrize(("slots", "size", "visits_"), [(9, 4, 4), (8, 4, 5), (8, 4, 1), (9, 2, 8)])
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
    mirrored = [1 - s.time for s in schedules.euler(4, 3.0, ascending=True)(canvas(1))]
    bent = [s.time for s in schedules.euler(4, shift=3.0)(canvas(1))]
    assert bent == pytest.approx(mirrored)
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


@pytest.mark.parametrize("renorm", ["global", "batch", "channel", "text_channel"])
def test_text_and_image_guidance_shrinks_to_the_first_branch(renorm):
    """Norms never grow, stay within the limits, and are taken over what the kind says."""
    parts = torch.randn(3, 2, 4, 5, generator=torch.Generator().manual_seed(0))
    axes = {"global": (1, 2), "batch": (0, 1, 2)}.get(renorm, (2,))
    plain = parts[1] + 4 * (parts[0] - parts[1])

    def scaled(v):
        norm = [torch.linalg.vector_norm(t, dim=axes, keepdim=True) for t in (parts[0], v)]
        return v * (norm[0] / norm[1]).clamp(0.3, 1)

    image = scaled(plain) if renorm == "text_channel" else plain
    image = parts[2] + 2 * (image - parts[2])
    both = guidance.cfg_text_image(4.0, 2.0, renorm, 0.3)(parts, canvas(4), Step())
    torch.testing.assert_close(both, image if renorm == "text_channel" else scaled(image))
    text = guidance.cfg_text_image(4.0, 1.0, renorm, 0.3)(parts[:2], canvas(4), Step())
    torch.testing.assert_close(text, scaled(plain))
    assert guidance.cfg_text_image(1.0, 2.0, renorm)(parts, canvas(4), Step()).equal(parts[0])


def test_guidance_within_an_interval():
    guide = guidance.Within(guidance.cfg(3.0), 0.4, 1.0)
    parts = torch.randn(2, 1, 4, 5, generator=torch.Generator().manual_seed(0))
    inside, outside = Step(time=1.0), Step(time=0.4)
    assert guide(parts, canvas(4), inside).equal(guidance.cfg(3.0)(parts, canvas(4), inside))
    assert guide(parts, canvas(4), outside).equal(parts[0])
    assert (guide.needs(inside, 2), guide.needs(outside, 2)) == (2, 1)

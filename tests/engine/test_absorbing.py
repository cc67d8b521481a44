"""Absorbing diffusion: its draws, schedules, guidance and losses; positions of images and of tails."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from diptych.backbone.packing import Segment, Span, pack
from diptych.backbone.positions import angles, grid_angles
from diptych.backbone.transformer import Backbone, BackboneConfig, seeded
from diptych.canvas import Canvas, Draws, Step, Writer
from diptych.encoders.area import area_crop
from diptych.models.ports import Words
from diptych.objectives.absorbing import (
    Absorbing,
    Ancestral,
    balanced,
    cover_later_runs,
    cover_one_kind,
    gumbel_race,
    nucleus_race,
    stratified,
    substituted,
    surest_in_time,
)
from diptych.objectives.tokens import Pick, race, whole
from diptych.samplers.absorbing import ancestral, counted, even, shares
from diptych.samplers.conversation import say
from diptych.samplers.guidance import alone, cfg_rising
from diptych.samplers.loop import blank, visits
from tests.parity.tape import Tape

CONFIG = BackboneConfig(
    width=16, depth=2, heads=2, kv_heads=2, hidden=32, vocab=9, bias="mlp", norm_qk_whole=True, sandwich=True,
    mlp="gelu-tanh",
)  # fmt: skip
MASK, SLOTS = 8, 7


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    return seeded(Backbone(CONFIG), 0, 0.5).requires_grad_(False)


def writer(backbone: Backbone, objective: Absorbing, schedule, lazy: bool = False) -> Writer:  # noqa: ANN001
    port = Words(backbone, 0, MASK, mask=MASK, span=Span("all"))
    return Writer(port, objective, schedule, alone, "surest", lazy=lazy)


def filled(backbone: Backbone, w: Writer, seeds: list[int], known: Tensor | None = None) -> list[Canvas]:
    """The canvas at the start and after each visit."""
    draws = Draws(seeds)
    start = blank(w, len(seeds), (SLOTS,), draws, "cpu")
    if known is not None:
        start = replace(start, value=start.value.masked_fill(known, 3), known=known)
    context = say(backbone, [[] for _ in seeds])
    return [start, *(canvas for _, canvas in visits(context, w, start, 1, draws))]


# --- positions -----------------------------------------------------------------------------------------------


def test_images_have_rows_and_columns_and_tails_come_last() -> None:
    def segment(n: int, **span) -> Segment:  # noqa: ANN003
        return Segment(torch.zeros(n, 4), Span("all", **span))

    packed = pack([[segment(2), segment(4, grid=(2, 2), stretch=2.0, tail=True), segment(1, tail=True), segment(3)]])
    assert packed.position[0].tolist() == [0, 1, 5, 6, 7, 8, 9, 2, 3, 4]
    assert packed.end.tolist() == [10]
    assert packed.cell is not None
    assert packed.cell[0, 2:6].tolist() == [[0, 0], [0, 0.5], [0.5, 0], [0.5, 0.5]]
    assert packed.cell[0, [0, 1, 6, 7, 8, 9]].isnan().all()
    assert pack([[segment(2)]]).cell is None
    unknown = pack([[segment(2, grid=(1, 2), stretch=0.0)]]).cell
    assert unknown is not None and unknown.isinf().all()


def test_channels_turn_by_row_and_by_column() -> None:
    cos, sin = grid_angles(torch.tensor([2.0, 3.0]), 8, 100.0)
    by_row, by_column = (angles(torch.tensor(n), 4, 100.0) for n in (2, 3))
    assert torch.allclose(cos, torch.stack([by_row[0], by_column[0]], 1).flatten())
    assert torch.allclose(sin, torch.stack([by_row[1], by_column[1]], 1).flatten())
    assert all((t == 0).all() for t in grid_angles(torch.full((2,), math.inf), 8, 100.0))


def test_norms_and_biases_of_the_block(backbone: Backbone) -> None:
    block = dict(backbone.blocks[0].named_parameters())
    assert block["norm_q.weight"].shape == block["norm_q.bias"].shape == (CONFIG.width,)
    assert "q.bias" not in block and "out.bias" not in block
    assert {"up.bias", "down.bias", "norm_attn_out.weight", "norm_mlp_out.weight"} <= block.keys()
    silent = seeded(Backbone(CONFIG), 0)
    for part in silent.blocks:
        part.norm_attn_out.weight.data.zero_()  # type: ignore[union-attr]
        part.norm_mlp_out.weight.data.zero_()  # type: ignore[union-attr]
    x = torch.randn(3, CONFIG.width)
    assert torch.allclose(silent(pack([[Segment(x)]]))[0], silent.norm(x))


# --- draws ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pick", [gumbel_race, race()], ids=["gumbel", "exponential"])
def test_races_draw_from_the_distribution(pick: Pick) -> None:
    p = torch.tensor([0.5, 0.3, 0.2, 0.0])
    drawn = pick(p.log().expand(1, 20000, -1), Draws([1]))
    assert torch.allclose(drawn.bincount(minlength=4) / 20000 if drawn.ndim == 1 else frequencies(drawn), p, atol=0.02)


def frequencies(drawn: Tensor) -> Tensor:
    return drawn.flatten().bincount(minlength=4) / drawn.numel()


def test_nucleus_divides_probabilities_and_keeps_the_first() -> None:
    logits = torch.tensor([0.5, 0.3, 0.2]).log().expand(1, 4000, -1)
    assert set(nucleus_race(0.1, 1.0)(logits, Draws([0])).flatten().tolist()) == {0}
    assert set(nucleus_race(0.85, 1.0)(logits, Draws([0])).flatten().tolist()) == {0, 1}
    assert set(nucleus_race(0.85, 0.9)(logits, Draws([0])).flatten().tolist()) == {0}  # 0.8 / 0.9 is more than 0.85


def test_noise_of_the_surest_fades_with_time() -> None:
    logits, codes, gumbel = torch.zeros(1, 3, 4), torch.zeros(1, 3, dtype=torch.long), torch.tensor([[1.0, -2.0, 0.5]])
    tape = Tape(exponential=[(-gumbel.double()).exp()] * 2)
    for time in (1.0, torch.tensor([0.25])):
        score = surest_in_time(4.0)(logits, codes, Step(time=time), tape)
        assert torch.allclose(score, -math.log(4) + 4.0 * float(time) * gumbel.double())


def test_what_is_known_is_certain() -> None:
    found = substituted(torch.randn(1, 2, 4), torch.tensor([[2, -1]]), torch.tensor([[True, False]]))
    assert found[0, 0].tolist() == [-1e6, -1e6, 0, -1e6]
    assert torch.allclose(found[0, 1].exp().sum(), torch.tensor(1.0))


# --- visits --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("steps", "slots"), [(1, 5), (4, 4), (5, 16), (35, 256)])
def test_shares_give_each_visit_something_and_sum_up(steps: int, slots: int) -> None:
    found = shares(even, steps, slots)
    assert found.sum() == slots and (found[:-1] >= 1).all()


def test_rows_do_not_depend_on_each_other(backbone: Backbone) -> None:
    """Two rows with other numbers of open slots, one of them fewer than visits."""
    known = torch.zeros(2, SLOTS, dtype=torch.bool)
    known[0, :5] = True
    for objective, schedule in ((Absorbing(race(), surest_in_time(2.0)), counted(4)), (Ancestral(), ancestral(4))):
        w = writer(backbone, objective, schedule)
        both = filled(backbone, w, [3, 4], known)[-1]
        assert both.known.all()
        for row, seed in enumerate((3, 4)):
            alone_ = filled(backbone, w, [seed], known[row : row + 1])[-1]
            assert torch.equal(both.value[row : row + 1], alone_.value)


def test_room_leaves_the_rest_open(backbone: Backbone) -> None:
    for objective, schedule in ((Absorbing(), counted(3, room=4)), (Ancestral(), ancestral(3, room=4))):
        canvas = filled(backbone, writer(backbone, objective, schedule), [0])[-1]
        assert canvas.known[0].tolist() == [True] * 4 + [False] * (SLOTS - 4)


def test_lazy_writers_look_only_where_something_changed(backbone: Backbone) -> None:
    looks = []
    w = writer(backbone, Ancestral(1.0), ancestral(SLOTS), lazy=True)
    embed = w.port.embed
    w.port.embed = lambda canvas, step: looks.append(step) or embed(canvas, step)  # type: ignore[method-assign]
    canvases = filled(backbone, w, [2])
    changed = [bool((a.known != b.known).any()) for a, b in zip(canvases, canvases[1:], strict=False)]
    assert not all(changed[:-1]), "the seed must give a visit that settles nothing"
    assert len(looks) == 1 + sum(changed[:-1])


def test_guidance_rises_as_time_falls() -> None:
    parts = torch.randn(2, 2, 3, 4)
    canvas = whole(torch.zeros(2, 3, dtype=torch.long), (3,))
    guided = cfg_rising(2.0)(parts, canvas, Step(time=torch.tensor([1.0, 0.25])))
    assert torch.equal(guided[0], parts[0, 0])
    assert torch.allclose(guided[1], 2.5 * parts[0, 1] - 1.5 * parts[1, 1])
    assert torch.equal(cfg_rising(2.0)(parts, canvas, Step(time=0.25, seen=1.0)), parts[0])


# --- training ------------------------------------------------------------------------------------------------


def test_times_of_a_batch_cover_all_times() -> None:
    found = stratified(torch.tensor([0.5, 0.5, 0.5, 0.5]))
    assert found.tolist() == [0.125, 0.375, 0.625, 0.875]


def test_loss_counts_what_is_hidden_over_all_that_counts() -> None:
    kinds, target = torch.tensor([0, 0, 1, 1]), torch.tensor([[1, -100, 2, 0]])
    objective = Absorbing(kinds=kinds, weights=(1.0, 0.5), snr=5.0, antithetic=False)
    moved = torch.tensor([[0.0, 0.0, 0.0, 1.0]])
    canvas, step = objective.corrupt(target, (4,), Tape(uniform=[torch.tensor([0.5]), moved]))
    assert canvas.known[0].tolist() == [False, False, False, True]
    assert objective.learned(canvas)[0].tolist() == [True, False, True, False]
    found = objective.loss(torch.zeros(2, 3), target, canvas, step)
    t = 0.999 * 0.5 + 0.001
    weight = 0.999 / (1 - 0.999 * t) / (1 / (1 - 0.999 * t) - 1 + 1 / 5)
    assert found.item() == pytest.approx(weight * math.log(3) * (1.0 + 0.5) / 3, rel=1e-5)


def test_text_never_outweighs_images_by_more_than_the_ratio() -> None:
    text = torch.tensor(3.0, requires_grad=True)
    found = balanced(text, torch.tensor(1.0), 1.5)
    found.backward()
    assert found.item() == pytest.approx(1.5) and text.grad == pytest.approx(0.5)
    assert balanced(text, torch.tensor(9.0), 1.5).item() == 3


def test_whole_parts_are_hidden() -> None:
    hidden = torch.tensor([[True, False, True, False]] * 4)
    kinds = torch.tensor([0, 0, 1, 1])
    text, image = torch.tensor([[0.0], [1.0], [0.0], [1.0]]), torch.tensor([[1.0], [0.0], [0.0], [1.0]])
    found = cover_one_kind(kinds, 0.2)(hidden, Tape(uniform=[text, image]))
    assert found.tolist() == [[True, True, False, False], [False, False, True, True], [True, False, True, False]] + [
        [True, False, True, False]
    ]
    runs = torch.tensor([0] * 5 + [1] * 6 + [0])
    drawn = torch.tensor([[0.3, 0.3]])  # chances 0.2 and 0.4; the last run is too short to count
    found = cover_later_runs(runs, 0.2)(torch.zeros(1, 12, dtype=torch.bool), Tape(uniform=[drawn]))
    assert found[0].tolist() == [False] * 5 + [True] * 6 + [False]


# --- pixels --------------------------------------------------------------------------------------------------


def test_pictures_are_halved_while_twice_too_large_and_cut_in_the_middle() -> None:
    picture = torch.arange(8 * 16).float().view(1, 8, 16).expand(3, -1, -1)
    small = torch.nn.functional.avg_pool2d(picture, 2)
    assert torch.equal(area_crop(picture, 4), small[:, :, 2:6])
    assert torch.equal(area_crop(picture, 4, (0, 4)), small[:, :, 4:])
    assert area_crop(picture[:, :3, :2], 4).shape == (3, 4, 4)

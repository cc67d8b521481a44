"""Where chance comes from, and what is made of it: each against a plain reference."""

import math
from collections.abc import Sequence

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from diptych.canvas import Canvas, Draws, Step
from diptych.objectives.tokens import (
    Masked,
    any_slot,
    argmax,
    gumbel64,
    keep_top_k,
    keep_top_p,
    less_repeated,
    race,
    sample,
    surest,
    surest64,
    whole,
)

KINDS = ["uniform", "normal", "exponential"]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("kind", KINDS)
def test_each_sample_has_a_generator_of_its_own(kind: str, dtype: torch.dtype) -> None:
    """Also over the 16 numbers from which torch fills tensors another way."""
    together, alone = Draws([3, 4, 5]), Draws([4])
    for shape in ((5,), (33,), (2, 20), ()):
        drawn = getattr(together, kind)(range(3), *shape, dtype=dtype)
        assert drawn.dtype == dtype and drawn.shape == (3, *shape)
        assert torch.equal(drawn[1:2], getattr(alone, kind)([0], *shape, dtype=dtype))
        assert not torch.equal(drawn[0], drawn[2])


@pytest.mark.parametrize("kind", KINDS)
def test_rows_say_whose_a_draw_is(kind: str) -> None:
    together, alone = Draws([3, 4, 5]), Draws([5])
    drawn = getattr(together, kind)([0, 0, 2, 2, 2], 7)
    assert torch.equal(drawn[2:], getattr(alone, kind)([0, 0, 0], 7))
    assert torch.equal(getattr(together, kind)([2], 3), getattr(alone, kind)([0], 3))


def test_only_shares_the_generators() -> None:
    draws = Draws([3, 4, 5])
    first = draws.only([2, 0]).uniform(range(2), 4)
    fresh = Draws([3, 4, 5])
    assert torch.equal(first, fresh.uniform(range(3), 4)[[2, 0]])
    assert torch.equal(draws.uniform([2], 4), fresh.uniform([2], 4))


def test_distributions() -> None:
    draws = Draws([0])
    uniform, normal, exponential = (getattr(draws, kind)([0] * 4000, 4) for kind in KINDS)
    assert uniform.min() >= 0 and uniform.max() < 1 and abs(uniform.mean() - 0.5) < 0.01
    assert abs(normal.mean()) < 0.03 and abs(normal.std() - 1) < 0.03
    assert exponential.min() > 0 and abs(exponential.mean() - 1) < 0.03


# --- picking codes ---------------------------------------------------------------------------------------------


class Stated(Draws):
    """Uniform numbers as stated, in order of asking."""

    def __init__(self, *stated: Sequence[float]):
        super().__init__([])
        self.stated = list(stated)

    def uniform(self, rows: Sequence[int], *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
        return torch.tensor(self.stated.pop(0), dtype=dtype).view(len(rows), *shape)


def allowed(logits: Sequence[float], temperature: float, top_k: int | None, top_p: float) -> dict[int, float]:
    """Code -> probability, by the definitions of the papers, one code at a time."""
    kept = {i: x / temperature for i, x in enumerate(logits)}
    if top_k is not None:
        least = sorted(kept.values(), reverse=True)[min(top_k, len(kept)) - 1]
        kept = {i: x for i, x in kept.items() if x >= least}
    total = sum(math.exp(x) for x in kept.values())
    found, reached = {}, 0.0
    for i, x in sorted(kept.items(), key=lambda pair: (-pair[1], pair[0])):
        if reached >= top_p:
            break
        found[i] = math.exp(x) / total
        reached += found[i]
    total = sum(found.values())
    return {i: p / total for i, p in found.items()}


distinct = st.lists(st.integers(-40, 40), min_size=2, max_size=9, unique=True)


@given(
    distinct, st.sampled_from([0.5, 1.0, 3.0]), st.sampled_from([None, 1, 3, 20]), st.sampled_from([1.0, 0.83, 0.31])
)
def test_codes_are_drawn_as_often_as_they_are_probable(
    raw: list[int], temperature: float, top_k: int | None, top_p: float
) -> None:
    logits, grid = [x / 10 for x in raw], 500
    u = [(i + 0.5) / grid for i in range(grid)]
    found = sample(temperature, top_k, top_p)(torch.tensor(logits).expand(1, grid, -1), Stated(u))[0]
    expected = allowed(logits, temperature, top_k, top_p)
    assert set(found.tolist()) <= set(expected)
    for code, p in expected.items():
        assert abs((found == code).sum().item() - p * grid) <= 1.01
    assert found.diff().min() >= 0, "codes follow their distribution function"


def test_filters_keep_ties_and_the_code_that_reaches_p() -> None:
    logits = torch.tensor([[1.0, 2.0, 2.0, 0.0]])
    assert keep_top_k(logits, 1).isfinite().tolist() == [[False, True, True, False]]
    assert torch.equal(keep_top_k(logits, None), logits) and torch.equal(keep_top_k(logits, 9), logits)
    half = torch.tensor([[0.5, 0.3, 0.2]]).log()
    assert keep_top_p(half, 0.51).isfinite().tolist() == [[True, True, False]]
    assert keep_top_p(half, 0.01).isfinite().tolist() == [[True, False, False]]
    assert torch.equal(keep_top_p(half, 1.0), half)


def test_the_ends_of_the_distribution() -> None:
    logits = torch.tensor([-1e9, 0.0, 0.0, -1e9]).expand(1, 3, -1)
    assert sample()(logits, Stated([0.0, 0.5, 1 - 2**-53])).tolist() == [[1, 2, 2]]


def test_argmax_asks_for_no_chance() -> None:
    assert argmax(torch.tensor([[[0.0, 2.0, 1.0]]]), Draws([])).tolist() == [[1]]


def test_the_race_is_the_published_one() -> None:
    logits = torch.randn(2, 3, 6, generator=torch.Generator().manual_seed(0))
    codes = race(0.7, 4)(logits, Draws([1, 2]))
    chance = Draws([1, 2]).exponential(range(2), 3, 6)
    kept = (logits / 0.7).masked_fill((logits / 0.7) < (logits / 0.7).topk(4).values[..., -1:], -torch.inf)
    assert torch.equal(codes, (kept.softmax(-1) / chance).argmax(-1))
    many = race()(logits[:1, :1].expand(1, 20000, -1), Draws([3]))[0].bincount(minlength=6) / 20000
    torch.testing.assert_close(many, logits[0, 0].softmax(-1), atol=0.015, rtol=0)


def test_gumbel_noise_is_as_precise_as_published() -> None:
    """In float64: exp(100) is no float32."""
    logits = torch.tensor([[[100.0, 99.0, 0.0]]])
    codes = [int(gumbel64(1.0)(logits, Stated([a, b, 0.5]))) for a, b in [(0.5, 0.5), (0.1, 0.9)]]
    assert codes == [0, 1]
    u = torch.tensor([0.1, 0.9, 0.5], dtype=torch.float64)
    assert (logits[0, 0].double().exp() / (-u.log()) ** 2.5).argmax() == gumbel64(2.5)(logits, Stated(u.tolist()))
    assert gumbel64(0)(logits, Draws([])).tolist() == [[0]]


def test_what_was_written_becomes_less_likely() -> None:
    canvas = Canvas(
        torch.tensor([[2, 0, -1, -1]]),
        torch.tensor([[True, True, False, False]]),
        torch.zeros(1, 4),
        (4,),
        torch.zeros(1),
    )
    logits = torch.tensor([[[-1.0, 1.0, 3.0]]])
    assert less_repeated(logits, canvas, 1.5).tolist() == [[[-1.5, 1.0, 2.0]]]
    assert less_repeated(logits, canvas, 1) is logits


# --- how sure --------------------------------------------------------------------------------------------------


def test_confidence_with_and_without_heat() -> None:
    logits = torch.tensor([[[0.0, 1.0], [2.0, 0.0]]])
    codes = torch.tensor([[1, 0]])
    plain = logits.log_softmax(-1).gather(-1, codes[..., None])[..., 0]
    torch.testing.assert_close(surest(logits, codes, Step(), Draws([])), plain)
    heated = surest(logits, codes, Step(heat=0.5), Stated([0.25, 0.5]))
    gumbel = torch.tensor([[-math.log(-math.log(0.25)), -math.log(-math.log(0.5))]])
    torch.testing.assert_close(heated, plain + 0.5 * gumbel)
    never = surest(torch.tensor([[[0.0, -1e9]]]), torch.tensor([[1]]), Step(), Draws([]))
    torch.testing.assert_close(never, torch.tensor([[1e-20]]).log())


def test_confidence_in_float64_tells_near_certainties_apart() -> None:
    logits = torch.tensor([[[30.0, 0.0], [31.0, 0.0]]])
    score = surest64(logits, torch.zeros(1, 2, dtype=torch.long), Step(), Draws([]))
    assert score.dtype == torch.float64 and score[0, 0] < score[0, 1] < 1


def test_confidence_by_chance_is_a_draw_a_slot() -> None:
    codes = torch.zeros(2, 3, dtype=torch.long)
    assert torch.equal(any_slot(codes, codes, Step(), Draws([1, 2])), Draws([1, 2]).uniform(range(2), 3))


def test_masking_for_training_hides_what_the_curve_says() -> None:
    target = torch.zeros(400, 10, dtype=torch.long)
    canvas, _ = Masked().corrupt(target, (2, 5), Draws(range(400)))
    share = torch.cos(torch.cat([Draws([i]).uniform([0]) for i in range(400)]) * math.pi / 2)
    hidden = (~canvas.known).sum(1)
    assert torch.equal(hidden, (10 * share).round().clamp(min=1).long())
    assert (~canvas.known).float().mean(0).std() < 0.05, "every slot is hidden as often"
    assert whole(target, (2, 5)).known.all()

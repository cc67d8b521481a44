"""Linear layers in 8 and 4 bits: what they keep of the weights, and what of the numbers that go through them."""

import pytest
import torch
from torch import Tensor, nn

from diptych.backbone import products, quantised
from diptych.backbone.quantised import KINDS, Int4, Int8, Int8Dynamic, int4

MOST = {"int8": 0.01, "int8-dynamic": 0.01, "int4": 0.1}  # of normal weights: the norm of the error by the norm


def layer(inputs: int = 96, outputs: int = 40, bias: bool = True) -> nn.Linear:
    made = nn.Linear(inputs, outputs, bias)
    generator = torch.Generator().manual_seed(0)
    for parameter in made.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator) * 0.02
    return made.requires_grad_(False)


def away(found: Tensor, whole: Tensor) -> float:
    return float((found.float() - whole.float()).norm() / whole.float().norm())


@pytest.mark.parametrize("kind", KINDS)
def test_little_is_lost(kind: str) -> None:
    linear, x = layer(), torch.randn(5, 7, 96, generator=torch.Generator().manual_seed(1))
    small = KINDS[kind](linear)
    assert 0 < away(small.whole(torch.float32), linear.weight) < MOST[kind]
    assert 0 < away(small(x), linear(x)) < 1.5 * MOST[kind]
    exact = nn.functional.linear(x, small.whole(torch.float32), linear.bias)
    if kind != "int8-dynamic":
        assert torch.allclose(small(x), exact, atol=1e-6), "the layer is not that of its weights"
    halves = small(x.bfloat16())
    assert halves.dtype == torch.bfloat16 and away(halves, exact) < 0.02


def test_the_error_of_a_weight_is_bounded_by_its_row_or_group() -> None:
    weight = layer().weight
    rows = weight.abs().amax(1, keepdim=True) / 127 / 2
    assert ((Int8.of(layer()).whole(torch.float32) - weight).abs() <= rows * 1.001).all()
    grouped = weight.unflatten(1, (-1, 32))
    gap = Int4.of(layer()).whole(torch.float32).unflatten(1, (-1, 32)) - grouped
    farthest = grouped.gather(-1, grouped.abs().argmax(-1, keepdim=True))
    step = (farthest / -8).to(torch.bfloat16).float()
    plain = (grouped / step).round().clamp(-8, 7) * step - grouped  # nothing but the opposite end is cut off
    errors, before = gap.square().sum(-1), plain.square().sum(-1)
    assert (errors <= before * 1.001).all() and errors.sum() < 0.95 * before.sum()
    assert (gap.abs() <= farthest.abs() * 0.4).all(), "no more is cut off than the finest step leaves over"


def test_bits_a_weight() -> None:
    linear = layer(inputs=4096, outputs=64, bias=False)
    stored = {
        kind: sum(t.numel() * t.element_size() for t in KINDS[kind](linear).state_dict().values()) for kind in KINDS
    }
    bits = {kind: 8 * size / linear.weight.numel() for kind, size in stored.items()}
    assert bits == {"int8": pytest.approx(8, abs=0.01), "int8-dynamic": pytest.approx(8, abs=0.01), "int4": 4.5}


def test_inputs_that_make_no_groups_take_8_bits() -> None:
    assert isinstance(int4(layer(inputs=44)), Int8) and isinstance(int4(layer(inputs=64)), Int4)


@pytest.mark.parametrize("kind", KINDS)
def test_zeros_stay_zeros(kind: str) -> None:
    linear = layer()
    linear.weight.data[3] = 0
    linear.weight.data[5, 32:64] = 0
    whole = KINDS[kind](linear).whole(torch.float32)
    assert torch.equal(whole[3], torch.zeros(96)) and torch.equal(whole[5, 32:64], torch.zeros(32))


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_pass_through(kind: str) -> None:
    x = torch.randn(2, 96, requires_grad=True)
    KINDS[kind](layer())(x).sum().backward()
    assert x.grad is not None and x.grad.abs().sum() > 0


def test_tokens_in_8_bits_by_either_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    """By oneDNN's where it adds up exactly, by plain operations elsewhere: the rounding is the same."""
    linear, x = layer(), torch.randn(5, 7, 96, generator=torch.Generator().manual_seed(1))
    here = Int8Dynamic.of(linear)
    monkeypatch.setattr(quantised, "exact_in_8_bits", lambda: False)
    plain = Int8Dynamic.of(linear)
    with torch.no_grad():
        assert torch.allclose(here(x), plain(x), atol=1e-6)
        assert 0 < away(plain(x), Int8.of(linear)(x)) < 0.01
        assert not plain(torch.zeros(3, 96)).sub(linear.bias).any()
    assert (here.blocked is None) == (not products.exact_in_8_bits()) and plain.blocked is None
    assert torch.equal(here.whole(torch.float32), plain.whole(torch.float32))
    ours, theirs = here.state_dict(), plain.state_dict()
    assert ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)

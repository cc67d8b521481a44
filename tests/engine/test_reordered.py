"""Weights in a CPU's order: the same numbers and answers, and the same state."""

import pytest
import torch
from torch import nn

import diptych
from diptych.backbone import reordered
from diptych.backbone.context import Context
from diptych.backbone.packing import Segment, Span
from diptych.backbone.quantised import Int8Dynamic
from diptych.backbone.reordered import Reordered
from diptych.backbone.transformer import Linear
from diptych.models import fitting
from diptych.models.fitting import Fit
from tests.engine.forms import WIDTH, make


@pytest.mark.parametrize("shape", [(1, 48), (2, 1, 48), (3, 20, 48), (0, 48)])
@pytest.mark.parametrize("biased", [False, True])
def test_it_is_the_linear_layer(shape: tuple[int, ...], biased: bool) -> None:
    plain, x = Linear(48, 20, biased).requires_grad_(False), torch.randn(shape)
    quick = Reordered(plain)
    torch.testing.assert_close(quick(x), plain(x), atol=1e-5, rtol=1e-5)
    for part in ((3, 11), (0, 20), (3, 11)):
        torch.testing.assert_close(quick.rows(x, *part), plain.rows(x, *part), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_few_rows_among_zeros(dtype: torch.dtype) -> None:
    plain, x = Linear(48, 20).to(dtype).requires_grad_(False), torch.randn(2, 1, 48).to(dtype)
    quick = Reordered(plain)
    quick.slow = frozenset({1, 2})
    for rows in (x[:0], x[:1], x, x.expand(2, 3, 48)):
        torch.testing.assert_close(quick(rows), plain(rows))
        torch.testing.assert_close(quick.rows(rows, 3, 11), plain.rows(rows, 3, 11))


def test_its_state_is_that_of_the_plain_layer() -> None:
    plain = Linear(48, 20)
    state = nn.Sequential(Reordered(plain)).state_dict()
    assert state.keys() == {"0.weight", "0.bias"}
    assert torch.equal(state["0.weight"], plain.weight) and torch.equal(state["0.bias"], plain.bias)


def test_gradients_pass_through_it() -> None:
    plain, x = Linear(8, 4).requires_grad_(False), torch.randn(3, 8, requires_grad=True)
    Reordered(plain)(x).sum().backward()
    assert x.grad is not None
    torch.testing.assert_close(x.grad, plain.weight.sum(0).expand(3, 8))


def all_worthwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fitting, "worthwhile", lambda weight: True)


def test_a_backbone_answers_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    all_worthwhile(monkeypatch)
    network = make("residual codes").network.requires_grad_(False)
    said = [[Segment(torch.randn(3, WIDTH), Span())], [Segment(torch.randn(2, WIDTH), Span())]]
    tokens = torch.randn(2, 1, WIDTH)
    with torch.no_grad():
        plain = Context(network.backbone, said).visit(tokens, [(1, Span())], True)
        before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
        Fit(network, None, False).everything()
        quick = Context(network.backbone, said).visit(tokens, [(1, Span())], True)
    assert sum(isinstance(m, Reordered) for m in network.modules()) >= 7 * network.backbone.config.depth
    torch.testing.assert_close(quick, plain, atol=1e-5, rtol=1e-5)
    after = network.state_dict()
    assert after.keys() == before.keys() and all(torch.equal(after[name], before[name]) for name in before)


@pytest.mark.parametrize("name", ["janus-emoji", "show-o-emoji"])
def test_a_loaded_model_draws_and_answers_the_same(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    plain = diptych.load(name, device="cpu")
    all_worthwhile(monkeypatch)
    quick = diptych.load(name, device="cpu")
    assert any(isinstance(m, Reordered) for m in quick.network.modules())
    pictures = [model.generate("two red cars", seed=3)[0] for model in (plain, quick)]
    assert pictures[0].tobytes() == pictures[1].tobytes()
    texts = [model.chat((pictures[0], "How many cars are there?")).text for model in (plain, quick)]
    assert texts[0] == texts[1]


def test_only_large_weights_on_cpus_of_a_known_type(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reordered, "LARGE", 64)
    monkeypatch.setattr(reordered, "pays", lambda dtype: dtype == torch.float32)
    assert reordered.worthwhile(torch.ones(8, 8))
    assert not reordered.worthwhile(torch.ones(7, 9))
    assert not reordered.worthwhile(torch.ones(8, 8, dtype=torch.bfloat16))
    assert not reordered.worthwhile(torch.ones(8, 8, device="meta"))


@pytest.mark.parametrize("quantize", [None, "int8-dynamic"])
def test_few_rows_are_measured_once_on_layers_that_no_cache_holds(monkeypatch, quantize: str | None) -> None:
    all_worthwhile(monkeypatch)
    monkeypatch.setattr(fitting, "SLOW", {})
    shown: list[list[nn.Module]] = []
    monkeypatch.setattr(fitting, "slow_rows", lambda layers, dtype: shown.append(layers) or frozenset({2}))

    def slow(beyond: int) -> set[frozenset[int]]:
        monkeypatch.setattr(fitting, "BEYOND", beyond)
        network = make("residual codes").network.requires_grad_(False)
        Fit(network, quantize, False).everything()
        ordered = [m for m in network.modules() if isinstance(m, Reordered | Int8Dynamic)]
        return {m.slow for m in ordered if m.blocked is not None}

    assert slow(2**40) == {frozenset()} and not shown
    assert frozenset({2}) in slow(5 * WIDTH**2) and len(shown) in (1, 2)
    measured = len(shown)
    assert 1 < len(shown[0]) < 7 and frozenset({2}) in slow(5 * WIDTH**2) and len(shown) == measured

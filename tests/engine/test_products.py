"""The quick kernels for a few tokens equal the plain product, and are taken where they are meant to be."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from diptych.backbone import products
from diptych.backbone.context import Context
from diptych.backbone.packing import Segment, Span
from diptych.backbone.quantised import Int8
from tests.engine.forms import WIDTH, make


@pytest.mark.parametrize("shape", [(1, 48), (2, 1, 48), (2, 3, 48)])
@pytest.mark.parametrize("biased", [False, True])
def test_turned_is_linear(shape: tuple[int, ...], biased: bool) -> None:
    x, weight, bias = torch.randn(shape), torch.randn(20, 48), torch.randn(20) if biased else None
    torch.testing.assert_close(products.turned(x, weight, bias), F.linear(x, weight, bias), atol=1e-5, rtol=1e-5)


def test_only_a_few_rows_of_large_matrices_where_nothing_is_learned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "LARGE", 64)
    weight = torch.ones(8, 8)
    with torch.no_grad():
        assert products.few(torch.ones(2, 4, 8), weight)
        assert not products.few(torch.ones(products.FEW + 1, 8), weight)
        assert not products.few(torch.ones(2, 8), torch.ones(7, 9))
    assert not products.few(torch.ones(2, 8), weight)


def test_a_backbone_answers_the_same_by_either_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    """With thresholds at which every product of a visit is turned."""
    backbone = make("residual codes").network.backbone.requires_grad_(False)
    said = [[Segment(torch.randn(3, WIDTH), Span())], [Segment(torch.randn(2, WIDTH), Span())]]
    tokens, calls, turned = torch.randn(2, 1, WIDTH), [], products.turned
    with torch.no_grad():
        plain = Context(backbone, said).visit(tokens, [(1, Span())], True)
        monkeypatch.setattr(products, "LARGE", 1)
        monkeypatch.setattr(products, "turning_pays", lambda rows: True)
        monkeypatch.setattr(products, "turned", lambda *given: calls.append(1) or turned(*given))
        quick = Context(backbone, said).visit(tokens, [(1, Span())], True)
    assert len(calls) >= 7 * backbone.config.depth
    torch.testing.assert_close(quick, plain, atol=1e-5, rtol=1e-5)


def test_whole_numbers_are_read_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    linear = nn.Linear(128, 64).requires_grad_(False)
    small, x = Int8.of(linear), torch.randn(2, 1, 128)
    with torch.no_grad():
        plain = small(x)
        monkeypatch.setattr(products, "LARGE", 1)
        quick = small(x)
    assert quick.dtype == plain.dtype and quick.shape == plain.shape
    assert not torch.equal(quick, plain), "the kernel was not taken"
    assert float((quick - plain).norm() / plain.norm()) < 0.01

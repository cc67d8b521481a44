"""The kernel for whole numbers equals the plain product, and is taken where it is meant to be."""

import pytest
import torch
from torch import nn

from diptych.backbone import products
from diptych.backbone.quantised import Int8


def test_only_a_few_rows_of_large_matrices_where_nothing_is_learned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "LARGE", 64)
    weight = torch.ones(8, 8)
    with torch.no_grad():
        assert products.few(torch.ones(2, 4, 8), weight)
        assert not products.few(torch.ones(products.FEW + 1, 8), weight)
        assert not products.few(torch.ones(2, 8), torch.ones(7, 9))
    assert not products.few(torch.ones(2, 8), weight)


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

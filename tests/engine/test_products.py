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


def test_zeros_fill_up_rows_where_that_is_quicker() -> None:
    matrix, x, shown = torch.randn(8, 5), torch.randn(2, 3, 8), []

    def product(rows: torch.Tensor) -> torch.Tensor:
        shown.append(len(rows))
        return rows @ matrix

    for part in (x[:0], x[:1, :1], x[:, :1], x[:1], x):
        torch.testing.assert_close(products.filled(part, frozenset({1, 2}), product), part @ matrix)
    assert shown == [0, 4, 4, 3, 6]


def test_rows_are_slow_that_take_longer_than_more_and_come_out_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    class Odd(nn.Linear):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x[:, :2] * (2 if len(x) == 3 else 1)

    def slow(layers: list[nn.Module]) -> set[int]:
        times = iter([1.0, 0.9, 1.5, 1.2])  # of four rows, and of those that come out the same
        monkeypatch.setattr(products, "seconds", lambda work: (work(), next(times))[1])
        return set(products.slow_rows(layers, torch.float32))

    class Even(Odd):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x[:, :2]

    assert slow([Even(3, 2), Even(5, 2)]) == {2, 3}
    assert slow([Even(3, 2), Odd(5, 2)]) == {2}


def test_whole_products_are_exact_however_many_rows() -> None:
    generator = torch.Generator().manual_seed(0)
    codes = torch.randint(-15, 16, (16, 64), generator=generator, dtype=torch.int8)  # too small to be cut off
    tokens = torch.randint(-15, 16, (5, 64), generator=generator).float()
    for rows in range(1, 6):
        found = products.all_whole(tokens[:rows], products.in_order(codes), torch.ones(16), frozenset({1, 2}))
        assert torch.equal(found, tokens[:rows] @ codes.float().t())

"""Pictures of any shape: their sizes, where their patches are, and that each is read as if it were alone."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as Pillow

from diptych.encoders.grids import GridTable, cells, sincos, stretched_cells
from diptych.encoders.native import Native
from diptych.encoders.navit import NaViT, by_shape
from diptych.encoders.vit import ViTConfig
from diptych.errors import InputError

SIDES = st.integers(1, 3000)


@given(SIDES, SIDES)
def test_sides_are_whole_strides_and_not_too_long(width: int, height: int) -> None:
    rule = Native(1024, 512, 16)
    wide, high = rule.size(width, height)
    assert wide % 16 == high % 16 == 0 and min(wide, high) >= 16 and max(wide, high) <= 1024
    assert rule(Pillow.new("RGB", (40, 30))).size == rule.size(40, 30)


def test_shorter_sides_are_stretched_and_many_pixels_shrunk() -> None:
    assert Native(1024, 512, 16).size(400, 300) == (688, 512)
    assert Native(1024, 512, 16).size(2048, 1024) == (1024, 512)
    assert Native(1024, 512, 16, pixels=512 * 512).size(1024, 1024) == (256, 256)  # by the ratio, not by its root
    assert Native(1024, 512, 16, pixels=4 * 1024 * 512, pictures=4).size(1024, 512) == (1024, 512)


def test_cells() -> None:
    assert cells(2, 3, 5).tolist() == [0, 1, 2, 5, 6, 7]
    assert stretched_cells(2, 2, 4).tolist() == [0, 2, 8, 10]
    assert stretched_cells(4, 4, 4).equal(cells(4, 4, 4))
    with pytest.raises(InputError, match="at most 5"):
        cells(2, 6, 5)


def test_columns_come_first_in_the_table() -> None:
    table = sincos(3, 8).view(3, 3, 8)
    for i in range(3):
        torch.testing.assert_close(table[0, i, :4], table[2, i, :4])
        torch.testing.assert_close(table[i, 0, 4:], table[i, 2, 4:])
    torch.testing.assert_close(table[1, 2, 0], torch.tensor(2.0).sin())
    torch.testing.assert_close(table[1, 2, 7], torch.tensor(0.01).cos())


def test_tables_that_are_not_stored_are_computed_on_any_device() -> None:
    with torch.device("meta"):
        table, stored = GridTable(3, 8, stored=False), GridTable(3, 8)
    assert table.table.equal(sincos(3, 8)) and not table.state_dict()
    assert list(stored.state_dict()) == ["table"] and stored.table.is_meta and not stored.table.requires_grad
    assert table(2, 2).equal(sincos(3, 8)[[0, 1, 3, 4]])


@torch.no_grad()
def test_pictures_of_one_shape_are_read_together() -> None:
    torch.manual_seed(0)
    vit = NaViT(ViTConfig(image_size=8, patch=2, width=8, depth=1, heads=2, hidden=12), side=4)
    pictures = [torch.randn(3, h, w) for h, w in ((4, 6), (2, 2), (4, 6))]
    sizes: list[int] = []

    def read(numbers: list[int], pixels: torch.Tensor) -> torch.Tensor:
        sizes.append(len(numbers))
        return vit(pixels)

    for picture, features in zip(pictures, by_shape(pictures, read), strict=True):
        torch.testing.assert_close(features, vit(picture[None])[0])
    assert sizes == [2, 1]
    assert vit.position is not None
    torch.testing.assert_close(vit.positions(2, 3)[0], vit.position[0, [0, 1, 2, 4, 5, 6]])

"""Resizing rules."""

import pytest
from PIL import Image as Pillow

from diptych.encoders.preprocess import Fit


@pytest.mark.parametrize(
    ("size", "white"), [((53, 34), (0, 1, 8, 7)), ((34, 53), (1, 0, 7, 8)), ((7, 7), (0, 0, 8, 8))]
)
def test_fit(size: tuple[int, int], white: tuple[int, int, int, int]) -> None:
    """The shorter side is rounded up, 34 / 53 of 8 pixels to 6, and what is left around it is black."""
    made = Fit(8)(Pillow.new("RGB", size, (255, 255, 255)))
    assert made.size == (8, 8) and made.getbbox() == white
    assert set(made.crop(white).getdata()) == {(255, 255, 255)}

"""The glyphs: four atlases of 394 emoji in 64-pixel cells, decoded once."""

import functools
from typing import Any

import numpy as np
from PIL import Image

from diptych.data.worlds.emoji.rules import ASSETS, read_json


@functools.lru_cache(None)
def index() -> dict[str, Any]:
    return read_json("atlas.json")


@functools.lru_cache(None)
def cells() -> dict[str, int]:
    """Class id -> number of its cell, row by row."""
    return {name: number for number, name in enumerate(index()["order"])}


@functools.lru_cache(None)
def sheet(style: str) -> np.ndarray:
    """The whole atlas of a style: uint8 [1280, 1280, 4], straight (not premultiplied) RGBA."""
    with Image.open(ASSETS / index()["files"][style]["file"]) as image:
        return np.asarray(image.convert("RGBA"))


def glyph_size(style: str, object_id: str) -> tuple[int, int]:
    """Width and height of a glyph in its cell, in pixels; the longer one is 56."""
    width, height = index()["sizes"][style][cells()[object_id]]
    return width, height


@functools.lru_cache(None)
def glyph(style: str, object_id: str) -> np.ndarray:
    """One glyph, cut to its alpha box: uint8 [height, width, 4], straight RGBA."""
    cell, columns, number = index()["cell"], index()["columns"], cells()[object_id]
    width, height = glyph_size(style, object_id)
    top = (number // columns) * cell + (cell - height) // 2
    left = (number % columns) * cell + (cell - width) // 2
    return sheet(style)[top : top + height, left : left + width]

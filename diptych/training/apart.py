"""Scenes to codes object by object: the same thing is then the same codes, whatever stands around it.

A convolutional encoder sees a whole picture: its normalisations and its attention spread every object over all codes,
and the codes along an object's outline hold its background too. Of the nine codes of an object, half changed when
another stood beside it, and a model had to learn them all. Here each object of a straightened scene is cut out along
the grid of codes, on one ground that stands for "nothing", and encoded by itself. Empty canvas is one code a colour;
what shows between objects is for the decoder to infer from it.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence

import numpy as np
import torch
from torch import Tensor

from diptych.data.worlds.emoji.render import render
from diptych.data.worlds.emoji.rules import BACKGROUNDS
from diptych.data.worlds.emoji.scene import Scene, Thing
from diptych.errors import TrainingError

CANVAS = 256  # of a scene's coordinates
NOTHING = (255, 0, 255)  # a colour that neither paint nor background has


def apart(encode: Callable[[Tensor], Tensor], factor: int, pixels: Tensor, scenes: Sequence[Scene]) -> Tensor:
    """Straightened scenes on the ground NOTHING, pixels [B, 3, H, W] in [-1, 1] -> latents [B, C, h, w], empty canvas
    as each scene's own background.

    encode: makes latents of pixels, one for `factor` of them a side; before quantisation, where there is one.
    Raises TrainingError for a scene whose objects do not stand on the grid of codes.
    """
    side, cells = factor, pixels.shape[-1] // factor
    colors = torch.tensor([BACKGROUNDS[scene.bg] for scene in scenes], device=pixels.device) / 127.5 - 1
    empty = encode(colors[..., None, None].expand(-1, -1, side, side).to(pixels.dtype))
    grid = empty.expand(-1, -1, cells, cells).clone()
    for width, places in _blocks(scenes, cells).items():
        crops = [pixels[b, :, y * side : (y + width) * side, x * side : (x + width) * side] for b, y, x in places]
        latents, across = encode(torch.stack(crops)), torch.arange(width, device=pixels.device)
        b, y, x = torch.tensor(places, device=pixels.device).T[..., None, None]
        grid[b, :, y + across[:, None], x + across] = latents.permute(0, 2, 3, 1).to(grid.dtype)
    return grid


def _blocks(scenes: Sequence[Scene], cells: int) -> dict[int, list[tuple[int, int, int]]]:
    """By width in codes: scene, row and column at which each object's square begins."""
    found: dict[int, list[tuple[int, int, int]]] = {}
    for b, scene in enumerate(scenes):
        for thing in scene.objects:
            y, x, width = block(thing, cells)
            found.setdefault(width, []).append((b, y, x))
    return found


def block(thing: Thing, cells: int) -> tuple[int, int, int]:
    """Row, column and width of an object's square on a grid of `cells` a side."""
    unit = CANVAS // cells
    top, left = thing.y - thing.s // 2, thing.x - thing.s // 2
    if thing.s % unit or top % unit or left % unit:
        raise TrainingError(f"{thing.id} at ({thing.x}, {thing.y}), {thing.s} large, is not on a grid of {cells} codes")
    return top // unit, left // unit, thing.s // unit


class Apart:
    """Canvases of straightened scenes, put together from the codes of their objects; each object is encoded once.

    encode: pixels [B, 3, H, W] in [-1, 1] -> what stands on their canvases [B, h * w, ...]. size: of a whole picture.
    cells: codes a side.
    """

    def __init__(self, encode: Callable[[Tensor], Tensor], size: int, cells: int) -> None:
        self.encode, self.size, self.cells = encode, size, cells
        self.known: dict[Hashable, Tensor] = {}  # [rows, columns, ...] of each object's look and each background

    def __call__(self, scenes: Sequence[Scene]) -> list[Tensor]:
        """-> [cells * cells, ...] for each scene. Raises TrainingError if an object does not stand on the grid."""
        return [self._canvas(scene).flatten(0, 1) for scene in scenes]

    def _canvas(self, scene: Scene) -> Tensor:
        empty = self._empty(scene.bg)
        canvas = empty.expand(self.cells, self.cells, *empty.shape[2:]).clone()
        for thing in scene.objects:
            y, x, width = block(thing, self.cells)
            canvas[y : y + width, x : x + width] = self._object(scene.style, thing)
        return canvas

    def _object(self, style: str, thing: Thing) -> Tensor:
        look = style, thing.id, thing.color, thing.s
        if look not in self.known:
            y, x, width = (self.size // self.cells * n for n in block(thing, self.cells))
            shown = render(Scene(style, "white", (thing,)), self.size, NOTHING)
            self.known[look] = self._encoded(shown[y : y + width, x : x + width])
        return self.known[look]

    def _empty(self, bg: str) -> Tensor:
        if bg not in self.known:
            side = self.size // self.cells
            self.known[bg] = self._encoded(np.full((side, side, 3), BACKGROUNDS[bg], np.uint8))
        return self.known[bg]

    def _encoded(self, shown: np.ndarray) -> Tensor:
        """One at a time: in other company a code could turn out another, and a resumed training differ."""
        pixels = torch.from_numpy(shown.copy()).permute(2, 0, 1)[None].float() / 127.5 - 1
        rows = len(shown) * self.cells // self.size
        return self.encode(pixels)[0].unflatten(0, (rows, rows))

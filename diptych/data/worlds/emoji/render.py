"""Scenes to pixels, in integer arithmetic: the same scene gives the same bytes everywhere.

Resampling is a triangle filter widened when shrinking, on premultiplied colour with scale 65025 = 255 * 255;
compositing is the only anti-aliasing.
"""

import functools
import math
import threading
from collections import OrderedDict

import numpy as np

from diptych.data.worlds.emoji.atlas import glyph, glyph_size
from diptych.data.worlds.emoji.rules import BACKGROUNDS, COLORS, Color
from diptych.data.worlds.emoji.scene import Scene, Thing
from diptych.errors import InputError

OPAQUE = 65025
WEIGHT_ONE = 1 << 14
CACHE_BYTES = 128 << 20

Sprite = np.ndarray  # uint16 [height, width, 4], premultiplied RGB and alpha, 0..65025


def render(scene: Scene, size: int = 64, ground: Color | None = None) -> np.ndarray:
    """Draw a scene: uint8 [size, size, 3], RGB; on another `ground` than its background's colour if one is given.

    Raises `InputError` if size is below 8.
    """
    if size < 8:
        raise InputError(f"a scene cannot be drawn {size} pixels wide; ask for 8 or more (64 is usual)")
    canvas = np.empty((size, size, 3), np.int32)
    canvas[:] = BACKGROUNDS[scene.bg] if ground is None else ground
    for thing in scene.objects:
        left, top, right, bottom = pixel_box(thing, scene.style, size)
        sprite = SPRITES.get(scene.style, thing.id, thing.color, pixel_length(thing.s, size))
        _composite(canvas, sprite, left, top)
    return canvas.astype(np.uint8)


def pixel_length(s: int, size: int) -> int:
    """The longer side in pixels of an object of `s`/256 of a canvas `size` pixels wide."""
    return max(4, (s * size + 128) // 256)


def pixel_box(thing: Thing, style: str, size: int) -> tuple[int, int, int, int]:
    """Left, top, right, bottom in pixels (right and bottom exclusive), not cut at the canvas."""
    width, height = sprite_size(*glyph_size(style, thing.id), pixel_length(thing.s, size))
    left = thing.x * size // 256 - width // 2
    top = thing.y * size // 256 - height // 2
    return left, top, left + width, top + height


def sprite_size(width: int, height: int, longer: int) -> tuple[int, int]:
    """Width and height after scaling so that the longer side is `longer`, rounded half up."""
    most = max(width, height)
    return tuple(max(1, (2 * side * longer + most) // (2 * most)) for side in (width, height))  # type: ignore


def recolor(pixels: np.ndarray, rgb: Color) -> np.ndarray:
    """Paint a glyph (int64 [h, w, 4], straight RGBA) in a colour, keeping its light and shade and its alpha."""
    alpha = pixels[..., 3]
    light = (299 * pixels[..., 0] + 587 * pixels[..., 1] + 114 * pixels[..., 2]) // 1000
    total = int(alpha.sum())
    mean = int((light * alpha).sum()) // total
    spread = max(12, math.isqrt(int(((light - mean) ** 2 * alpha).sum()) // total))
    tone = np.clip((light - mean) * 256 // (2 * spread), -256, 256)
    painted = pixels.copy()
    for channel, value in enumerate(rgb):
        darker, lighter = value * tone * 140 // 65536, (255 - value) * tone * 115 // 65536
        painted[..., channel] = value + np.where(tone < 0, darker, lighter)
    return painted


@functools.lru_cache(4096)
def filter_weights(length_in: int, length_out: int) -> np.ndarray:
    """Triangle filter as a matrix of whole numbers, float64 [out, in]; each row sums to 2**14."""
    widest = max(length_in, length_out)
    weights = np.zeros((length_out, length_in))
    for i in range(length_out):
        raw = [max(0, 2 * widest - abs((2 * j + 1) * length_out - (2 * i + 1) * length_in)) for j in range(length_in)]
        whole = [WEIGHT_ONE * value // sum(raw) for value in raw]
        whole[raw.index(max(raw))] += WEIGHT_ONE - sum(whole)
        weights[i] = whole
    return weights


def make_sprite(style: str, object_id: str, color: str | None, longer: int) -> Sprite:
    """A glyph painted, premultiplied and scaled to `longer` pixels."""
    pixels = glyph(style, object_id).astype(np.int64)
    if color is not None:
        pixels = recolor(pixels, COLORS[color])
    height, width = pixels.shape[:2]
    out_width, out_height = sprite_size(width, height, longer)
    alpha = pixels[..., 3:]
    premultiplied = np.concatenate([pixels[..., :3] * alpha, 255 * alpha], -1).astype(np.float64)
    # Sums stay below 65025 * 2**28 < 2**53, so float64 holds every one exactly and BLAS does the work.
    rows = np.tensordot(filter_weights(height, out_height), premultiplied, (1, 0))
    both = np.tensordot(filter_weights(width, out_width), rows, (1, 1)).transpose(1, 0, 2)
    return np.floor((both + (1 << 27)) / (1 << 28)).astype(np.uint16)


class SpriteCache:
    """The most recently used sprites, up to a number of bytes; safe to share between threads."""

    def __init__(self, limit: int) -> None:
        self.limit, self.held = limit, 0
        self.sprites: OrderedDict[tuple[str, str, str | None, int], Sprite] = OrderedDict()
        self.lock = threading.Lock()

    def get(self, style: str, object_id: str, color: str | None, longer: int) -> Sprite:
        key = (style, object_id, color, longer)
        with self.lock:
            if key in self.sprites:
                self.sprites.move_to_end(key)
                return self.sprites[key]
        sprite = make_sprite(*key)
        with self.lock:
            self._keep(key, sprite)
        return sprite

    def _keep(self, key: tuple[str, str, str | None, int], sprite: Sprite) -> None:
        if key in self.sprites:
            return
        self.sprites[key] = sprite
        self.held += sprite.nbytes
        while self.held > self.limit:
            self.held -= self.sprites.popitem(last=False)[1].nbytes


SPRITES = SpriteCache(CACHE_BYTES)


def _composite(canvas: np.ndarray, sprite: Sprite, left: int, top: int) -> None:
    """Lay a sprite over the canvas (int32 [size, size, 3]) in place; what hangs over the edge is cut."""
    size, (height, width) = canvas.shape[0], sprite.shape[:2]
    x0, y0, x1, y1 = max(left, 0), max(top, 0), min(left + width, size), min(top + height, size)
    if x0 >= x1 or y0 >= y1:
        return
    part = sprite[y0 - top : y1 - top, x0 - left : x1 - left].astype(np.int32)
    under = canvas[y0:y1, x0:x1]
    under[:] = (255 * part[..., :3] + under * (OPAQUE - part[..., 3:]) + 32512) // OPAQUE

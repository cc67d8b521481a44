"""Pictures half given and half done: canvases that begin with a picture, those that go on where one ends, and pictures
of unfinished canvases."""

from __future__ import annotations

from typing import Any, Literal, get_args

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image as Pillow
from torch import Tensor

from diptych.canvas import Canvas, Given
from diptych.errors import InputError
from diptych.images import Image
from diptych.models.family import Dialogue
from diptych.models.network import Network

UNSEEN = 0.0  # mid grey, where a slot is still open
Side = Literal["left", "right", "top", "bottom"]


def given(network: Network, dialogue: Dialogue, image: Image, mask: Image, grid: tuple[int, ...]) -> Given:
    """What a picture and a mask of its size leave on the canvas: every slot is known but those under white."""
    anew, value = under(dialogue, image, mask, grid), encoded(network, dialogue, image)
    return Given(value, ~anew.to(value.device))


def under(dialogue: Dialogue, image: Image, mask: Image, grid: tuple[int, ...]) -> Tensor:
    """Bool[N]: slots of a picture that lie under the white of a mask of its size.

    The mask goes the picture's way, through the same resizing and cutting.
    """
    if mask.size != image.size:
        raise InputError(
            f"the mask has {mask.size[0]}x{mask.size[1]} pixels and the picture {image.size[0]}x{image.size[1]}; "
            "they must be of one size, white where to paint anew"
        )
    white = Pillow.fromarray(np.asarray(mask.pixels.convert("L"))).convert("RGB")
    anew = covered((dialogue.source(white).mean(0) + 1) / 2, grid)
    if not anew.any():
        raise InputError("the mask leaves nothing to paint anew; make it white where the picture is to change")
    return anew


def encoded(network: Any, dialogue: Dialogue, image: Image) -> Tensor:
    """A picture as it would stand on a canvas, [N, ...]."""
    with torch.inference_mode():
        return network.encode(dialogue.source(image.pixels)[None].to(network.device, network.dtype))[0]


def covered(mask: Tensor, grid: tuple[int, ...]) -> Tensor:
    """Float[H, W] in [0, 1] -> Bool[N]: slots of which at least half is white, by bicubic interpolation without
    smoothing (Show-o's inference_t2i.py)."""
    return F.interpolate(mask[None, None], grid, mode="bicubic")[0, 0].flatten() >= 0.5


def side_of(name: str) -> Side:
    """Raises InputError for what is no side of a picture."""
    for side in get_args(Side):
        if name == side:
            return side
    raise InputError(f"a picture goes on to one of {', '.join(get_args(Side))}, not {name!r}")


def beyond(codes: Tensor, side: Side, grid: tuple[int, ...]) -> Given:
    """What stands for a picture, [h, w, ...] -> a canvas of `grid` whose near half is the picture's outer half on that
    side, and whose far half is open: the picture goes on there (Show-o's extrapolation, inference_t2i.py)."""
    value = codes.new_zeros(*grid, *codes.shape[2:])
    known = torch.zeros(grid, dtype=torch.bool, device=codes.device)
    rows, columns = grid[0] // 2, grid[1] // 2
    near, outer = {
        "right": ((slice(None), slice(0, columns)), (slice(None), slice(-columns, None))),
        "left": ((slice(None), slice(-columns, None)), (slice(None), slice(0, columns))),
        "bottom": ((slice(0, rows), slice(None)), (slice(-rows, None), slice(None))),
        "top": ((slice(-rows, None), slice(None)), (slice(0, rows), slice(None))),
    }[side]
    value[near], known[near] = codes[outer], True
    return Given(value.flatten(0, 1), known.flatten())


def onward(codes: Tensor, made: Tensor, side: Side) -> Tensor:
    """The picture's codes and those of a canvas that `beyond` began, as one larger picture."""
    axis = 1 if side in ("left", "right") else 0
    shared = made.shape[axis] // 2
    kept = codes.shape[axis] - shared
    if side in ("right", "bottom"):
        return torch.cat([codes.narrow(axis, 0, kept), made], axis)
    return torch.cat([made, codes.narrow(axis, shared, kept)], axis)


def sketch(network: Network, dialogue: Dialogue, canvas: Canvas, row: int) -> Pillow.Image:
    """One sample's canvas as a picture; of codes, what is still open is grey. Latents are shown as they are."""
    value, known = canvas.value[row : row + 1], canvas.known[row : row + 1]
    with torch.inference_mode():
        if value.is_floating_point():
            return dialogue.pictures(network.decode(value, canvas.grid))[0]
        pixels = network.decode(value.clamp(min=0), canvas.grid)
        seen = known.view(1, 1, *canvas.grid).to(pixels.dtype)
        shown = F.interpolate(seen, pixels.shape[-2:], mode="nearest") > 0
        return dialogue.pictures(torch.where(shown, pixels, UNSEEN))[0]

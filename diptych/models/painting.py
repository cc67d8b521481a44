"""Pictures half given and half done: canvases that begin with a picture, and pictures of unfinished canvases."""

from __future__ import annotations

from typing import Any

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


def given(network: Network, dialogue: Dialogue, image: Image, mask: Image, grid: tuple[int, ...]) -> Given:
    """What a picture and a mask of its size leave on the canvas: every slot is known but those under white.

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
    encoder: Any = network
    with torch.inference_mode():
        pixels = dialogue.source(image.pixels)[None].to(network.device, network.dtype)
        value = encoder.encode(pixels)[0]
    return Given(value, ~anew.to(value.device))


def covered(mask: Tensor, grid: tuple[int, ...]) -> Tensor:
    """Float[H, W] in [0, 1] -> Bool[N]: slots of which at least half is white, by bicubic interpolation without
    smoothing (Show-o's inference_t2i.py)."""
    return F.interpolate(mask[None, None], grid, mode="bicubic")[0, 0].flatten() >= 0.5


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

"""UniDisc's pictures: halved by area, then stretched to cover a square, of which the middle is kept."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image as Pillow
from torch import Tensor


def area_crop(pixels: Tensor, side: int, place: tuple[int, int] | None = None) -> Tensor:
    """Float[3, H, W] -> Float[3, side, side] (demo/inference_utils.py: tensor_center_crop).

    place: top and left of what is kept. The official code draws it at random, despite its name; None is the middle.
    """
    image = pixels[None]
    while min(image.shape[-2:]) >= 2 * side:
        image = F.interpolate(image, size=tuple(n // 2 for n in image.shape[-2:]), mode="area")
    scale = max(side / n for n in image.shape[-2:])
    height, width = (round(n * scale) for n in image.shape[-2:])
    image = F.interpolate(image, size=(height, width), mode="bilinear")
    top, left = place or ((height - side) // 2, (width - side) // 2)
    return image[0, :, top : top + side, left : left + side]


class AreaCrop:
    """RGB picture -> Float[3, side, side] in [-1, 1]."""

    def __init__(self, side: int):
        self.side = side

    def __call__(self, image: Pillow.Image) -> Tensor:
        pixels = torch.from_numpy(np.array(image.convert("RGB"), dtype=np.float32)).permute(2, 0, 1) / 255
        return area_crop(pixels, self.side) * 2 - 1

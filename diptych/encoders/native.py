"""Pictures read and written near their own size and shape: sides between two limits, in whole patches."""

from __future__ import annotations

from dataclasses import dataclass

from PIL import Image as Pillow


@dataclass(frozen=True)
class Native:
    """Resize so that the longer side is at most `longest`, the shorter at least `shortest`, both multiples of
    `stride`, and there are at most `pixels`, shared among `pictures`. Stretched a little, never cut.

    BAGEL's `MaxLongEdgeMinShortEdgeResize` (data/transforms.py), slips included: too many pixels shrink the sides by
    the ratio of areas, not by its root, and the shorter side may then fall below its limit.
    """

    longest: int
    shortest: int
    stride: int
    pixels: int = 14 * 14 * 9 * 1024
    pictures: int = 1
    resample: Pillow.Resampling = Pillow.Resampling.BICUBIC

    def size(self, width: int, height: int) -> tuple[int, int]:
        """(width, height) of a picture -> those after resizing."""
        scale = max(min(self.longest / max(width, height), 1.0), self.shortest / min(width, height))
        width, height = self._scaled(width, height, scale)
        limit = self.pixels / self.pictures
        if width * height > limit:
            width, height = self._scaled(width, height, limit / (width * height))
        if max(width, height) > self.longest:
            width, height = self._scaled(width, height, self.longest / max(width, height))
        return width, height

    def __call__(self, image: Pillow.Image) -> Pillow.Image:
        return image.resize(self.size(*image.size), self.resample)

    def _scaled(self, width: int, height: int, scale: float) -> tuple[int, int]:
        """Rounded to whole pixels and then to whole strides, half to even both times."""
        wide, high = (
            max(self.stride, round(round(side * scale) / self.stride) * self.stride) for side in (width, height)
        )
        return wide, high

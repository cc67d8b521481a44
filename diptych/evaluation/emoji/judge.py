"""The judge: reads a picture back into objects, and compares them with what was asked.

The glyphs are known, so reading is nearly exact: propose boxes, classify each crop. What it gets wrong on right
pictures is in `judge.json`; scores are lower bounds by that much.
"""

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image

from diptych.data.worlds.emoji import Graph, Scene
from diptych.data.worlds.emoji.rules import BACKGROUNDS, STYLES
from diptych.errors import ImageError
from diptych.evaluation.emoji.classifier import CROP, IDS, MARGIN, PAINTS, GlyphClassifier, as_input, load_classifier
from diptych.evaluation.emoji.proposals import Box, Proposals, propose
from diptych.evaluation.emoji.verdicts import Seen, SeenObject, Verdict, judge_drawing, judge_edit

CHUNK = 256  # crops classified at once


class Judge:
    """Reads and judges pictures: uint8 [S, S, 3] or PIL, any S of 32 or more (64 and 128 are measured)."""

    def __init__(self, classifier: GlyphClassifier | None = None) -> None:
        self.classifier = classifier or load_classifier()

    def read(self, image: Image.Image | np.ndarray) -> Seen:
        """Everything on one picture."""
        return self.read_all([image])[0]

    def read_all(self, images: Sequence[Image.Image | np.ndarray]) -> list[Seen]:
        """Everything on each picture; crops of all pictures are classified together."""
        pixels = [as_pixels(image) for image in images]
        proposals = [propose(image) for image in pixels]
        crops = [crop for image, found in zip(pixels, proposals, strict=True) for crop in cut_out(image, found)]
        named = iter(self._classify(crops))
        return [
            Seen(
                nearest_background(found.background),
                tuple(SeenObject(*next(named), box=_scaled(box, len(image))) for box in found.boxes),
            )
            for image, found in zip(pixels, proposals, strict=True)
        ]

    def drawing(self, image: Image.Image | np.ndarray, graph: Graph) -> Verdict:
        """Whether a picture shows what a prompt asks and nothing else. Style is judged apart, by `Seen.style`."""
        return judge_drawing(self.read(image), graph)

    def edit(self, image: Image.Image | np.ndarray, source: Scene, target: Scene, op: str) -> Verdict:
        """Whether a picture is the target of an edit: changed as told, everything else where it was."""
        return judge_edit(self.read(image), source, target, op)

    def _classify(self, crops: list[np.ndarray]) -> list[tuple[str, str | None, str]]:
        """Class, colour and style of each crop."""
        named: list[tuple[str, str | None, str]] = []
        device = next(self.classifier.parameters()).device
        for start in range(0, len(crops), CHUNK):
            with torch.inference_mode():
                scores = self.classifier(as_input(np.stack(crops[start : start + CHUNK])).to(device))
            best = (logits.argmax(1).tolist() for logits in (scores.objects, scores.colors, scores.styles))
            named += [(IDS[i], PAINTS[color], STYLES[style]) for i, color, style in zip(*best, strict=True)]
        return named


def as_pixels(image: Image.Image | np.ndarray) -> np.ndarray:
    """uint8 [S, S, 3]. Raises `ImageError` if the picture is not square or too small."""
    pixels = np.asarray(image.convert("RGB") if isinstance(image, Image.Image) else image)
    if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8:
        raise ImageError(f"the judge reads uint8 [S, S, 3], not {pixels.dtype} {list(pixels.shape)}")
    if pixels.shape[0] != pixels.shape[1] or len(pixels) < 32:
        raise ImageError(f"the judge reads square pictures of 32 pixels or more, not {list(pixels.shape[:2])}")
    return pixels


def cut_out(image: np.ndarray, found: Proposals) -> list[np.ndarray]:
    """A square crop around each box, scaled to uint8 [32, 32, 3]; beyond the canvas lies background."""
    if not found.boxes:
        return []
    size = len(image)
    field = np.empty((3 * size, 3 * size, 3), np.uint8)
    field[:] = found.background
    field[size : 2 * size, size : 2 * size] = image
    canvas = Image.fromarray(field)
    crops = []
    for box in found.boxes:
        half = box.longer * (0.5 + MARGIN)
        x, y = size + (box.left + box.right) / 2, size + (box.top + box.bottom) / 2
        area = (x - half, y - half, x + half, y + half)
        crops.append(np.asarray(canvas.resize((CROP, CROP), Image.Resampling.BILINEAR, box=area)))
    return crops


def nearest_background(rgb: np.ndarray) -> str:
    distances = [float(np.square(np.asarray(known) - rgb).sum()) for known in BACKGROUNDS.values()]
    return tuple(BACKGROUNDS)[int(np.argmin(distances))]


def _scaled(box: Box, size: int) -> tuple[float, float, float, float]:
    left, top, right, bottom = (256 * side / size for side in (box.left, box.top, box.right, box.bottom))
    return left, top, right, bottom

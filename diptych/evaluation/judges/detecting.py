"""`local:mask2former`: what GenEval's judge sees, with transformers' Mask2Former and CLIP.

The official judge is mmdet's Mask2Former (the same network and classes, other weights) and the same CLIP. Its steps
are kept: pictures 800 by at most 1333 pixels, the 100 best of queries and classes, sureness times that of the mask,
boxes around masks; colours by CLIP among ten, of a crop laid on #999 where the mask is not.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import PIL.Image
import torch
import torch.nn.functional as F
from torch import Tensor

from diptych.errors import BenchmarkError
from diptych.evaluation.benchmark import Benchmark, Row
from diptych.evaluation.benchmarks.geneval import MOST, THRESHOLD
from diptych.evaluation.features import unit
from diptych.evaluation.judges.asking import opened, stand_in
from diptych.evaluation.networks import Clip, model, named, normalised, planes

SHORT, LONG, DIVISOR = 800, 1333, 32
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CANDIDATES = 100
BACKGROUND = "#999"
COLORS = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "brown", "black", "white")
TEMPLATES = ("a photo of a {color} {name}", "a photo of a {color}-colored {name}", "a photo of a {color} object")
OFFICIAL = ("mmdet's Mask2Former with CLIP",)
# COCO's classes as GenEval writes them; the others have COCO's own names.
RENAMED = {"mouse": "computer mouse", "remote": "tv remote", "keyboard": "computer keyboard"}


class Found(NamedTuple):
    """One object: class, box x0 y0 x1 y1 in pixels of the picture, sureness 0 to 1, mask bool [H, W]."""

    name: str
    box: tuple[float, float, float, float]
    score: float
    mask: np.ndarray


class Detector:
    """Mask2Former, trained on COCO's instances."""

    def __init__(self, source: str, device: str = "auto"):
        self.id = named(source)
        self.model = model("Mask2FormerForUniversalSegmentation", source, device)
        labels: dict[int, str] = self.model.config.id2label
        self.names = [RENAMED.get(labels[number], labels[number]) for number in range(len(labels))]

    def find(self, picture: PIL.Image.Image) -> list[Found]:
        """Objects with a mask, surest first."""
        pixels, size = _prepared(picture)
        with torch.inference_mode():
            seen = self.model(pixel_values=pixels.to(self.model.device))
            scores, queries, labels = _best(seen.class_queries_logits[0].cpu())
            masks = seen.masks_queries_logits[0][queries.to(self.model.device)]
            masks = _at(masks, pixels.shape[-2:])[:, : size[0], : size[1]]
            masks = _at(masks, (picture.height, picture.width)).cpu()
        found = []
        for score, label, mask in zip(scores, labels, masks, strict=True):
            inside = mask > 0
            if inside.any():
                sure = float(score * mask.sigmoid()[inside].sum() / (inside.sum() + 1e-6))
                found.append(Found(self.names[int(label)], _box(inside.numpy()), sure, inside.numpy()))
        return sorted(found, key=lambda one: -one.score)


def _prepared(picture: PIL.Image.Image) -> tuple[Tensor, tuple[int, int]]:
    """Pixels [1, 3, H, W], padded with zeros at right and bottom to multiples of 32, and the size without that."""
    scale = min(SHORT / min(picture.size), LONG / max(picture.size))
    width, height = (int(side * scale + 0.5) for side in picture.size)
    pixels = normalised(planes(picture.resize((width, height), PIL.Image.Resampling.BILINEAR)), MEAN, STD)
    return F.pad(pixels, (0, -width % DIVISOR, 0, -height % DIVISOR))[None], (height, width)


def _best(logits: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Scores, queries and classes of the surest pairs. logits [queries, classes + 1], the last for nothing."""
    shares = logits.softmax(-1)[:, :-1]
    scores, places = shares.flatten().topk(min(CANDIDATES, shares.numel()))
    return scores, places // shares.shape[1], places % shares.shape[1]


def _at(masks: Tensor, size: Sequence[int]) -> Tensor:
    return F.interpolate(masks[None], tuple(size), mode="bilinear", align_corners=False)[0]


def _box(mask: np.ndarray) -> tuple[float, float, float, float]:
    """The smallest box with the mask in it; its right and bottom are one beyond the last pixel."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)


def crop(picture: PIL.Image.Image, found: Found) -> PIL.Image.Image:
    """The object alone, in its box, on grey."""
    grey = PIL.Image.new("RGB", picture.size, BACKGROUND)
    return PIL.Image.composite(picture, grey, PIL.Image.fromarray(found.mask)).crop(found.box)


def colors(clip: Clip, picture: PIL.Image.Image, found: Sequence[Found]) -> list[str]:
    """The colour of each object of one class: the nearest of ten, whose texts are means of three templates."""
    name = found[0].name
    texts = clip.texts([t.format(color=color, name=name) for color in COLORS for t in TEMPLATES])
    classes = unit(unit(texts).reshape(len(COLORS), len(TEMPLATES), -1).mean(1))
    seen = unit(clip.images([crop(picture, one) for one in found]))
    return [COLORS[place] for place in (seen @ classes.T).argmax(1)]


@dataclass(frozen=True)
class GenEvalJudge:
    """Detections by class above the threshold, with colours where the row asks for one."""

    kind: str
    detector: Detector
    clip_source: str
    official: bool = False

    @property
    def id(self) -> str:
        return stand_in(f"local:{self.detector.id}+{named(self.clip_source)}", False, OFFICIAL)

    @cached_property
    def clip(self) -> Clip:
        """Loaded when the first colour is asked for."""
        return Clip(self.clip_source)

    def see(self, row: Row, images: Sequence[Path], reply: str = "") -> list[dict[str, list[dict[str, Any]]]]:
        if not images:
            raise BenchmarkError(f"geneval: row {row.id} has no pictures")
        colored = {clause["class"] for clause in row.facts["include"] if clause.get("color")}
        return [self._picture(opened(path), colored) for path in images]

    def _picture(self, picture: PIL.Image.Image, colored: set[str]) -> dict[str, list[dict[str, Any]]]:
        kept: dict[str, list[Found]] = {}
        for one in self.detector.find(picture):
            if one.score > THRESHOLD and len(kept.setdefault(one.name, [])) < MOST:
                kept[one.name].append(one)
        return {name: self._described(picture, found, name in colored) for name, found in kept.items()}

    def _described(self, picture: PIL.Image.Image, found: Sequence[Found], colored: bool) -> list[dict[str, Any]]:
        entries: list[dict[str, Any]] = [{"box": list(one.box), "score": one.score} for one in found]
        if colored:
            for entry, color in zip(entries, colors(self.clip, picture, found), strict=True):
                entry["color"] = color
        return entries


def make(models: Sequence[str], benchmark: Benchmark, data: Path | None) -> GenEvalJudge:
    return GenEvalJudge(benchmark.evidence, Detector(models[0]), models[1])

"""Pictures of the emoji world for tokenizers to learn: batches, losses on pixels, sheets to look at."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image as Pillow
from safetensors.torch import load_file
from torch import Tensor, nn

from diptych.data.worlds.emoji.mosaics import picture
from diptych.data.worlds.emoji.render import render
from diptych.data.worlds.emoji.rules import BACKGROUNDS, STYLES, Color
from diptych.data.worlds.emoji.sampling import Look, Sampler
from diptych.data.worlds.emoji.scene import Scene
from diptych.encoders.vit import ViT, ViTConfig
from diptych.errors import TrainingError
from diptych.storage import replacing
from diptych.training.apart import NOTHING, apart
from diptych.training.recipes import fields as fields_of
from diptych.training.settings import nearest

APART = {"multi": 5, "count": 2, "two": 1, "binding": 1, "position": 1, "color": 1, "single": 1}


@dataclass(frozen=True)
class Data:
    """What is shown. Shares are in [0, 1]; that of mosaics falls linearly from the first to the second number. `apart`:
    the share of batches in straightened scenes whose objects are encoded each by itself."""

    batch: int = 16
    size: int = 64
    mosaics: tuple[float, float] = (0.7, 0.3)
    tidy: float = 0.6
    apart: float = 0.0
    seed: int = 0


@dataclass(frozen=True)
class Pictures:
    """One batch."""

    step: int
    ids: list[str]
    pixels: Tensor  # UInt8[B, 3, H, W]
    scenes: list[Scene] | None = None  # if their objects are to be encoded apart


class Shown:
    """What is shown at each step of a training of so many."""

    def __init__(self, data: Data, steps: int) -> None:
        self.data, self.steps, self.sampler = data, steps, Sampler("train")

    def batch(self, step: int) -> Pictures:
        if Random(f"{self.data.seed} apart {step}").random() < self.data.apart:
            return self.scenes(step)
        share = step / max(1, self.steps)
        mosaics = self.data.mosaics[0] * (1 - share) + self.data.mosaics[1] * share
        ids = [f"{self.data.seed}/{step}/{i}" for i in range(self.data.batch)]
        shown = [picture(Random(one), self.sampler, self.data.size, mosaics, self.data.tidy) for one in ids]
        return Pictures(step, ids, torch.from_numpy(np.stack(shown)).permute(0, 3, 1, 2).contiguous())

    def scenes(self, step: int) -> Pictures:
        """Straightened scenes in any style on any background, half of their objects painted."""
        ids, shown = [f"{self.data.seed}/{step}/{i} apart" for i in range(self.data.batch)], []
        for one in ids:
            rng = Random(one)
            look = Look(rng.choice(STYLES), rng.choice(tuple(BACKGROUNDS)), True)
            shown.append(self.sampler.draw(rng, rng.choices(list(APART), list(APART.values()))[0], look, 0.5)[1])
        return Pictures(step, ids, rendered(shown, self.data.size), shown)


@dataclass
class TokenizerTask:
    """What trainings of tokenizers share of a `diptych.training.task.Task`. params: the sizes, as a config states them;
    weights: of the losses; steps: how many there are to be; start: a file to go on from; teacher: who sees features."""

    params: dict[str, Any]
    data: Data
    weights: Any
    steps: int
    start: Path | None = None
    teacher: nn.Module | None = None

    def __post_init__(self) -> None:
        self.shown = Shown(self.data, self.steps)

    def batch(self, step: int) -> Pictures:
        return self.shown.batch(step)

    def rebuilding(self, rebuilt: Tensor, pixels: Tensor) -> dict[str, Tensor]:
        """Losses of reconstructions on pixels, and on what the teacher sees of them."""
        losses = pixel_losses(rebuilt, pixels)
        if self.teacher is not None:
            losses["features"] = F.mse_loss(self.teacher(rebuilt).float(), self.teacher(pixels).float())
        return losses

    def weighed(self, losses: dict[str, Tensor]) -> Tensor:
        return torch.stack([getattr(self.weights, name) * value for name, value in losses.items()]).sum()


def begun(recipe: dict[str, Any], losses: type) -> dict[str, Any]:
    """The fields of a `TokenizerTask` that a recipe states: tables `model`, `data`, `losses`; `start`, `teacher`, the
    folder of a trained encoder. Raises TrainingError."""
    fields_of(recipe, ("kind", "training", "model", "data", "losses", "start", "teacher", "out"), "the recipe")
    found = {
        "params": recipe.get("model", {}),
        "data": read(Data, recipe.get("data", {}), "data"),
        "weights": read(losses, recipe.get("losses", {}), "losses"),
        "steps": recipe["training"]["steps"],
        "start": Path(recipe["start"]) if "start" in recipe else None,
        "teacher": seen_by(Path(recipe["teacher"])) if "teacher" in recipe else None,
    }
    if found["weights"].features and found["teacher"] is None:
        raise TrainingError("[losses] weighs features, which a teacher sees; name the folder of a trained encoder")
    return found


def encoded(encode: Callable[[Tensor], Tensor], factor: int, batch: Pictures, device: torch.device | str) -> Tensor:
    """A batch as `encode` makes latents [B, C, h, w] of pixels, `factor` pixels a latent: whole pictures, or the
    objects of scenes each by itself."""
    if batch.scenes is None:
        return encode(signed(batch.pixels).to(device))
    cut = signed(rendered(batch.scenes, batch.pixels.shape[-1], NOTHING)).to(device)
    return apart(encode, factor, cut, batch.scenes)


def pixel_losses(rebuilt: Tensor, pixels: Tensor) -> dict[str, Tensor]:
    """Mean absolute and squared difference; mean absolute difference of neighbouring pixels' differences, and of
    neighbouring channels' (red less green, green less blue): hues are small in the sum of pixels, and learned last."""
    error = rebuilt - pixels
    edges = error.diff(dim=3).abs().mean() + error.diff(dim=2).abs().mean()
    hue = error.diff(dim=1).abs().mean()
    return {"absolute": error.abs().mean(), "squared": error.square().mean(), "edges": edges, "hue": hue}


def seen_by(folder: Path) -> ViT:
    """The frozen encoder that a training of kind "encoder" left in its folder."""
    sizes = json.loads((folder / "recipe.json").read_text("utf-8"))["model"]
    teacher = ViT(ViTConfig(**{**sizes, "stem": tuple(sizes.get("stem", ()))}))
    teacher.load_state_dict(load_file(folder / "encoder.safetensors"))
    return teacher.eval().requires_grad_(False)


def read(kind: type, table: dict[str, Any], name: str) -> Any:
    """A dataclass from a recipe's table; TrainingError for a field it does not have."""
    known = [one.name for one in fields(kind)]
    for key in table:
        if key not in known:
            raise TrainingError(f"unknown field {key!r} in [{name}]{nearest(key, known)}")
    return kind(**{key: tuple(value) if isinstance(value, list) else value for key, value in table.items()})


def rendered(scenes: list[Scene], size: int, ground: Color | None = None) -> Tensor:
    """UInt8[B, 3, size, size]."""
    shown = np.stack([render(scene, size, ground) for scene in scenes])
    return torch.from_numpy(shown).permute(0, 3, 1, 2).contiguous()


def signed(pixels: Tensor) -> Tensor:
    """UInt8 0..255 -> Float in [-1, 1]."""
    return pixels.float() / 127.5 - 1


def held_out(count: int, size: int) -> Tensor:
    """Scenes of the held-out split, always the same: UInt8[count, 3, size, size]. Half of them tidy."""
    sampler = Sampler("heldout")
    shown = [picture(Random(f"held out {i}"), sampler, size, 0.0, 0.5) for i in range(count)]
    return torch.from_numpy(np.stack(shown)).permute(0, 3, 1, 2).contiguous()


def sheet(pixels: Tensor, rebuilt: Tensor, path: Path, columns: int = 16, rows: int = 4) -> None:
    """A PNG: rows of pictures, each with its row of reconstructions below."""
    pairs = torch.stack([pixels, rebuilt], 1)[: columns * rows]  # [n, 2, 3, H, W]
    side = pixels.shape[-1]
    grid = pairs.unflatten(0, (rows, columns)).permute(0, 2, 4, 1, 5, 3).reshape(rows * 2 * side, columns * side, 3)
    with replacing(path) as draft:
        Pillow.fromarray(grid.numpy()).save(draft)


def psnr(rebuilt: Tensor, pixels: Tensor) -> float:
    """In dB, the mean over pictures; both UInt8[B, 3, H, W]."""
    squared = (rebuilt.float() - pixels.float()).square().mean((1, 2, 3)).clamp_min(1e-2)
    return (10 * torch.log10(255**2 / squared)).mean().item()

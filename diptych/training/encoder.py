"""A vision encoder that learns to say, patch by patch, what a world's pictures hold.

Published unified models begin with an encoder that was trained before (Janus: SigLIP); this is how the built-in
models get theirs. Each patch learns the class and the colour of the object on it, the whole picture its style and
background.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn

from diptych.data.worlds.emoji import EmojiWorld, Scene, pixel_box, render
from diptych.data.worlds.emoji.rules import BACKGROUNDS, COLORS, OBJECTS, STYLES
from diptych.encoders.vit import ViT, ViTConfig
from diptych.storage import replacing
from diptych.training.loop import Result
from diptych.training.recipes import fields

OBJECT = {name: i + 1 for i, name in enumerate(OBJECTS)}  # 0: nothing here
COLOR = {name: i + 1 for i, name in enumerate(COLORS)}  # 0: its own
STYLE = {name: i for i, name in enumerate(STYLES)}
BACKGROUND = {name: i for i, name in enumerate(BACKGROUNDS)}


class Labelled(nn.Module):
    """The encoder, and the heads it is trained with; they are thrown away afterwards."""

    def __init__(self, config: ViTConfig):
        super().__init__()
        self.encoder = ViT(config)
        self.object = nn.Linear(config.width, len(OBJECT) + 1)
        self.color = nn.Linear(config.width, len(COLOR) + 1)
        self.style = nn.Linear(config.width, len(STYLE))
        self.background = nn.Linear(config.width, len(BACKGROUND))

    def forward(self, pixels: Tensor) -> dict[str, Tensor]:
        features = self.encoder(pixels)
        whole = features.mean(1)
        return {
            "object": self.object(features),
            "color": self.color(features),
            "style": self.style(whole),
            "background": self.background(whole),
        }


@dataclass
class Labels:
    """pixels Float[B, 3, S, S]; object and color Int[B, N] per patch; style and background Int[B]."""

    ids: list[str]
    pixels: Tensor
    targets: dict[str, Tensor]


def patch_labels(scene: Scene, size: int, patch: int) -> tuple[np.ndarray, np.ndarray]:
    """Int[N] object and colour of each patch: those of the object whose box covers most of it, if it covers a fifth."""
    side = size // patch
    object_, color, best = (np.zeros((side, side), np.int64) for _ in range(3))
    edge = np.arange(side) * patch
    for thing in scene.objects:
        left, top, right, bottom = pixel_box(thing, scene.style, size)[:4]
        across = np.clip(np.minimum(edge + patch, right) - np.maximum(edge, left), 0, None)
        down = np.clip(np.minimum(edge + patch, bottom) - np.maximum(edge, top), 0, None)
        area = down[:, None] * across[None]
        here = area > np.maximum(best, patch * patch // 5)
        object_[here], best[here] = OBJECT[thing.id], area[here]
        color[here] = COLOR[thing.color] if thing.color else 0
    return object_.ravel(), color.ravel()


class EncoderTask:
    """Pictures of the emoji world in all styles, jittered, with dense labels."""

    def __init__(self, recipe: dict[str, Any]):
        fields(recipe, ("kind", "training", "model", "data", "out"), "the recipe")
        model, data = recipe["model"], recipe["data"]
        self.config = ViTConfig(**{**model, "stem": tuple(model.get("stem", ()))})
        self.module = Labelled(self.config).to(memory_format=torch.channels_last)
        self.world, self.size, self.batch_size = EmojiWorld(data["seed"]), model["image_size"], data["batch"]

    def batch(self, step: int) -> Labels:
        first = step * self.batch_size
        scenes = [self.world.scene(first + i) for i in range(self.batch_size)]
        pixels = np.stack([render(scene, self.size) for scene in scenes])
        marks = [patch_labels(scene, self.size, self.config.patch) for scene in scenes]
        targets = {
            "object": torch.from_numpy(np.stack([m[0] for m in marks])),
            "color": torch.from_numpy(np.stack([m[1] for m in marks])),
            "style": torch.tensor([STYLE[s.style] for s in scenes]),
            "background": torch.tensor([BACKGROUND[s.bg] for s in scenes]),
        }
        images = (torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 127.5 - 1).contiguous(
            memory_format=torch.channels_last
        )
        return Labels([f"scene {first + i}" for i in range(self.batch_size)], images, targets)

    def losses(self, batch: Labels) -> dict[str, Tensor]:
        out = self.module(batch.pixels)
        object_, color = batch.targets["object"], batch.targets["color"]
        there = object_ > 0
        parts = {
            "object": F.cross_entropy(out["object"].float().flatten(0, 1), object_.flatten()),
            "color": F.cross_entropy(out["color"][there].float(), color[there]),
            "style": F.cross_entropy(out["style"].float(), batch.targets["style"]),
            "background": F.cross_entropy(out["background"].float(), batch.targets["background"]),
        }
        loss = parts["object"] + 0.3 * parts["color"] + 0.1 * parts["style"] + 0.05 * parts["background"]
        right = (out["object"].argmax(-1) == object_)[there].float().mean()
        painted = (out["color"].argmax(-1) == color)[there].float().mean()
        return {"loss": loss, **parts, "object right": right, "color right": painted}

    def report(self, step: int, module_ema: nn.Module, folder: Path) -> dict[str, float]:
        held = EncoderTask.__new__(EncoderTask)
        held.__dict__.update(self.__dict__, module=module_ema, world=EmojiWorld(10_007, "any"))
        return {name: float(value) for name, value in held.losses(held.batch(0)).items()}


def task(recipe: dict[str, Any]) -> EncoderTask:
    return EncoderTask(recipe)


def finish(task: EncoderTask, result: Result, out: Path) -> None:
    """The averaged encoder alone, its features standardised, as `encoder.safetensors`."""
    encoder = result.module.get_submodule("encoder")
    assert isinstance(encoder, ViT)
    standardise(encoder, task.batch(task.size).pixels)
    with replacing(out / "encoder.safetensors") as draft:
        save_file({k: v.contiguous() for k, v in encoder.state_dict().items()}, draft)


@torch.no_grad()
def standardise(encoder: ViT, pixels: Tensor) -> None:
    """Mean 0 and variance 1 for each channel over all patches of `pixels`, folded into the last norm.

    Features share a large common part; behind a backbone's norm it would drown what tells one patch from another.
    """
    assert isinstance(encoder.norm, nn.LayerNorm)
    features = encoder.eval()(pixels).flatten(0, 1)
    mean, spread = features.mean(0), features.std(0)
    encoder.norm.weight.div_(spread)
    encoder.norm.bias.sub_(mean).div_(spread)

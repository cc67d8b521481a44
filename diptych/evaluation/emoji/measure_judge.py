"""How often the judge itself is wrong: `python -m diptych.evaluation.emoji.measure_judge --out judge.json`.

Right pictures should pass and pictures with one thing changed should not, as drawn and after damage. To know what a
tokenizer costs, pass its reconstruction as the damage: `measure_prompts(judge, items, reconstruct)`.
"""

import argparse
import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors import safe_open

from diptych.data.worlds.emoji import EmojiWorld, Scene, place_of, render
from diptych.evaluation.emoji.classifier import WEIGHTS
from diptych.evaluation.emoji.judge import Judge
from diptych.evaluation.emoji.scoring import Table, tabulate
from diptych.evaluation.emoji.sets import PromptItem, read_edits, read_prompts
from diptych.evaluation.emoji.verdicts import Seen, SeenObject, judge_drawing, judge_edit, same_color, unmatched
from diptych.evaluation.emoji.wrong_scenes import change_one_thing
from diptych.storage import replacing

Damage = Callable[[list[np.ndarray]], list[np.ndarray]]
NOISE = 8.0
QUALITY = 60
REACH = 24  # an object found this near (1/256 of the canvas) is the one that stands there


def unharmed(images: list[np.ndarray]) -> list[np.ndarray]:
    return images


def blurred(images: list[np.ndarray]) -> list[np.ndarray]:
    """Down to 32 x 32 and up again."""
    return [_resized(_resized(image, 32), len(image)) for image in images]


def compressed(images: list[np.ndarray]) -> list[np.ndarray]:
    """JPEG of quality 60."""
    return [_jpeg(image) for image in images]


def noisy(images: list[np.ndarray]) -> list[np.ndarray]:
    """Gaussian noise with sigma 8 of 255, the same on every call."""
    rng = np.random.default_rng(0)
    return [(image + rng.normal(0, NOISE, image.shape)).clip(0, 255).round().astype(np.uint8) for image in images]


def battered(images: list[np.ndarray]) -> list[np.ndarray]:
    """Blurred to half size (32 at the least), then compressed, then noisy."""
    small = [_resized(_resized(image, max(32, len(image) // 2)), len(image)) for image in images]
    return noisy(compressed(small))


DAMAGES: dict[str, Damage] = {
    "clean": unharmed,
    "blur32": blurred,
    "jpeg": compressed,
    "noise": noisy,
    "all": battered,
}


def _resized(image: np.ndarray, size: int) -> np.ndarray:
    return np.asarray(Image.fromarray(image).resize((size, size), Image.Resampling.BILINEAR))


def _jpeg(image: np.ndarray) -> np.ndarray:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=QUALITY)
    return np.asarray(Image.open(buffer).convert("RGB"))


def measure_scenes(
    judge: Judge, damage: Damage = unharmed, count: int = 400, seed: int = 0, size: int = 64
) -> dict[str, float]:
    """Shares read rightly: per object its class, colour, place and style; per scene the number and everything.

    `object` counts missed ones as wrong; `scene` asks for all objects with their colours and no other.
    """
    world = EmojiWorld(seed, split="any")
    scenes = [world.scene(index) for index in range(count)]
    seen = judge.read_all(damage([render(scene, size) for scene in scenes]))
    parts = [_compare(scene, found) for scene, found in zip(scenes, seen, strict=True)]
    objects = sum(part["total"] for part in parts)
    shares = {name: sum(part[name] for part in parts) / objects for name in ("object", "color", "place", "style")}
    for name in ("count", "background", "scene"):
        shares[name] = sum(part[name] for part in parts) / count
    return {name: round(share, 4) for name, share in shares.items()}


def _compare(scene: Scene, seen: Seen) -> dict[str, int]:
    """How many of a scene's objects are read rightly, in each respect."""
    tally = dict.fromkeys(("object", "color", "place", "style"), 0)
    for thing in scene.objects:
        found = _nearest(thing.x, thing.y, seen)
        if found is not None:
            tally["object"] += found.id == thing.id
            tally["color"] += found.id == thing.id and same_color(found, thing.color)
            tally["place"] += place_of(*found.center) == place_of(thing.x, thing.y)
            tally["style"] += found.style == scene.style
    total = len(scene.objects)
    counted = len(seen.objects) == total
    missing = unmatched(scene.objects, seen.objects, lambda thing, found: _same(thing.id, thing.color, found))
    return tally | {
        "total": total,
        "count": int(counted),
        "background": int(seen.background == scene.bg),
        "scene": int(counted and not missing),
    }


def _same(object_id: str, color: str | None, found: SeenObject) -> bool:
    return found.id == object_id and same_color(found, color)


def _nearest(x: int, y: int, seen: Seen) -> SeenObject | None:
    def distance(found: SeenObject) -> float:
        return max(abs(found.center[0] - x), abs(found.center[1] - y))

    nearest = min(seen.objects, key=distance, default=None)
    return nearest if nearest is not None and distance(nearest) <= REACH else None


def measure_prompts(
    judge: Judge, items: Sequence[PromptItem], damage: Damage = unharmed, size: int = 64, seed: int = 0
) -> dict[str, Table]:
    """What the judge accepts of right pictures ("right") and of those with one thing changed ("wrong"), by task."""
    right = [(item.task, item.reference) for item in items]
    rng = Random(seed)
    changed = [change_one_thing(rng, item) for item in items]
    wrong = [(change, scene) for change, scene in changed]
    tables = {}
    for name, pairs in (("right", right), ("wrong", wrong)):
        seen = judge.read_all(damage([render(scene, size) for _, scene in pairs]))
        rows = zip(pairs, seen, items, strict=True)
        tables[name] = tabulate(
            (kind, item.split, judge_drawing(found, item.graph).ok) for (kind, _), found, item in rows
        )
    return tables


def measure_edits(judge: Judge, damage: Damage = unharmed, size: int = 64) -> dict[str, Table]:
    """What the judge accepts of right targets ("right") and of sources left unchanged ("unchanged"), by operation."""
    items = read_edits()
    tables = {}
    for name, scenes in (("right", [i.target for i in items]), ("unchanged", [i.source for i in items])):
        seen = judge.read_all(damage([render(scene, size) for scene in scenes]))
        tables[name] = tabulate(
            (item.op, item.split, judge_edit(found, item.source, item.target, item.op).ok)
            for found, item in zip(seen, items, strict=True)
        )
    return tables


def shares(table: Table) -> dict[str, float]:
    """The share passed over both splits, by kind."""
    return {kind: round(row["all"]["share"], 4) for kind, row in table.items()}


def measure_all(judge: Judge, count: int, seed: int, sizes: Sequence[int] = (64, 128)) -> dict[str, Any]:
    """All figures at all sizes after all kinds of damage."""
    items = read_prompts()
    figures: dict[str, Any] = {}
    for size in sizes:
        for name, damage in DAMAGES.items():
            prompts = measure_prompts(judge, items, damage, size, seed)
            edits = measure_edits(judge, damage, size)
            figures[f"{size} {name}"] = {
                "scenes": measure_scenes(judge, damage, count, seed, size),
                "right prompts accepted": shares(prompts["right"]),
                "wrong prompts accepted": shares(prompts["wrong"]),
                "right edits accepted": shares(edits["right"]),
                "unchanged edits accepted": shares(edits["unchanged"]),
            }
            print(size, name, json.dumps(figures[f"{size} {name}"]), flush=True)
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the judge on scenes of a seed it never saw.")
    parser.add_argument("--scenes", type=int, default=400)
    parser.add_argument("--seed", type=int, default=20260)
    parser.add_argument("--out", type=Path, default=WEIGHTS.with_suffix(".json"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    with safe_open(WEIGHTS, "pt") as weights:
        recipe = weights.metadata()
    facts = {"training": recipe, "scenes": options.scenes, "seed": options.seed}
    facts["figures"] = measure_all(Judge(), options.scenes, options.seed)
    with replacing(options.out) as draft:
        draft.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

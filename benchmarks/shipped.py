"""The built-in models beside each other: what they score, and what a picture and an answer cost on this machine.

    python -m benchmarks.shipped [--repeats 5]

Scores are those of the models' cards. Models take turns, so that whatever else the machine does meets all of them.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

import diptych
from benchmarks.harness import Spread
from diptych.data.worlds.emoji import EmojiWorld, render
from diptych.models.registry import builtin

KINDS = ("drawings", "answers", "edits")


def work(model: Any) -> dict[str, Callable[[], object]]:
    """What is timed, by name: how many seconds one of it takes is the time by the number in brackets."""
    world = EmojiWorld(5)
    prompts = [world.drawing(i, "en").prompt for i in range(16)]
    asked = [world.question(i, "en") for i in range(16)]
    turns = [(diptych.Image.open(render(one.scene, model.image_size[0])), one.question) for one in asked]
    return {
        "picture, alone": lambda: model.generate(prompts[0]),
        "picture, of 16": lambda: model.generate(prompts),
        "answer, alone": lambda: model.chat(turns[0], max_tokens=16),
        "answer, of 16": lambda: model.chat_batch(turns, max_tokens=16),
    }


def seconds(job: Callable[[], object], count: int) -> float:
    began = time.perf_counter()
    job()
    return (time.perf_counter() - began) / count


def scores(folder: Path) -> dict[str, str]:
    found = json.loads((folder / "card.json").read_text("utf-8"))["scores"]
    return {kind: f"{found[kind]['all']['all']['share']:.2f}" if kind in found else "-" for kind in KINDS}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    models = {name: diptych.load(name, device="cpu", dtype="float32") for name in builtin()}
    jobs = {name: work(model) for name, model in models.items()}
    taken: dict[tuple[str, str], list[float]] = {}
    for turn in range(repeats + 1):  # the first warms up
        for name, own in jobs.items():
            for what, job in own.items():
                spent = seconds(job, 16 if what.endswith("16") else 1)
                if turn:
                    taken.setdefault((name, what), []).append(spent)
    print(f"float32 on {torch.get_num_threads()} threads of a CPU; seconds: median (least to most) of {repeats}\n")
    heads = ["model", "parameters", *KINDS, *next(iter(jobs.values()))]
    print(f"| {' | '.join(heads)} |\n|{'---|' * len(heads)}")
    for name, model in models.items():
        size = sum(p.numel() for p in model.network.parameters()) / 1e6
        cells = [Spread.of(taken[name, what]).shown() for what in jobs[name]]
        print(f"| {name} | {size:.1f} M | {' | '.join([*scores(builtin()[name]).values(), *cells])} |")


if __name__ == "__main__":
    main()

"""Training a unified model: reading and writing in one network, from one stream of conversations.

The recipe names a folder with the model's config.json, tokenizer and preprocessor files; the network is built by its
family, so any family can be trained, and its companions are found as for `diptych.load`. Prompts are rendered by the
same code that serves them.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from diptych.canvas import Draws
from diptych.models.family import Dialogue
from diptych.models.network import Network
from diptych.training.batches import Learn, Row, losses
from diptych.training.conversations import Conversations
from diptych.training.folders import write_folder
from diptych.training.loop import Result
from diptych.training.parts import begun, load_part, submodule
from diptych.training.recipes import fields


@dataclass
class Batch:
    ids: list[str]
    rows: list[Row]
    draws: Draws
    tokens: int


class Trained(nn.Module):
    """The network, and its writers' losses as one forward."""

    def __init__(self, network: Network, dialogue: Dialogue):
        super().__init__()
        self.network = network
        self._writers = dialogue.lessons()

    def train(self, mode: bool = True) -> Trained:
        """Frozen parts stay as they were trained: their normalisations must not follow the new batches."""
        super().train(mode)
        for module in self.network.modules():
            own = list(module.parameters())
            if own and not any(p.requires_grad for p in own):
                module.eval()
        return self

    def forward(self, batch: Batch, width: int | None) -> dict[str, Tensor]:
        return losses(self.network, self._writers, batch.rows, batch.draws, width)


class UnifiedTask:
    """Batches are pure functions of (seed, step); the frozen tokenizer turns pictures into canvases on the way."""

    def __init__(self, recipe: dict[str, Any]):
        fields(recipe, ("kind", "training", "model", "parts", "data", "loss", "out"), "the recipe")
        fields(recipe["model"], ("folder", "config", "start", "frozen", "seed"), "[model]")
        self.recipe, model = recipe, recipe["model"]
        self.folder = Path(model["folder"])
        self.family, self.config, network = begun(
            self.folder, model.get("start"), model.get("seed", 0), model.get("config", {})
        )
        for part, source in recipe.get("parts", {}).items():
            load_part(network, self.family.layout(self.config), part, str(source))
        self.dialogue = self.family.dialogue(self.folder, self.config, network)
        self.module = Trained(network, self.dialogue)
        for part in model.get("frozen", ()):
            submodule(network, part).requires_grad_(False)
        self.weights: dict[str, float] = recipe.get("loss", {})
        self.conversations = Conversations(network, self.dialogue, **recipe["data"])

    def batch(self, step: int) -> Batch:
        samples = self.conversations.batch(step)
        rows = [row for _, row in samples]
        learned = sum(isinstance(piece, Learn) for row in rows for piece in row)
        seeds = [step * 100_003 + i for i in range(learned)]
        return Batch([name for name, _ in samples], rows, Draws(seeds), sum(map(length, rows)))

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        parts = self.module(batch, self.conversations.width)
        total = sum(self.weights.get(name, 1.0) * loss for name, loss in parts.items())
        return {"loss": torch.as_tensor(total), **parts}


def length(row: Row) -> int:
    """About how many tokens a row is; pictures to be read are counted by the backbone, not here."""
    return sum(len(piece.target) if isinstance(piece, Learn) else len(piece[0]) for piece in row)


def task(recipe: dict[str, Any]) -> UnifiedTask:
    return UnifiedTask(recipe)


def finish(task: UnifiedTask, result: Result, out: Path) -> None:
    """The averaged model in its published layout, ready for `diptych.load(out / "model")`."""
    network = result.module.get_submodule("network")
    write_folder(task.family, task.config, task.folder, network, out / "model", torch.bfloat16)
    if changes := task.recipe["model"].get("config"):
        file = out / "model" / "config.json"
        stated = json.loads(file.read_text("utf-8")) | changes
        file.write_text(json.dumps(stated, indent=2, ensure_ascii=False) + "\n", "utf-8")

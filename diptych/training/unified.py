"""Training a unified model: reading and writing in one network, from one stream of conversations.

The recipe names a folder with the model's config.json, tokenizer and preprocessor files; the network is built by its
family, so any family can be trained. Prompts are rendered by the same code that serves them.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from diptych.backbone.transformer import seeded
from diptych.canvas import Draws
from diptych.errors import TrainingError, WeightsError
from diptych.models.family import Dialogue
from diptych.models.network import Network
from diptych.models.registry import family, read_config, recognise
from diptych.training.batches import Learn, Row, losses
from diptych.training.conversations import Conversations
from diptych.training.loop import Result
from diptych.training.recipes import fields
from diptych.weights.files import Checkpoint, export, load_into
from diptych.weights.layout import Layout

SCALE = 0.02  # spread of a backbone's fresh weights


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
        fields(recipe["model"], ("folder", "start", "frozen", "seed"), "[model]")
        self.recipe, folder = recipe, Path(recipe["model"]["folder"])
        self.config, name = read_config(folder), recognise(folder)
        if name is None:
            raise TrainingError(f"{folder}/config.json is of no known family")
        self.family, self.folder = family(name), folder
        network = initialised(self.family.build(self.config), recipe["model"].get("seed", 0))
        if start := recipe["model"].get("start"):  # go on from a trained model of the same sizes
            load_into(network, self.family.layout(self.config), Checkpoint(start), dtype=torch.float32)
        for part, file in recipe.get("parts", {}).items():
            load_part(network, self.family.layout(self.config), part, Path(file))
        self.dialogue = self.family.dialogue(folder, self.config, network)
        self.module = Trained(network, self.dialogue)
        for part in recipe["model"].get("frozen", ()):
            network.get_submodule(part).requires_grad_(False)
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


def initialised(network: Network, seed: int) -> Network:
    """Fresh weights for the backbone (GPT-2's); readers and ports keep torch's own, whose outputs are of order one:
    a token of 1e-3 drowns behind a norm's epsilon, and the model would not see what it wrote."""
    seeded(network.backbone, seed, SCALE)
    return network


def load_part(network: Network, layout: Layout, part: str, file: Path) -> None:
    """Fill a submodule from a file of its tensors, under our own names or under published ones.

    Raises TrainingError if the file is missing or does not fit.
    """
    if not file.is_file():
        raise TrainingError(f"{file} is missing; train that part first (its recipe writes it)")
    tensors, module = load_file(file), network.get_submodule(part)
    try:
        if not tensors.keys() & module.state_dict().keys():
            tensors = {name.removeprefix(part + "."): tensor for name, tensor in layout.read(tensors).items()}
        module.load_state_dict(tensors)
    except (RuntimeError, WeightsError) as error:
        raise TrainingError(f"{file} does not fit {part}: {str(error).splitlines()[-1].strip()}") from error


def task(recipe: dict[str, Any]) -> UnifiedTask:
    return UnifiedTask(recipe)


def finish(task: UnifiedTask, result: Result, out: Path) -> None:
    """The averaged model in its published layout, ready for `diptych.load(out / "model")`."""
    network = result.module.get_submodule("network")
    write_folder(task, network, out / "model")


def write_folder(task: UnifiedTask, network: nn.Module, folder: Path, dtype: torch.dtype = torch.bfloat16) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for file in task.folder.iterdir():
        if file.is_file():
            shutil.copyfile(file, folder / file.name)
    layout = task.family.layout(task.config)
    network = network.to(dtype)
    own = {tensor.data_ptr(): name for name, tensor in reversed(network.state_dict().items())}  # a tied head once
    export(network, layout, layout.published(own.values()), folder)

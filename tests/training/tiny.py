"""A training of a second's fraction that uses everything a restart could lose, and ways to end it badly."""

from __future__ import annotations

import hashlib
import os
import random
import signal
from dataclasses import dataclass, field
from pathlib import Path

import numpy
import torch
from torch import Tensor, nn

from diptych.training import checkpoints, curve
from diptych.training.loop import Result, Settings, train

SETTINGS = Settings(
    steps=12, lr=1e-2, warmup=3, ema=0.9, accumulate=2, save_every=3, keep=2, log_every=2, precision="float32", seed=5
)
LENGTHS = (3, 5)  # samples of the even and the odd batches: gradients still count each batch once


@dataclass
class TinyBatch:
    ids: list[str]
    words: Tensor
    x: Tensor
    tokens: int = 7


class TinyModule(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(11, 6)
        self.inner = nn.Linear(6, 8)
        self.norm = nn.BatchNorm1d(8)  # running statistics live in buffers
        self.head = nn.Linear(8, 2, bias=False)
        self.frozen = nn.Parameter(torch.full((2,), 0.5), requires_grad=False)
        self.unused = nn.Parameter(torch.ones(3))  # never has a gradient, so never has moments

    def forward(self, words: Tensor, x: Tensor) -> Tensor:
        hidden = self.norm(self.inner(self.embed(words) + x))
        return self.head(nn.functional.dropout(hidden.relu(), 0.2, self.training)) + self.frozen


@dataclass
class TinyTask:
    """Draws from all three global generators in its losses."""

    module: nn.Module = field(default_factory=lambda: seeded(TinyModule))
    poison: int | None = None  # the batch whose numbers are not finite
    poison_gradient: bool = False

    def batch(self, step: int) -> TinyBatch:
        draws = torch.Generator().manual_seed(100 + step)
        size = LENGTHS[step % 2]
        x = torch.randn(size, 6, generator=draws)
        if step == self.poison and not self.poison_gradient:
            x[1, 2] = float("nan")
        words = torch.randint(11, (size,), generator=draws)
        return TinyBatch([f"{step}/{row}" for row in range(size)], words, x)

    def losses(self, batch: TinyBatch) -> dict[str, Tensor]:
        noise = torch.randn(2) * random.random() * numpy.random.rand()
        loss = (self.module(batch.words, batch.x) - noise.float()).square().mean()
        if self.poison_gradient and batch.ids[0].startswith(f"{self.poison}/"):
            loss = loss + (self.module.head.weight * 0).sum().sqrt()  # the value is 0, its slope infinite
        return {"loss": loss, "root": loss.detach().sqrt()}


def seeded(make: type[nn.Module]) -> nn.Module:
    torch.manual_seed(1)
    return make()


def ids_of(steps: int, accumulate: int) -> list[list[str]]:
    """The sample ids of each step, from the definition of the task alone."""
    numbers = [range(step * accumulate, (step + 1) * accumulate) for step in range(steps)]
    return [[f"{number}/{row}" for number in group for row in range(LENGTHS[number % 2])] for group in numbers]


def everything(folder: Path) -> dict[str, object]:
    """All that a training ends with, except how long it took: bytes of tensors, random generators, digests."""
    last = checkpoints.newest(folder / "checkpoints")
    assert last is not None
    state = {name: value for name, value in last.state().items() if name not in ("seconds", "window", "run")}
    files = sorted(last.folder.glob("*.safetensors"))
    return {"folder": last.folder.name, "state": state} | {
        file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files
    }


class Killed(BaseException):
    """Stands for the process's death; nothing in the library may catch it."""


def run_in_child(folder: Path, settings: Settings, point: str | None, count: int, how: str) -> None:
    """Trains in this process, which dies when `point` is reached for the `count`-th time."""
    torch.set_num_threads(1)
    curve.available = lambda: False
    task = TinyTask()
    if point is not None:
        arm(task, point, count, lambda: os.kill(os.getpid(), getattr(signal, how)), folder)
    outcome = train(task, settings, folder)
    (folder / "message").write_text(outcome.message)


def arm(task: TinyTask, point: str, count: int, die, folder: Path | None = None) -> None:
    """Calls `die` at the count-th passage of a point: "batch", "losses", or one of a save's (or "save" for any)."""
    seen = [0]

    def pass_by(name: str) -> None:
        if point in (name, name.split(" ")[0]) or (point == "save" and name not in ("batch", "losses")):
            seen[0] += 1
            if seen[0] == count:
                if folder is not None:
                    (folder / "hit").write_text(name)
                die()

    make, learn = task.batch, task.losses
    task.batch = lambda step: (pass_by("batch"), make(step))[1]  # type: ignore[method-assign]
    task.losses = lambda batch: (pass_by("losses"), learn(batch))[1]  # type: ignore[method-assign]
    checkpoints.passing = pass_by


def finish(folder: Path, settings: Settings = SETTINGS) -> Result:
    return train(TinyTask(), settings, folder)

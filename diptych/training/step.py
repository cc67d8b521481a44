"""One optimizer step, and its refusal where a number is not finite."""

from __future__ import annotations

import hashlib
import json
import math
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy
import torch
from torch import Tensor

from diptych.errors import TrainingError
from diptych.training.optim import Optimizer, autocast, clip, lr_at, trainable
from diptych.training.settings import Settings
from diptych.training.task import Task


@dataclass
class Outcome:
    """What a step did. `fault` says what was not finite, with the sample ids; the weights were then left alone."""

    losses: dict[str, float]
    lr: float
    grad_norm: float
    ids: list[str]
    tokens: int
    seconds: float
    waited: float
    fault: str | None = None


@dataclass
class Micro:
    """One of the batches of a step."""

    ids: list[str]
    losses: dict[str, Tensor] = field(default_factory=dict)


class Stepper:
    """Forward, backward, guard, clip, update."""

    def __init__(self, task: Task, settings: Settings, optimizer: Optimizer, precision: str) -> None:
        self.task, self.settings, self.optimizer, self.precision = task, settings, optimizer, precision
        self.parameters = list(trainable(task.module).values())
        self.device = self.parameters[0].device
        self.buffers = [buffer for buffer in task.module.buffers() if settings.max_skipped]

    def step(self, number: int, batches: Iterator[Any], seconds: float) -> Outcome:
        """Step `number` (from 0), after `seconds` of training.

        Each step seeds the global generators anew. Carried over from step to step, they would depend on everybody
        who draws in between: rich, for one, draws from Python's when it is imported.
        """
        began, waited, tokens = time.monotonic(), 0.0, 0
        seed_all(seed_of(self.settings.seed, number))
        self.optimizer.zero_grad(set_to_none=True)
        kept = [buffer.clone() for buffer in self.buffers]
        micros = []
        for _ in range(self.settings.accumulate):
            before = time.monotonic()
            batch = next(batches)
            waited += time.monotonic() - before
            tokens += int(getattr(batch, "tokens", 0) or 0)
            micros.append(self._backward(batch))
        outcome = self._update(number, micros, seconds)
        if outcome.fault is not None:  # a forward pass may write running statistics, now spoilt as well
            for buffer, value in zip(self.buffers, kept, strict=True):
                buffer.copy_(value)
        outcome.tokens, outcome.waited, outcome.seconds = tokens, waited, time.monotonic() - began
        return outcome

    def _backward(self, batch: Any) -> Micro:
        with autocast(self.precision, self.device):
            losses = self.task.losses(batch)
        loss = losses.get("loss")
        if loss is None or any(value.numel() != 1 for value in losses.values()):
            shapes = {name: list(value.shape) for name, value in losses.items()}
            raise TrainingError(f'a task must return scalar losses with one named "loss", not {shapes}')
        (loss / self.settings.accumulate).backward()
        return Micro(list(batch.ids), {name: value.detach().float().reshape(()) for name, value in losses.items()})

    def _update(self, number: int, micros: list[Micro], seconds: float) -> Outcome:
        lr = lr_at(number, self.settings, seconds)
        norm = clip(self.parameters, self.settings.clip)
        rows, grad_norm = _on_host([micro.losses for micro in micros], norm)
        means = {name: sum(row.get(name, 0.0) for row in rows) / len(rows) for name in rows[0]}
        ids = [one for micro in micros for one in micro.ids]
        fault = _fault([row["loss"] for row in rows], grad_norm, micros)
        if fault is None:
            for group in self.optimizer.param_groups:
                group["lr"] = lr
            self.optimizer.step()
        return Outcome(means, lr, grad_norm, ids, 0, 0.0, 0.0, fault)


def _on_host(losses: list[dict[str, Tensor]], norm: Tensor) -> tuple[list[dict[str, float]], float]:
    """All numbers of a step in one transfer."""
    flat = torch.stack([norm.float(), *(value for row in losses for value in row.values())]).tolist()
    numbers = iter(flat[1:])
    return [{name: next(numbers) for name in row} for row in losses], flat[0]


def _fault(losses: list[float], grad_norm: float, micros: list[Micro]) -> str | None:
    for loss, micro in zip(losses, micros, strict=True):
        if not math.isfinite(loss):
            return f"the loss is {loss} on the samples {_shortened(micro.ids)}"
    if not math.isfinite(grad_norm):
        every = [one for micro in micros for one in micro.ids]
        return f"the gradient norm is {grad_norm} on the samples {_shortened(every)}"
    return None


def _shortened(ids: list[str], most: int = 64) -> str:
    more = f" and {len(ids) - most} more" if len(ids) > most else ""
    return ", ".join(ids[:most]) + more


def seed_all(seed: int) -> None:
    """Seeds torch's (all devices), numpy's and Python's global generators."""
    torch.manual_seed(seed)
    numpy.random.seed(seed % 2**32)
    random.seed(seed)


def seed_of(seed: int, step: int) -> int:
    """A seed for each step of each training, unrelated to its neighbours'."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{step}".encode()).digest()[:8], "big") >> 1


def chained(digest: str, ids: list[str]) -> str:
    """The digest of all sample ids so far, in order: equal digests mean equal lists."""
    return hashlib.sha256(f"{digest}{json.dumps(ids)}".encode()).hexdigest()

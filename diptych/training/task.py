"""What a training needs of the thing being trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from torch import Tensor, nn


class Batch(Protocol):
    """One batch, opaque to the loop except for its ids. An int attribute `tokens`, if there, is logged as a rate."""

    @property
    def ids(self) -> list[str]:
        """The ids of its samples, in order."""
        ...


class Task(Protocol):
    """A model, its data and its losses. The loop does the rest."""

    @property
    def module(self) -> nn.Module:
        """Holds all trainable parameters, and in its buffers whatever else must survive a restart."""
        ...

    def batch(self, step: int) -> Any:
        """Batch number `step`, counted from 0 (accumulate * step + k where gradients are accumulated).

        A pure function of the task's own seed and `step`: it may run ahead, in a background thread or
        process, and after a restart it must give the same again. It must not draw from global generators.
        """
        ...

    def losses(self, batch: Any) -> dict[str, Tensor]:
        """Scalar losses by name; "loss" is minimised, the rest is logged.

        Runs under autocast, with the global generators seeded for this step.
        """
        ...


@runtime_checkable
class Reports(Protocol):
    """A task that also wants to look at itself from time to time."""

    def report(self, step: int, module_ema: nn.Module, folder: Path) -> dict[str, float]:
        """Metrics of the averaged weights after `step` steps; may leave pictures in `folder`.

        Runs without gradients. What it draws or switches to evaluation does not change the training.
        """
        ...

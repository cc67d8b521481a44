"""The training loop: any task, exact resume, nothing lost to a crash."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from diptych.errors import TrainingError
from diptych.training import checkpoints, curve, state
from diptych.training.ahead import ahead
from diptych.training.bar import Progress, shown
from diptych.training.interrupt import occupied, signals
from diptych.training.log import Log, Window
from diptych.training.optim import Ema, optimizer, resolved, trainable
from diptych.training.settings import FREE, Settings
from diptych.training.step import Outcome, Stepper, chained
from diptych.training.task import Batch, Reports, Task

__all__ = ["Batch", "Reports", "Result", "Settings", "Task", "train"]

REDRAW = 120.0  # seconds between two drawings of the curve, which take up to one second each
RESUMES = (True, False, "older", "changed")


@dataclass(frozen=True)
class Result:
    """How a training ended.

    step, steps      done and asked for
    finished         whether the training is over, by steps or by its time budget
    message          what happened and, if it is not over, how to go on
    losses           means of the last line of the log
    samples          digest of the ordered list of all sample ids seen
    skipped          steps left out because a number was not finite
    module           the averaged weights (the plain ones without an average), in evaluation mode
    checkpoint       the folder of the last checkpoint
    """

    step: int
    steps: int
    finished: bool
    message: str
    seconds: float
    losses: dict[str, float]
    samples: str
    skipped: int
    module: nn.Module
    checkpoint: Path


def train(
    task: Task,
    settings: Settings,
    folder: str | Path,
    *,
    resume: bool | str = True,
    progress: Progress | None = None,
    stop: Callable[[], bool] | None = None,
) -> Result:
    """Trains a task in a folder of its own, which then holds `checkpoints/`, `log.jsonl`, `curve.png`, `reports/`.

    resume    True goes on from the newest checkpoint, if there is one: on the CPU with the same number of threads
              the result is bit for bit that of a run never interrupted. "older" may fall back to an earlier
              checkpoint if the newest is damaged; "changed" accepts settings other than those it was started
              with; False refuses a folder that already holds a training.
    progress  called with (steps done, steps in all) after each step; without it a bar is shown on a terminal
    stop      asked after each step; True saves and returns. SIGINT and SIGTERM do the same.

    Raises TrainingError for a loss or gradient that is not finite (the sample ids in the message, no update made),
    a damaged checkpoint, a full disk, changed settings, or a folder in which another process trains.
    """
    folder = Path(folder)
    if resume not in RESUMES:
        raise TrainingError(f"resume must be one of {', '.join(map(repr, RESUMES))}, not {resume!r}")
    with occupied(folder), signals() as asked:
        training = _Training(task, settings, folder)
        training.begin(resume)
        return training.run(progress, lambda: bool(asked) or bool(stop and stop()), asked)


class _Training:
    def __init__(self, task: Task, settings: Settings, folder: Path) -> None:
        self.task, self.settings, self.folder = task, settings, folder
        if not trainable(task.module):
            raise TrainingError("the task's module has no parameter that requires a gradient")
        if settings.threads is not None:
            torch.set_num_threads(settings.threads)
        self.device = next(iter(trainable(task.module).values())).device
        self.precision = resolved(settings.precision, self.device)
        self.ema = Ema(task.module, settings.ema) if settings.ema else None
        self.optimizer = optimizer(task.module, settings)
        self.stepper = Stepper(task, settings, self.optimizer, self.precision)
        self.step, self.before, self.skipped, self.samples = 0, 0.0, 0, ""
        self.window, self.losses = Window(), {}
        self.began = self.drawn = time.monotonic()
        self.over = False  # decided once a step: the clock goes on, the decision must not

    @property
    def seconds(self) -> float:
        """Time trained, over all restarts."""
        return self.before + time.monotonic() - self.began

    @property
    def saves(self) -> Path:
        return self.folder / "checkpoints"

    @property
    def share(self) -> float:
        """How much of the training is done, in [0, 1]."""
        timed = self.seconds / (60 * self.settings.minutes) if self.settings.minutes else 0.0
        return min(1.0, max(self.step / self.settings.steps, timed))

    # Beginning

    def begin(self, resume: bool | str) -> None:
        checkpoints.sweep(self.saves)
        found = checkpoints.newest(self.saves, older=resume == "older")
        if found is not None and not resume:
            raise TrainingError(f"{self.folder} already holds a training; resume it, or choose a new folder")
        if found is not None:
            self._take_up(found, resume)
        self.log = Log(self.folder, self.step)
        self.log.add(event="start", step=self.step, **self._facts())
        if self.settings.compile:
            self.task.module.compile()

    def _take_up(self, found: checkpoints.Checkpoint, resume: bool | str) -> None:
        stored = found.state()
        if self.settings.precision == "auto":  # as it was begun, not as it would be measured today
            self.precision = self.stepper.precision = stored["run"]["precision"]
        if resume != "changed":
            _unchanged(stored["run"], self._facts(), self.folder)
        state.restore(found, self.task.module, self.optimizer, self.ema)
        self.step, self.before = stored["step"], stored["seconds"]
        self.skipped, self.samples, self.losses = stored["skipped"], stored["samples"], stored["losses"]
        self.window = Window(**stored["window"])
        if self.ema is not None:
            self.ema.updates = stored["updates"]
        self.over = self.share >= 1.0

    def _facts(self) -> dict[str, Any]:
        """What decides the bits of the result, and what it runs on."""
        return {
            "settings": self.settings.as_dict(),
            "precision": self.precision,
            "device": self.device.type,
            "threads": torch.get_num_threads(),
            "torch": torch.__version__,
        }

    # Running

    def run(self, progress: Progress | None, stopping: Callable[[], bool], asked: list[str]) -> Result:
        settings = self.settings
        numbers = range(self.step * settings.accumulate, settings.steps * settings.accumulate)
        self.task.module.train()
        with (
            ahead(self.task, numbers, settings.workers, settings.ahead) as batches,
            shown(progress, settings.steps, self.step) as tell,
        ):
            stopped = False
            while not (self.over or stopped):
                outcome = self._advance(batches)
                self.over = self.share >= 1.0
                stopped = stopping()
                tell(self.step, self.share, outcome.losses["loss"])
                self._after(outcome, last=self.over or stopped)
        return self._result(asked)

    def _advance(self, batches: Iterator[Any]) -> Outcome:
        outcome = self.stepper.step(self.step, batches, self.seconds)
        self.samples = chained(self.samples, outcome.ids)
        if outcome.fault is not None:
            self._refuse(outcome.fault)
        else:
            self.window.add(outcome)
            if self.ema is not None:
                self.ema.update()
        self.step += 1
        return outcome

    def _refuse(self, fault: str) -> None:
        self.skipped += 1
        self.log.add(event="skipped", step=self.step + 1, fault=fault, skipped=self.skipped)
        if self.skipped > self.settings.max_skipped:
            raise TrainingError(
                f"step {self.step + 1}: {fault}. No update was made and nothing was saved; the last checkpoint is"
                " intact. Look at these samples, lower lr, or allow a few such steps with max_skipped"
            )

    def _after(self, outcome: Outcome, last: bool) -> None:
        settings = self.settings
        if self.window.steps and (self.over or self.step % settings.log_every == 0):
            self._write(outcome.lr)
        if last or self.step % settings.save_every == 0:
            self.save()
        if settings.report_every and self.step % settings.report_every == 0 or self.over:
            self._report()
        if last or time.monotonic() - self.drawn > REDRAW:
            self._draw()

    def _write(self, lr: float) -> None:
        self.losses = self.window.means()
        self.log.add(step=self.step, lr=lr, **self.window.facts(), seconds=round(self.seconds, 3))
        self.window = Window()

    def save(self) -> None:
        facts = {
            "step": self.step,
            "seconds": self.seconds,
            "skipped": self.skipped,
            "samples": self.samples,
            "losses": self.losses,
            "window": vars(self.window),
            "updates": self.ema.updates if self.ema is not None else 0,
            "run": self._facts(),
        }
        tensors = state.tensors(self.task.module, self.optimizer, self.ema)
        checkpoints.save(self.saves, self.step, tensors, facts, self.settings.keep)

    def _report(self) -> None:
        """A report that fails must not cost the steps since the last checkpoint."""
        if not isinstance(self.task, Reports):
            return
        folder = self.folder / "reports"
        folder.mkdir(exist_ok=True)
        try:
            with torch.no_grad():
                values = self.task.report(self.step, self._averaged(), folder)
        except Exception:
            self.save()
            raise
        self.task.module.train()
        self.log.add(event="report", step=self.step, report=values)

    def _draw(self) -> None:
        if curve.available():
            curve.draw(self.folder)
        self.drawn = time.monotonic()

    def _averaged(self) -> nn.Module:
        return self.ema.module if self.ema is not None else self.task.module.eval()

    # Ending

    def _result(self, asked: list[str]) -> Result:
        message = f"Trained {self.step} steps in {self.seconds:.0f} s; see {self.folder}."
        if not self.over:
            why = f" by {asked[0]}" if asked else ""
            message = f"Stopped{why} at step {self.step} of {self.settings.steps}, saved in {self.saves}."
            message += " Run the same command again to go on from here."
        self.log.add(event="end", step=self.step, finished=self.over, message=message)
        return Result(
            step=self.step,
            steps=self.settings.steps,
            finished=self.over,
            message=message,
            seconds=self.seconds,
            losses=self.losses or self.window.means(),
            samples=self.samples,
            skipped=self.skipped,
            module=self._averaged(),
            checkpoint=checkpoints.complete(self.saves)[-1].folder,
        )


def _unchanged(then: dict[str, Any], now: dict[str, Any], folder: Path) -> None:
    """Raises TrainingError for what would change the result: settings, precision, kind of device."""
    pairs = [(name, then["settings"].get(name), value) for name, value in now["settings"].items() if name not in FREE]
    pairs += [(name, then[name], now[name]) for name in ("precision", "device")]
    changed = [f"{name} was {old!r}, is {new!r}" for name, old, new in pairs if old != new]
    if changed:
        raise TrainingError(
            f"the training in {folder} was started with other settings ({'; '.join(changed)}). Restore them, choose a"
            " new folder, or resume with resume='changed' to accept that the result depends on where it was changed"
        )

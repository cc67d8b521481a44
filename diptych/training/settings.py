"""How a training runs: the numbers a recipe gives, checked before anything starts."""

from __future__ import annotations

import dataclasses
import difflib
import math
from dataclasses import dataclass
from typing import Any

from diptych.errors import TrainingError

OPTIMIZERS = ("adamw", "muon")
PRECISIONS = ("auto", "float32", "bfloat16")

# A training may be resumed with other values of these: none of them changes a single bit of the result.
# (`threads` may, in the last bits of sums; it is a property of the machine, so a change is noted, not refused.)
FREE = frozenset({"save_every", "keep", "log_every", "report_every", "max_skipped", "workers", "ahead", "threads"})


@dataclass(frozen=True)
class Settings:
    """Everything `train` needs to know besides the task.

    steps         optimizer steps in all
    optimizer     adamw | muon (Jordan et al. 2024), which keeps every direction of a matrix learning alike: what is
                  rare is then learned sooner (arXiv 2509.26030). Tables, heads, norms and biases stay with AdamW; the
                  learning rate is AdamW's (arXiv 2502.16982)
    lr            peak learning rate
    warmup        steps of linear rise to the peak
    min_lr_ratio  the cosine ends at lr * min_lr_ratio
    betas         AdamW's two decay rates
    weight_decay  AdamW's; never applied to norms, biases and embeddings
    clip          largest gradient norm; None does not clip
    ema           decay of the moving average of the weights, in [0, 1); 0 keeps no average
    precision     auto | float32 | bfloat16 (autocast; the weights stay as they are)
    accumulate    batches a step; their gradients are averaged with equal weight
    seed          of torch's, numpy's and Python's global generators, which each step seeds anew from it
    save_every    steps between checkpoints
    keep          checkpoints that stay
    log_every     steps a line of the log
    report_every  steps between the task's own reports; 0 for none but the last
    minutes       time budget; the cosine then follows max(step / steps, time / budget). Such a run can be
                  resumed, but two of them never agree bit for bit: the learning rate depends on the clock.
    max_skipped   steps with a non-finite loss or gradient that may be left out before the training stops
    threads       torch threads; None leaves them alone
    workers       processes that prepare batches; 0 uses one background thread
    ahead         batches prepared ahead
    compile       torch.compile the module's forward
    """

    steps: int
    optimizer: str = "adamw"
    lr: float = 1e-3
    warmup: int = 100
    min_lr_ratio: float = 0.05
    betas: tuple[float, float] = (0.9, 0.95)
    weight_decay: float = 0.05
    clip: float | None = 1.0
    ema: float = 0.999
    precision: str = "auto"
    accumulate: int = 1
    seed: int = 0
    save_every: int = 500
    keep: int = 2
    log_every: int = 10
    report_every: int = 0
    minutes: float | None = None
    max_skipped: int = 0
    threads: int | None = None
    workers: int = 0
    ahead: int = 2
    compile: bool = False

    def __post_init__(self) -> None:
        """Raises TrainingError naming the field that is out of range."""
        if not isinstance(self.betas, list | tuple) or len(self.betas) != 2:
            raise TrainingError(f"betas must be two numbers, for example [0.9, 0.95], not {self.betas!r}")
        object.__setattr__(self, "betas", tuple(self.betas))
        for name, low in LOWEST.items():
            _at_least(name, getattr(self, name), low)
        _inside("min_lr_ratio", self.min_lr_ratio, 0.0, 1.0)
        _inside("ema", self.ema, 0.0, math.nextafter(1.0, 0.0))
        for beta in self.betas:
            _inside("betas", beta, 0.0, math.nextafter(1.0, 0.0))
        if self.optimizer not in OPTIMIZERS:
            raise TrainingError(f"optimizer must be one of {', '.join(OPTIMIZERS)}, not {self.optimizer!r}")
        if self.precision not in PRECISIONS:
            raise TrainingError(f"precision must be one of {', '.join(PRECISIONS)}, not {self.precision!r}")
        if not isinstance(self.compile, bool):
            raise TrainingError(f"compile must be true or false, not {self.compile!r}")

    @classmethod
    def read(cls, given: dict[str, Any]) -> Settings:
        """Settings from a recipe's table; unknown names raise TrainingError with the nearest known one."""
        known = [field.name for field in dataclasses.fields(cls)]
        for name in given:
            if name not in known:
                raise TrainingError(f"unknown training setting {name!r}{nearest(name, known)}")
        if "steps" not in given:
            raise TrainingError("the training settings need `steps`, the number of optimizer steps")
        return cls(**given)

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values, in the order of the fields."""
        return {**dataclasses.asdict(self), "betas": list(self.betas)}


# The smallest value of each number; int fields must also be whole.
LOWEST: dict[str, float] = {
    "steps": 1,
    "lr": 0.0,
    "warmup": 0,
    "weight_decay": 0.0,
    "clip": 0.0,
    "accumulate": 1,
    "seed": 0,
    "save_every": 1,
    "keep": 1,
    "log_every": 1,
    "report_every": 0,
    "minutes": 1e-3,
    "max_skipped": 0,
    "threads": 1,
    "workers": 0,
    "ahead": 1,
}
MAY_BE_NONE = frozenset({"clip", "minutes", "threads"})
FLOATS = frozenset({"lr", "weight_decay", "clip", "minutes"})


def nearest(name: str, known: list[str]) -> str:
    """`; did you mean ...?` and the list of all that is known."""
    close = difflib.get_close_matches(name, known, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    return f"{hint} (known: {', '.join(sorted(known))})"


def _at_least(name: str, value: Any, low: float) -> None:
    if value is None and name in MAY_BE_NONE:
        return
    kinds = (int, float) if name in FLOATS else (int,)
    if isinstance(value, bool) or not isinstance(value, kinds) or not math.isfinite(value) or value < low:
        kind = "a number" if name in FLOATS else "a whole number"
        raise TrainingError(f"{name} must be {kind} of at least {low:g}, not {value!r}")


def _inside(name: str, value: Any, low: float, high: float) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise TrainingError(f"{name} must lie between {low:g} and {high:g}, not {value!r}")

"""The learning curve as a picture, drawn from the log."""

from __future__ import annotations

from itertools import accumulate
from pathlib import Path
from typing import Any

from diptych.errors import TrainingError
from diptych.storage import replacing
from diptych.training.log import read

NAME = "curve.png"
SPAN = 0.03  # share of the curve over which it is smoothed


def draw(folder: Path, log_x: bool = False) -> Path | None:
    """Draws `curve.png` from `log.jsonl` in a training's folder: every loss, raw and smoothed, and the learning rate.

    Dotted lines stand where the training was resumed, perhaps with other settings. None if there is nothing to draw
    yet. Raises TrainingError if matplotlib is not installed.
    """
    log = read(folder)
    lines = [line for line in log if "losses" in line]
    if len(lines) < 2:
        return None
    resumed = [line["step"] for line in log if line.get("event") == "start" and line["step"] > 0]
    figure = _figure(lines, resumed, log_x)
    with replacing(folder / NAME) as draft:
        figure.savefig(draft, dpi=90)
    return folder / NAME


def available() -> bool:
    """Whether matplotlib is installed."""
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError:
        return False
    return True


def _figure(lines: list[dict[str, Any]], resumed: list[int], log_x: bool) -> Any:
    try:
        from matplotlib.figure import Figure  # no pyplot: it keeps global state and may open windows
    except ImportError as error:
        raise TrainingError('the curve needs matplotlib: pip install "diptych[train]"') from error
    names = list(dict.fromkeys(name for line in lines for name in line["losses"]))
    figure = Figure(figsize=(8, 2.2 * (len(names) + 1)), layout="constrained")
    axes = figure.subplots(len(names) + 1, 1, sharex=True, squeeze=False)[:, 0]
    for axis, name in zip(axes, names, strict=False):
        _plot(axis, *series(lines, name), name)
    axes[-1].plot([line["step"] for line in lines], [line["lr"] for line in lines], color="tab:gray")
    axes[-1].set_ylabel("learning rate")
    axes[-1].set_xlabel("step (dotted: resumed)" if resumed else "step")
    for axis in axes:
        for step in resumed:
            axis.axvline(step, color="tab:gray", linestyle=":", linewidth=1)
    if log_x:
        axes[-1].set_xscale("log")
    return figure


def _plot(axis: Any, steps: list[int], values: list[float], name: str) -> None:
    axis.plot(steps, values, color="tab:blue", alpha=0.3, linewidth=0.8)
    axis.plot(steps, smoothed(values), color="tab:blue", linewidth=1.6)
    axis.set_ylabel(name)
    axis.grid(alpha=0.3)
    tail = sorted(values[len(values) // 20 :])  # the first values are often far above all others
    high = tail[int(0.995 * (len(tail) - 1))] if tail else 1.0
    low = min(values)
    if high > low:
        axis.set_ylim(low - 0.05 * (high - low), high + 0.15 * (high - low))


def series(lines: list[dict[str, Any]], name: str) -> tuple[list[int], list[float]]:
    """The steps and the finite values of one loss."""
    found = [(line["step"], line["losses"].get(name)) for line in lines]
    kept = [(step, value) for step, value in found if isinstance(value, int | float)]
    return [step for step, _ in kept], [float(value) for _, value in kept]


def smoothed(values: list[float], span: float = SPAN) -> list[float]:
    """An average over about `span` of the curve's length, falling off exponentially to both sides: one that only looks
    back lies above a falling curve."""
    decay = 1 - 2 / max(2.0, span * len(values))
    before, after = _decaying(values, decay), _decaying(values[::-1], decay)[::-1]
    weights = _decaying([1.0] * len(values), decay)
    pairs = zip(values, before, after, weights, weights[::-1], strict=True)
    return [(left + right - value) / (w + u - 1) for value, left, right, w, u in pairs]


def _decaying(values: list[float], decay: float) -> list[float]:
    """Running sums in which everything earlier counts `decay` times less at each step."""
    return list(accumulate(values, lambda total, value: decay * total + value))

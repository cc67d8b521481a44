"""The models as pictures: over time, as the survey's tree, by published scores."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from typing import Any

from diptych.catalogue.lanes import COLOURS, day, lanes, stacked
from diptych.catalogue.records import Model, Score
from diptych.catalogue.running import runs
from diptych.errors import CapabilityError, InputError
from diptych.storage import replacing

ENDINGS = (".png", ".svg", ".pdf")
DPI = 110
ROW = 0.17  # inches between lines of text
LETTER = 0.078  # inches a letter of the labels takes, generously
PANELS = 6  # benchmarks drawn unless some are named
NAMES = 4.6  # where names begin in the tree, in inches
REMEASURED = "measured again by others"
INK, FAINT = "#222222", "#888888"


def draw(models: Sequence[Model], what: str, out: str | Path, benchmarks: Sequence[str] = ()) -> Path:
    """Draws `timeline`, `taxonomy` or `scores` (of some benchmarks) to a .png, .svg or .pdf file.

    Raises InputError for another picture, ending or benchmark, CapabilityError where matplotlib is not installed.
    """
    target = Path(out)
    if what not in PICTURES:
        raise InputError(f"no plot is called {what!r}; choose one of {', '.join(PICTURES)}")
    if target.suffix.lower() not in ENDINGS:
        raise InputError(f"--out {target.name}: a plot is written as {', '.join(ENDINGS[:-1])} or {ENDINGS[-1]}")
    if benchmarks and what != "scores":
        raise InputError(f"--benchmark chooses among scores; a {what} has none")
    try:
        from matplotlib.figure import Figure  # no pyplot: it keeps global state and may open windows
    except ImportError as error:
        raise CapabilityError('plots need matplotlib: pip install "diptych[eval]"') from error
    picture = PICTURES[what](Figure, models, benchmarks)
    with replacing(target) as draft:
        picture.savefig(draft, dpi=DPI, bbox_inches="tight", facecolor="white")
    return target


def timeline(figure: Callable[..., Any], models: Sequence[Model], _: Sequence[str] = ()) -> Any:
    """A lane a paradigm and encoding, in the survey's order; a point a model, its name beside it."""
    days, width = [day(model.date) for model in models], 15.0
    begin, end = min(days) - 30, max(days) + 80  # room for the last names
    placed_in = [(lane, stacked(lane.models, width / (end - begin), LETTER, 0.25)) for lane in lanes(models)]
    rows = sum(_height(placed) for _, placed in placed_in)
    picture = figure(figsize=(width, rows * ROW))
    axes = picture.add_axes((0, 0, 1, 1))  # so that labels are as wide as was reckoned
    top = 0
    for number, ((paradigm, encoding, *_models), placed) in enumerate(placed_in):
        height = _height(placed)
        axes.axhspan(top, top + height, color="#f4f4f4" if number % 2 else "white", zorder=0)
        label = paradigm if encoding == "none" else f"{paradigm}\n{encoding}"
        axes.text(begin - 8, top + height / 2, label, ha="right", va="center", fontsize=9, color=COLOURS[paradigm])
        for model, row in placed:
            _point(axes, model, top + row + 1)
        top += height
    _years(axes, begin, end)
    axes.set(xlim=(begin, end), ylim=(top, 0), yticks=[])
    axes.set_title(f"{len(models)} unified models over time (filled, bold: runs in Diptych)", loc="left", fontsize=13)
    return picture


def taxonomy(figure: Callable[..., Any], models: Sequence[Model], _: Sequence[str] = ()) -> Any:
    """The survey's tree from left to right: paradigm, encoding, models in order of date."""
    folded = [(lane, _folded(lane.models)) for lane in lanes(models)]
    total = sum(len(lines) + 1 for _, lines in folded)
    picture = figure(figsize=(16, total * ROW + 0.8))
    axes = picture.subplots()
    places: dict[str, list[float]] = {}
    top = 0.0
    for (paradigm, encoding, *_models), lines in folded:
        middle = top + (len(lines) - 1) / 2
        places.setdefault(paradigm, []).append(middle)
        if encoding != "none":
            count = sum(len(line) for line in lines)
            _box(axes, 2.5, middle, f"{encoding} ({count})", COLOURS[paradigm], "white")
        for number, line in enumerate(lines):
            _names(axes, NAMES + 0.1, top + number, line, last=number == len(lines) - 1)
        axes.plot([NAMES, NAMES], [top - 0.4, top + len(lines) - 0.6], color=COLOURS[paradigm], linewidth=1)
        top += len(lines) + 1
    for paradigm, middles in places.items():
        _branch(axes, paradigm, middles, sum(model.paradigm == paradigm for model in models))
    axes.set(xlim=(0, 16), ylim=(top, -1.5))
    axes.set_axis_off()
    axes.set_title("Unified models by paradigm and image encoding (bold: runs in Diptych)", loc="left", fontsize=13)
    return picture


def scores(figure: Callable[..., Any], models: Sequence[Model], benchmarks: Sequence[str] = ()) -> Any:
    """A panel a benchmark: each model's published scores, the best model on top; hollow where others measured."""
    counted = Counter(name for model in models for name in {score.benchmark for score in model.scores})
    chosen = [_benchmark(name, counted) for name in benchmarks] or [name for name, _ in counted.most_common(PANELS)]
    columns = min(3, len(chosen))
    deep = -(-len(chosen) // columns)
    bands = [max(counted[name] for name in chosen[k * columns : (k + 1) * columns]) + 3 for k in range(deep)]
    picture = figure(figsize=(5.2 * columns, sum(bands) * ROW + 1.2), layout="constrained")
    panels = picture.subplots(deep, columns, squeeze=False, height_ratios=bands).flatten()
    for axes, name in zip(panels, chosen, strict=False):
        _panel(axes, name, [(model, _scored(model, name)) for model in models if _scored(model, name)])
    for axes in panels[len(chosen) :]:
        axes.set_axis_off()
    _legend(picture)
    return picture


PICTURES = {"timeline": timeline, "taxonomy": taxonomy, "scores": scores}


def _height(placed: Sequence[tuple[Model, int]]) -> int:
    """Rows of a lane: at least what its label of two lines needs."""
    return max(3, max(row for _, row in placed) + 2)


def _point(axes: Any, model: Model, height: float) -> None:
    here, colour = bool(runs(model)), COLOURS[model.paradigm]
    place = day(model.date), height
    axes.plot(*place, "o", markersize=5.5, color=colour, markerfacecolor=colour if here else "white")
    weight = "bold" if here else "normal"
    axes.annotate(
        model.name, place, (5, 0), textcoords="offset points", va="center", fontsize=8, weight=weight, color=INK
    )


def _years(axes: Any, begin: int, end: int) -> None:
    years = [date(year, 1, 1) for year in range(date.fromordinal(begin).year, date.fromordinal(end).year + 1)]
    quarters = [year.replace(month=month).toordinal() for year in years for month in (1, 4, 7, 10)]
    shown = [one for one in quarters if begin <= one <= end]
    axes.set_xticks(shown, [f"{date.fromordinal(one):%b %Y}" for one in shown], fontsize=8)
    axes.grid(axis="x", color="#dddddd", linewidth=0.6)
    axes.tick_params(top=True, labeltop=True, length=0)
    for side in ("left", "right", "top", "bottom"):
        axes.spines[side].set_visible(False)


def _folded(models: Sequence[Model], letters: int = 120) -> list[list[Model]]:
    """Models in lines of so many letters."""
    lines: list[list[Model]] = [[]]
    for model in models:
        if lines[-1] and sum(len(one.name) + 3 for one in lines[-1]) + len(model.name) > letters:
            lines.append([])
        lines[-1].append(model)
    return lines


def _names(axes: Any, left: float, height: float, models: Sequence[Model], last: bool) -> None:
    """Names in a line, each behind the one before; bold where the model runs here. last: no more lines follow."""
    before: Any = None
    for number, model in enumerate(models):
        name = model.name + ("" if last and number == len(models) - 1 else ",")
        style = {"va": "center", "fontsize": 9, "color": INK, "weight": "bold" if runs(model) else "normal"}
        if before is None:
            before = axes.annotate(name, (left, height), **style)
        else:
            before = axes.annotate(name, (1, 0.5), (5, 0), xycoords=before, textcoords="offset points", **style)


def _box(axes: Any, left: float, height: float, text: str, edge: str, face: str) -> None:
    box = {"boxstyle": "round,pad=0.35", "edgecolor": edge, "facecolor": face, "linewidth": 1.2}
    colour = "white" if face == edge else INK
    axes.text(left, height, text, va="center", fontsize=9.5, color=colour, bbox=box, zorder=3)


def _branch(axes: Any, paradigm: str, middles: Sequence[float], count: int) -> None:
    """A paradigm's box and the lines that lead from it to its lanes."""
    colour, middle = COLOURS[paradigm], (middles[0] + middles[-1]) / 2
    for height in middles:
        axes.plot([0.6, 2.2, 2.2, NAMES], [middle, middle, height, height], color=colour, linewidth=1, zorder=1)
    _box(axes, 0.2, middle, f"{paradigm} ({count})", colour, colour)


def _benchmark(name: str, counted: Counter[str]) -> str:
    found = next((known for known in counted if known.casefold() == name.casefold()), None)
    if found is None:
        raise InputError(f"no scores of {name!r}; there are some of {', '.join(sorted(counted, key=str.casefold))}")
    return found


def _scored(model: Model, benchmark: str) -> list[Score]:
    return [score for score in model.scores if score.benchmark == benchmark]


def _panel(axes: Any, name: str, scored: list[tuple[Model, list[Score]]]) -> None:
    scored.sort(key=lambda pair: -max(score.value for score in pair[1]))
    for row, (model, found) in enumerate(scored):
        values, colour = [score.value for score in found], COLOURS[model.paradigm]
        axes.plot([min(values), max(values)], [row, row], color=colour, linewidth=1, alpha=0.5)
        for score in found:
            face = "white" if score.remeasured else colour
            axes.plot(score.value, row, "o", markersize=4.5, color=colour, markerfacecolor=face)
    axes.set_yticks(range(len(scored)), [model.name for model, _ in scored], fontsize=8)
    for label, (model, _) in zip(axes.get_yticklabels(), scored, strict=True):
        label.set_fontweight("bold" if runs(model) else "normal")
    axes.set_ylim(len(scored) - 0.4, -0.6)
    axes.set_title(f"{name}: {len(scored)} {'model' if len(scored) == 1 else 'models'}", loc="left", fontsize=10)
    axes.grid(color="#e4e4e4", linewidth=0.6)
    axes.tick_params(length=0, labelsize=8)
    for side in ("left", "right", "top"):
        axes.spines[side].set_visible(False)


def _legend(picture: Any) -> None:
    from matplotlib.lines import Line2D

    dot: dict[str, Any] = {"marker": "o", "linestyle": ""}
    signs = [Line2D([], [], color=colour, label=name, **dot) for name, colour in COLOURS.items()]
    signs.append(Line2D([], [], color=FAINT, markerfacecolor="white", label=REMEASURED, **dot))
    signs.append(Line2D([], [], linestyle="", label="bold: runs in Diptych"))
    picture.legend(handles=signs, loc="outside upper left", ncols=len(signs), frameon=False, fontsize=9)

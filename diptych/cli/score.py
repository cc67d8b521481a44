"""`diptych score` and `diptych compare`: numbers from what is stored, and how sure a difference is."""

from dataclasses import asdict
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from diptych.cli import options
from diptych.cli.console import bar, command, show_json
from diptych.cli.runs import HOME, folder_of, judged_and_scored, show_result
from diptych.errors import InputError

if TYPE_CHECKING:
    from diptych.evaluation.runs.comparing import Comparison
    from diptych.evaluation.runs.folder import Run


@command
def score(
    what: Annotated[str, typer.Argument(metavar="RUN|BENCHMARK", help="A run's folder, or a benchmark's name.")],
    images: Annotated[
        str | None, typer.Option(help="Pictures somebody made: ID.png, ID-0.png, or a folder ID.")
    ] = None,
    answers: Annotated[
        str | None, typer.Option(metavar="FILE", help='Answers somebody gave: {"id": ..., "answer": ...} a line.')
    ] = None,
    data: Annotated[str | None, typer.Option(help="Folder of the benchmark's files.")] = None,
    judge: Annotated[
        str | None, typer.Option(help="Who looks at pictures: replay:FILE, openai:URL#MODEL, local:NAME, model:NAME.")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first rows.")] = None,
    name: Annotated[str | None, typer.Option(help="What the model of the answers is called.")] = None,
    out: Annotated[str | None, typer.Option("--out", "-o", help=f"Folder of runs ({HOME}).")] = None,
    as_json: options.Json = False,
) -> None:
    """Score a stored run again, or what others answered and drew."""
    from diptych.evaluation.benchmarks import find
    from diptych.evaluation.runs.folder import Run

    if images and answers:
        raise InputError("give --images or --answers, not both")
    if images or answers:
        run = _given(what, Path(images or str(answers)), data, limit, name, out, pictures=images is not None)
    else:
        run = Run.open(what) if Path(what).is_dir() else _no_run(what)
    result = judged_and_scored(run, find(run.settings["benchmark"]), judge)
    show_json(result) if as_json else show_result(result)


def _no_run(what: str) -> "Run":
    from diptych.evaluation.benchmarks import names

    if what in names():
        raise InputError(f"score {what} of what? give --images DIR or --answers FILE, or the folder of a run")
    raise InputError(f"{what} is neither the folder of a run nor a benchmark ({', '.join(names())})")


def _given(
    what: str, where: Path, data: str | None, limit: int | None, name: str | None, out: str | None, pictures: bool
) -> "Run":
    from diptych.evaluation.benchmarks import find
    from diptych.evaluation.runs.given import find_pictures, read_answers, take_in

    benchmark = find(what)
    folder = folder_of(benchmark, data)
    rows = benchmark.rows(folder)[:limit]
    wants_pictures = benchmark.wants == "image"
    if pictures != wants_pictures:
        raise InputError(f"{what} asks for {'pictures: --images DIR' if wants_pictures else 'words: --answers FILE'}")
    found = find_pictures(where, rows) if pictures else read_answers(where, rows)
    called = name or where.resolve().stem
    return take_in(Path(out or HOME) / f"{called}-{what}", benchmark, rows, folder, found, called)


@command
def compare(
    runs: Annotated[list[str], typer.Argument(metavar="RUN RUN...", help="Folders of runs; the first is the measure.")],
    resamples: Annotated[int, typer.Option(min=100, help="Of the bootstrap.")] = 1000,
    seed: options.Seed = 0,
    as_json: options.Json = False,
) -> None:
    """Put runs of one benchmark side by side: differences, 95 % intervals, significance."""
    from diptych.evaluation.benchmarks import find
    from diptych.evaluation.runs.comparing import check_alike
    from diptych.evaluation.runs.comparing import compare as against
    from diptych.evaluation.runs.folder import Run

    if len(runs) < 2:
        raise InputError("compare takes two runs or more, such as: diptych compare RUN_A RUN_B")
    opened = [Run.open(run) for run in runs]
    benchmark = find(opened[0].settings["benchmark"])
    check_alike(opened, benchmark)
    found = []
    for other in opened[1:]:
        with bar("resampling", "samples") as progress:
            found.append(against(opened[0], other, benchmark, resamples, seed, progress))
    if as_json:
        show_json({"benchmark": benchmark.name, "resamples": resamples, "comparisons": [_plain(one) for one in found]})
        return
    for one in found:
        _print(one)


def _plain(one: "Comparison") -> dict[str, Any]:
    """As JSON, which has no "not a number"."""
    found = asdict(one)
    for difference in found["differences"]:
        for name, value in difference.items():
            difference[name] = None if isinstance(value, float) and isnan(value) else value
    return found


def _print(one: "Comparison") -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    grid = Table(box=SIMPLE_HEAD, title=None)
    for name in ("figure", "first", "second", "difference", "95 % interval", "p"):
        grid.add_column(
            name, no_wrap=name != "figure", overflow="fold", justify="left" if name == "figure" else "right"
        )
    for d in one.differences:
        cells = [d.figure, f"{d.first:.4f}", f"{d.second:.4f}", f"{d.second - d.first:+.4f}"]
        cells += [f"{d.low:+.4f} to {d.high:+.4f}", f"{d.p:.3f}"]
        grid.add_row(*map(Text, cells), style="bold" if d.figure == one.figure else None)
    console = Console()
    console.print(Text(f"first: {one.first}\nsecond: {one.second}"), soft_wrap=True)
    console.print(grid)
    console.print(Text(f"{one.rows} rows that both answered"), soft_wrap=True)
    if one.mcnemar is not None:
        odd = one.mcnemar
        console.print(
            Text(
                f"right only in the first: {odd.first_only}, only in the second: {odd.second_only} "
                f"(McNemar's exact test: p = {odd.p:.3g})"
            ),
            soft_wrap=True,
        )

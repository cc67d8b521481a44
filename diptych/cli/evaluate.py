"""`diptych eval`: a model on benchmarks, every answer and picture kept."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from diptych.cli import options
from diptych.cli.console import bar, command, load_model, show_json, slug
from diptych.cli.runs import HOME, folder_of, judged_and_scored, show_result
from diptych.errors import CapabilityError, InputError

if TYPE_CHECKING:
    from diptych.evaluation.benchmark import Benchmark, Row
    from diptych.evaluation.runs.folder import Run
    from diptych.models.model import Model

SUITES = ("emoji",)
GROUPS = {"emoji": ("emoji-draw", "emoji-ask", "emoji-edit")}
# What of the options concerns answers in words, and what pictures.
CONCERNS = {
    "text": ("temperature", "max_tokens", "think"),
    "image": ("guidance", "temperature", "steps", "size", "think"),
}


@command
def evaluate(
    model: Annotated[str, typer.Argument(help="Built-in name, folder or hub id.")],
    bench: Annotated[
        str | None, typer.Option(metavar="NAMES", help="Benchmarks, such as pope,mme,geneval, or emoji, emoji-self.")
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(help="Folder of the benchmark's files, or of folders named after benchmarks; or hub:OWNER/NAME."),
    ] = None,
    on: Annotated[
        str, typer.Option(help=f"Without --bench: which suite, with floor and ceiling: {SUITES[0]}.")
    ] = "emoji",
    sets: Annotated[str | None, typer.Option("--sets", help="A folder with other sets of the suite's form.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first rows, for a quick look.")] = None,
    out: Annotated[
        str | None, typer.Option("--out", "-o", help=f"Folder of runs ({HOME}); with --on, of the suite's results.")
    ] = None,
    judge: Annotated[
        str | None, typer.Option(help="Who looks at pictures: replay:FILE, openai:URL#MODEL, local:NAME, model:NAME.")
    ] = None,
    n: Annotated[int | None, typer.Option("--n", "-n", min=1, help="Pictures a prompt; the benchmark's own.")] = None,
    batch: Annotated[int, typer.Option(min=1, help="How many at once; the result is the same.")] = 16,
    seed: options.Seed = 0,
    guidance: options.Guidance = None,
    temperature: options.Temperature = None,
    steps: options.Steps = None,
    size: options.Size = None,
    max_tokens: Annotated[int | None, typer.Option(min=1, help="Longest answer, in tokens.")] = None,
    think: options.Think = False,
    shard: Annotated[
        str | None, typer.Option(metavar="I/N", help="This process's share, from 0/N; torchrun says it by itself.")
    ] = None,
    as_json: options.Json = False,
    *,
    placing: options.Placing,
) -> None:
    """Measure a model on benchmarks, or on the built-in suite. A stopped run goes on where it was."""
    chosen = options.given(
        guidance=guidance,
        temperature=temperature,
        steps=steps,
        size=options.parse_size(size),
        max_tokens=max_tokens,
        think=think,
    )
    if bench is None:
        _suite(partial(load_model, model, placing), on, sets, limit, out, as_json)
        return
    asked = [(benchmark, folder_of(benchmark, data)) for benchmark in _benchmarks(bench)]
    _check_options(chosen, [benchmark for benchmark, _ in asked])
    rows = {benchmark.name: benchmark.rows(folder)[:limit] for benchmark, folder in asked}
    share = _share(shard)
    measured = load_model(model, replace(placing, device=_own_device(placing.device)))
    results = []
    for benchmark, folder in asked:
        own, found = _sized(benchmark, measured), rows[benchmark.name]
        if own is not benchmark:
            found = own.rows(folder)[:limit]
        run = _begin(own, found, folder, measured, _name(model), out, seed, n, chosen)
        _make(measured, own, run, batch, share)
        results.append(_finish(run, own, measured, judge, whole=share == (0, 1)))
    _show(results, as_json)


def _benchmarks(names: str) -> "list[Benchmark]":
    from diptych.evaluation.benchmarks import find

    several = [name.strip() for name in names.split(",") if name.strip()]
    if not several:
        raise InputError("--bench names no benchmark; give some, such as: --bench pope,mme")
    return [find(one) for name in several for one in GROUPS.get(name, (name,))]


def _check_options(chosen: Mapping[str, Any], benchmarks: Sequence["Benchmark"]) -> None:
    """No option is passed over in silence."""
    heard = {name for benchmark in benchmarks for name in CONCERNS[benchmark.wants]}
    if unheard := [name for name in chosen if name not in heard]:
        names = ", ".join(benchmark.name for benchmark in benchmarks)
        raise InputError(f"--{unheard[0].replace('_', '-')} says nothing to {names}; leave it out")


def _sized(benchmark: "Benchmark", model: Any) -> "Benchmark":
    """Emoji pictures come in the size that the model writes."""
    if not benchmark.name.startswith("emoji-"):
        return benchmark
    from diptych.evaluation.benchmarks.emoji import sized

    return sized(benchmark, model.image_size[0])


def _begin(
    benchmark: "Benchmark",
    rows: "list[Row]",
    folder: Path,
    model: Any,
    name: str,
    out: str | None,
    seed: int,
    n: int | None,
    chosen: Mapping[str, Any],
) -> "Run":
    from diptych.evaluation.runs.folder import Run
    from diptych.evaluation.runs.making import ability
    from diptych.evaluation.runs.rows import check_pictures
    from diptych.evaluation.runs.settings import settings

    check_pictures(rows)
    request = benchmark.ask(rows[0])
    if (able := ability(request)) not in model.can:
        raise CapabilityError(
            f"{benchmark.name} takes a model that can {able}; {name} can {', '.join(sorted(model.can))}"
        )
    fitting = {key: value for key, value in chosen.items() if key in CONCERNS[request.want]}
    if request.want == "text" and benchmark.name.startswith("emoji-"):
        from diptych.evaluation.benchmarks.emoji import LONGEST_ANSWER

        fitting = {"max_tokens": LONGEST_ANSWER} | fitting
    pinned = settings(model, name, benchmark, request.want, seed, n or benchmark.pictures, fitting)
    return Run.begin(Path(out or HOME) / f"{slug(name)}-{benchmark.name}", pinned, rows, folder)


def _make(model: Any, benchmark: "Benchmark", run: "Run", batch: int, share: tuple[int, int]) -> None:
    from diptych.evaluation.runs.making import make

    with bar(benchmark.name, "rows") as progress:
        make(model, benchmark, run, batch, share, progress)


def _finish(run: "Run", benchmark: "Benchmark", model: Any, judge: str | None, whole: bool) -> dict[str, Any]:
    """Scores what is complete. Of several processes, the last one does."""
    from diptych.evaluation.runs.journal import BusyError
    from diptych.evaluation.runs.scoring import unanswered

    if missing := unanswered(run):
        return {"folder": str(run.path), "missing": missing}
    try:
        return judged_and_scored(run, benchmark, judge, model)
    except BusyError:
        if whole:
            raise
        return {"folder": str(run.path), "missing": 0, "note": "another process scores it"}


def _name(model: str) -> str:
    """What the model is called in results: a folder's own name, not where it lies."""
    return Path(model).resolve().name if Path(model).is_dir() else model


def _share(shard: str | None) -> tuple[int, int]:
    """(i, n) of --shard i/n, or of the environment that torchrun sets."""
    text = shard or f"{os.environ.get('RANK', 0)}/{os.environ.get('WORLD_SIZE', 1)}"
    first, slash, last = text.partition("/")
    if not (slash and first.isdigit() and last.isdigit() and int(first) < int(last)):
        raise InputError(f"--shard {text}: give share and number of shares, such as 0/4, 1/4, 2/4 and 3/4")
    return int(first), int(last)


def _own_device(device: str) -> str:
    """Under torchrun each process has a GPU of its own."""
    local = os.environ.get("LOCAL_RANK")
    if device != "auto" or local is None:
        return device
    import torch

    return f"cuda:{local}" if torch.cuda.is_available() else device


def _show(results: list[dict[str, Any]], as_json: bool) -> None:
    if as_json:
        show_json({"runs": results})
        return
    for result in results:
        show_result(result)


def _suite(
    load: "Callable[[], Model]", on: str, sets: str | None, limit: int | None, out: str | None, as_json: bool
) -> None:
    if on not in SUITES:
        raise InputError(f"unknown suite {on!r}; there is {', '.join(SUITES)}; published benchmarks: --bench NAMES")
    from diptych.evaluation.emoji.run import evaluate as measure

    measured = load()
    with bar("evaluating", "rows") as progress:
        result = measure(measured, sets=sets, limit=limit, out=Path(out) if out else None, progress=progress)
    if as_json:
        show_json(result)
        return
    for line in table_lines(result):
        print(line)


def table_lines(result: Mapping[str, Any], indent: str = "") -> list[str]:
    """Numbers by name, nested tables indented."""
    lines: list[str] = []
    for name, value in result.items():
        if isinstance(value, dict):
            lines += [f"{indent}{name}", *table_lines(value, indent + "  ")]
        elif isinstance(value, float):
            lines.append(f"{indent}{name:<{max(1, 32 - len(indent))}} {value:.4f}")
        elif isinstance(value, int | str):
            lines.append(f"{indent}{name:<{max(1, 32 - len(indent))}} {value}")
    return lines

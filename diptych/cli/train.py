"""`diptych train` and `diptych eval`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from diptych.cli import options
from diptych.cli.console import bar, command, load_model, show_json
from diptych.errors import InputError

SUITES = ("emoji",)
RESUMES: dict[str, bool | str] = {"yes": True, "no": False, "older": "older", "changed": "changed"}


@command
def train(
    recipe: Annotated[str, typer.Argument(help="A recipe, such as recipes/janus-emoji.toml.")],
    out: Annotated[
        str | None, typer.Option("--out", "-o", help="Folder of the run; the recipe's own by default.")
    ] = None,
    resume: Annotated[str, typer.Option(help="yes, no (a new folder only), older, or changed settings.")] = "yes",
    set_: Annotated[list[str] | None, typer.Option("--set", help="A changed setting: training.steps=100.")] = None,
) -> None:
    """Train what a recipe describes; a stopped run goes on where it was."""
    from diptych.training.recipes import assignments, run

    if resume not in RESUMES:
        raise InputError(f"--resume {resume}: choose one of {', '.join(RESUMES)}")
    result = run(recipe, out, RESUMES[resume], assignments(set_ or []))
    print(result.message)
    if not result.finished:
        raise typer.Exit(130)


@command
def evaluate(
    model: Annotated[str, typer.Argument(help="Built-in name, folder or hub id.")],
    on: Annotated[str, typer.Option(help=f"Which suite: {', '.join(SUITES)}.")] = "emoji",
    sets: Annotated[str | None, typer.Option("--sets", help="A folder with other sets of the same form.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first rows of each set, for a quick look.")] = None,
    out: Annotated[str | None, typer.Option("--out", "-o", help="Folder for results, answers and pictures.")] = None,
    device: options.Device = "auto",
    dtype: options.Dtype = "auto",
    as_json: options.Json = False,
) -> None:
    """Measure a model on a suite of questions, prompts and edits."""
    if on not in SUITES:
        raise InputError(f"unknown suite {on!r}; there is {', '.join(SUITES)}")
    from diptych.evaluation.emoji.run import evaluate as measure

    measured = load_model(model, device, dtype)
    with bar("evaluating", "rows") as progress:
        result = measure(measured, sets=sets, limit=limit, out=Path(out) if out else None, progress=progress)
    if as_json:
        show_json(result)
        return
    for line in _table(result):
        print(line)


def _table(result: dict[str, Any], indent: str = "") -> list[str]:
    """Numbers by name, nested tables indented."""
    lines: list[str] = []
    for name, value in result.items():
        if isinstance(value, dict):
            lines += [f"{indent}{name}", *_table(value, indent + "  ")]
        elif isinstance(value, float):
            lines.append(f"{indent}{name:<{max(1, 32 - len(indent))}} {value:.4f}")
        elif isinstance(value, int | str):
            lines.append(f"{indent}{name:<{max(1, 32 - len(indent))}} {value}")
    return lines

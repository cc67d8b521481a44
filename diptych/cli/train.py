"""`diptych train`."""

from typing import Annotated

import typer

from diptych.cli.console import command
from diptych.errors import InputError

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

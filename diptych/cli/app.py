"""All commands under one name."""

import typer

import diptych
from diptych.cli import chat, demo, evaluate, filling, models, pictures, read, score, survey, survey_updates, train

app = typer.Typer(
    name="diptych",
    help="Unified multimodal models: they read and write images.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"diptych {diptych.__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: bool = typer.Option(False, "--version", help="Show the version.", callback=_version, is_eager=True),
) -> None:
    """Unified multimodal models: they read and write images."""


for command in (
    pictures.generate,
    pictures.edit,
    filling.extend,
    filling.infill,
    read.ask,
    chat.chat,
    demo.demo,
    models.models,
    models.convert,
    train.train,
    evaluate.evaluate,
    score.score,
    score.compare,
):
    app.command("eval" if command is evaluate.evaluate else command.__name__)(command)

for name, command in survey_updates.COMMANDS.items():
    survey.app.command(name)(command)
app.add_typer(survey.app)

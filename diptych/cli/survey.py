"""`diptych survey`: what unified models there are, what they are measured on and learn from, and what runs here."""

from pathlib import Path
from typing import Annotated

import typer

from diptych.cli import options, survey_lists
from diptych.cli.console import command, show_json
from diptych.cli.survey_lists import Bibtex, Csv, Markdown, form
from diptych.errors import InputError

app = typer.Typer(
    name="survey",
    help="The survey of unified models as a catalogue: list, search, compare, draw, publish.",
    no_args_is_help=True,
)
for listing in (survey_lists.models, survey_lists.benchmarks, survey_lists.datasets, survey_lists.applications):
    app.command()(listing)


@app.command()
@command
def show(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="A name or id; datasets/NAME where several tables have it.")
    ],
    as_json: options.Json = False,
    as_bibtex: Bibtex = False,
) -> None:
    """Show all that is known of one model, benchmark, data set or application."""
    from diptych.catalogue import load
    from diptych.catalogue.columns import facts
    from diptych.catalogue.formats import bibtex

    found = [one.record for one in load().find(name)]
    asked = form(as_json, as_bibtex=as_bibtex)
    if asked == "json":
        show_json({"records": [facts(record) for record in found]})
    elif asked == "bibtex":
        print(bibtex(found), end="")
    else:
        from diptych.cli.survey_tables import print_record

        for record in found:
            print_record(record)


@app.command()
@command
def compare(
    names: Annotated[list[str], typer.Argument(metavar="NAME NAME...", help="Two models or more.")],
    as_json: options.Json = False,
    as_csv: Csv = False,
    markdown: Markdown = False,
) -> None:
    """Compare models side by side."""
    from diptych.catalogue import load
    from diptych.catalogue.columns import facts
    from diptych.catalogue.comparison import compare as side_by_side
    from diptych.catalogue.formats import as_csv as to_csv
    from diptych.catalogue.formats import as_markdown

    catalogue = load()
    chosen = list({model.id: model for model in map(catalogue.model, names)}.values())
    if len(chosen) < 2:
        raise InputError("compare takes two models or more, such as: diptych survey compare janus-pro bagel")
    asked, rows = form(as_json, as_csv, markdown), side_by_side(chosen)
    if asked == "json":
        show_json({"models": [facts(model) for model in chosen]})
    elif asked == "csv":
        print(to_csv(rows), end="")
    elif asked == "markdown":
        print(as_markdown([list(row.values()) for row in rows], list(rows[0])), end="")
    else:
        from diptych.cli.survey_tables import print_comparison

        print_comparison(rows)


@app.command()
@command
def plot(
    what: Annotated[str, typer.Argument(metavar="timeline|taxonomy|scores")],
    out: Annotated[str, typer.Option("--out", "-o", metavar="FILE", help="A .png, .svg or .pdf file.")],
    benchmark: Annotated[
        list[str] | None, typer.Option(help="Of scores: which benchmarks; those most reported by default.")
    ] = None,
) -> None:
    """Draw the models over time, as the survey's tree, or by their published scores."""
    from diptych.catalogue import load
    from diptych.catalogue.plots import draw

    print(draw(load().models, what, out, benchmark or ()))


@app.command()
@command
def site(
    out: Annotated[str, typer.Argument(metavar="OUT", help="A new folder, or a site that was written before.")],
    runs: Annotated[
        str | None, typer.Option(metavar="DIR", help="A folder with runs of `diptych eval`, for the leaderboard.")
    ] = None,
) -> None:
    """Write the catalogue as a site that needs no server and no network, in English and Chinese."""
    from diptych.catalogue import load
    from diptych.catalogue.site import build

    built = build(load(), out, runs)
    shown = f", {built.runs} runs" if runs else ""
    print(f"{out}: {built.pages} pages{shown}, {built.bytes / 1e6:.1f} MB; open {Path(out) / 'index.html'}")

"""`diptych survey`: what unified models there are, what they are measured on and learn from, and what runs here."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from diptych.catalogue import terms
from diptych.cli import options
from diptych.cli.console import command, show_json
from diptych.errors import InputError

if TYPE_CHECKING:
    from diptych.catalogue.queries import Query
    from diptych.catalogue.records import Entry

app = typer.Typer(
    name="survey",
    help="The survey of unified models as a catalogue: list, search, compare, draw.",
    no_args_is_help=True,
)


def _words(table: dict[str, str], several: str = "any of several, if repeated") -> typer.models.OptionInfo:
    return typer.Option(metavar="WORD", help=f"{', '.join(table)}; {several}.")


Search: TypeAlias = Annotated[str, typer.Option("--search", "-s", metavar="WORDS", help="All of these words.")]
Since: TypeAlias = Annotated[str | None, typer.Option(metavar="DATE", help="From 2025, 2025-05 or 2025-05-20 on.")]
Until: TypeAlias = Annotated[str | None, typer.Option(metavar="DATE", help="Up to that year, month or day.")]
Csv: TypeAlias = Annotated[bool, typer.Option("--csv", help="Print all fields as comma-separated values.")]
Markdown: TypeAlias = Annotated[bool, typer.Option("--markdown", help="Print a Markdown table.")]
Bibtex: TypeAlias = Annotated[bool, typer.Option("--bibtex", help="Print the papers for a bibliography.")]


@app.command()
@command
def models(
    paradigm: Annotated[list[str] | None, _words(terms.PARADIGMS)] = None,
    encoding: Annotated[list[str] | None, _words(terms.ENCODINGS)] = None,
    mechanism: Annotated[list[str] | None, _words(terms.MECHANISMS)] = None,
    attention: Annotated[list[str] | None, _words(terms.ATTENTION)] = None,
    can: Annotated[list[str] | None, _words(terms.TASKS, "all of several, if repeated")] = None,
    runs_here: Annotated[bool, typer.Option("--runs-here", help="Only those that this library runs.")] = False,
    since: Since = None,
    until: Until = None,
    search: Search = "",
    as_json: options.Json = False,
    as_csv: Csv = False,
    markdown: Markdown = False,
    as_bibtex: Bibtex = False,
) -> None:
    """List unified models: how they work, what they can, which run here."""
    from diptych.catalogue.queries import Query

    classed = {"paradigm": paradigm, "encoding": encoding, "mechanism": mechanism, "attention": attention, "can": can}
    query = Query({name: words or () for name, words in classed.items()}, since, until, runs_here, search)
    _list("models", query, _form(as_json, as_csv, markdown, as_bibtex))


@app.command()
@command
def benchmarks(
    task: Annotated[list[str] | None, _words(terms.BENCHMARK_TASKS)] = None,
    since: Since = None,
    until: Until = None,
    search: Search = "",
    as_json: options.Json = False,
    as_csv: Csv = False,
    markdown: Markdown = False,
    as_bibtex: Bibtex = False,
) -> None:
    """List benchmarks: what they ask, how answers are judged."""
    from diptych.catalogue.queries import Query

    query = Query({"task": task or ()}, since, until, search=search)
    _list("benchmarks", query, _form(as_json, as_csv, markdown, as_bibtex))


@app.command()
@command
def datasets(
    section: Annotated[list[str] | None, _words(terms.SECTIONS)] = None,
    since: Since = None,
    until: Until = None,
    search: Search = "",
    as_json: options.Json = False,
    as_csv: Csv = False,
    markdown: Markdown = False,
    as_bibtex: Bibtex = False,
) -> None:
    """List data sets: what for, how large, under which licence."""
    from diptych.catalogue.queries import Query

    query = Query({"section": section or ()}, since, until, search=search)
    _list("datasets", query, _form(as_json, as_csv, markdown, as_bibtex))


@app.command()
@command
def applications(
    since: Since = None,
    until: Until = None,
    search: Search = "",
    as_json: options.Json = False,
    as_csv: Csv = False,
    markdown: Markdown = False,
    as_bibtex: Bibtex = False,
) -> None:
    """List work that builds on unified models."""
    from diptych.catalogue.queries import Query

    _list("applications", Query({}, since, until, search=search), _form(as_json, as_csv, markdown, as_bibtex))


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
    form = _form(as_json, False, False, as_bibtex)
    if form == "json":
        show_json({"records": [facts(record) for record in found]})
    elif form == "bibtex":
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
    form, rows = _form(as_json, as_csv, markdown, False), side_by_side(chosen)
    if form == "json":
        show_json({"models": [facts(model) for model in chosen]})
    elif form == "csv":
        print(to_csv(rows), end="")
    elif form == "markdown":
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


def _form(as_json: bool, as_csv: bool, markdown: bool, as_bibtex: bool) -> str:
    """The one form of output that was asked for; empty: a table for people."""
    asked = {"json": as_json, "csv": as_csv, "markdown": markdown, "bibtex": as_bibtex}
    names = [name for name, given in asked.items() if given]
    if len(names) > 1:
        raise InputError(f"give one of {' and '.join(f'--{name}' for name in names)}, not several")
    return names[0] if names else ""


def _list(table: str, query: "Query", form: str) -> None:
    from diptych.catalogue import load
    from diptych.catalogue.queries import select

    _print(table, select(load().table(table), query), form)


def _print(table: str, records: "Sequence[Entry]", form: str) -> None:
    from diptych.catalogue import formats
    from diptych.catalogue.columns import facts

    if form == "json":
        show_json({"table": table, "count": len(records), "records": [facts(record) for record in records]})
    elif form == "csv":
        print(formats.table_csv(records), end="")
    elif form == "markdown":
        print(formats.table_markdown(table, records), end="")
    elif form == "bibtex":
        print(formats.bibtex(records), end="")
    else:
        from diptych.cli.survey_tables import print_records

        print_records(table, records)

"""The lists of `diptych survey`: options for the classes of each table, and those that all lists share."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from diptych.catalogue import terms
from diptych.cli import options
from diptych.cli.console import command, show_json
from diptych.errors import InputError

if TYPE_CHECKING:
    from diptych.catalogue.records import Entry

Csv: TypeAlias = Annotated[bool, typer.Option("--csv", help="Print all fields as comma-separated values.")]
Markdown: TypeAlias = Annotated[bool, typer.Option("--markdown", help="Print a Markdown table.")]
Bibtex: TypeAlias = Annotated[bool, typer.Option("--bibtex", help="Print the papers for a bibliography.")]


@dataclass(frozen=True)
class Shared:
    """The options of every list."""

    since: Annotated[str | None, typer.Option(metavar="DATE", help="From 2025, 2025-05 or 2025-05-20 on.")] = None
    until: Annotated[str | None, typer.Option(metavar="DATE", help="Up to that year, month or day.")] = None
    search: Annotated[str, typer.Option("--search", "-s", metavar="WORDS", help="All of these words.")] = ""
    as_json: options.Json = False
    as_csv: Csv = False
    markdown: Markdown = False
    as_bibtex: Bibtex = False


def _words(table: dict[str, str], several: str = "any of several, if repeated") -> typer.models.OptionInfo:
    return typer.Option(metavar="WORD", help=f"{', '.join(table)}; {several}.")


@command
def models(
    paradigm: Annotated[list[str] | None, _words(terms.PARADIGMS)] = None,
    encoding: Annotated[list[str] | None, _words(terms.ENCODINGS)] = None,
    mechanism: Annotated[list[str] | None, _words(terms.MECHANISMS)] = None,
    attention: Annotated[list[str] | None, _words(terms.ATTENTION)] = None,
    can: Annotated[list[str] | None, _words(terms.TASKS, "all of several, if repeated")] = None,
    runs_here: Annotated[bool, typer.Option("--runs-here", help="Only those that this library runs.")] = False,
    *,
    shared: Shared,
) -> None:
    """List unified models: how they work, what they can, which run here."""
    classed = {"paradigm": paradigm, "encoding": encoding, "mechanism": mechanism, "attention": attention, "can": can}
    _list("models", classed, shared, runs_here)


@command
def benchmarks(
    task: Annotated[list[str] | None, _words(terms.BENCHMARK_TASKS)] = None,
    scored_here: Annotated[bool, typer.Option("--scored-here", help="Only those that this library scores.")] = False,
    *,
    shared: Shared,
) -> None:
    """List benchmarks: what they ask, how answers are judged, which are scored here."""
    _list("benchmarks", {"task": task}, shared, scored_here)


@command
def datasets(section: Annotated[list[str] | None, _words(terms.SECTIONS)] = None, *, shared: Shared) -> None:
    """List data sets: what for, how large, under which licence."""
    _list("datasets", {"section": section}, shared)


@command
def applications(shared: Shared) -> None:
    """List work that builds on unified models."""
    _list("applications", {}, shared)


def form(as_json: bool = False, as_csv: bool = False, markdown: bool = False, as_bibtex: bool = False) -> str:
    """The one form of output that was asked for; empty: a table for people. Raises InputError for several."""
    asked = {"json": as_json, "csv": as_csv, "markdown": markdown, "bibtex": as_bibtex}
    names = [name for name, given in asked.items() if given]
    if len(names) > 1:
        raise InputError(f"give one of {' and '.join(f'--{name}' for name in names)}, not several")
    return names[0] if names else ""


def _list(table: str, classed: dict[str, list[str] | None], shared: Shared, here: bool = False) -> None:
    from diptych.catalogue import load
    from diptych.catalogue.queries import Query, select

    words = {name: given or () for name, given in classed.items()}
    query = Query(words, shared.since, shared.until, here, shared.search)
    asked = form(shared.as_json, shared.as_csv, shared.markdown, shared.as_bibtex)
    _print(table, select(load().table(table), query), asked)


def _print(table: str, records: "Sequence[Entry]", asked: str) -> None:
    from diptych.catalogue import formats
    from diptych.catalogue.columns import facts

    if asked == "json":
        show_json({"table": table, "count": len(records), "records": [facts(record) for record in records]})
    elif asked == "csv":
        print(formats.table_csv(records), end="")
    elif asked == "markdown":
        print(formats.table_markdown(table, records), end="")
    elif asked == "bibtex":
        print(formats.bibtex(records), end="")
    else:
        from diptych.cli.survey_tables import print_records

        print_records(table, records)

"""`diptych survey add | refresh | import-awesome | export-awesome | check`: keeping the catalogue up to date."""

from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from diptych.cli import options
from diptych.cli.console import command, complain, show_json
from diptych.errors import CatalogueError, InputError

if TYPE_CHECKING:
    from diptych.catalogue.updating.differences import Differences
    from diptych.catalogue.updating.fetching import Fetch
    from diptych.catalogue.updating.refreshing import Report

TABLES = "models, benchmarks, datasets or applications"
Since: TypeAlias = Annotated[str | None, typer.Option(metavar="DATE", help="Records from that year, month or day on.")]
Only: TypeAlias = Annotated[list[str] | None, typer.Option(metavar="TABLE", help=f"{TABLES}; may be repeated.")]


@command
def add(
    source: Annotated[str, typer.Argument(metavar="ARXIV_ID|URL", help="A paper; or a page on arXiv, hub or GitHub.")],
    table: Annotated[str, typer.Option(metavar="TABLE", help=f"{TABLES}.")] = "",
    name: Annotated[str, typer.Option(help="What it is called; by default as its title begins.")] = "",
    write: Annotated[str | None, typer.Option(metavar="FILE", help="Put it into a file of drafts, in order.")] = None,
) -> None:
    """Draft a record from what arXiv, the hub and GitHub say; what they do not say stays unknown."""
    from diptych.catalogue import load
    from diptych.catalogue.updating.drafts import draft
    from diptych.catalogue.updating.lines import add as add_line
    from diptych.catalogue.updating.lines import dumped

    _known([table] if table else [])
    made = draft(source, _network(), load(), table, name)
    if write is None:
        print(dumped(made.record))
    else:
        add_line(Path(write), made.record)
        print(write)
    for remark in made.remarks:
        complain(remark)
    needed = f" ({', '.join(made.needed)} must be filled in)" if made.needed else ""
    complain(f"unknown: {', '.join(made.unknown)}{needed}")


@command
def refresh(
    only: Only = None,
    since: Since = None,
    sources: Annotated[bool, typer.Option("--sources", help="Also where each fact was found; takes longer.")] = False,
    patch: Annotated[str | None, typer.Option(metavar="FILE", help="Write the changes as a patch to review.")] = None,
    as_json: options.Json = False,
) -> None:
    """Ask the records' sources what changed: dead links, new names, licences, weights. Changes no record itself."""
    from diptych.catalogue import load
    from diptych.catalogue.catalogue import KINDS
    from diptych.catalogue.queries import Query, select
    from diptych.catalogue.updating.patching import patch as patched
    from diptych.catalogue.updating.refreshing import refresh as ask
    from diptych.storage import replacing

    catalogue = load()
    records = [one for name in _known(only or KINDS) for one in select(catalogue.table(name), Query(since=since))]
    report = ask(records, _network(), sources)
    if patch is not None:
        with replacing(patch) as file:
            file.write_text(patched(report), encoding="utf-8")
    if as_json:
        show_json(
            {"records": report.records, "answers": report.answers, "findings": list(map(asdict, report.findings))}
        )
    else:
        _print_report(report)


@command
def import_awesome(
    file: Annotated[str, typer.Argument(metavar="README.md", help="A list in Markdown: tables, or bullets.")],
    only: Only = None,
    as_json: options.Json = False,
) -> None:
    """Compare an awesome list with the catalogue: what only one of them has, and where they disagree."""
    from diptych.catalogue import load
    from diptych.catalogue.updating.awesome import read
    from diptych.catalogue.updating.differences import compare

    entries = read(_text(file))
    if not entries:
        raise InputError(f"{file} lists no papers in tables or bullets that this command knows; see docs/catalogue.md")
    found = compare(entries, load(), _known(only or []))
    if as_json:
        show_json(
            {
                "same": found.same,
                "only_there": list(map(asdict, found.there)),
                "only_here": [{"table": table, "id": record.id, "name": record.name} for table, record in found.here],
                "disagreements": list(map(asdict, found.disagreements)),
            }
        )
    else:
        _print_differences(found)


@command
def export_awesome(
    out: Annotated[str | None, typer.Option("--out", "-o", metavar="FILE", help="Write it there.")] = None,
) -> None:
    """Write the catalogue as an awesome list, with the survey list's headings and columns."""
    from diptych.catalogue import load
    from diptych.catalogue.updating.listing import awesome
    from diptych.storage import replacing

    text = awesome(load())
    if out is None:
        print(text, end="")
        return
    with replacing(out) as file:
        file.write_text(text, encoding="utf-8")
    print(out)


@command
def check(
    files: Annotated[list[str] | None, typer.Argument(metavar="[FILE...]", help="By default the catalogue's.")] = None,
) -> None:
    """Check files of records, such as models.jsonl; all that is wrong is said by file and line."""
    from diptych.catalogue.catalogue import DATA, KINDS
    from diptych.catalogue.reading import read

    faults: list[object] = []
    chosen = [Path(file) for file in files] if files else [DATA / f"{name}.jsonl" for name in KINDS]
    for file in chosen:
        kind = next((kind for name, kind in KINDS.items() if file.name.endswith(f"{name}.jsonl")), None)
        if kind is None:
            raise InputError(f"{file.name}: the name of a file of records ends in one of {', '.join(KINDS)} and .jsonl")
        if not file.is_file():
            raise InputError(f"{file} is no file")
        try:
            print(f"{file.name}: {len(read(file, kind))} records")
        except CatalogueError as error:
            faults += error.faults or (str(error),)
    for fault in faults:
        complain(str(fault))
    if faults:
        raise typer.Exit(2)


COMMANDS = {
    "add": add,
    "refresh": refresh,
    "import-awesome": import_awesome,
    "export-awesome": export_awesome,
    "check": check,
}


def _network() -> "Fetch":
    """How pages are fetched, at every run anew."""
    from diptych.catalogue.updating.fetching import Polite

    return Polite()


def _known(tables: "list[str] | dict[str, type]") -> list[str]:
    from diptych.catalogue.catalogue import KINDS

    for table in tables:
        if table not in KINDS:
            raise InputError(f"no table is called {table!r}; choose from {', '.join(KINDS)}")
    return list(tables)


def _text(file: str) -> str:
    try:
        return Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{file} cannot be read as text; name a Markdown file, such as a list's README.md") from error


def _print_report(report: "Report") -> None:
    """What was found, a line each; then what could not be asked, a line a reason, with how many records it concerns."""
    found = [one for one in report.findings if one.kind != "unchecked"]
    for one in found:
        print(f"{one.table}/{one.id}: {one.kind}: {one.said}")
    unchecked = Counter(one.said for one in report.findings if one.kind == "unchecked")
    for said, count in unchecked.items():
        print(f"not checked: {said}" + (f" ({count} times)" if count > 1 else ""))
    print(
        f"{report.records} records, {report.answers} answers, {len(found)} findings, "
        f"{sum(unchecked.values())} not checked, {len(report.changes)} records to change"
    )


def _print_differences(found: "Differences") -> None:
    for entry in found.there:
        address = f" arXiv {entry.arxiv}" if entry.arxiv else ""
        print(f"only there: line {entry.line}: {entry.name or entry.title}{address}")
    for table, record in found.here:
        print(f"only here: {table}/{record.id}")
    for one in found.disagreements:
        print(
            f"differs: line {one.line}: {one.table}/{one.id}: {one.field} is {one.there} there, {one.here or '-'} here"
        )
    print(
        f"{found.same} the same, {len(found.there)} only there, {len(found.here)} only here, "
        f"{len(found.disagreements)} fields that differ"
    )

"""The catalogue on the terminal: tables, one record in full, models side by side."""

import os
from collections.abc import Mapping, Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from diptych.catalogue.addresses import addresses
from diptych.catalogue.columns import COLUMNS, lines, table_of
from diptych.catalogue.records import Benchmark, Entry, Model
from diptych.catalogue.running import Running, commands, runs
from diptych.catalogue.scored import scorers

WIDTH = 160  # where nothing says how wide the reader is
ROOMY, WIDE = 120, ("images by", "sizes", "metrics", "format", "on the hub", "code")  # left out of narrower terminals
STYLES = {
    "date": "dim",
    "runs here": "bold green",
    "scored here": "bold green",
    "paradigm": "cyan",
    "task": "cyan",
    "section": "cyan",
}
# What a sheet shows elsewhere than among its lines.
APART = ("id", "name", "title", "date_precision", "scores", "sources", "runs_here", "scored_here")


def print_records(table: str, records: Sequence[Entry]) -> None:
    """A line a record, and how many there are."""
    console = _console()
    columns = {name: cell for name, cell in COLUMNS[table].items() if console.width >= ROOMY or name not in WIDE}
    if records:
        grid = _grid()
        for place, name in enumerate(columns):
            grid.add_column(name, style="bold" if place == 0 else STYLES.get(name), no_wrap=name == "date")
        for record in records:
            grid.add_row(*(Text(cell(record)) for cell in columns.values()))
        console.print(grid)
    console.print(Text(_counted(table, records), style="dim"))


def print_comparison(rows: Sequence[Mapping[str, str]]) -> None:
    """A column a model; facts in which they differ stand out."""
    grid = _grid()
    for place, name in enumerate(rows[0]):
        grid.add_column(
            "" if place == 0 else Text(name), style="cyan" if place == 0 else None, ratio=1 if place else None
        )
    for row in rows:
        fact, *values = row.values()
        style = "bold" if len(set(values)) > 1 else "dim"
        grid.add_row(Text(fact), *(Text(value or "-", style=style if value else "dim") for value in values))
    _console().print(grid)


def print_record(record: Entry) -> None:
    """All of a record: what it is, its scores, how to run it here, where the facts are from."""
    console = _console()
    kind = table_of(record).removesuffix("s")
    console.print(Text.assemble((record.name, "bold"), f"  {record.title or ''}  ", (f"[{kind}]", "dim")))
    grid = Table(box=None, show_header=False, padding=(0, 2, 0, 2))
    grid.add_column(style="cyan", no_wrap=True)
    grid.add_column(overflow="fold")
    known = lines(record)
    for name, value in known.items():
        if value and name not in APART:
            grid.add_row(Text(name.replace("_", " ")), Text(value))
    for name, address in addresses(record):
        grid.add_row(Text(name), Text(address))
    console.print(grid)
    if isinstance(record, Model):
        _print_scores(console, record)
        _print_running(console, record)
    if isinstance(record, Benchmark):
        _print_scorers(console, record)
    console.print(Text("sources", style="cyan"))
    for source in record.sources:
        console.print(Text(f"  {source}"))
    console.print()


def _print_scores(console: Console, model: Model) -> None:
    if not model.scores:
        return
    grid = Table(box=None, padding=(0, 2, 0, 2), header_style="cyan")
    for name in ("published scores", "", "source"):
        grid.add_column(name, overflow="fold")
    for score in model.scores:
        grid.add_row(Text(score.benchmark), Text(str(score)), Text(score.source, style="dim"))
    console.print(grid)


def _print_running(console: Console, model: Model) -> None:
    console.print(Text("runs here", style="cyan"))
    for running in runs(model):
        layout = f" in the {running.layout} layout" if running.layout else ""
        console.print(Text(f"  family {running.family}{layout}; can {', '.join(running.can)}; {_parity(running)}"))
        for name in running.checkpoints:
            console.print(Text(f"  {name}", style="bold green"))
        for command in commands(running):
            console.print(Text(f"    {command}"), soft_wrap=True)
    if not runs(model):
        console.print(Text("  no: what a family needs to say is in docs/architecture.md"))


def _print_scorers(console: Console, benchmark: Benchmark) -> None:
    console.print(Text("scored here", style="cyan"))
    for one in scorers(benchmark):
        proof = "equal to the official scorer" if one.verified else "by its written rule, unverified"
        console.print(Text.assemble(("  " + one.name, "bold green"), f"  {proof}"))
        console.print(Text(f"    {one.command}"), soft_wrap=True)
    if not scorers(benchmark):
        console.print(Text("  no"))


def _parity(running: Running) -> str:
    if not running.cases or running.worst is None:
        return "parity not measured"
    return f"parity with the official code in {running.cases} cases, worst relative error {running.worst:.1g}"


def _counted(table: str, records: Sequence[Entry]) -> str:
    said = f"{len(records)} {table if len(records) != 1 else table.removesuffix('s')}"
    if table == "benchmarks" and records:
        return f"{said}, of which {sum(bool(scorers(record)) for record in records)} scored here"
    here = sum(bool(runs(record)) for record in records if isinstance(record, Model))
    return f"{said}, of which {here} run{'s' if here == 1 else ''} here" if table == "models" and records else said


def _grid() -> Table:
    return Table(box=SIMPLE_HEAD, header_style="bold cyan", pad_edge=False, show_edge=False)


def _console() -> Console:
    console = Console(highlight=False)
    if not console.is_terminal and not os.environ.get("COLUMNS"):
        console.width = WIDTH
    return console

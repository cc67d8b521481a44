"""Lists of records as tables that can be sorted and filtered."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from diptych.catalogue.records import Entry, Model
from diptych.catalogue.running import runs
from diptych.catalogue.scored import scorers
from diptych.catalogue.site.language import TABLES
from diptych.catalogue.site.markup import Markup, Part, join, tag
from diptych.catalogue.site.page import Page


class Column(NamedTuple):
    """head: a text of the site; cell: what stands in it; wide: left out on a phone; key: sorted by this number."""

    head: str
    cell: Callable[[Page, Any], Part]
    wide: bool = False
    key: Callable[[Any], float | None] | None = None


def _classed(table: str, field: str) -> Callable[[Page, Any], Part]:
    def cell(page: Page, record: Any) -> Part:
        value = getattr(record, field)
        return page.words(table, value if isinstance(value, tuple) else (value,)) if value else None

    return cell


def _of(field: str) -> Callable[[Page, Any], Part]:
    return lambda page, record: ", ".join(value) if isinstance(value := getattr(record, field), tuple) else value


def _dated(page: Page, record: Entry) -> Part:
    return tag("time", record.date, datetime=record.date)


def _named(page: Page, record: Entry) -> Part:
    return page.record(record, class_="here" if runs_or_scored(record) else None, title=record.title)


def _here(page: Page, record: Entry) -> Part:
    return [tag("span", page.say("yes"), class_="here")] if runs_or_scored(record) else None


def runs_or_scored(record: Entry) -> bool:
    """Whether this library runs a model, or scores a benchmark."""
    return bool(runs(record) if isinstance(record, Model) else scorers(record))


COLUMNS: dict[str, tuple[Column, ...]] = {
    "models": (
        Column("model", _named),
        Column("date", _dated),
        Column("paradigm", _classed("paradigm", "paradigm")),
        Column("encoding", _classed("encoding", "encoding"), wide=True),
        Column("mechanism", _classed("mechanism", "mechanism"), wide=True),
        Column("attention", _classed("attention", "attention"), wide=True),
        Column("sizes", _of("sizes"), wide=True),
        Column("tasks", _classed("can", "tasks"), wide=True),
        Column("runs here", _here),
    ),
    "benchmarks": (
        Column("benchmark", _named),
        Column("date", _dated),
        Column("task", _classed("task", "task")),
        Column("metrics", _of("metrics"), wide=True),
        Column("judge", _of("judge"), wide=True),
        Column("size", _of("size"), wide=True),
        Column("scored here", _here),
    ),
    "datasets": (
        Column("data set", _named),
        Column("date", _dated, wide=True),
        Column("section", _classed("section", "section")),
        Column("size", lambda page, record: record.size, key=lambda record: record.size_value),
        Column("format", _of("format"), wide=True),
        Column("licence", _of("licence"), wide=True),
    ),
    "applications": (
        Column("application", _named),
        Column("date", _dated),
        Column("topic", _of("topic")),
        Column("builds on", _of("base_models"), wide=True),
    ),
}
# What each table is filtered by: an option of `terms`, and the field that it asks for.
FILTERS: dict[str, dict[str, str]] = {
    "models": {
        "paradigm": "paradigm",
        "encoding": "encoding",
        "mechanism": "mechanism",
        "attention": "attention",
        "can": "tasks",
    },
    "benchmarks": {"task": "task"},
    "datasets": {"section": "section"},
    "applications": {},
}


ONLY = {"models": "only here", "benchmarks": "only scored"}  # tables of what may run here, and their filter's text


def listed(page: Page, table: str, records: Sequence[Entry]) -> Markup:
    """The filters, and a row a record, the newest first."""
    rows = [_row(page, table, record) for record in reversed(records)]
    heads = [_head(page, column) for column in COLUMNS[table]]
    grid = tag("table", tag("thead", tag("tr", heads)), tag("tbody", rows), class_="sortable", id="records")
    return join(_filters(page, table, len(records)), tag("div", grid, class_="scroll"))


def sortable(page: Page, heads: Sequence[Part], rows: Sequence[Markup], class_: str = "") -> Markup:
    """A table of any rows whose heads sort it."""
    cells = [tag("th", tag("button", head, type="button"), scope="col") for head in heads]
    grid = tag("table", tag("thead", tag("tr", cells)), tag("tbody", rows), class_=f"sortable {class_}".strip())
    return tag("div", grid, class_="scroll")


def _head(page: Page, column: Column) -> Markup:
    button = tag("button", page.say(column.head), type="button")
    return tag("th", button, scope="col", class_="large" if column.wide else None)


def _row(page: Page, table: str, record: Entry) -> Markup:
    classes = {f"data_{option}": _words(record, field) for option, field in FILTERS[table].items()}
    more = " ".join(filter(None, [record.title, record.notes, getattr(record, "backbone", None)]))
    here = "yes" if runs_or_scored(record) else None
    cells = [_cell(page, column, record) for column in COLUMNS[table]]
    return tag("tr", cells, **classes, data_here=here, data_text=more)


def _cell(page: Page, column: Column, record: Entry) -> Markup:
    key = column.key(record) if column.key else None
    # A number that is not known sorts below all others.
    sort = None if column.key is None else str(-1 if key is None else key)
    return tag("td", column.cell(page, record), class_="large" if column.wide else None, data_sort=sort)


def _words(record: Entry, field: str) -> str:
    value = getattr(record, field)
    return " ".join(value) if isinstance(value, tuple) else value or ""


def _filters(page: Page, table: str, count: int) -> Markup:
    search = tag("input", type="search", id="search", placeholder=page.say("search"), aria_label=page.say("search"))
    chosen = [_filter(page, option) for option in FILTERS[table]]
    here = tag("label", tag("input", type="checkbox", id="here"), page.say(ONLY[table])) if table in ONLY else None
    shown = tag("output", str(count), id="count")
    reset = tag("button", page.say("reset"), type="reset")
    return tag("form", search, chosen, here, tag("span", shown, f" / {count}", class_="count"), reset, id="filters")


def _filter(page: Page, option: str) -> Markup:
    first = tag("option", f"{page.say(option)}: {page.say('all')}", value="")
    others = [tag("option", page.name(option, word), value=word) for word in TABLES[option]]
    return tag("select", first, others, data_filter=option, aria_label=page.say(option))

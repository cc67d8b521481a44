"""An awesome list beside the catalogue: what only one of them has, and where they disagree."""

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, field

from diptych.catalogue.catalogue import Catalogue, plain
from diptych.catalogue.records import Entry
from diptych.catalogue.updating.awesome import Listed

FIELDS = ("name", "title", "arxiv", "venue", "date", "code", "code_path", "demo", "url", "size")
ADDRESSES = ("demo", "url")


@dataclass(frozen=True)
class Disagreement:
    """A field that a list gives another value than the catalogue, or a value where the catalogue has none."""

    line: int
    table: str
    id: str
    field: str
    there: str
    here: str | None


@dataclass
class Differences:
    """there: entries of the list without a record; here: (table, record) without an entry, of the tables that the list
    has at all."""

    same: int = 0
    there: list[Listed] = field(default_factory=list)
    here: list[tuple[str, Entry]] = field(default_factory=list)
    disagreements: list[Disagreement] = field(default_factory=list)


def compare(entries: Sequence[Listed], catalogue: Catalogue, only: Sequence[str] = ()) -> Differences:
    """What is in a list and not in the catalogue, the other way round, and what they disagree on. only: tables.

    An entry whose headings do not say its table is looked for in all of them.
    """
    tables = [name for name in catalogue.__dict__ if not only or name in only]
    wanted = [entry for entry in entries if not entry.table or entry.table in tables]
    records = [(name, record) for name in tables for record in catalogue.table(name)]
    matched = _matched(wanted, records)
    found = Differences(there=[entry for number, entry in enumerate(wanted) if number not in matched])
    taken = set(matched.values())
    has = {entry.table for entry in wanted} | {records[at][0] for at in taken}
    found.here = [pair for at, pair in enumerate(records) if at not in taken and pair[0] in has]
    for number, at in sorted(matched.items()):
        disagreements = list(_disagreements(wanted[number], *records[at]))
        found.disagreements += disagreements
        found.same += not disagreements
    return found


# What tells two things to be the same, the surest first: names stand twice, and lists give papers of others.
Key = Callable[[Listed | Entry], Hashable]
KEYS: tuple[Key, ...] = (
    lambda one: one.name and (one.name.casefold(), one.arxiv, _section(one)),
    lambda one: one.name and one.name.casefold(),
    lambda one: one.name and plain(one.name),  # only now: T2I-CompBench and T2I-CompBench++ are two
    lambda one: one.title and one.arxiv and (plain(one.title), one.arxiv),
    lambda one: one.title and plain(one.title),
    lambda one: one.arxiv,
)


def _matched(entries: Sequence[Listed], records: Sequence[tuple[str, Entry]]) -> dict[int, int]:
    """Which entry is which record, each once, by their places."""
    matched: dict[int, int] = {}
    for key in KEYS:
        taken = set(matched.values())
        free: dict[Hashable, list[int]] = {}
        for at, (_, record) in enumerate(records):
            if at not in taken and (value := key(record)):
                free.setdefault(value, []).append(at)
        for number, entry in enumerate(entries):
            if number in matched or not (value := key(entry)):
                continue
            places = free.get(value, [])
            at = next((at for at in places if entry.table in ("", records[at][0])), None)
            if at is not None:
                places.remove(at)
                matched[number] = at
    return matched


def _section(one: Listed | Entry) -> Hashable:
    """The section of a data set, the one class that tells records of one name and paper apart."""
    if isinstance(one, Listed):
        return dict(one.classes).get("section")
    return getattr(one, "section", None)


def _disagreements(entry: Listed, table: str, record: Entry) -> Iterator[Disagreement]:
    said = {name: getattr(entry, name) for name in FIELDS} | dict(entry.classes)
    for name, there in said.items():
        here = getattr(record, name, None)
        if there and name in record.__dict__ and not _equal(name, there, here):
            yield Disagreement(entry.line, table, record.id, name, there, here)


def _equal(name: str, there: str, here: str | None) -> bool:
    if here is None:
        return False
    if name in ("name", "title"):
        return plain(there) == plain(here)
    if name == "date":  # as exactly as both know it
        length = min(len(there), len(here))
        return there[:length] == here[:length]
    if name in ADDRESSES:
        there, here = (one.split("://", 1)[-1].rstrip("/") for one in (there, here))
    return there.casefold() == here.casefold()

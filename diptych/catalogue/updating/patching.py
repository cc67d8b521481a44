"""What a refresh found, as a patch of the data files to review: `git apply` takes it."""

import difflib
from pathlib import Path

from diptych.catalogue.catalogue import DATA, KINDS
from diptych.catalogue.reading import wrong
from diptych.catalogue.updating.lines import Table, dumped, lines_of
from diptych.catalogue.updating.refreshing import Report

PLACE = "diptych/catalogue/data"  # in the repository, wherever the package is installed


def patch(report: Report, folder: Path = DATA) -> str:
    """A unified diff of the files in a folder; empty where nothing is to be changed. The files stay as they are.

    A change that would leave a record the schema does not allow is not part of it.
    """
    text = ""
    for table in KINDS:
        old = lines_of(table, folder)
        new = [_changed(table, one, report) for one in old]
        before, after = ([f"{dumped(one)}\n" for one in tables] for tables in (old, new))
        name = f"{PLACE}/{table}.jsonl"
        text += "".join(difflib.unified_diff(before, after, f"a/{name}", f"b/{name}"))
    return text


def _changed(table: str, record: Table, report: Report) -> Table:
    found = record | report.changes.get((table, record["id"]), {})
    return record if any(wrong(found, KINDS[table])) else found

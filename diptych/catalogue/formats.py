"""Records as CSV, Markdown and BibTeX."""

import csv
import io
import re
from collections.abc import Mapping, Sequence

from diptych.catalogue.columns import COLUMNS, lines
from diptych.catalogue.records import Entry

MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
SPECIAL = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
}


def as_csv(rows: Sequence[Mapping[str, str]]) -> str:
    """Rows of equal keys as CSV with a line of headings (RFC 4180, lines ended by a newline alone)."""
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]) if rows else [], lineterminator="\n")
    if rows:
        writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def as_markdown(rows: Sequence[Sequence[str]], head: Sequence[str]) -> str:
    """A Markdown table."""
    cells = [[_cell(one) for one in row] for row in rows]
    return "".join(f"| {' | '.join(row)} |\n" for row in (head, ["---"] * len(head), *cells))


def table_csv(records: Sequence[Entry]) -> str:
    """Records with all their fields; lists are joined by semicolons, unknown is empty."""
    return as_csv([lines(record) for record in records])


def table_markdown(table: str, records: Sequence[Entry]) -> str:
    """Records with the columns of the terminal's table; a name leads to its paper."""
    name, *columns = COLUMNS[table].values()
    rows = [[_linked(name(record), record), *(cell(record) for cell in columns)] for record in records]
    return as_markdown(rows, list(COLUMNS[table]))


def bibtex(records: Sequence[Entry]) -> str:
    """An entry for each record that has a paper, once a paper. Authors are not in the catalogue and so are left out."""
    papers = {record.arxiv or record.title: record for record in reversed(records) if record.title}
    return "\n".join(_entry(record) for record in reversed(papers.values()))


def _entry(record: Entry) -> str:
    year, month = record.date[:4], MONTHS[int(record.date[5:7]) - 1]
    values = {"title": f"{{{_tex(record.title or '')}}}", "year": year, "month": month}
    if record.arxiv:
        values |= {"eprint": record.arxiv, "archivePrefix": "arXiv", "url": f"https://arxiv.org/abs/{record.arxiv}"}
    if record.venue:
        values["note"] = _tex(record.venue)
    body = "".join(f"  {key} = {value if key == 'month' else f'{{{value}}}'},\n" for key, value in values.items())
    return f"@misc{{{record.id},\n{body}}}\n"


def _tex(text: str) -> str:
    return "".join(SPECIAL.get(sign, sign) for sign in text)


def _cell(text: str) -> str:
    return re.sub(r"([|\\<])", r"\\\1", text)


def _linked(name: str, record: Entry) -> str:
    # the brackets of a name itself must not end the link
    return f"[{name}](https://arxiv.org/abs/{record.arxiv})" if record.arxiv and "]" not in name else name

"""arXiv's API (https://info.arxiv.org/help/api): papers by id, as Atom."""

import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable
from typing import NamedTuple

from diptych.catalogue.updating.fetching import Fetch
from diptych.errors import NetworkError

API = "https://export.arxiv.org/api/query"
BATCH = 100  # ids in one question
ID = re.compile(r"(?<![\d.])(\d{4}\.\d{5})(?:v\d+)?(?![\d.]*\d)")
_SPACES = {"atom": "http://www.w3.org/2005/Atom", "arxiv": "http://arxiv.org/schemas/atom"}


class Paper(NamedTuple):
    """What arXiv says of a paper. date: of its first version, YYYY-MM-DD; comment and journal: the authors' words."""

    arxiv: str
    title: str
    date: str
    summary: str
    comment: str | None
    journal: str | None


def papers(ids: Iterable[str], fetch: Fetch) -> dict[str, Paper]:
    """The papers of some ids (YYMM.NNNNN); one that arXiv does not know is left out. Raises NetworkError."""
    found: dict[str, Paper] = {}
    wanted = list(dict.fromkeys(ids))
    for start in range(0, len(wanted), BATCH):
        some = wanted[start : start + BATCH]
        # without max_results the API answers with ten
        answer = fetch(f"{API}?id_list={','.join(some)}&max_results={len(some)}", "GET")
        if answer.status != 200:
            raise NetworkError(f"arXiv answered with status {answer.status}; try again later")
        found |= {paper.arxiv: paper for paper in read(answer.body)}
    return found


def read(feed: bytes) -> list[Paper]:
    """The papers of an Atom feed. Raises NetworkError for anything else, arXiv's own words of refusal included."""
    if b"<!DOCTYPE" in feed or b"<!ENTITY" in feed:  # no feed has them, and entities can be made to explode
        raise NetworkError("arXiv answered with something that is not an Atom feed")
    try:
        entries = ElementTree.fromstring(feed).findall("atom:entry", _SPACES)
    except ElementTree.ParseError as error:
        said = feed[:80].decode("utf-8", "replace").strip()
        raise NetworkError(f"arXiv answered with something that is not an Atom feed: {said!r}") from error
    return [paper for entry in entries if (paper := _paper(entry))]


def _paper(entry: ElementTree.Element) -> Paper | None:
    address = _text(entry, "atom:id") or ""
    title, summary, published = (_text(entry, f"atom:{name}") for name in ("title", "summary", "published"))
    if "/api/errors" in address:
        raise NetworkError(f"arXiv: {summary or title}")
    known = ID.search(address)
    if not (known and title and published):
        return None
    comment, journal = _text(entry, "arxiv:comment"), _text(entry, "arxiv:journal_ref")
    return Paper(known[1], title, published[:10], summary or "", comment, journal)


def _text(entry: ElementTree.Element, name: str) -> str | None:
    """An element's text in one line: arXiv breaks titles and summaries over several."""
    return " ".join((entry.findtext(name, None, _SPACES) or "").split()) or None

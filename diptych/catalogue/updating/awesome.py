"""Awesome lists: Markdown that lists papers in tables or bullets, under headings that class them.

Read as the lists of this field are written: AIDC-AI/Awesome-Unified-Multimodal-Models (tables with Name, Title, Venue,
Date, Code, Demo; data sets with Samples), showlab/Awesome-Unified-Multimodal-Models (bullets with badges), and what is
like them. What a list does not say is None.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from diptych.catalogue.formats import MONTHS
from diptych.catalogue.updating import arxiv, github

COLUMNS = {
    "name": ("name", "model", "dataset", "data set", "benchmark", "application", "method"),
    "title": ("title", "paper", "paper title"),
    "venue": ("venue", "publication", "conference"),
    "date": ("date", "year", "time", "released"),
    "code": ("code", "github", "repo", "repository"),
    "demo": ("demo",),
    "size": ("samples", "size"),
}
# Headings -> what stands under them: first the tables, then the classes within one. The first that fits counts.
TABLES = {
    "benchmarks": r"benchmark|evaluation",
    "datasets": r"data ?set|multimodal understanding$|text-to-image|image editing|interleaved image|other text",
    "applications": r"application",
    "models": r"model|mllm|diffusion|encoding|any-to-any",
}
CLASSES: dict[str, dict[str, dict[str, str]]] = {
    "models": {
        "paradigm": {
            "any-to-any": r"any-to-any",
            "hybrid": r"ar ?[-+] ?diffusion|autoregressive ?[-+] ?diffusion",
            "autoregressive": r"mllm|autoregressive",
            "diffusion": r"diffusion",
        },
        "encoding": {
            "pixel": r"p(ix|xi)el encoding",
            "semantic": r"semantic encoding",
            "learnable-query": r"quer(y|ies) encoding",
            "hybrid-pseudo": r"hybrid encoding.*pse",
            "hybrid-joint": r"hybrid encoding.*joint",
        },
    },
    "datasets": {
        "section": {
            "understanding": r"multimodal understanding",
            "other": r"other text",
            "text-to-image": r"text-to-image",
            "editing": r"editing",
            "interleaved": r"interleaved",
        }
    },
}
_LINK = re.compile(r"(?<!!)\[((?:\\.|[^\[\]\\]|\[[^\[\]]*\])*)\]\(\s*<?([^\s)>]+)>?[^)]*\)")
_PICTURE = re.compile(r"\[?!\[[^\]]*\]\([^)]*\)(?:\]\([^)]*\))?|<img[^>]*>")
_MARKUP = re.compile(r"<[^>]*>|\*\*|__|(?<!\w)[*_](?=\w)|(?<=\w)[*_](?!\w)")
_BULLET = re.compile(r"\s{0,3}[-+*] +(?=\S)")
_STARS = re.compile(r"img\.shields\.io/github/stars/([\w-]+/[\w.-]+?)(?:\.svg)?(?=[?)\s])")
_RULE = re.compile(r"\s*:?-+:?\s*")
_WHEN = re.compile(r"(20\d\d)[/.-](\d{1,2})(?:[/.-](\d{1,2}))?")
_MONTH = re.compile(r"([A-Za-z]{3})[a-z]*\.? ?,? ?(20\d\d)")
_ESCAPED, _HIDDEN = re.compile(r"\\([!-/:-@\[-`{-~])"), 0xF0000  # where Unicode has nothing
_BEHIND = re.compile(r"\(([^()]*\b20\d\d\b[^()]*)\)")  # what bullets say in brackets: (Jun. 2025, ICLR)


@dataclass(frozen=True)
class Listed:
    """One entry of a list. line: in the file, from 1; table and classes: as the headings above it say, empty where they
    do not; date: YYYY-MM-DD or YYYY-MM; code: owner/name; url: where the name leads."""

    line: int
    table: str = ""
    classes: tuple[tuple[str, str], ...] = ()
    name: str | None = None
    title: str | None = None
    arxiv: str | None = None
    venue: str | None = None
    date: str | None = None
    code: str | None = None
    code_path: str | None = None
    demo: str | None = None
    url: str | None = None
    size: str | None = None


def read(text: str) -> list[Listed]:
    """The entries of a list, in its order; what is commented out is no part of it."""
    text = re.sub(r"<!--.*?-->", lambda found: "\n" * found[0].count("\n"), text, flags=re.S)
    return [entry for entry in _entries(text.splitlines()) if entry.name or entry.title]


def _entries(lines: list[str]) -> Iterator[Listed]:
    headings: dict[int, str] = {}
    columns: dict[int, str] = {}
    fenced = False
    for number, line in enumerate(lines, 1):
        fenced ^= line.lstrip().startswith("```")
        if fenced:
            continue
        if heading := re.match(r"(#+)\s+(.*)", line):
            headings = {depth: words for depth, words in headings.items() if depth < len(heading[1])}
            headings[len(heading[1])] = _plain(heading[2]).casefold()
            columns = {}
        elif line.count("|") > 1:
            cells = _cells(line)
            if number < len(lines) and all(_RULE.fullmatch(cell) for cell in _cells(lines[number])):
                columns = _columns(cells)
            elif columns and not all(_RULE.fullmatch(cell) for cell in cells):
                yield _row(number, cells, columns, headings)
        elif _BULLET.match(line):
            yield _bullet(number, _whole(lines, number), headings)


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip().removeprefix("|").removesuffix("|"))]


def _columns(cells: list[str]) -> dict[int, str]:
    """Which column holds which field; empty for a table that lists no papers."""
    heads = [_plain(cell).casefold() for cell in cells]
    found = {at: field for at, head in enumerate(heads) for field, words in COLUMNS.items() if head in words}
    return found if {"name", "title"} & set(found.values()) and len(found) > 1 else {}


def _row(number: int, cells: list[str], columns: Mapping[int, str], headings: Mapping[int, str]) -> Listed:
    said = {columns[at]: cell for at, cell in enumerate(cells) if at in columns}
    title, name = _plain(said.get("title", "")), _plain(said.get("name", ""))
    links = _links(said.get("title", ""))
    code, path = _repository(said.get("code", ""))
    return Listed(
        number,
        *_classed(headings),
        name=_known(name),
        title=_known(title),
        arxiv=next((paper for _, link in links if (paper := _paper(link))), None),
        venue=_venue(_plain(said.get("venue", ""))),
        date=_date(_plain(said.get("date", ""))),
        code=code,
        code_path=path,
        demo=next((link for _, link in _links(said.get("demo", ""))), None),
        url=next((link for _, link in _links(said.get("name", ""))), None),
        size=_known(_plain(said.get("size", ""))),
    )


def _whole(lines: list[str], number: int) -> str:
    """A bullet with the indented lines that follow it."""
    end = number
    while end < len(lines) and lines[end].strip() and not re.match(r"#|\s*\||\s{0,3}[-+*] ", lines[end]):
        end += 1
    return " ".join(line.strip() for line in lines[number - 1 : end])


def _bullet(number: int, text: str, headings: Mapping[int, str]) -> Listed:
    """A bullet that links to a paper; an entry without name and title for any other, such as one of contents."""
    links = [(words, link, paper) for words, link in _links(text) if (paper := _paper(link))]
    if not links:
        return Listed(number)
    # A badge, or a word such as [paper], may lead to the same place as the title does.
    words, _, paper = max(links, key=lambda one: len(one[0]))
    if re.fullmatch(r"\W*(paper|arxiv|pdf|link)\W*", words, re.I):
        bold = re.search(r"\*\*(.+?)\*\*", text)
        words = _plain(bold[1] if bold else text.partition("[")[0]).strip(" -+*:,.")
    behind = _BEHIND.search(_LINK.sub("", _PICTURE.sub("", text)))
    venue = behind[1].partition(",")[2] if behind else ""
    code, path = _repository(text)
    return Listed(
        number,
        *_classed(headings),
        title=_known(words),
        arxiv=paper,
        venue=_venue(re.sub(r"\b20\d\d\b|\d\d'", "", venue)),
        date=_date(behind[1]) if behind else None,
        code=code,
        code_path=path,
    )


def _classed(headings: Mapping[int, str]) -> tuple[str, tuple[tuple[str, str], ...]]:
    """The table and the classes that headings say; nearer ones count before those above them."""
    near = [headings[depth] for depth in sorted(headings, reverse=True)]
    table = next((one for words in near for one in TABLES if re.search(TABLES[one], words)), "")
    found = []
    for field, classes in CLASSES.get(table, {}).items():
        for words in near:
            if name := next((name for name, words_of in classes.items() if re.search(words_of, words)), None):
                found.append((field, name))
                break
    return table, tuple(found)


def _links(text: str) -> list[tuple[str, str]]:
    """The links of a text, pictures left out: (words, address)."""
    return [(_plain(words), link) for words, link in _LINK.findall(_PICTURE.sub("", text))]


def _plain(text: str) -> str:
    """A text without links, pictures and markup, in one line."""
    meant = _ESCAPED.sub(lambda found: chr(_HIDDEN + ord(found[1])), text)  # an escaped sign is no markup
    bare = _MARKUP.sub("", _LINK.sub(r"\1", _PICTURE.sub("", meant)))
    return " ".join("".join(chr(ord(sign) - _HIDDEN) if _hidden(sign) else sign for sign in bare).split())


def _hidden(sign: str) -> bool:
    return _HIDDEN <= ord(sign) < _HIDDEN + 128


def _known(text: str) -> str | None:
    return text if text not in ("", "-", "--", "–", "N/A", "/") else None


def _paper(link: str) -> str | None:
    found = arxiv.ID.search(link) if "arxiv.org/" in link else None
    return found[1] if found else None


def _repository(text: str) -> tuple[str | None, str | None]:
    """The first repository that a text links to; else the one whose stars its badge counts."""
    named = github.named_in(" ".join(link for _, link in _LINK.findall(text)))
    if named:
        return named[0]
    stars = _STARS.search(text)
    return (stars[1], None) if stars else (None, None)


def _venue(text: str) -> str | None:
    """A venue without its year; None where a paper is on arXiv alone."""
    name = re.sub(r"[\s']*(20)?\d\d$", "", " ".join(text.split())).strip(" ,")
    return None if name.casefold() in ("", "-", "arxiv", "preprint", "arxiv preprint") else name


def _date(text: str) -> str | None:
    if found := _WHEN.search(text):
        return "-".join(part.zfill(2) for part in found.groups() if part)
    if (found := _MONTH.search(text)) and found[1].casefold() in MONTHS:
        return f"{found[2]}-{MONTHS.index(found[1].casefold()) + 1:02}"
    return None

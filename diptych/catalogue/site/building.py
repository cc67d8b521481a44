"""All pages, and putting them where they belong: whole or not at all, and never over something else."""

import json
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from diptych.catalogue.catalogue import KINDS, Catalogue
from diptych.catalogue.lanes import COLOURS
from diptych.catalogue.site import overviews
from diptych.catalogue.site.language import CODES, Language
from diptych.catalogue.site.leaderboard import leaderboard
from diptych.catalogue.site.markup import tag
from diptych.catalogue.site.own_runs import OwnRun, own_runs
from diptych.catalogue.site.page import Page, record_path
from diptych.catalogue.site.sheets import sheet
from diptych.catalogue.site.tables import listed
from diptych.errors import InputError

ASSETS = Path(__file__).parent / "assets"
MARK = "site.json"  # stands in every site: what made it, and which files are its own
MAKER = "diptych survey site"


@dataclass(frozen=True)
class Built:
    """A site that was written. bytes: of all its files; runs: how many of one's own it shows."""

    folder: Path
    pages: int
    bytes: int
    runs: int


def build(catalogue: Catalogue, out: str | Path, runs: str | Path | None = None) -> Built:
    """Writes the site to a folder; one that this function wrote before is replaced.

    runs: a folder with evaluation runs, shown on the leaderboard. Raises InputError where `out` holds anything that is
    not of a site of ours, or `runs` is no folder.
    """
    folder = Path(out).resolve()
    own = own_runs(Path(runs)) if runs is not None else []
    _refuse(folder, Path(out).name or str(out))
    files = dict(_files(catalogue, own))
    files[MARK] = json.dumps({"made by": MAKER, "files": sorted([*files, MARK])}, indent=0) + "\n"
    _write(folder, files)
    size = sum(len(text.encode()) for text in files.values())
    return Built(folder, sum(name.endswith(".html") for name in files), size, len(own))


def _files(catalogue: Catalogue, own: Sequence[OwnRun]) -> Iterator[tuple[str, str]]:
    yield "index.html", _entrance()
    yield "style.css", _style()
    yield "site.js", (ASSETS / "site.js").read_text(encoding="utf-8")
    for code in CODES:
        for path, text in _pages(code, catalogue, own):
            yield f"{code}/{path}", text


def _pages(code: str, catalogue: Catalogue, own: Sequence[OwnRun]) -> Iterator[tuple[str, str]]:
    """The pages of one language, by their path in it."""

    def page(name: str) -> Page:
        return Page(code, f"{name}.html")

    first = page("index")
    yield first.path, first.framed(first.say("home"), overviews.home(first, catalogue))
    for name in KINDS:
        here = page(name)
        yield here.path, here.framed(here.say(name), listed(here, name, catalogue.table(name)), wide=True)
    for name, body in (("taxonomy", overviews.taxonomy), ("timeline", overviews.timeline)):
        here = page(name)
        yield here.path, here.framed(here.say(name), body(here, catalogue), wide=True)
    here = page("leaderboard")
    yield here.path, here.framed(here.say("leaderboard"), leaderboard(here, catalogue, own), wide=True)
    here = page("about")
    yield here.path, here.framed(here.say("about"), overviews.about(here))
    for name in KINDS:
        for record in catalogue.table(name):
            here = Page(code, record_path(record))
            yield here.path, here.framed(record.name, sheet(here, record, catalogue))


def _entrance() -> str:
    """Leads on to the reader's language where scripts run, else lets them choose."""
    english = Language(CODES[0])
    links = [tag("p", tag("a", Language(code).say("home"), href=f"{code}/index.html", lang=code)) for code in CODES]
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("title", english.say("site")),
        tag("link", rel="stylesheet", href="style.css"),
        tag("script", src="site.js", defer=True),
    )
    body = tag("body", tag("main", tag("h1", english.say("site")), links), data_entrance=True)
    return f"<!doctype html>\n{tag('html', head, body, lang='en')}\n"


def _style() -> str:
    colours = "".join(f".p-{name} {{ --p: {colour}; }}\n" for name, colour in COLOURS.items())
    return "".join((ASSETS / name).read_text(encoding="utf-8") for name in ("style.css", "diagram.css")) + colours


def _refuse(folder: Path, said: str) -> None:
    """Raises InputError for a place that holds anything but a site of ours."""
    if not folder.exists():
        return
    if not folder.is_dir():
        raise InputError(f"{said} is a file; name a folder for the site")
    own = _own_files(folder)
    for path in folder.rglob("*"):
        name = path.relative_to(folder).as_posix()
        if name not in own and (path.is_symlink() or not path.is_dir()):
            raise InputError(f"{said} holds {name}, which is not of a site made by diptych; name another folder")


def _own_files(folder: Path) -> frozenset[str]:
    """What a site in a folder says are its files; nothing where there is none."""
    try:
        said = json.loads((folder / MARK).read_text(encoding="utf-8"))
        return frozenset(said["files"]) if said["made by"] == MAKER else frozenset()
    except (OSError, ValueError, KeyError, TypeError):
        return frozenset()


def _write(folder: Path, files: dict[str, str]) -> None:
    """All files at once: to a neighbour, which then takes the place of what was there."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        fresh = draft / "new"
        for name, text in files.items():
            target = fresh / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text, encoding="utf-8", newline="\n")
        _exchange(folder, fresh, draft / "old")
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _exchange(folder: Path, fresh: Path, old: Path) -> None:
    """Puts one folder in the place of another, which is kept as `old`; on failure it stands where it stood."""
    if folder.exists():
        folder.rename(old)
    try:
        fresh.rename(folder)
    except OSError:
        if old.exists():
            old.rename(folder)
        raise

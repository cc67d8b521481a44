"""The pages that show many records at once: the beginning, the tree, the time line, what the words mean."""

from collections.abc import Sequence
from datetime import date
from itertools import groupby

from diptych.catalogue import lanes as arranged
from diptych.catalogue.catalogue import KINDS, Catalogue
from diptych.catalogue.lanes import day, lanes, stacked
from diptych.catalogue.records import Model
from diptych.catalogue.running import runs
from diptych.catalogue.site import diagrams
from diptych.catalogue.site.language import TABLES
from diptych.catalogue.site.markup import Markup, join, tag
from diptych.catalogue.site.page import SECTIONS, Page
from diptych.catalogue.site.svg import drawing, text

LATEST = 12  # models on the first page
SPAN, ROW, LETTER = 1500, 17, 7.2  # the time line's width, a row's height, a letter's width, in pixels
EXPLAINED = ("encoding", "mechanism", "attention", "can")


def home(page: Page, catalogue: Catalogue) -> Markup:
    """What the site is, how much there is, and the way into it."""
    here = sum(bool(runs(model)) for model in catalogue.models)
    counts = [
        tag("li", page.link(f"{name}.html", tag("b", str(len(catalogue.table(name)))), page.say(name)))
        for name in KINDS
    ]
    counts.append(tag("li", page.link("models.html#here=yes", tag("b", str(here)), page.say("run here"))))
    search = tag(
        "form",
        tag("input", type="search", name="search", placeholder=page.say("search"), aria_label=page.say("search")),
        tag("button", page.say("find")),
        action="models.html",
        id="find",
    )
    ways = [
        tag("li", page.link(f"{name}.html", tag("b", page.say(name)), tag("span", page.say(f"about {name}"))))
        for name in SECTIONS
    ]
    latest = [
        tag("li", page.chip(model), " ", tag("time", model.date)) for model in catalogue.models[: -LATEST - 1 : -1]
    ]
    return join(
        tag("p", page.say("welcome"), class_="lead"),
        tag("ul", counts, class_="counts"),
        search,
        tag("h2", page.say("three paradigms")),
        _paradigms(page),
        tag("ul", ways, class_="ways"),
        tag("h2", page.say("latest")),
        tag("ul", latest, class_="chips"),
    )


def _count(page: Page, path: str, number: int, of: str) -> Markup:
    return tag("li", page.link(path, tag("b", str(number)), page.say(of)))


def taxonomy(page: Page, catalogue: Catalogue) -> Markup:
    """The survey's tree: paradigms, their encodings, their models by date."""
    branches = []
    for paradigm, group in groupby(lanes(catalogue.models), key=lambda lane: lane.paradigm):
        found = list(group)
        count = sum(len(lane.models) for lane in found)
        name = page.link(
            f"models.html#paradigm={paradigm}", page.name("paradigm", paradigm), tag("small", str(count)), class_="node"
        )
        leaves = [_leaf(page, lane) for lane in found]
        about = tag("p", page.meaning("paradigm", paradigm))
        branches.append(tag("li", tag("div", name, about, class_="branch"), tag("ul", leaves), class_=f"p-{paradigm}"))
    note = tag("p", page.say("taxonomy note"), class_="lead")
    return join(note, tag("ul", branches, class_="tree"))


def _leaf(page: Page, lane: arranged.Lane) -> Markup:
    where = f"models.html#paradigm={lane.paradigm}&encoding={lane.encoding}"
    count = tag("small", str(len(lane.models)))
    name = page.link(where, page.name("encoding", lane.encoding), count, title=page.meaning("encoding", lane.encoding))
    return tag(
        "li", tag("div", name, class_="leaf"), tag("p", [page.chip(model) for model in lane.models], class_="chips")
    )


def timeline(page: Page, catalogue: Catalogue) -> Markup:
    """All models over time: as a drawing where there is room, and month by month."""
    months = groupby(reversed(catalogue.models), key=lambda model: model.date[:7])
    entries = [
        tag("li", tag("h2", month, id=f"m{month}"), tag("p", [page.chip(model) for model in group], class_="chips"))
        for month, group in months
    ]
    note = tag("p", page.say("timeline note"), class_="lead")
    drawn = tag("div", _time_drawing(page, catalogue.models), class_="scroll roomy")
    return join(note, _key(page), drawn, tag("ol", entries, class_="months"))


def _key(page: Page) -> Markup:
    names = [tag("span", page.name("paradigm", one), class_=f"chip p-{one}") for one in TABLES["paradigm"]]
    return tag("p", names, tag("span", page.say("runs here"), class_="chip here"), class_="chips key")


def _time_drawing(page: Page, models: Sequence[Model]) -> Markup:
    begin, end = min(day(model.date) for model in models) - 20, max(day(model.date) for model in models) + 75
    a_day, top = SPAN / (end - begin), 26.0
    behind: list[Markup] = []
    points: list[Markup] = []
    for number, lane in enumerate(lanes(models)):
        placed = stacked(lane.models, a_day, LETTER, 16)
        height = ROW * (max(row for _, row in placed) + 2.4)
        behind.append(tag("rect", x=0, y=top, width=SPAN, height=height, class_=f"lane{number % 2}"))
        label = f"{page.name('paradigm', lane.paradigm)} · {page.name('encoding', lane.encoding)}"
        points.append(text(6, top + 14, label, f"lane p-{lane.paradigm}"))
        for model, row in placed:
            points.append(_point(page, model, (day(model.date) - begin) * a_day, top + ROW * (row + 1) + 12))
        top += height
    years = range(date.fromordinal(begin).year, date.fromordinal(end).year + 1)
    quarters = [date(year, month, 1) for year in years for month in (1, 4, 7, 10)]
    marks = [((one.toordinal() - begin) * a_day, one) for one in quarters if begin <= one.toordinal() <= end]
    axis = [
        (tag("line", x1=x, x2=x, y1=22, y2=top, class_="grid"), text(x, 15, f"{one:%Y-%m}", "label", "middle"))
        for x, one in marks
    ]
    return drawing(SPAN, top + 4, page.say("timeline"), behind, axis, points, class_="diagram time")


def _point(page: Page, model: Model, x: float, y: float) -> Markup:
    here = " here" if runs(model) else ""
    dot = tag("circle", cx=round(x, 1), cy=y - 4, r=3.6)
    name = text(round(x + 7, 1), y, model.name)
    about = tag("title", f"{model.name}, {model.date}")
    return tag("a", about, dot, name, href=f"{page.up}models/{model.id}.html", class_=f"point p-{model.paradigm}{here}")


def about(page: Page) -> Markup:
    """The words of the catalogue and their drawings."""
    masks = [
        tag("figure", diagrams.mask_drawing(one, page), tag("figcaption", tag("b", page.name("attention", one)), " ",
            page.meaning("attention", one)))
        for one in TABLES["attention"]
    ]  # fmt: skip
    tables = [(tag("h2", page.say(table)), _explained(page, table)) for table in EXPLAINED if table != "attention"]
    return join(
        tag("p", page.say("about text"), class_="lead"),
        tag("h2", page.say("three paradigms")),
        _paradigms(page),
        tag("h2", page.say("attention")),
        tag("div", masks, class_="masks"),
        diagrams.legend(page),
        tables,
        tag("h2", page.say("facts")),
        tag("p", page.say("facts text")),
    )


def _paradigms(page: Page) -> Markup:
    drawn = [
        tag(
            "figure",
            tag("h3", page.link(f"models.html#paradigm={one}", page.name("paradigm", one)), class_=f"p-{one}"),
            diagrams.paradigm(one, page),
            tag("figcaption", page.meaning("paradigm", one)),
        )
        for one in diagrams.VISITS
    ]
    return tag("div", drawn, class_="paradigms")


def _explained(page: Page, table: str) -> Markup:
    rows = [
        tag(
            "tr",
            tag("td", page.link(f"models.html#{table}={word}", page.name(table, word))),
            tag("td", page.meaning(table, word)),
        )
        for word in TABLES[table]
    ]
    return tag("div", tag("table", tag("tbody", rows), class_="words"), class_="scroll")

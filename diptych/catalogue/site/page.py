"""A page: its place in the site, what leads from it to others, and the frame that all pages share."""

from dataclasses import dataclass

import diptych
from diptych.catalogue.columns import table_of
from diptych.catalogue.records import Entry, Model
from diptych.catalogue.running import runs
from diptych.catalogue.site.language import Language
from diptych.catalogue.site.markup import Markup, Part, join, tag

SECTIONS = ("models", "taxonomy", "timeline", "benchmarks", "datasets", "applications", "leaderboard", "about")


@dataclass(frozen=True)
class Page(Language):
    """Where a page stands and in which language. path: below the language's folder, such as `models/bagel.html`."""

    path: str

    @property
    def up(self) -> str:
        """From the page's folder to the language's."""
        return "../" * self.path.count("/")

    def link(self, path: str, *parts: Part, class_: str | None = None, title: str | None = None) -> Markup:
        """To another page of the same language."""
        return tag("a", *parts, href=self.up + path, class_=class_, title=title)

    def record(self, record: Entry, class_: str | None = None, title: str | None = None) -> Markup:
        """To a record's page, by its name."""
        return self.link(record_path(record), record.name, class_=class_, title=title)

    def words(self, table: str, words: tuple[str, ...]) -> Markup:
        """Words of the catalogue; what each means appears when it is pointed at."""
        spans = [tag("span", self.name(table, one), class_="word", title=self.meaning(table, one)) for one in words]
        return join([(self.comma if place else None, one) for place, one in enumerate(spans)])

    def chip(self, model: Model) -> Markup:
        """To a model's page, in the colour of its paradigm; filled where it runs here."""
        here = " here" if runs(model) else ""
        return self.record(model, class_=f"chip p-{model.paradigm}{here}", title=model.title)

    def framed(self, title: str, *body: Part, wide: bool = False) -> str:
        """The whole document."""
        head = tag(
            "head",
            tag("meta", charset="utf-8"),
            tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
            tag("title", f"{title} · {self.say('site')}"),
            tag("link", rel="stylesheet", href=f"{self.up}../style.css"),
            tag("script", src=f"{self.up}../site.js", defer=True),
        )
        main = tag("main", tag("h1", title), *body, class_="wide" if wide else None)
        document = tag("html", head, tag("body", self._header(), main, self._footer()), lang=self.html)
        return f"<!doctype html>\n{document}\n"

    def _header(self) -> Markup:
        here = self.path.partition("/")[0].removesuffix(".html")
        links = [
            tag("a", self.say(name), href=f"{self.up}{name}.html", aria_current="page" if name == here else None)
            for name in SECTIONS
        ]
        home = self.link("index.html", self.say("site"), class_="home")
        other = tag(
            "a", self.say("other language"), href=f"{self.up}../{self.other.code}/{self.path}", lang=self.other.html
        )
        theme = tag("button", "◐", type="button", id="theme", title=self.say("theme"), aria_label=self.say("theme"))
        return tag("header", home, tag("nav", links), tag("div", other, theme, class_="switches"))

    def _footer(self) -> Markup:
        return tag("footer", self.say("footer", version=diptych.__version__))


def record_path(record: Entry) -> str:
    """Of a record's page, below the language's folder."""
    return f"{table_of(record)}/{record.id}.html"


def outside(address: str, *parts: Part) -> Markup:
    """To a page elsewhere."""
    return tag("a", *parts, href=address, rel="noreferrer", class_="outside")

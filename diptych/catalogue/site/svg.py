"""The strokes that diagrams are made of. Lengths are in pixels of the drawing; `diagram.css` gives the colours."""

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from diptych.catalogue.site.markup import Markup, Part, join, tag

STYLE = Path(__file__).parent / "assets" / "diagram.css"
LINE, LETTER, PAD = 17, 6.9, 9  # between lines of text, a letter's width (generously), inside a box


class Drawn(NamedTuple):
    """A piece of a drawing and where it ends below."""

    markup: Markup
    bottom: float


def drawing(width: float, height: float, title: str, *parts: Part, class_: str = "diagram") -> Markup:
    """A whole drawing, as wide as its place allows."""
    return tag(
        "svg",
        tag("title", title),
        *parts,
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {width:g} {height:g}",
        width=width,
        height=height,
        class_=class_,
        role="img",
    )


def alone(picture: Markup) -> str:
    """A drawing as a file of its own: with its colours, light and dark."""
    head, inside, rest = picture.partition("</title>")
    return f"{head}{inside}<style>\n{STYLE.read_text(encoding='utf-8')}</style>{rest}\n"


def wrapped(text: str, width: float) -> list[str]:
    """A text in lines that fit a box so wide. Chinese has no blanks and twice the width."""
    wide = not text.isascii() and any(ord(letter) > 0x2E80 for letter in text)
    letters = max(6, int((width - 2 * PAD) / (LETTER * (1.9 if wide else 1))))
    return textwrap.wrap(text, letters) or [""]


def text(x: float, y: float, said: str, class_: str = "", anchor: str = "start") -> Markup:
    return tag("text", said, x=x, y=y, class_=class_ or None, text_anchor=None if anchor == "start" else anchor)


def box(x: float, y: float, width: float, label: str, said: Sequence[str], class_: str = "", least: float = 0) -> Drawn:
    """A box with a small label and lines of text below it; at least `least` high."""
    height = max(least, LINE * (len(said) + 1) + 1.4 * PAD)
    frame = tag("rect", x=x, y=y, width=width, height=height, rx=8, class_=f"box {class_}".strip())
    lines = [text(x + PAD, y + PAD + 10, label, "label")]
    lines += [text(x + PAD, y + PAD + 10 + LINE * (row + 1), line, "said") for row, line in enumerate(said)]
    return Drawn(join(frame, lines), y + height)


def pill(middle: float, y: float, said: str, class_: str = "") -> Drawn:
    """A short word in a rounded frame, centred."""
    width = len(said) * (LETTER if said.isascii() else 13) + 2 * PAD + 4
    frame = tag("rect", x=middle - width / 2, y=y, width=width, height=24, rx=12, class_=f"pill {class_}".strip())
    return Drawn(join(frame, text(middle, y + 16, said, "said", "middle")), y + 24)


def arrow(x: float, top: float, bottom: float) -> Markup:
    """Downwards."""
    return tag("path", d=f"M{x:g} {top:g}V{bottom - 5:g}M{x - 4:g} {bottom - 7:g}l4 6l4 -6", class_="arrow")


def cell(x: float, y: float, side: float, class_: str) -> Markup:
    return tag("rect", x=x, y=y, width=side, height=side, rx=2, class_=f"cell {class_}".strip())

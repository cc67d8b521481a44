"""HTML and SVG from Python calls. A text is escaped unless it is markup already, so that no escape can be forgotten."""

import html
from collections.abc import Iterable
from typing import TypeAlias


class Markup(str):
    """Text that is HTML or SVG already and is written as it is."""

    __slots__ = ()


Part: TypeAlias = "str | Markup | Iterable[Part] | None"
VOID = frozenset({"meta", "link", "input", "br", "img"})  # elements of HTML that have no end tag
EMPTY = Markup("")


def tag(name: str, /, *parts: Part, **attributes: str | float | bool | None) -> Markup:
    """One element. parts: texts, markup, or lists of them; None is left out.

    An underscore in an attribute's name is a hyphen, one behind it is dropped (`class_`); True is the bare attribute,
    False and None none.
    """
    written = "".join(_attribute(key, value) for key, value in attributes.items())
    return Markup(f"<{name}{written}>" if name in VOID else f"<{name}{written}>{join(*parts)}</{name}>")


def join(*parts: Part) -> Markup:
    """Parts behind each other, texts among them escaped."""
    return Markup("".join(map(_written, parts)))


def _written(part: Part) -> str:
    if part is None:
        return ""
    if isinstance(part, Markup):
        return part
    return html.escape(part) if isinstance(part, str) else join(*part)


def _attribute(key: str, value: str | float | bool | None) -> str:
    if value is None or value is False:
        return ""
    name = key.rstrip("_").replace("_", "-")
    if value is True:
        return f" {name}"
    said = f"{value:g}" if isinstance(value, float) else str(value)
    return f' {name}="{html.escape(said)}"'

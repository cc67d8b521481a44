"""A scene: everything a picture shows, as numbers.

Coordinates are in 1/256 of the canvas, whatever its size in pixels; later objects lie on top.
"""

from collections.abc import Collection
from dataclasses import asdict, dataclass, replace
from difflib import get_close_matches
from typing import Any

from diptych.data.worlds.emoji.rules import BACKGROUNDS, COLORS, OBJECTS, STYLES
from diptych.errors import InputError

THIRDS = (102.4, 153.6)
SMALL = 70  # sizes up to which an object counts as small when straightened
GRID = (48, 112, 208)  # centres of three eighths each, on the grid of eighths
SMALL_GRID = (32, 128, 224)  # of two eighths


def check_name(what: str, name: str, known: Collection[str]) -> None:
    """Raise `InputError`, naming the nearest known names, unless `name` is one of them."""
    if name not in known:
        near = get_close_matches(str(name), known, 3, 0.0)
        raise InputError(f"no {what} is called {name!r}; the nearest names are {', '.join(near)}")


@dataclass(frozen=True)
class Thing:
    """One instance. `color` None is the style's own colouring; `x`, `y` the centre; `s` the longer side."""

    id: str
    color: str | None
    x: int
    y: int
    s: int

    def __post_init__(self) -> None:
        if self.id not in OBJECTS:
            check_name("object", self.id, OBJECTS)
        if self.color is not None and self.color not in COLORS:
            check_name("colour", self.color, COLORS)


@dataclass(frozen=True)
class Scene:
    """A drawing style, a background and the instances, in drawing order."""

    style: str
    bg: str
    objects: tuple[Thing, ...]

    def __post_init__(self) -> None:
        if self.style not in STYLES:
            check_name("style", self.style, STYLES)
        if self.bg not in BACKGROUNDS:
            check_name("background", self.bg, BACKGROUNDS)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "Scene":
        return cls(data["style"], data["bg"], tuple(Thing(**thing) for thing in data["objects"]))

    def to_json(self) -> dict[str, Any]:
        return {"style": self.style, "bg": self.bg, "objects": [asdict(thing) for thing in self.objects]}


def place_of(x: float, y: float) -> str:
    """The name of the ninth of the canvas that holds a point: "top left", "left", "center", ..."""
    across = "left" if x < THIRDS[0] else "right" if x > THIRDS[1] else ""
    down = "top" if y < THIRDS[0] else "bottom" if y > THIRDS[1] else ""
    return f"{down} {across}".strip() or "center"


def relation_of(first: tuple[float, float], second: tuple[float, float]) -> str:
    """Where the first point (x, y) lies seen from the second: left, right, above or below."""
    (x1, y1), (x2, y2) = first, second
    if abs(x1 - x2) >= abs(y1 - y2):
        return "left" if x1 < x2 else "right"
    return "above" if y1 < y2 else "below"


def straightened(scene: Scene) -> Scene:
    """The same objects at the same places in fewer ways: three eighths of the canvas large, small ones (five and six
    of a kind) two eighths, all on a grid of eighths, so that an object covers the same codes wherever it stands for a
    tokenizer whose codes are an eighth wide.
    """
    return replace(scene, objects=tuple(map(_straight, scene.objects)))


def _straight(thing: Thing) -> Thing:
    grid, s = (SMALL_GRID, 64) if thing.s <= SMALL else (GRID, 96)
    x, y = (grid[(value > THIRDS[0]) + (value > THIRDS[1])] for value in (thing.x, thing.y))
    return replace(thing, x=x, y=y, s=s)

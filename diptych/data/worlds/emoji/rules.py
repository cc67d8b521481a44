"""The facts of the world: object classes, colours, backgrounds, styles, places, counts.

Everything here is read from `assets/world.json` and `assets/objects.jsonl`; lengths are in 1/256 of the canvas.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ASSETS = Path(__file__).with_name("assets")
LANGUAGES = ("en", "zh")

Point = tuple[int, int]
Color = tuple[int, int, int]


@dataclass(frozen=True)
class Noun:
    """An English name with what grammar needs to use it."""

    name: str
    plural: str
    article: str


@dataclass(frozen=True)
class ObjectClass:
    """One of the 394 drawable classes. `native_color` and `bad_backgrounds` are keyed by style."""

    id: str
    noun: Noun
    zh: str
    measure_word: str
    supercategory: str
    synonyms: tuple[Noun, ...]
    native_color: dict[str, str]
    bad_backgrounds: dict[str, frozenset[str]]
    conflicts: frozenset[str]
    recolorable: bool
    core: bool


def read_json(name: str) -> dict[str, Any]:
    return json.loads((ASSETS / name).read_text(encoding="utf-8"))


def read_objects() -> dict[str, ObjectClass]:
    """All classes by id, in atlas order."""
    lines = (ASSETS / "objects.jsonl").read_text(encoding="utf-8").splitlines()
    return {row["id"]: parse_object(row) for row in map(json.loads, lines)}


def parse_object(row: dict[str, Any]) -> ObjectClass:
    return ObjectClass(
        id=row["id"],
        noun=Noun(row["en"], row["plural"], row["article"]),
        zh=row["zh"],
        measure_word=row["mw"],
        supercategory=row["supercategory"],
        synonyms=tuple(Noun(**synonym) for synonym in row["synonyms"]),
        native_color=row["native_color"],
        bad_backgrounds={style: frozenset(names) for style, names in row["bad_backgrounds"].items()},
        conflicts=frozenset(row["conflicts"]),
        recolorable=row["recolorable"],
        core=row["core"],
    )


def _points(pairs: list[list[int]]) -> tuple[Point, ...]:
    return tuple((x, y) for x, y in pairs)


WORLD = read_json("world.json")
TEMPLATES = read_json("templates.json")
OBJECTS = read_objects()

COLORS: dict[str, Color] = {name: tuple(entry["rgb"]) for name, entry in WORLD["colors"].items()}
BACKGROUNDS: dict[str, Color] = {name: tuple(entry["rgb"]) for name, entry in WORLD["backgrounds"].items()}
STYLES: tuple[str, ...] = tuple(WORLD["styles"])
RELATIONS: tuple[str, ...] = tuple(WORLD["relations"])
FORBIDDEN: frozenset[tuple[str, str]] = frozenset((c, b) for c, b in WORLD["forbidden_color_background"])

PLACES: dict[str, Point] = {name: tuple(entry["xy"]) for name, entry in WORLD["positions"].items()}
CORNERS = ("top left", "top right", "bottom left", "bottom right")
COUNT_LAYOUTS: dict[int, tuple[tuple[Point, ...], int]] = {
    int(number): (_points(layout["xy"]), layout["s"]) for number, layout in WORLD["counts"].items()
}
PAIR_LAYOUTS: dict[str, tuple[Point, ...]] = {
    layout["name"]: _points(layout["xy"]) for layout in WORLD["layouts"]["two"]
}
PAIR_SIZE: int = WORLD["layouts"]["two"][0]["s"]
SINGLE_SIZE: int = WORLD["layouts"]["single"]["s"]
PLACED_SIZE: int = WORLD["layouts"]["single"]["positioned_s"]
CORNER_SIZE = 92  # world.json says it in words: "3 or 4 of the four corners, s=92"


def visible(style: str, bg: str, object_id: str, color: str | None) -> bool:
    """Whether the object stands out from the background (colour None: as the style draws it)."""
    if color is not None:
        return (color, bg) not in FORBIDDEN
    return bg not in OBJECTS[object_id].bad_backgrounds[style]


def compatible(first: str, second: str) -> bool:
    """Whether two classes may share a scene: different, and neither a kind, part or look-alike of the other."""
    return first != second and second not in OBJECTS[first].conflicts and first not in OBJECTS[second].conflicts

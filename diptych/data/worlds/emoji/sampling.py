"""Random scenes: what is shown, then where it stands.

Eight kinds of scene. A drawn scene obeys the rules of contrast, conflict and hold-out of its split; a *tidy* one
stands straightened on a grid, which makes it the one picture to be learned for a text.
"""

from dataclasses import dataclass, field
from itertools import combinations
from random import Random

from diptych.data.worlds.emoji.graph import Graph, Mention
from diptych.data.worlds.emoji.holdout import mentions_held
from diptych.data.worlds.emoji.rules import (
    BACKGROUNDS,
    COLORS,
    CORNER_SIZE,
    CORNERS,
    COUNT_LAYOUTS,
    OBJECTS,
    PAIR_LAYOUTS,
    PAIR_SIZE,
    PLACED_SIZE,
    PLACES,
    RELATIONS,
    SINGLE_SIZE,
    STYLES,
    Point,
    compatible,
    visible,
)
from diptych.data.worlds.emoji.scene import Scene, Thing, check_name, straightened
from diptych.errors import InputError

KINDS = ("single", "color", "position", "two", "relation", "binding", "count", "multi")
SPLITS = ("train", "heldout", "any")
JITTER = 6
SIZE_JITTER = (-8, -4, 0, 4)
SMALL = 56
COUNT_ODDS = {1: 1, 2: 3, 3: 3, 4: 3, 5: 3, 6: 3}
ALWAYS_COLORED = ("color", "binding")
NEVER_COLORED = ("single",)
PAIRS = ("two", "relation", "binding")


@dataclass(frozen=True)
class Look:
    """How a scene is to be drawn: `style` and `bg` None are free; `tidy` leaves no jitter and prefers noto on white."""

    style: str | None = None
    bg: str | None = None
    tidy: bool = False

    def __post_init__(self) -> None:
        if self.style is not None:
            check_name("style", self.style, STYLES)
        if self.bg is not None:
            check_name("background", self.bg, BACKGROUNDS)


@dataclass
class Sampler:
    """Draws graphs and scenes of one split ("train", "heldout" or "any") over all classes, the core ones, or an
    even choice of so many `classes`."""

    split: str = "train"
    core: bool = False
    classes: int | None = None
    names: list[str] = field(init=False)
    paintable: list[str] = field(init=False)

    def __post_init__(self) -> None:
        check_name("split", self.split, SPLITS)
        self.names = [name for name, item in OBJECTS.items() if item.core or not self.core]
        if self.classes is not None and self.classes < len(self.names):
            self.names = [self.names[i * len(self.names) // self.classes] for i in range(self.classes)]
        self.paintable = [name for name in self.names if OBJECTS[name].recolorable]

    def allows(self, mentions: tuple[Mention, ...]) -> bool:
        """Whether the split may show these together."""
        return self.split == "any" or mentions_held(mentions) == (self.split == "heldout")

    def draw(self, rng: Random, kind: str, look: Look = Look(), color_rate: float = 0.3) -> tuple[Graph, Scene]:
        """One scene of a kind, and the graph that says all of it but style and background."""
        check_name("kind of scene", kind, KINDS)
        if self.split == "heldout" and kind == "single":
            raise InputError("one object in its own colours is never held out; ask for another kind of scene")
        while True:
            mentions = self.mentions(rng, kind, color_rate)
            style = look.style or (STYLES[0] if look.tidy else rng.choice(STYLES))
            bg = choose_background(rng, mentions, style, look)
            if bg is None or not fits(mentions, style, bg) or not self.allows(mentions):
                continue
            if kind == "binding" and mentions[0].color == mentions[1].color:
                continue  # nothing to bind
            relations = ((0, rng.choice(RELATIONS), 1),) if kind == "relation" else ()
            graph = Graph(mentions, relations)
            return graph, lay_out(rng, graph, kind, Look(style, bg, look.tidy))

    def mention(self, rng: Random, colored: bool, count: int = 1, pos: str | None = None) -> Mention:
        """One random object, painted in a random colour or left as it is."""
        name = rng.choice(self.paintable if colored else self.names)
        return Mention(name, rng.choice(tuple(COLORS)) if colored else None, count, pos)

    def mentions(self, rng: Random, kind: str, color_rate: float) -> tuple[Mention, ...]:
        """What a scene of a kind holds, before any rule is applied."""

        def colored() -> bool:
            return kind in ALWAYS_COLORED or (kind not in NEVER_COLORED and rng.random() < color_rate)

        if kind == "count":
            count = rng.choices(list(COUNT_ODDS), list(COUNT_ODDS.values()))[0]
            return (self.mention(rng, colored(), count),)
        if kind == "position":
            return (self.mention(rng, colored(), pos=rng.choice(tuple(PLACES))),)
        if kind == "multi":
            chosen = rng.sample(CORNERS, rng.choice((3, 4)))
            return tuple(self.mention(rng, colored(), pos=corner) for corner in CORNERS if corner in chosen)
        if kind in PAIRS:
            return self.mention(rng, colored()), self.mention(rng, colored())
        return (self.mention(rng, colored()),)


def choose_background(rng: Random, mentions: tuple[Mention, ...], style: str, look: Look) -> str | None:
    """The background asked for; else the first that shows all objects (tidy) or any one; None if none does."""
    if look.bg is not None:
        return look.bg
    if not look.tidy:
        return rng.choice(tuple(BACKGROUNDS))
    return next((bg for bg in BACKGROUNDS if all_visible(mentions, style, bg)), None)


def all_visible(mentions: tuple[Mention, ...], style: str, bg: str) -> bool:
    return all(visible(style, bg, mention.id, mention.color) for mention in mentions)


def fits(mentions: tuple[Mention, ...], style: str, bg: str) -> bool:
    """Whether every object can be seen, may be painted, and gets on with the others."""
    return (
        all_visible(mentions, style, bg)
        and all(mention.color is None or OBJECTS[mention.id].recolorable for mention in mentions)
        and all(compatible(a.id, b.id) for a, b in combinations(mentions, 2))
    )


def lay_out(rng: Random, graph: Graph, kind: str, look: Look) -> Scene:
    """Put the mentioned objects where the layout of their kind says. `look` must name style and background."""
    assert look.style is not None and look.bg is not None
    things: list[Thing] = []
    for mention, points, s in _slots(rng, graph, kind, look.tidy):
        things += [place(rng, mention, point, s, look.tidy) for point in points]
    scene = Scene(look.style, look.bg, tuple(things))
    return straightened(scene) if look.tidy else scene


def _slots(rng: Random, graph: Graph, kind: str, tidy: bool) -> list[tuple[Mention, tuple[Point, ...], int]]:
    """For every mention the centres of its instances and their size."""
    mentions = graph.objects
    if kind == "multi":
        return [(mention, (PLACES[mention.pos or "center"],), CORNER_SIZE) for mention in mentions]
    if kind == "position":
        return [(mentions[0], (PLACES[mentions[0].pos or "center"],), PLACED_SIZE)]
    if kind in PAIRS:
        free = "left" if tidy else rng.choice(RELATIONS)
        points = pair_points(graph.relations[0][1] if graph.relations else free)
        return [(mention, (point,), PAIR_SIZE) for mention, point in zip(mentions, points, strict=True)]
    points, s = count_layout(mentions[0].count)
    return [(mentions[0], points, s)]


def count_layout(count: int) -> tuple[tuple[Point, ...], int]:
    """Centres and size of `count` equal objects, 1 to 6."""
    return COUNT_LAYOUTS[count] if count > 1 else ((PLACES["center"],), SINGLE_SIZE)


def pair_points(relation: str) -> tuple[Point, Point]:
    """Centres of the first and second of two objects, the first lying `relation` of the second."""
    low, high = PAIR_LAYOUTS["horizontal" if relation in ("left", "right") else "vertical"]
    return (low, high) if relation in ("left", "above") else (high, low)


def place(rng: Random, mention: Mention, point: Point, s: int, tidy: bool) -> Thing:
    """One instance at a point, jittered unless tidy."""
    if tidy:
        return Thing(mention.id, mention.color, *point, s)
    x, y = (value + rng.randint(-JITTER, JITTER) for value in point)
    return Thing(mention.id, mention.color, x, y, s + (rng.choice(SIZE_JITTER) if s > SMALL else 0))

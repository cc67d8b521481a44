"""What was seen, compared with what was asked."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from diptych.data.worlds.emoji import Graph, Mention, Scene, Thing, place_of, relation_of
from diptych.data.worlds.emoji.rules import OBJECTS

NEAR = 0.12 * 256  # an object this near its place is in place


@dataclass(frozen=True)
class SeenObject:
    """`box` is left, top, right, bottom in 1/256 of the canvas; `color` None is the style's own colouring."""

    id: str
    color: str | None
    style: str
    box: tuple[float, float, float, float]

    @property
    def center(self) -> tuple[float, float]:
        left, top, right, bottom = self.box
        return (left + right) / 2, (top + bottom) / 2


@dataclass(frozen=True)
class Seen:
    """The background nearest to the rim's colour, and the objects in no order."""

    background: str
    objects: tuple[SeenObject, ...]

    @property
    def style(self) -> str | None:
        """The style of most objects; None of an empty picture."""
        counted = Counter(thing.style for thing in self.objects).most_common(1)
        return counted[0][0] if counted else None


@dataclass(frozen=True)
class Verdict:
    """`reasons` says in words what is wrong; there are none if `ok`."""

    reasons: tuple[str, ...]

    @property
    def ok(self) -> bool:
        return not self.reasons


def same_color(seen: SeenObject, asked: str | None) -> bool:
    """Whether the colour is right, where an object's own colour and paint of that colour cannot be told apart."""
    own = OBJECTS[seen.id].native_color[seen.style]
    return seen.color == asked or (seen.color is None and own == asked) or (asked is None and own == seen.color)


def judge_drawing(seen: Seen, graph: Graph) -> Verdict:
    """Everything the graph asks must be there, in the number asked, and nothing else. Style is not compared."""
    reasons: list[str] = []
    for mention in graph.objects:
        reasons += _mention_faults(seen, mention)
    asked = {mention.id for mention in graph.objects}
    reasons += [f"nobody asked for {_noun(thing.id)}" for thing in seen.objects if thing.id not in asked]
    reasons += _relation_faults(seen, graph)
    if graph.bg is not None and seen.background != graph.bg:
        reasons.append(f"the background is {seen.background}, not {graph.bg}")
    return Verdict(tuple(reasons))


def _noun(object_id: str) -> str:
    noun = OBJECTS[object_id].noun
    return f"{noun.article} {noun.name}"


def _mention_faults(seen: Seen, mention: Mention) -> list[str]:
    things = [thing for thing in seen.objects if thing.id == mention.id]
    name = OBJECTS[mention.id].noun.name
    if len(things) != mention.count:
        return [f"{len(things)} of {mention.count}: {name}"]
    faults = []
    for thing in things:
        if mention.color is not None and not same_color(thing, mention.color):
            faults.append(f"the {name} is {thing.color or 'in its own colours'}, not {mention.color}")
        if mention.pos is not None and place_of(*thing.center) != mention.pos:
            faults.append(f"the {name} is at {place_of(*thing.center)}, not {mention.pos}")
    return faults


def _relation_faults(seen: Seen, graph: Graph) -> list[str]:
    """Relations between objects that are there once each; others are faulty by number already."""
    centers = {thing.id: thing.center for thing in seen.objects}
    faults = []
    for i, relation, j in graph.relations:
        first, second = graph.objects[i].id, graph.objects[j].id
        if first in centers and second in centers and relation_of(centers[first], centers[second]) != relation:
            faults.append(f"the {OBJECTS[first].noun.name} is not {relation} of the {OBJECTS[second].noun.name}")
    return faults


def judge_edit(seen: Seen, source: Scene, target: Scene, op: str) -> Verdict:
    """Every object of the target must be there, as it is and where it is, and nothing else.

    A new number of objects may stand anywhere. The style counts only if the edit was about it. Where the edit
    paints an object that was in its own colours, these do not pass for the paint: it must have changed.
    """
    reasons: list[str] = []
    if (n := len(seen.objects)) != len(target.objects):
        reasons.append(f"{n} object{'' if n == 1 else 's'} instead of {len(target.objects)}")
    if seen.background != target.bg:
        reasons.append(f"the background is {seen.background}, not {target.bg}")
    if op == "restyle" and seen.style != target.style:
        reasons.append(f"the style is {seen.style}, not {target.style}")
    before = {(thing.id, thing.x, thing.y): thing.color for thing in source.objects}

    def right(thing: Thing, found: SeenObject) -> bool:
        painted = thing.color is not None and before.get((thing.id, thing.x, thing.y), thing.color) is None
        return (
            found.id == thing.id
            and (found.color == thing.color if painted else same_color(found, thing.color))
            and (op == "count" or _in_place(thing, found))
        )

    missing = unmatched(target.objects, seen.objects, right)
    reasons += [f"{_noun(thing.id)} is missing, changed or out of place" for thing in missing]
    return Verdict(tuple(reasons))


def _in_place(thing: Thing, found: SeenObject) -> bool:
    x, y = found.center
    return place_of(x, y) == place_of(thing.x, thing.y) or ((x - thing.x) ** 2 + (y - thing.y) ** 2) ** 0.5 <= NEAR


def unmatched(
    wanted: Sequence[Thing], found: Sequence[SeenObject], right: Callable[[Thing, SeenObject], bool]
) -> list[Thing]:
    """What is left of `wanted` when as many as possible are each given one of `found` (augmenting paths)."""
    owner: dict[int, int] = {}

    def settle(want: int, tried: set[int]) -> bool:
        for index, candidate in enumerate(found):
            if index not in tried and right(wanted[want], candidate):
                tried.add(index)
                if index not in owner or settle(owner[index], tried):
                    owner[index] = want
                    return True
        return False

    return [thing for want, thing in enumerate(wanted) if not settle(want, set())]

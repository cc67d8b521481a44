"""Scenes that are wrong in one thing a prompt asks for, to see that the judge refuses them."""

from collections.abc import Callable
from dataclasses import replace
from random import Random

from diptych.data.worlds.emoji import Scene, Thing, place_of
from diptych.data.worlds.emoji.rules import COLORS, OBJECTS, PLACES, compatible, visible
from diptych.data.worlds.emoji.sampling import count_layout
from diptych.evaluation.emoji.sets import PromptItem

Change = Callable[[Random, PromptItem], Scene | None]


def change_one_thing(rng: Random, item: PromptItem) -> tuple[str, Scene]:
    """The kind of change ("identity", "color", "count", "place" or "swapped colors") and the wrong scene."""
    while True:
        name = rng.choice(list(CHANGES))
        scene = CHANGES[name](rng, item)
        if scene is not None:
            return name, scene


def _with(scene: Scene, index: int, thing: Thing) -> Scene:
    objects = list(scene.objects)
    objects[index] = thing
    return replace(scene, objects=tuple(objects))


def _identity(rng: Random, item: PromptItem) -> Scene | None:
    scene = item.reference
    index = rng.randrange(len(scene.objects))
    thing = scene.objects[index]
    other = rng.choice(tuple(OBJECTS))
    paintable = thing.color is None or OBJECTS[other].recolorable
    if not paintable or not visible(scene.style, scene.bg, other, thing.color):
        return None
    if not all(compatible(other, neighbour.id) for neighbour in scene.objects):
        return None
    return _with(scene, index, replace(thing, id=other))


def _color(rng: Random, item: PromptItem) -> Scene | None:
    """Another colour where one is asked, and one that is plainly not the object's own."""
    asked = {mention.id: mention.color for mention in item.graph.objects}
    scene = item.reference
    index = rng.randrange(len(scene.objects))
    thing, color = scene.objects[index], rng.choice(tuple(COLORS))
    if asked[thing.id] in (None, color) or not visible(scene.style, scene.bg, thing.id, color):
        return None
    return _with(scene, index, replace(thing, color=color))


def _count(rng: Random, item: PromptItem) -> Scene | None:
    """One more or one fewer: equal objects are laid out anew, of different ones the last goes missing."""
    scene = item.reference
    first = scene.objects[0]
    kinds = {thing.id for thing in scene.objects}
    if len(kinds) > 1:
        return replace(scene, objects=scene.objects[:-1])
    count = len(scene.objects) + rng.choice((-1, 1))
    if not 1 <= count <= 6:
        return None
    points, s = count_layout(count)
    return replace(scene, objects=tuple(replace(first, x=x, y=y, s=s) for x, y in points))


def _place(rng: Random, item: PromptItem) -> Scene | None:
    """Two related objects change places; a placed one goes elsewhere."""
    scene = item.reference
    if item.graph.relations:
        first, second = scene.objects
        return replace(scene, objects=(replace(first, x=second.x, y=second.y), replace(second, x=first.x, y=first.y)))
    if item.graph.objects[0].pos is None:
        return None
    thing = scene.objects[0]
    x, y = rng.choice([point for point in PLACES.values() if place_of(*point) != place_of(thing.x, thing.y)])
    return _with(scene, 0, replace(thing, x=x, y=y))


def _swapped_colors(rng: Random, item: PromptItem) -> Scene | None:
    if item.kind != "binding":
        return None
    first, second = item.reference.objects
    swapped = replace(first, color=second.color), replace(second, color=first.color)
    return replace(item.reference, objects=swapped)


CHANGES: dict[str, Change] = {
    "identity": _identity,
    "color": _color,
    "count": _count,
    "place": _place,
    "swapped colors": _swapped_colors,
}

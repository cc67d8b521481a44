"""Instructions that change a scene: source, words, target.

What an instruction does not speak of keeps its exact numbers, except that a new number of objects is laid out anew.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from random import Random

from diptych.data.worlds.emoji.graph import Graph, Mention
from diptych.data.worlds.emoji.holdout import pair_held
from diptych.data.worlds.emoji.rules import (
    BACKGROUNDS,
    COLORS,
    CORNER_SIZE,
    CORNERS,
    OBJECTS,
    PLACES,
    STYLES,
    TEMPLATES,
    WORLD,
)
from diptych.data.worlds.emoji.sampling import JITTER, Look, Sampler, fits, lay_out, place
from diptych.data.worlds.emoji.scene import Scene, place_of
from diptych.data.worlds.emoji.text import Fill, fill

# How many of 300 edits are of each operation, (seen, held out), as in the evaluation set.
EDIT_ODDS = {
    "recolor": (20, 25),
    "replace": (15, 25),
    "remove": (35, 0),
    "add": (20, 25),
    "count": (10, 25),
    "move": (35, 0),
    "restyle": (30, 0),
    "background": (35, 0),
}
SOURCE_KINDS = {
    "recolor": ("single", "color", "two", "binding", "position"),
    "replace": ("single", "two", "multi", "position"),
    "remove": ("two", "multi", "binding", "relation"),
    "add": ("position", "multi"),
    "count": ("count",),
    "move": ("position",),
    "restyle": ("single", "two", "multi", "count"),
    "background": ("single", "two", "multi", "count", "color"),
}
COUNTS = (2, 3, 4, 5, 6)
NEW_COLOR_RATE = 0.3
ROOM = 104  # two centres this far apart along one axis leave room for both objects


@dataclass(frozen=True)
class Edit:
    op: str
    source: Scene
    instruction: str
    target: Scene
    lang: str


@dataclass(frozen=True)
class Source:
    """What is to be changed, and the object (by index) that the instruction speaks of."""

    graph: Graph
    scene: Scene
    index: int
    tidy: bool

    @property
    def mention(self) -> Mention:
        return self.graph.objects[self.index]


@dataclass(frozen=True)
class Change:
    """The graph and scene after the change, the new object, and the words of the instruction by language."""

    graph: Graph
    scene: Scene
    new: Mention | None = None
    words: dict[str, dict[str, str]] | None = None


def draw_edit(rng: Random, sampler: Sampler, lang: str, look: Look) -> Edit:
    """An edit of a random operation. Sources are always seen compositions; "heldout" targets never are."""
    column = 1 if sampler.split == "heldout" else 0
    odds = {op: row[column] + (row[1] if sampler.split == "any" else 0) for op, row in EDIT_ODDS.items()}
    op = rng.choices(list(odds), list(odds.values()))[0]
    sources = replace(sampler, split="any" if sampler.split == "any" else "train")
    while True:
        graph, scene = sources.draw(rng, rng.choice(SOURCE_KINDS[op]), look)
        source = Source(graph, scene, rng.randrange(len(graph.objects)), look.tidy)
        change = CHANGE[op](rng, sampler, source)
        if change is not None and _allowed(sampler, source, change):
            break
    content = Fill((source.mention,), change.new, (change.words or {}).get(lang, {}))
    return Edit(op, scene, fill(rng.choice(TEMPLATES["edit"][op][lang]), content, lang), change.scene, lang)


def _allowed(sampler: Sampler, source: Source, change: Change) -> bool:
    """Whether the target may be shown in this split and can be seen well."""
    mentions = change.graph.objects
    if not fits(mentions, change.scene.style, change.scene.bg) or not sampler.allows(mentions):
        return False
    new = change.new
    # A training text must not even name two objects that are held out together.
    return (
        sampler.split != "train"
        or new is None
        or not any(new.id != mention.id and pair_held(new.id, mention.id) for mention in source.graph.objects)
    )


def words(slot: str, table: str, name: str) -> dict[str, dict[str, str]]:
    """One slot filled with a name of `world.json`, by language."""
    return {lang: {slot: WORLD[table][name][lang]} for lang in ("en", "zh")}


def repaint_object(rng: Random, sampler: Sampler, source: Source) -> Change | None:
    if not OBJECTS[source.mention.id].recolorable:
        return None
    color = rng.choice([color for color in COLORS if color != source.mention.color])
    mention = replace(source.mention, color=color)
    return Change(*_exchange(source, mention), words=words("new", "colors", color))


def replace_object(rng: Random, sampler: Sampler, source: Source) -> Change | None:
    new = sampler.mention(rng, rng.random() < NEW_COLOR_RATE)
    if new.id in {mention.id for mention in source.graph.objects}:
        return None
    if not fits((new, *source.graph.objects), source.scene.style, source.scene.bg):
        return None
    return Change(*_exchange(source, replace(new, pos=source.mention.pos)), new=new)


def _exchange(source: Source, mention: Mention) -> tuple[Graph, Scene]:
    """The object at the source's index as `mention` says, standing where it stood."""
    objects = list(source.scene.objects)
    objects[source.index] = replace(objects[source.index], id=mention.id, color=mention.color)
    return source.graph.with_mention(source.index, mention), replace(source.scene, objects=tuple(objects))


def remove_object(rng: Random, sampler: Sampler, source: Source) -> Change | None:
    index = source.index
    mentions = source.graph.objects[:index] + source.graph.objects[index + 1 :]
    objects = source.scene.objects[:index] + source.scene.objects[index + 1 :]
    return Change(Graph(mentions), replace(source.scene, objects=objects))


def _add(rng: Random, sampler: Sampler, source: Source) -> Change | None:
    free = _free_places(source)
    return add_at(rng, sampler, source, free) if free else None


def add_at(rng: Random, sampler: Sampler, source: Source, free: list[str]) -> Change:
    """A new object at one of the free places."""
    new = replace(sampler.mention(rng, rng.random() < NEW_COLOR_RATE), pos=rng.choice(free))
    thing = place(rng, new, PLACES[new.pos or "center"], CORNER_SIZE, source.tidy)
    scene = replace(source.scene, objects=(*source.scene.objects, thing))
    return Change(Graph((*source.graph.objects, new)), scene, new)


def _free_places(source: Source) -> list[str]:
    """Places with room: the empty corner of several objects, or any far enough from a lone one."""
    objects = source.scene.objects
    used = {place_of(thing.x, thing.y) for thing in objects}
    if len(objects) > 1:
        return [corner for corner in CORNERS if corner not in used]
    lone = objects[source.index]
    return [name for name, (x, y) in PLACES.items() if max(abs(x - lone.x), abs(y - lone.y)) >= ROOM]


def _recount(rng: Random, sampler: Sampler, source: Source) -> Change | None:
    return recount(rng, source, rng.choice([count for count in COUNTS if count != source.mention.count]))


def recount(rng: Random, source: Source, count: int) -> Change:
    """Another number of the same objects, laid out anew."""
    new = replace(source.mention, count=count)
    scene = source.scene
    target = lay_out(rng, Graph((new,)), "count", Look(scene.style, scene.bg, source.tidy))
    return Change(Graph((new,)), target, new)


def move_object(rng: Random, sampler: Sampler, source: Source) -> Change | None:
    name = rng.choice([name for name in PLACES if name != source.mention.pos])
    x, y = PLACES[name] if source.tidy else (value + rng.randint(-JITTER, JITTER) for value in PLACES[name])
    lone = source.scene.objects[source.index]
    scene = replace(source.scene, objects=(replace(lone, x=x, y=y),))
    return Change(Graph((replace(source.mention, pos=name),)), scene, words=destination(name))


def destination(name: str) -> dict[str, dict[str, str]]:
    """The slots `to` and `newpos` for a place, by language."""
    position = WORLD["positions"][name]
    return {
        "en": {"to": TEMPLATES["to"][name], "newpos": position["en_phrase"]},
        "zh": {"to": position["zh"], "newpos": position["zh"]},
    }


def _restyle(rng: Random, sampler: Sampler, source: Source) -> Change | None:
    style = rng.choice([style for style in STYLES if style != source.scene.style])
    return Change(source.graph, replace(source.scene, style=style), words=words("style", "styles", style))


def change_background(rng: Random, sampler: Sampler, source: Source) -> Change | None:
    bg = rng.choice([bg for bg in BACKGROUNDS if bg != source.scene.bg])
    return Change(source.graph, replace(source.scene, bg=bg), words=words("bg", "backgrounds", bg))


CHANGE: dict[str, Callable[[Random, Sampler, Source], Change | None]] = {
    "recolor": repaint_object,
    "replace": replace_object,
    "remove": remove_object,
    "add": _add,
    "count": _recount,
    "move": move_object,
    "restyle": _restyle,
    "background": change_background,
}

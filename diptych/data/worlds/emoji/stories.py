"""Short picture stories: two to four frames, each the frame before it with one thing changed."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import combinations
from random import Random

from diptych.data.worlds.emoji.edits import (
    Change,
    Source,
    add_at,
    change_background,
    move_object,
    recount,
    remove_object,
    repaint_object,
    replace_object,
)
from diptych.data.worlds.emoji.graph import Graph
from diptych.data.worlds.emoji.holdout import pair_held
from diptych.data.worlds.emoji.rules import BACKGROUNDS, CORNERS, TEMPLATES, WORLD
from diptych.data.worlds.emoji.sampling import Look, Sampler, fits, lay_out
from diptych.data.worlds.emoji.scene import Scene
from diptych.data.worlds.emoji.text import Fill, fill

# What starts a story about its first object. Written for this library; the frames' texts are in templates.json.
REQUESTS = {
    "en": (
        "Tell a story about {A.any}.",
        "Tell me a short picture story about {A.any}.",
        "Please tell a story with pictures about {A.any}.",
        "Can you tell a story about {A.any}?",
    ),
    "zh": ("讲一个关于{A.name}的故事。", "给我讲一个{A.name}的小故事。", "请用图片讲一个{A.name}的故事。"),
}
MOST_OBJECTS = 6

Act = Callable[[Random, Sampler, Source], Change | None]


@dataclass(frozen=True)
class Story:
    """A request and the frames that answer it, each a text and a picture. Iterating gives the frames."""

    prompt: str
    frames: tuple[tuple[str, Scene], ...]
    plot: str
    lang: str

    def __iter__(self) -> Iterator[tuple[str, Scene]]:
        return iter(self.frames)


@dataclass(frozen=True)
class Plot:
    """The kinds of scene a story opens with, what happens between frames, and how many frames there may be."""

    kinds: tuple[str, ...]
    act: Act
    lengths: tuple[int, ...] = (2, 3, 4)


def draw_story(rng: Random, sampler: Sampler, lang: str, look: Look) -> Story:
    """A story with a random plot. All frames obey the split; in "heldout" it is the last one that is held out."""
    name = rng.choice(HELDOUT_PLOTS if sampler.split == "heldout" else list(PLOTS))
    template = rng.choice(TEMPLATES["story"][name][lang])
    while True:
        told = "{A.pos}" in template["first"]
        opening = _open(rng, sampler, name, look, told)
        changes = _continue(rng, sampler, name, opening, rng.choice(PLOTS[name].lengths))
        if changes is not None and _allowed(sampler, opening, [change for _, change in changes]):
            break
    background = {"bg": WORLD["backgrounds"][opening.scene.bg][lang]}
    frames = [(fill(template["first"], Fill(opening.graph.objects, words=background), lang), opening.scene)]
    for step, (source, change) in enumerate(changes, 1):
        part = "last" if step == len(changes) else "next"
        content = Fill((source.mention,), change.new, (change.words or {}).get(lang, {}))
        frames.append((fill(template[part], content, lang), change.scene))
    request = fill(rng.choice(REQUESTS[lang]), Fill(opening.graph.objects), lang)
    return Story(request, tuple(frames), name, lang)


def _open(rng: Random, sampler: Sampler, plot: str, look: Look, place_told: bool) -> Source:
    """The first frame. Where the text does not say which corners are taken, tidy stories take the first ones."""
    sources = replace(sampler, split="any" if sampler.split == "any" else "train")
    if plot == "night" and look.bg is None:
        look = replace(look, bg=rng.choice(tuple(BACKGROUNDS)))
    graph, scene = sources.draw(rng, rng.choice(PLOTS[plot].kinds), look)
    if plot in CORNER_PLOTS:
        mentions = graph.objects[:1] if plot == "arrive" else graph.objects
        if look.tidy and not place_told:
            mentions = tuple(replace(mention, pos=corner) for mention, corner in zip(mentions, CORNERS, strict=False))
        graph = Graph(mentions)
        scene = lay_out(rng, graph, "multi", Look(scene.style, scene.bg, look.tidy))
    return Source(graph, scene, rng.randrange(len(graph.objects)), look.tidy)


def _continue(
    rng: Random, sampler: Sampler, plot: str, opening: Source, length: int
) -> list[tuple[Source, Change]] | None:
    """The changes that lead from frame to frame, each with the frame it starts from; None where the plot is stuck."""
    source, changes = opening, []
    for _ in range(length - 1):
        change = PLOTS[plot].act(rng, sampler, source)
        if change is None:
            return None
        changes.append((source, change))
        source = Source(change.graph, change.scene, rng.randrange(len(change.graph.objects)), opening.tidy)
    return changes


def _allowed(sampler: Sampler, opening: Source, changes: list[Change]) -> bool:
    graphs = [opening.graph, *(change.graph for change in changes)]
    scenes = [opening.scene, *(change.scene for change in changes)]
    if not all(fits(graph.objects, scene.style, scene.bg) for graph, scene in zip(graphs, scenes, strict=True)):
        return False
    if sampler.split == "heldout":
        return sampler.allows(graphs[-1].objects)
    # Frames and texts are read together, so no two objects of the whole story may be held out together.
    names = sorted({mention.id for graph in graphs for mention in graph.objects})
    together = sampler.split == "train" and any(pair_held(a, b) for a, b in combinations(names, 2))
    return not together and all(sampler.allows(graph.objects) for graph in graphs)


def _grow(rng: Random, sampler: Sampler, source: Source) -> Change | None:
    more = range(source.mention.count + 1, MOST_OBJECTS + 1)
    return recount(rng, source, rng.choice(more)) if more else None


def _arrive(rng: Random, sampler: Sampler, source: Source) -> Change | None:
    used = {mention.pos for mention in source.graph.objects}
    return add_at(rng, sampler, source, [corner for corner in CORNERS if corner not in used])


PLOTS = {
    "move": Plot(("position",), move_object),
    "grow": Plot(("count",), _grow),
    "recolor": Plot(("single", "color"), repaint_object),
    "arrive": Plot(("multi",), _arrive),
    "leave": Plot(("multi",), remove_object, lengths=(3,)),
    "swap": Plot(("single", "color"), replace_object),
    "night": Plot(("single", "color"), change_background),
}
# The plots that bring something new in, which alone can be held out when the first frame is not.
HELDOUT_PLOTS = ("grow", "recolor", "arrive", "swap")
CORNER_PLOTS = ("arrive", "leave")

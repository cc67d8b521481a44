"""Pictures for visual tokenizers: ordinary scenes, and mosaics that show as many glyphs as fit.

A scene is mostly background; a mosaic of the same world shows a tokenizer several times as many edges for the same
work. Mosaics keep to the hold-out as well: none shows a held-out colour, pair or number.
"""

from random import Random

import numpy as np

from diptych.data.worlds.emoji.graph import Mention
from diptych.data.worlds.emoji.holdout import color_held, pair_held
from diptych.data.worlds.emoji.render import render
from diptych.data.worlds.emoji.rules import BACKGROUNDS, STYLES, visible
from diptych.data.worlds.emoji.sampling import KINDS, Look, Sampler
from diptych.data.worlds.emoji.scene import Scene, Thing

SIZES = (60, 76, 84, 88, 92, 96, 100, 152, 156, 160, 164)  # of objects in scenes, in 1/256 of the canvas
COLOR_RATE = 0.4
TRIES = 10


def picture(rng: Random, sampler: Sampler, size: int, mosaics: float, tidy: float) -> np.ndarray:
    """One picture, uint8 [size, size, 3]: a mosaic with probability `mosaics`, else a scene."""
    shown = mosaic(rng, sampler) if rng.random() < mosaics else scene(rng, sampler, tidy)
    return render(shown, size)


def scene(rng: Random, sampler: Sampler, tidy: float) -> Scene:
    """A scene of any kind the split has: tidy with probability `tidy`, half of those in any style on any background."""
    kinds = [kind for kind in KINDS if kind != "single" or sampler.split != "heldout"]
    look = Look()
    if rng.random() < tidy:
        free = rng.random() < 0.5
        look = Look(rng.choice(STYLES), rng.choice(tuple(BACKGROUNDS)), True) if free else Look(tidy=True)
    return sampler.draw(rng, rng.choice(kinds), look)[1]


def mosaic(rng: Random, sampler: Sampler) -> Scene:
    """Different objects of one style and size, side by side from edge to edge, cut where the canvas ends."""
    style, bg, s = rng.choice(STYLES), rng.choice(tuple(BACKGROUNDS)), rng.choice(SIZES)
    left, top = rng.randrange(-s // 2, s // 2), rng.randrange(-s // 2, s // 2)
    things: list[Thing] = []
    for y in range(top, 256 + s // 3, s):
        for x in range(left, 256 + s // 3, s):
            mention = _newcomer(rng, sampler, things, (style, bg))
            if mention is not None:
                things.append(Thing(mention.id, mention.color, x + rng.randint(-4, 4), y + rng.randint(-4, 4), s))
    return Scene(style, bg, tuple(things))


def _newcomer(rng: Random, sampler: Sampler, things: list[Thing], look: tuple[str, str]) -> Mention | None:
    """An object that may stand beside the others, or None if a few draws find none."""
    for _ in range(TRIES):
        mention = sampler.mention(rng, rng.random() < COLOR_RATE)
        if visible(*look, mention.id, mention.color) and _joins(mention, things):
            return mention
    return None


def _joins(mention: Mention, things: list[Thing]) -> bool:
    """Whether no combination with the present objects, and not its own colour, is held out."""
    if mention.color is not None and color_held(mention.id, mention.color):
        return False
    return all(thing.id != mention.id and not pair_held(thing.id, mention.id) for thing in things)

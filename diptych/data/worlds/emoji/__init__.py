"""Emoji scenes: a procedural world of 394 object classes, with exact truth about every picture.

    from diptych.data.worlds.emoji import EmojiWorld, Scene, render

    world = EmojiWorld(seed=0)                     # split="train" | "heldout" | "any"; core=True: 152 classes only
    scene = world.scene(0, kind="relation")        # kinds: single color position two relation binding count multi
    pixels = render(scene, size=64)                # uint8 [64, 64, 3]; the same bytes on every machine
    draw = world.drawing(7, lang="en")             # .prompt .scene .graph .kind; tidy: exact layout, noto on white
    ask = world.question(7)                        # .scene .question .answer .accepted .type
    tell = world.caption(7)                        # .scene .prompt .caption
    edit = world.edit(7)                           # .op .source .instruction .target
    story = world.story(7)                         # .prompt .frames: ((text, scene), ...)
    Scene.from_json(scene.to_json()) == scene      # the form of the evaluation files

Samples are pure functions of seed, split, core and index, so any worker may draw any index. Numpy only.
Lengths are in 1/256 of the canvas. Glyphs: see assets/NOTICE.md for sources and licences.
"""

from diptych.data.worlds.emoji.edits import Edit
from diptych.data.worlds.emoji.graph import Graph, Mention
from diptych.data.worlds.emoji.questions import Question
from diptych.data.worlds.emoji.render import pixel_box, render
from diptych.data.worlds.emoji.scene import Scene, Thing, place_of, relation_of, straightened
from diptych.data.worlds.emoji.stories import Story
from diptych.data.worlds.emoji.world import Caption, Drawing, EmojiWorld

__all__ = [
    "Caption",
    "Drawing",
    "Edit",
    "EmojiWorld",
    "Graph",
    "Mention",
    "Question",
    "Scene",
    "Story",
    "Thing",
    "pixel_box",
    "place_of",
    "relation_of",
    "render",
    "straightened",
]

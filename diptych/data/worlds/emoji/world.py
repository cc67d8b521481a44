"""`EmojiWorld`: every kind of sample, endless, seeded and repeatable by index."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from random import Random

from diptych.data.worlds.emoji.edits import Edit, draw_edit
from diptych.data.worlds.emoji.graph import Graph
from diptych.data.worlds.emoji.prompts import write_caption, write_prompt
from diptych.data.worlds.emoji.questions import Question, draw_question, draw_questions
from diptych.data.worlds.emoji.rules import BACKGROUNDS, LANGUAGES, STYLES, TEMPLATES
from diptych.data.worlds.emoji.sampling import KINDS, Look, Sampler
from diptych.data.worlds.emoji.scene import Scene, check_name
from diptych.data.worlds.emoji.stories import Story, draw_story

# The evaluation prompts come in six equal parts, one of them 60 relations and 40 places; scenes of several objects
# are a seventh part here.
DRAWING_ODDS = {
    "single": 100,
    "two": 100,
    "count": 100,
    "color": 100,
    "relation": 60,
    "position": 40,
    "binding": 100,
    "multi": 100,
}
# How often an object is painted where its kind leaves that open.
DRAWING_COLOR_RATE = {"two": 0.1, "count": 0.1, "relation": 0.25, "position": 0.25, "multi": 0.3}
NAMED_BACKGROUND_RATE = 0.35
NAMED_STYLE_RATE = 0.3


@dataclass(frozen=True)
class Drawing:
    """A prompt, a scene that is right for it, and what exactly the prompt asks (`graph`)."""

    prompt: str
    scene: Scene
    graph: Graph
    kind: str
    lang: str


@dataclass(frozen=True)
class Caption:
    """A request to describe a scene and one full description."""

    scene: Scene
    prompt: str
    caption: str
    lang: str


class EmojiWorld:
    """Samples by index; the same seed, split, core and index give the same sample on every machine.

    `split` "train" never shows a held-out composition; "heldout" shows one in every scene (in the target of an
    edit, in the last frame of a story); "any" asks nothing. `core` keeps to the 152 most common classes, `classes`
    to an even choice of so many.
    `lang` None is English or Chinese at random. Raises `InputError` on unknown names.
    """

    def __init__(self, seed: int = 0, split: str = "train", core: bool = False, classes: int | None = None) -> None:
        self.seed = seed
        self.sampler = Sampler(split, core, classes)

    def scene(
        self, index: int, kind: str | None = None, tidy: bool = False, style: str | None = None, bg: str | None = None
    ) -> Scene:
        """A scene of a kind (None: any). Tidy: no jitter, and noto on white unless `style` or `bg` say otherwise."""
        rng = self._rng("scene", index)
        return self.sampler.draw(rng, kind or rng.choice(self._kinds()), Look(style, bg, tidy))[1]

    def drawing(
        self,
        index: int,
        lang: str | None = None,
        tidy: bool = True,
        odds: Mapping[str, float] = DRAWING_ODDS,
        plain: bool = False,
    ) -> Drawing:
        """A prompt in one of all forms, and its picture; about a third name the style, a third the background.

        odds: how often each kind of scene is drawn, beside the others. plain: the barest form of prompt; neither style
        nor background is named, and nothing is painted but where the kind is about paint.
        """
        rng = self._rng("drawing", index)
        lang = _language(rng, lang)
        kinds = [kind for kind in self._kinds() if odds.get(kind)]
        kind = rng.choices(kinds, [odds[kind] for kind in kinds])[0]
        bg = rng.choice(tuple(BACKGROUNDS)) if rng.random() < NAMED_BACKGROUND_RATE and not plain else None
        style = rng.choice(STYLES) if rng.random() < NAMED_STYLE_RATE and not plain else None
        rate = 0.0 if plain else DRAWING_COLOR_RATE.get(kind, 0.0)
        graph, scene = self.sampler.draw(rng, kind, Look(style, bg, tidy), rate)
        graph = replace(graph, bg=bg, style=style)
        return Drawing(write_prompt(rng, graph, kind, lang, not plain, plain), scene, graph, kind, lang)

    def question(self, index: int, lang: str | None = None, tidy: bool = False) -> Question:
        """A question about a scene; types as frequent as in the evaluation set."""
        rng = self._rng("question", index)
        lang = _language(rng, lang)
        return draw_question(rng, self.sampler, lang, Look(tidy=tidy))

    def questions(
        self, index: int, lang: str | None = None, tidy: bool = False, number: int = 3, first: str | None = None
    ) -> list[Question]:
        """Up to `number` questions of different types about one scene; the first is of type `first`, else that of
        `question`."""
        rng = self._rng("question", index)
        lang = _language(rng, lang)
        return draw_questions(rng, self.sampler, lang, Look(tidy=tidy), number, first)

    def caption(self, index: int, lang: str | None = None, tidy: bool = False) -> Caption:
        """A full description: every object, with its colour, number, place or relation where there is one."""
        rng = self._rng("caption", index)
        lang = _language(rng, lang)
        # Two objects are always told apart by where they stand.
        kind = rng.choice([kind for kind in self._kinds() if kind not in ("two", "binding")])
        graph, scene = self.sampler.draw(rng, kind, Look(tidy=tidy))
        prompt = rng.choice(TEMPLATES["caption_prompt"][lang])
        return Caption(scene, prompt, write_caption(rng, graph, kind, lang), lang)

    def edit(self, index: int, lang: str | None = None, tidy: bool = False) -> Edit:
        """An instruction with the scene before and after. Tidy ones name other styles and backgrounds now and then."""
        rng = self._rng("edit", index)
        lang = _language(rng, lang)
        return draw_edit(rng, self.sampler, lang, _sometimes(rng) if tidy else Look())

    def story(self, index: int, lang: str | None = None, tidy: bool = True) -> Story:
        """A request and two to four frames of text and picture, in which one thing changes."""
        rng = self._rng("story", index)
        lang = _language(rng, lang)
        return draw_story(rng, self.sampler, lang, Look(tidy=tidy))

    def _kinds(self) -> list[str]:
        return [kind for kind in KINDS if self.sampler.split != "heldout" or kind != "single"]

    def _rng(self, task: str, index: int) -> Random:
        """Seeding by text is stable across Python versions and machines."""
        return Random(f"emoji/{self.seed}/{self.sampler.split}/{self.sampler.core}/{task}/{index}")


def _language(rng: Random, lang: str | None) -> str:
    drawn = rng.choice(LANGUAGES)
    if lang is not None:
        check_name("language", lang, LANGUAGES)
    return lang or drawn


def _sometimes(rng: Random) -> Look:
    """Tidy, with other styles and backgrounds as often as prompts name them."""
    style = rng.choice(STYLES) if rng.random() < NAMED_STYLE_RATE else None
    bg = rng.choice(tuple(BACKGROUNDS)) if rng.random() < NAMED_BACKGROUND_RATE else None
    return Look(style, bg, tidy=True)

"""Questions about a scene, with every right answer."""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from diptych.data.worlds.emoji.graph import Graph, Mention
from diptych.data.worlds.emoji.holdout import pair_held
from diptych.data.worlds.emoji.rules import OBJECTS, TEMPLATES, WORLD, compatible
from diptych.data.worlds.emoji.sampling import Look, Sampler
from diptych.data.worlds.emoji.scene import Scene, place_of, relation_of
from diptych.data.worlds.emoji.text import Fill, fill, number

# How many of 600 questions are of each type, (seen, held out), as in the evaluation set.
QUESTION_ODDS = {
    "existence": (45, 35),
    "count": (45, 35),
    "color": (45, 35),
    "position": (45, 25),
    "relation_yn": (35, 25),
    "relation": (35, 25),
    "background": (40, 0),
    "style": (40, 0),
    "what": (50, 0),
    "which": (20, 20),
}
# What else may be asked about a scene of a kind.
ABOUT = {
    "single": ("what",),
    "color": ("color",),
    "position": ("position",),
    "two": ("existence", "relation_yn", "relation", "which"),
    "relation": ("existence", "relation_yn", "relation", "which"),
    "binding": ("existence", "color", "relation_yn", "relation", "which"),
    "count": ("count",),
    "multi": ("existence", "position"),
}
ANY_LOOK = Look()
YES_NO = {"en": ("yes", "no"), "zh": ("是", "否")}


@dataclass(frozen=True)
class Question:
    """`accepted` lists every right answer in both languages, `answer` the one in the question's own."""

    scene: Scene
    question: str
    answer: str
    accepted: tuple[str, ...]
    type: str
    lang: str


@dataclass(frozen=True)
class Asked:
    """A question before it is put into words: its scene, mentions and words, and answers by language."""

    scene: Scene
    mentions: tuple[Mention, ...]
    answers: dict[str, str]
    words: dict[str, dict[str, str]]
    others: tuple[str, ...] = ()

    @property
    def accepted(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((*self.answers.values(), *self.others)))


class Once(Sampler):
    """Draws one scene by the rules of another sampler, and the same again whatever is asked next."""

    def __init__(self, sampler: Sampler) -> None:
        super().__init__(sampler.split, sampler.core, sampler.classes)
        self.drawn: tuple[Graph, Scene] | None = None
        self.kind = ""

    def draw(self, rng: Random, kind: str, look: Look = ANY_LOOK, color_rate: float = 0.3) -> tuple[Graph, Scene]:
        if self.drawn is None:
            self.drawn, self.kind = super().draw(rng, kind, look, color_rate), kind
        return self.drawn


def draw_questions(
    rng: Random, sampler: Sampler, lang: str, look: Look, number: int, begin: str | None = None
) -> list[Question]:
    """Up to `number` questions of different types about one scene; the first is of type `begin`, or drawn as
    `draw_question` draws it."""
    once = Once(sampler)
    first = draw_question(rng, once, lang, look, begin)
    types = [kind for kind in ("background", "style", *ABOUT[once.kind]) if kind != first.type]
    chosen = rng.sample(types, min(number - 1, len(types)))
    return [first, *(_put(rng, ASK[kind](rng, once, kind, look), kind, lang) for kind in chosen)]


def draw_question(rng: Random, sampler: Sampler, lang: str, look: Look, kind: str | None = None) -> Question:
    """A question of a type, or of a random one; held-out splits ask only what a held-out scene can answer."""
    column = 1 if sampler.split == "heldout" else 0
    odds = {kind: row[column] + (row[1] if sampler.split == "any" else 0) for kind, row in QUESTION_ODDS.items()}
    kind = kind or rng.choices(list(odds), list(odds.values()))[0]
    return _put(rng, ASK[kind](rng, sampler, kind, look), kind, lang)


def _put(rng: Random, asked: Asked, kind: str, lang: str) -> Question:
    """In words."""
    text = fill(rng.choice(TEMPLATES["vqa"][kind][lang]), Fill(asked.mentions, words=asked.words.get(lang, {})), lang)
    return Question(asked.scene, text, asked.answers[lang], asked.accepted, kind, lang)


def _translate(table: str, name: str) -> dict[str, str]:
    """A name of `world.json` (colour, background, style, place) in both languages."""
    return {lang: WORLD[table][name][lang] for lang in ("en", "zh")}


def _yes_no(answer: bool) -> dict[str, str]:
    return {lang: words[0 if answer else 1] for lang, words in YES_NO.items()}


def _names(object_id: str) -> tuple[dict[str, str], tuple[str, ...]]:
    """The name of a class in both languages, and its synonyms."""
    item = OBJECTS[object_id]
    return {"en": item.noun.name, "zh": item.zh}, tuple(noun.name for noun in item.synonyms)


def _existence(rng: Random, sampler: Sampler, kind: str, look: Look) -> Asked:
    scene_kind = rng.choice(("two", "relation", "multi", "multi"))
    graph, scene = sampler.draw(rng, scene_kind, look)
    present = [mention.id for mention in graph.objects]
    there = rng.random() < 0.5
    name = rng.choice(present) if there else _absent(rng, sampler, present)
    return Asked(scene, (Mention(name),), _yes_no(there), {})


def _absent(rng: Random, sampler: Sampler, present: list[str]) -> str:
    """A class that is surely not there; while training also none that is held out beside one that is."""
    while True:
        name = rng.choice(sampler.names)
        if not all(compatible(name, other) for other in present):
            continue
        if sampler.split != "train" or not any(pair_held(name, other) for other in present):
            return name


def _count(rng: Random, sampler: Sampler, kind: str, look: Look) -> Asked:
    graph, scene = sampler.draw(rng, "count", look, color_rate=0.0)
    mention = graph.objects[0]
    unit, digits = OBJECTS[mention.id].measure_word, str(mention.count)
    plain, counted = WORLD["numbers"][digits]["zh"], number(mention.count, "zh")
    answers = {"en": number(mention.count, "en"), "zh": counted + unit}
    return Asked(scene, (Mention(mention.id),), answers, {}, (plain + unit, digits + unit, digits, plain, counted))


def _color(rng: Random, sampler: Sampler, kind: str, look: Look) -> Asked:
    graph, scene = sampler.draw(rng, rng.choice(("color", "binding")), look)
    mention = rng.choice(graph.objects)
    return Asked(scene, (Mention(mention.id),), _translate("colors", str(mention.color)), {})


def _position(rng: Random, sampler: Sampler, kind: str, look: Look) -> Asked:
    # A lone object is seldom held out, and never by its company.
    graph, scene = sampler.draw(rng, "multi" if sampler.split == "heldout" else rng.choice(("position", "multi")), look)
    thing = rng.choice(scene.objects)
    return Asked(scene, (Mention(thing.id),), _translate("positions", place_of(thing.x, thing.y)), {})


def _relation(rng: Random, sampler: Sampler, kind: str, look: Look) -> Asked:
    _, scene = sampler.draw(rng, "relation", look)
    first, second = rng.sample(scene.objects, 2)
    relation = relation_of((first.x, first.y), (second.x, second.y))
    mentions = (Mention(first.id), Mention(second.id))
    if kind == "relation":
        return Asked(scene, mentions, {"en": relation, "zh": WORLD["relations"][relation]["zh"]}, {})
    true = rng.random() < 0.5
    said = relation if true else WORLD["relations"][relation]["inverse"]
    if kind == "relation_yn":
        words = {lang: {"rel": WORLD["relations"][said][lang]} for lang in ("en", "zh")}
        return Asked(scene, mentions, _yes_no(true), words)
    words = {lang: {"side": TEMPLATES["sides"][said][lang]} for lang in ("en", "zh")}
    answers, synonyms = _names((first if true else second).id)
    return Asked(scene, mentions, answers, words, synonyms)


def _surface(rng: Random, sampler: Sampler, kind: str, look: Look) -> Asked:
    _, scene = sampler.draw(rng, rng.choice(("single", "color", "two", "count", "multi")), look)
    answers = _translate("backgrounds", scene.bg) if kind == "background" else _translate("styles", scene.style)
    return Asked(scene, (), answers, {})


def _what(rng: Random, sampler: Sampler, kind: str, look: Look) -> Asked:
    _, scene = sampler.draw(rng, "single", look)
    answers, synonyms = _names(scene.objects[0].id)
    return Asked(scene, (), answers, {}, synonyms)


ASK: dict[str, Callable[[Random, Sampler, str, Look], Asked]] = {
    "existence": _existence,
    "count": _count,
    "color": _color,
    "position": _position,
    "relation_yn": _relation,
    "relation": _relation,
    "background": _surface,
    "style": _surface,
    "what": _what,
    "which": _relation,
}

"""A model asked about its own pictures: does it read as well as it draws, and does it see what it drew?

Each prompt is drawn, and a question goes with it, by what the prompt is about. The exact judge reads the picture, so
that the right answer is known whatever was drawn. The question is also asked of a true render of the prompt.

    drawn    pictures that show what was asked
    read     right answers about the true renders
    gap      read - drawn: what is understood on a picture and cannot be drawn (the understanding-generation gap)
    own      right answers about the model's own pictures, of those whose answer is determined (`askable`)
    both     items that are drawn and read rightly
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from diptych.data.worlds.emoji import Graph, Mention, Scene, place_of, relation_of, render
from diptych.data.worlds.emoji.rules import OBJECTS, TEMPLATES
from diptych.data.worlds.emoji.text import Fill, fill, number
from diptych.evaluation.benchmark import Row, Table, mean
from diptych.evaluation.emoji.answers import is_accepted
from diptych.evaluation.emoji.judge import Judge
from diptych.evaluation.emoji.sets import PromptItem
from diptych.evaluation.emoji.verdicts import Seen, SeenObject, judge_drawing
from diptych.images import Image
from diptych.types import Turn

LONGEST_ANSWER = 16
MOST = 6  # of a kind: numbers the world has words for
# What is asked of a prompt of each kind.
ASKED = {
    "single": "what",
    "two": "existence",
    "multi": "existence",
    "count": "count",
    "color": "color",
    "binding": "color",
    "position": "position",
    "relation": "relation",
}


class Verdict(NamedTuple):
    """Whether the picture is right, and the answers; `own` is None where the picture leaves the answer open."""

    drawn: bool
    read: bool
    own: bool | None


def question(item: PromptItem, other: Mention | None) -> dict[str, Any]:
    """A question on a prompt, as JSON: its type, the objects it names, its words. other: asked for instead of the
    prompt's own object where yes or no is the answer."""
    kind = ASKED[item.kind]
    mentions = item.graph.objects[:2] if kind == "relation" else item.graph.objects[:1]
    if kind == "existence" and other is not None:
        mentions = (other,)
    plain = tuple(Mention(mention.id) for mention in mentions)
    words = fill(TEMPLATES["vqa"][kind]["en"][0], Fill(plain), "en")
    return {"type": kind, "objects": [mention.id for mention in plain], "text": words}


def answers(asked: Mapping[str, Any], seen: Seen) -> list[str]:
    """Every right answer on what was seen; none where it cannot be told."""
    found = [[thing for thing in seen.objects if thing.id == name] for name in asked["objects"]]
    if asked["type"] == "existence":
        return ["yes" if found[0] else "no"]
    if asked["type"] == "count":
        return [number(len(found[0]), "en"), str(len(found[0]))] if 1 <= len(found[0]) <= MOST else []
    if asked["type"] == "what":
        return _names(seen.objects[0].id) if len(seen.objects) == 1 else []
    if any(len(things) != 1 for things in found):
        return []
    first = found[0][0]
    if asked["type"] == "color":
        return [first.color or OBJECTS[first.id].native_color[first.style]]
    if asked["type"] == "position":
        return [place_of(*first.center)]
    return [relation_of(first.center, found[1][0].center)]


def _names(name: str) -> list[str]:
    item = OBJECTS[name]
    return [item.noun.name, *(noun.name for noun in item.synonyms)]


def as_seen(scene: Scene) -> Seen:
    """A scene as a judge without fault sees it."""
    things = [
        SeenObject(t.id, t.color, scene.style, (t.x - t.s / 2, t.y - t.s / 2, t.x + t.s / 2, t.y + t.s / 2))
        for t in scene.objects
    ]
    return Seen(scene.bg, tuple(things))


def seen_from_json(found: Mapping[str, Any]) -> Seen:
    return Seen(
        found["background"], tuple(SeenObject(**{**thing, "box": tuple(thing["box"])}) for thing in found["objects"])
    )


class OwnEyes:
    """The exact judge for what is on a picture, and the model itself for what it says about it."""

    kind = "what the emoji judge sees, and the model's answers on its own picture and on the true one"
    id = "emoji-judge and the model itself"
    official = True

    def __init__(self, model: Any, judge: Judge | None = None) -> None:
        self.model, self.judge = model, judge or Judge()

    def see(self, row: Row, images: Sequence[Path], reply: str = "") -> dict[str, Any]:
        own = Image.open(images[0])
        true = Image.open(render(Scene.from_json(row.facts["reference"]), self.model.image_size[0]))
        asked = [Turn.user(picture, row.facts["question"]["text"]) for picture in (own, true)]
        said = [answer.text for answer in self.model.chat_batch(asked, max_tokens=LONGEST_ANSWER)]
        return {"seen": asdict(self.judge.read(own.pixels)), "own": said[0], "true": said[1]}


def judge(row: Row, found: Mapping[str, Any]) -> Verdict:
    seen, asked = seen_from_json(found["seen"]), row.facts["question"]
    on_own = answers(asked, seen)
    on_true = answers(asked, as_seen(Scene.from_json(row.facts["reference"])))
    return Verdict(
        drawn=judge_drawing(seen, Graph.from_json(row.facts["graph"])).ok,
        read=is_accepted(found["true"], on_true),
        own=is_accepted(found["own"], on_own) if on_own else None,
    )


def told(row: Row, found: Mapping[str, Any]) -> str:
    """What was asked and said, and what the judge found wrong with the picture."""
    verdict, asked = judge(row, found), row.facts["question"]["text"]
    seen = seen_from_json(found["seen"])
    right = ", ".join(answers(row.facts["question"], seen)) or "cannot be told"
    wrong = "; ".join(judge_drawing(seen, Graph.from_json(row.facts["graph"])).reasons)
    own = f"of its own picture: {found['own']!r} ({_grade(verdict.own)}; it shows: {right})"
    true = f"of the true one: {found['true']!r} ({_grade(verdict.read)})"
    return f"{asked} {own}, {true}. {f'Drawn wrong: {wrong}' if wrong else 'Drawn right'}"


def _grade(ok: bool | None) -> str:
    return {True: "right", False: "wrong", None: "open"}[ok]


def tally(rows: Sequence[Row], verdicts: Sequence[Verdict]) -> Table:
    """The figures over all rows, and by what is asked."""
    kinds = dict.fromkeys(row.facts["question"]["type"] for row in rows)
    by_kind = {
        kind: _shares([v for row, v in zip(rows, verdicts, strict=True) if row.facts["question"]["type"] == kind])
        for kind in kinds
    }
    return {**_shares(verdicts), "questions": by_kind}


def _shares(verdicts: Sequence[Verdict]) -> Table:
    drawn, read = mean([v.drawn for v in verdicts]), mean([v.read for v in verdicts])
    told = [v.own for v in verdicts if v.own is not None]
    return {
        "gap": read - drawn,
        "drawn": drawn,
        "read": read,
        "own": mean(told),
        "askable": len(told) / len(verdicts),
        "both": mean([v.drawn and v.read for v in verdicts]),
    }

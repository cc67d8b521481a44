"""The acts of the demo: a model reads, draws, edits and tells, on emoji scenes it never saw in training.

Questions, prompts and edits are the first held-out one of each kind in the evaluation sets: compositions, such as this
object in this colour, that no training scene has. The truth about a scene is exact, and drawings are judged by the
evaluation's own reader of emoji pictures.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, TypeVar

import PIL.Image

from diptych.cli.console import Progress, bar
from diptych.cli.film import FRAMES, Film, chosen
from diptych.cli.page import Card, Section, Shown
from diptych.images import Image

if TYPE_CHECKING:
    from diptych.data.worlds.emoji import Scene
    from diptych.models.model import Model

T = TypeVar("T")
OWN_QUESTIONS = ("What is in the picture?", "Describe the picture.")


def sections(model: "Model", own: Sequence[Image], prompts: Sequence[str], seed: int) -> Iterator[Section]:
    """The acts this model can play, one after the other.

    own: the person's pictures, asked about as well. prompts: drawn instead of those of the evaluation set.
    """
    if "chat" in model.can:
        yield answers(model)
    if "chat" in model.can and own:
        yield own_answers(model, own)
    if "generate" in model.can:
        yield own_drawings(model, prompts, seed) if prompts else drawings(model, seed)
    if "edit" in model.can:
        yield edits(model, seed)
    if "interleave" in model.can:
        yield story(model, seed)


def answers(model: "Model") -> Section:
    """Questions about pictures."""
    from diptych.evaluation.emoji.answers import is_accepted
    from diptych.evaluation.emoji.sets import read_questions

    items = _first_of_each(read_questions(), lambda item: item.type)
    pictures = [_rendered(item.scene, model) for item in items]
    asked = [(Image(picture), item.question) for picture, item in zip(pictures, items, strict=True)]
    replies, seconds = _timed("answering", "answers", lambda tell: model.chat_batch(asked, progress=tell))
    cards = [
        _answered(picture, item.question, reply.text, item.answer, is_accepted(reply.text, item.accepted))
        for picture, item, reply in zip(pictures, items, replies, strict=True)
    ]
    return Section("It reads", "Questions about scenes it never saw.", tuple(cards), seconds, name="answer")


def own_answers(model: "Model", own: Sequence[Image]) -> Section:
    """The same for pictures that the person brought; nobody knows the truth about those."""
    asked = [(picture, question) for picture in own for question in OWN_QUESTIONS]
    replies, seconds = _timed("answering", "answers", lambda tell: model.chat_batch(asked, progress=tell))
    cards = [
        Card(question, (Shown(picture.pixels),), reply.text)
        for (picture, question), reply in zip(asked, replies, strict=True)
    ]
    return Section("It reads your pictures", "What it sees in what you gave it.", tuple(cards), seconds, name="own")


def drawings(model: "Model", seed: int) -> Section:
    """Prompts of the evaluation set, drawn and judged."""
    from diptych.evaluation.emoji.judge import Judge
    from diptych.evaluation.emoji.sets import read_prompts

    items = _first_of_each(read_prompts(), lambda item: item.task)
    prompts = [item.prompt for item in items]
    pictures, seconds = _timed("drawing", "tokens", lambda tell: model.generate(prompts, seed=seed, progress=tell))
    judge = Judge()
    verdicts = [judge.drawing(picture, item.graph) for picture, item in zip(pictures, items, strict=True)]
    cards = [
        Card(item.prompt, (Shown(picture),), _said(verdict.reasons), ok=verdict.ok)
        for item, picture, verdict in zip(items, pictures, verdicts, strict=True)
    ]
    cards.append(_film(model, prompts[0], seed))
    about = "Prompts for combinations it never saw, judged by a reader of emoji pictures."
    return Section("It draws", about, tuple(cards), seconds, name="draw")


def _film(model: "Model", prompt: str, seed: int) -> Card:
    """The same picture again, as it comes about."""
    film = Film()
    model.generate(prompt, seed=seed, preview=film, every=1)
    return Card(f"{prompt}, step by step", tuple(map(Shown, chosen(film.frames, FRAMES))))


def own_drawings(model: "Model", prompts: Sequence[str], seed: int) -> Section:
    """The person's prompts, drawn."""
    pictures, seconds = _timed("drawing", "tokens", lambda tell: model.generate(prompts, seed=seed, progress=tell))
    cards = [Card(prompt, (Shown(picture),)) for prompt, picture in zip(prompts, pictures, strict=True)]
    return Section("It draws your prompts", "What it makes of what you asked for.", tuple(cards), seconds, name="draw")


def edits(model: "Model", seed: int) -> Section:
    """Instructions of the evaluation set, carried out and judged."""
    from diptych.evaluation.emoji.judge import Judge
    from diptych.evaluation.emoji.sets import read_edits

    items = _first_of_each(read_edits(), lambda item: item.op)
    sources = [_rendered(item.source, model) for item in items]
    told = [item.instruction for item in items]
    pictures, seconds = _timed("editing", "tokens", lambda tell: model.edit(sources, told, seed=seed, progress=tell))
    judge = Judge()
    verdicts = [
        judge.edit(picture, item.source, item.target, item.op) for picture, item in zip(pictures, items, strict=True)
    ]
    cards = [
        Card(
            item.instruction, (Shown(source, "before"), Shown(picture, "after")), _said(verdict.reasons), ok=verdict.ok
        )
        for item, source, picture, verdict in zip(items, sources, pictures, verdicts, strict=True)
    ]
    about = "Changed as told, everything else left where it was."
    return Section("It edits", about, tuple(cards), seconds, name="edit")


def story(model: "Model", seed: int) -> Section:
    """Texts and pictures in one reply; the model alone decides when to write which."""
    from diptych.data.worlds.emoji import EmojiWorld

    prompt = EmojiWorld(seed=seed, split="heldout").story(0, lang="en").prompt
    reply, seconds = _timed("telling", "tokens", lambda tell: model.chat(prompt, want="any", seed=seed, progress=tell))
    cards: list[Card] = []
    words = ""
    for part in reply.parts:
        if isinstance(part, Image):
            cards.append(Card(words or "…", (Shown(part.pixels),)))
            words = ""
        else:
            words += part.text
    if words:
        cards.append(Card(words, ()))
    return Section(
        "It tells a story", f"“{prompt}” One reply of texts and pictures.", tuple(cards), seconds, name="story"
    )


def _answered(picture: PIL.Image.Image, question: str, answer: str, truth: str, ok: bool) -> Card:
    return Card(question, (Shown(picture),), answer, "" if ok else f"truth: {truth}", ok)


def _said(reasons: Sequence[str]) -> str:
    """What is wrong, and how many times where it is said of several things."""
    counts = Counter(reasons)
    return "; ".join(f"{what} ({n} times)" if n > 1 else what for what, n in counts.items()) or "as asked"


def _first_of_each(items: Iterable[T], kind: Callable[[T], str]) -> list[T]:
    """The first held-out item of each kind, in order."""
    found: dict[str, T] = {}
    for item in items:
        if item.split == "heldout":  # type: ignore[attr-defined]
            found.setdefault(kind(item), item)
    return list(found.values())


def _rendered(scene: "Scene", model: "Model") -> PIL.Image.Image:
    """A scene at the size the model writes, so that what it reads and what it draws look alike."""
    from diptych.data.worlds.emoji import render

    return PIL.Image.fromarray(render(scene, size=model.image_size[0]))


def _timed(label: str, unit: str, act: Callable[[Progress | None], T]) -> tuple[T, float]:
    """What an act gives and the seconds it took, with a bar meanwhile."""
    began = time.perf_counter()
    with bar(label, unit) as tell:
        result = act(tell)
    return result, time.perf_counter() - began

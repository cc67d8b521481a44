"""The emoji world as conversations to be learned: draw, answer, describe, edit, tell a story."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Any

import numpy as np
import torch
from PIL import Image as Pillow
from torch import Tensor

from diptych.data.worlds.emoji import EmojiWorld, Question, Scene, render, straightened
from diptych.data.worlds.emoji.world import DRAWING_ODDS
from diptych.errors import TrainingError
from diptych.models.family import Dialogue, Options
from diptych.models.network import Ids, Piece
from diptych.training.apart import Apart
from diptych.training.batches import Learn, Row
from diptych.types import Image, Request, Turn

SHARES = {"drawing": 0.5, "naming": 0.0, "question": 0.27, "caption": 0.06, "edit": 0.13, "story": 0.04}
ABILITIES = {"drawing": "generate", "naming": "chat", "question": "chat", "caption": "chat"}  # what each kind needs
ABILITIES |= {"edit": "edit", "story": "interleave"}


FIRST = (Turn.user("a"),)  # a conversation that a reply follows


class Canvases:
    """Pictures whose canvases are to be filled, all of a batch at once."""

    def __init__(self, fill: Callable[[Sequence[Scene]], Sequence[Tensor]], grid: tuple[int, ...]):
        self._fill, self.grid = fill, grid
        self.scenes: list[Scene] = []

    def place(self, scene: Scene) -> Scene:
        """Ask for a scene's canvas; the row holds the scene until `fill`."""
        self.scenes.append(scene)
        return scene

    @torch.no_grad()
    def fill(self, rows: Sequence[list[Any]]) -> list[Row]:
        """Rows with their scenes replaced by spans to be learned."""
        if not self.scenes:
            return list(rows)
        slots = iter(self._fill(self.scenes))
        return [[Learn("image", next(slots), self.grid) if isinstance(p, Scene) else p for p in row] for row in rows]


def whole(encode: Callable[[Tensor], Tensor], size: int) -> Callable[[Sequence[Scene]], Sequence[Tensor]]:
    """Canvases of whole pictures, as a frozen tokenizer encodes them."""

    def fill(scenes: Sequence[Scene]) -> Sequence[Tensor]:
        pixels = torch.from_numpy(np.stack([render(scene, size) for scene in scenes]))
        return list(encode(pixels.permute(0, 3, 1, 2).float() / 127.5 - 1))

    return fill


def possible(dialogue: Dialogue) -> dict[str, float]:
    """The usual shares of those conversations that a family can have."""
    return {kind: share for kind, share in SHARES.items() if ABILITIES[kind] in dialogue.can}


class Conversations:
    """Batch `step` holds samples step * batch ... in the proportions of `shares`; a pure function of seed and step.

    odds: what is drawn, as in `EmojiWorld.drawing`. plain: the share of drawings that are plain, or its first and last
    value, if it is to fall while classes widen. english: the share that is in English, not Chinese.
    tidy: pictures to be drawn are straightened (edited ones too), and in the world's first style on its first
    background unless the text says otherwise. exact_edits: what an edit does not speak of keeps its exact place,
    so that a model that sees its source's latents can copy it. questions: at most so many about one picture. dropout:
    the share of pictures drawn without their text, for guidance.
    widen: (classes to begin with, step at which there are all); their number grows geometrically. With few things to
    tell apart, a model finds out early that names and looks belong together (arXiv 2503.21676).
    apart: canvases are put together from their objects, each encoded by itself (`diptych.training.apart`); needs tidy.
    width: pack samples into rows of so many tokens; 0: one a row.
    """

    def __init__(
        self,
        network: Any,
        dialogue: Dialogue,
        *,
        seed: int,
        batch: int,
        shares: dict[str, float] | None = None,
        odds: dict[str, float] | None = None,
        plain: float | Sequence[float] = 0.0,
        english: float = 0.5,
        tidy: bool = True,
        exact_edits: bool = False,
        dropout: float = 0.1,
        apart: bool = False,
        width: int = 0,
        core: bool = False,
        questions: int = 3,
        widen: Sequence[int] = (),
    ):
        self.dialogue, self.seed, self.size_of_batch, self.tidy, self.dropout = dialogue, seed, batch, tidy, dropout
        self.straight_edits = tidy and not exact_edits
        self.world, self.width, self.questions = EmojiWorld(seed, core=core), width or None, questions
        self.core, self.widen = core, tuple(widen)
        self.odds, self.english = DRAWING_ODDS if odds is None else odds, english
        self.plain = tuple(plain) if isinstance(plain, Sequence) else (plain, plain)
        self.network, self.shares = network, possible(dialogue) if shares is None else shares
        unknown = set(self.shares) - set(SHARES)
        if unknown:
            raise TrainingError(
                f"unknown kinds of conversation: {', '.join(sorted(unknown))}; known: {', '.join(SHARES)}"
            )
        known = possible(dialogue)
        if beyond := [kind for kind, share in self.shares.items() if share and kind not in known]:
            raise TrainingError(
                f"this model cannot {ABILITIES[beyond[0]]}, so it learns no conversations of the kind {beyond[0]!r}; "
                f"leave that out of [data.shares], which may hold {', '.join(known)}"
            )
        self.grid = dialogue.grid(Options())
        if apart and (not tidy or exact_edits):
            raise TrainingError(
                "objects can be encoded apart only where pictures are straightened; "
                "set tidy = true, exact_edits = false"
            )
        size = dialogue.image_size[0]
        self.fill = Apart(network.encode, size, self.grid[0]) if apart else whole(network.encode, size)

    def batch(self, step: int) -> list[tuple[str, Row]]:
        rng = Random(f"{self.seed} {step}")
        if self.widen:
            self.world = EmojiWorld(self.seed, core=self.core, classes=self.classes(step))
        kinds = rng.choices(list(self.shares), list(self.shares.values()), k=self.size_of_batch)
        canvases = Canvases(self.fill, self.grid)
        rows, names = [], []
        for i, kind in enumerate(kinds):
            index = step * self.size_of_batch + i
            names.append(f"{kind} {index}")
            lang, blind = "en" if rng.random() < self.english else "zh", rng.random() < self.dropout
            rows.append(getattr(self, f"_{kind}")(index, lang, blind, canvases))
        return list(zip(names, canvases.fill(rows), strict=True))

    def classes(self, step: int) -> int:
        """How many classes of objects there are so far."""
        every = len(EmojiWorld(core=self.core).sampler.names)
        return round(self.widen[0] * (every / self.widen[0]) ** self.widened(step))

    def widened(self, step: int) -> float:
        """How far classes have widened, in [0, 1]."""
        return min(1.0, step / self.widen[1]) if self.widen else 1.0

    def _drawing(self, index: int, lang: str, blind: bool, canvases: Canvases) -> list[Any]:
        first, last = self.plain
        share = first + (last - first) * self.widened(index // self.size_of_batch)
        plain = Random(f"{self.seed} plain {index}").random() < share
        draw = self.world.drawing(index, lang, self.tidy, self.odds, plain)
        return [*self._prompt(blind, draw.prompt), canvases.place(draw.scene)]

    def _edit(self, index: int, lang: str, blind: bool, canvases: Canvases) -> list[Any]:
        edit = self.world.edit(index, lang)
        target = straightened(edit.target) if self.straight_edits else edit.target
        return [*self._prompt(blind, self._picture(edit.source), edit.instruction), canvases.place(target)]

    def _question(self, index: int, lang: str, blind: bool, canvases: Canvases) -> list[Any]:
        """A picture and several questions, each with its answer."""
        return self._asked(self.world.questions(index, lang, number=self.questions))

    def _naming(self, index: int, lang: str, blind: bool, canvases: Canvases) -> list[Any]:
        """One object, and what it is."""
        return self._asked(self.world.questions(index, lang, number=1, first="what"))

    def _asked(self, questions: Sequence[Question]) -> list[Any]:
        first, *more = questions
        turns = [Turn.user(self._picture(first.scene), first.question)]
        row: list[Any] = [*self.dialogue.render(Request(tuple(turns))), self._words(first.answer, self.dialogue.ending)]
        for ask in more:
            row += [self._next(ask.question), self._words(ask.answer, self.dialogue.ending)]
        return row

    def _next(self, question: str) -> Ids:
        """A further turn as it stands behind a reply: what the template puts after a reply's ending."""
        opened, whole = (
            [i for piece in self.dialogue.render(Request(turns)) if isinstance(piece, Ids) for i in piece.ids]
            for turns in (FIRST, (*FIRST, Turn.assistant("b"), Turn.user(question)))
        )
        return Ids(whole[whole.index(self.dialogue.ending, len(opened)) + 1 :])

    def _caption(self, index: int, lang: str, blind: bool, canvases: Canvases) -> list[Any]:
        tell = self.world.caption(index, lang)
        return self._answered((self._picture(tell.scene), tell.prompt), tell.caption)

    def _story(self, index: int, lang: str, blind: bool, canvases: Canvases) -> list[Any]:
        """Text, opening mark, picture, closing mark, text again; the marks that open are learned as text."""
        story, dialogue = self.world.story(index, lang, tidy=self.tidy), self.dialogue
        row: list[Any] = list(dialogue.render(Request((Turn.user(story.prompt),))))
        for text, scene in story.frames:
            shown = straightened(scene) if self.tidy else scene
            row += [self._words(text, dialogue.opening), canvases.place(shown), Ids(list(dialogue.closing))]
        return [*row, Learn("text", torch.tensor([dialogue.ending]))]

    def _prompt(self, blind: bool, *parts: Any) -> list[Piece]:
        branch = "no_text" if blind else "full"
        return self.dialogue.render(Request((Turn.user(*parts),), "image"), branch=branch)

    def _answered(self, parts: tuple[Any, ...], answer: str) -> list[Any]:
        return [*self.dialogue.render(Request((Turn.user(*parts),))), self._words(answer, self.dialogue.ending)]

    def _words(self, text: str, last: int | None) -> Learn:
        ids = self.dialogue.tokenizer.encode(" " + text, frame=False, specials=False)
        return Learn("text", torch.tensor([*ids, *([] if last is None else [last])]))

    def _picture(self, scene: Scene) -> Image:
        return Image(Pillow.fromarray(render(scene, self.dialogue.image_size[0])))

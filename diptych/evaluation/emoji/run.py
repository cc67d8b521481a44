"""One model on the emoji world: drawings, answers and edits, judged exactly, beside a ceiling and a floor."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image as Pillow

from diptych.data.worlds.emoji import Scene, render
from diptych.errors import InputError
from diptych.evaluation.emoji.judge import Judge
from diptych.evaluation.emoji.scoring import Table, score_answers, score_drawings, score_edits
from diptych.evaluation.emoji.sets import (
    FOLDER,
    EditItem,
    PromptItem,
    QuestionItem,
    read_edits,
    read_prompts,
    read_questions,
)
from diptych.models.model import Model
from diptych.storage import replacing
from diptych.types import Image, Turn

Progress = Callable[[int, int], None]
LONGEST_ANSWER = 16  # tokens; the world's answers are a word or two
SHEET = 64  # drawings on the sheet: the first ones, unselected


def evaluate(
    model: Model,
    sets: str | Path | None = None,
    limit: int | None = None,
    out: str | Path | None = None,
    progress: Progress | None = None,
    lang: str = "en",
    seed: int = 0,
) -> dict[str, Any]:
    """Scores of a model on `prompts_eval`, `vqa_eval` and `edit_eval`: {kind: {split: {passed, total, share}}} each.

    sets: a folder with other sets of the same form; limit: only the first so many items of each; out: a folder for
    `results.json`, every picture and answer, and the sheet of the first 64 drawings; lang: "en" or "zh".
    "ceiling" judges the tokenizer's reconstructions of true renders, "floor" the model's drawings under the prompts of
    other items. What the model cannot do is left out.
    """
    if lang not in ("en", "zh"):
        raise InputError(f"lang must be en or zh, not {lang!r}")
    folder, suffix = Path(sets or FOLDER), "" if lang == "en" else "_zh"
    prompts, questions, edits = read_prompts(folder)[:limit], read_questions(folder)[:limit], read_edits(folder)[:limit]
    count = _Count(progress, len(prompts) + len(questions) + len(edits))
    judge, began = Judge(), time.perf_counter()
    run = _Run(model, seed, suffix, count)
    result: dict[str, Any] = {"model": model.name, "lang": lang, "seed": seed, "dtype": str(model.dtype).split(".")[-1]}
    kept: dict[str, Any] = {}
    if "generate" in model.can:
        kept["drawings"] = run.drawings(prompts)
        result |= score_drawings(kept["drawings"], prompts, judge)
        result["floor"] = _floor(kept["drawings"], prompts, judge)
    if "chat" in model.can:
        kept["answers"] = run.answers(questions)
        result["answers"] = score_answers(kept["answers"], questions)
    if "edit" in model.can:
        kept["edits"] = run.edits(edits)
        result["edits"] = score_edits(kept["edits"], edits, judge)
    if hasattr(model.network, "encode"):
        result["ceiling"] = _ceiling(model, prompts, edits, judge)
    result["seconds"] = round(time.perf_counter() - began, 1)
    if out is not None:
        store(Path(out), result, kept, prompts, questions, edits)
    return result


class _Count:
    """Progress over all parts together."""

    def __init__(self, progress: Progress | None, total: int):
        self.progress, self.total, self.done = progress, total, 0

    def add(self, items: int) -> None:
        self.done += items
        if self.progress is not None:
            self.progress(self.done, self.total)


class _Run:
    """A model at work on the items, a batch at a time."""

    def __init__(self, model: Model, seed: int, suffix: str, count: _Count):
        self.model, self.seed, self.suffix, self.count = model, seed, suffix, count
        self.size = model.image_size[0]

    def drawings(self, items: Sequence[PromptItem]) -> list[Pillow.Image]:
        return self._batched(items, lambda part: self.model.generate(self._texts(part, "prompt"), seed=self.seed))

    def answers(self, items: Sequence[QuestionItem]) -> list[str]:
        def ask(part: Sequence[QuestionItem]) -> list[str]:
            asked = zip(part, self._texts(part, "question"), strict=True)
            turns = [Turn.user(Image(_picture(item.scene, self.size)), question) for item, question in asked]
            return [reply.text for reply in self.model.chat_batch(turns, max_tokens=LONGEST_ANSWER)]

        return self._batched(items, ask)

    def edits(self, items: Sequence[EditItem]) -> list[Pillow.Image]:
        def change(part: Sequence[EditItem]) -> list[Pillow.Image]:
            sources = [_picture(item.source, self.size) for item in part]
            return self.model.edit(sources, self._texts(part, "instruction"), seed=self.seed)

        return self._batched(items, change)

    def _texts(self, items: Sequence[Any], field: str) -> list[str]:
        return [getattr(item, field + self.suffix) for item in items]

    def _batched(self, items: Sequence[Any], work: Callable[[Sequence[Any]], list[Any]]) -> list[Any]:
        done: list[Any] = []
        for begin in range(0, len(items), self.model.batch):
            part = items[begin : begin + self.model.batch]
            done += work(part)
            self.count.add(len(part))
        return done


def _picture(scene: Scene, size: int) -> Pillow.Image:
    return Pillow.fromarray(render(scene, size))


def _floor(drawings: Sequence[Pillow.Image], items: Sequence[PromptItem], judge: Judge) -> Table:
    """Each drawing under the prompt of another item, half the set away: what chance would score."""
    half = len(items) // 2
    return score_drawings([*drawings[half:], *drawings[:half]], items, judge)["drawings"]


def _ceiling(model: Model, prompts: Sequence[PromptItem], edits: Sequence[EditItem], judge: Judge) -> dict[str, Table]:
    """True renders after the model's tokenizer: no drawing through it can be expected to score more."""
    size = model.image_size[0]
    drawn = reconstructed(model, [render(item.reference, size) for item in prompts])
    edited = reconstructed(model, [render(item.target, size) for item in edits])
    return {"drawings": score_drawings(drawn, prompts, judge)["drawings"], "edits": score_edits(edited, edits, judge)}


def reconstructed(model: Model, images: Sequence[np.ndarray]) -> list[Pillow.Image]:
    """uint8 [S, S, 3] pictures through the model's visual tokenizer and back."""
    network: Any = model.network
    found: list[Pillow.Image] = []
    with torch.inference_mode():
        for image in images:
            pixels = torch.from_numpy(image).permute(2, 0, 1)[None].to(model.device, model.dtype) / 127.5 - 1
            side = image.shape[0] // network.tokenizer.factor
            found += model.dialogue.pictures(network.decode(network.encode(pixels), (side, side)))
    return found


def store(
    out: Path,
    result: dict[str, Any],
    kept: dict[str, Any],
    prompts: Sequence[PromptItem],
    questions: Sequence[QuestionItem],
    edits: Sequence[EditItem],
) -> None:
    """results.json last, so that a folder with it is whole."""
    out.mkdir(parents=True, exist_ok=True)
    for name, items in (("drawings", prompts), ("edits", edits)):
        if name in kept:
            (out / name).mkdir(exist_ok=True)
            for item, picture in zip(items, kept[name], strict=True):
                picture.save(out / name / f"{item.id}.png")
    if "drawings" in kept:
        sheet(kept["drawings"][:SHEET]).save(out / "sheet.png")
    if "answers" in kept:
        rows = [{"id": item.id, "answer": a} for item, a in zip(questions, kept["answers"], strict=True)]
        lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        (out / "answers.jsonl").write_text(lines, "utf-8")
    with replacing(out / "results.json") as draft:
        draft.write_text(json.dumps(result, ensure_ascii=False, indent=1) + "\n", "utf-8")


def sheet(pictures: Sequence[Pillow.Image], columns: int = 16, scale: int = 2) -> Pillow.Image:
    """Pictures row by row on one."""
    width, height = (side * scale for side in pictures[0].size)
    rows = -(-len(pictures) // columns)
    page = Pillow.new("RGB", (columns * (width + 4), rows * (height + 4)), "white")
    for i, picture in enumerate(pictures):
        place = (i % columns * (width + 4) + 2, i // columns * (height + 4) + 2)
        page.paste(picture.resize((width, height), Pillow.Resampling.NEAREST), place)
    return page

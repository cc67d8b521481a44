"""The emoji world as benchmarks: it comes with the package, and its judge knows every glyph.

emoji-draw, emoji-ask and emoji-edit are the 600 prompts, 600 questions and 300 edits of `evaluation/emoji`; emoji-self
asks a model about its own pictures (`evaluation/emoji/own_pictures.py`).
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from PIL import Image as Pillow

from diptych.data.worlds.emoji import Graph, Scene, render
from diptych.evaluation.benchmark import Benchmark, Row, Table, ask_picture, grouped, mean
from diptych.evaluation.emoji import own_pictures
from diptych.evaluation.emoji.answers import is_accepted
from diptych.evaluation.emoji.judge import Judge
from diptych.evaluation.emoji.own_pictures import OwnEyes, seen_from_json
from diptych.evaluation.emoji.sets import FOLDER, read_edits, read_prompts, read_questions
from diptych.evaluation.emoji.verdicts import Verdict, judge_drawing, judge_edit
from diptych.evaluation.files import find_file
from diptych.images import open_image

SIDE = 64  # pixels of the pictures that are shown, unless a model writes others
SEEN = "everything on the picture: background, and each object's id, color, style and box"
LONGEST_ANSWER = own_pictures.LONGEST_ANSWER


def _png(scene: Scene, side: int) -> bytes:
    buffer = io.BytesIO()
    Pillow.fromarray(render(scene, side)).save(buffer, format="PNG")
    return buffer.getvalue()


def prompt_rows(folder: Path, side: int = SIDE) -> list[Row]:
    """`prompts_eval.jsonl`."""
    return [
        Row(
            item.id,
            item.prompt,
            (),
            {"kind": item.task, "split": item.split, "graph": item.graph.to_json()},
        )
        for item in read_prompts(find_file(folder, "prompts_eval.jsonl").parent)
    ]


def question_rows(folder: Path, side: int = SIDE) -> list[Row]:
    """`vqa_eval.jsonl`."""
    return [
        Row(
            item.id,
            item.question,
            (_png(item.scene, side),),
            {"kind": item.type, "split": item.split, "accepted": list(item.accepted)},
        )
        for item in read_questions(find_file(folder, "vqa_eval.jsonl").parent)
    ]


def edit_rows(folder: Path, side: int = SIDE) -> list[Row]:
    """`edit_eval.jsonl`."""
    return [
        Row(
            item.id,
            item.instruction,
            (_png(item.source, side),),
            {"kind": item.op, "split": item.split, "source": item.source.to_json(), "target": item.target.to_json()},
        )
        for item in read_edits(find_file(folder, "edit_eval.jsonl").parent)
    ]


def self_rows(folder: Path, side: int = SIDE) -> list[Row]:
    """`prompts_eval.jsonl`, each with a question; where that is whether something is there, every other one names
    another prompt's object."""
    items = read_prompts(find_file(folder, "prompts_eval.jsonl").parent)
    found = []
    for place, item in enumerate(items):
        other = items[(place + len(items) // 2) % len(items)].graph.objects[0] if place % 2 else None
        facts = {"question": own_pictures.question(item, other), "graph": item.graph.to_json()}
        found.append(Row(item.id, item.prompt, (), facts | {"reference": item.reference.to_json()}))
    return found


def judge_draw(row: Row, found: Mapping[str, Any]) -> Verdict:
    return judge_drawing(seen_from_json(found), Graph.from_json(row.facts["graph"]))


def judge_change(row: Row, found: Mapping[str, Any]) -> Verdict:
    source, target = (Scene.from_json(row.facts[name]) for name in ("source", "target"))
    return judge_edit(seen_from_json(found), source, target, row.facts["kind"])


def shares(rows: Sequence[Row], hits: Sequence[bool]) -> Table:
    """Right of all, of compositions that training never shows (`heldout`) and the rest, and by kind."""
    splits, kinds = ([row.facts[name] for row in rows] for name in ("split", "kind"))
    table: Table = {"accuracy": mean(hits)}
    table |= {split: mean(found) for split, found in sorted(grouped(splits, hits).items())}
    return table | {"kinds": {kind: mean(found) for kind, found in grouped(kinds, hits).items()}}


def tally_verdicts(rows: Sequence[Row], verdicts: Sequence[Verdict]) -> Table:
    return shares(rows, [verdict.ok for verdict in verdicts])


class Exact:
    """The emoji judge: reads a picture back into objects. How often it errs is in `evaluation/emoji/judge.json`."""

    kind, id, official = SEEN, "emoji-judge", True

    def __init__(self) -> None:
        self.judge = Judge()

    def see(self, row: Row, images: Sequence[Path], reply: str = "") -> dict[str, Any]:
        return asdict(self.judge.read(open_image(images[0])))


# Who judges what the model made; emoji-self needs the model.
JUDGES: dict[str, Callable[[Any], Any]] = {
    "emoji-draw": lambda model: Exact(),
    "emoji-edit": lambda model: Exact(),
    "emoji-self": OwnEyes,
}


def sized(benchmark: Benchmark, side: int) -> Benchmark:
    """The benchmark with pictures of `side` x `side`, which models of that size read best."""
    rows: Any = benchmark.rows
    return replace(benchmark, rows=lambda folder: rows(folder, side))


def _benchmark(name: str, evidence: str, rows: Any, judge: Any, tally: Any, **more: Any) -> Benchmark:
    return Benchmark(name, 1, "diptych/evaluation/emoji", evidence, rows, judge, tally, **more)


BENCHMARKS = {
    "emoji-draw": _benchmark("emoji-draw", SEEN, prompt_rows, judge_draw, tally_verdicts, ask=ask_picture),
    "emoji-ask": _benchmark(
        "emoji-ask",
        "the reply",
        question_rows,
        lambda row, reply: is_accepted(reply, row.facts["accepted"]),
        shares,
    ),
    "emoji-edit": _benchmark("emoji-edit", SEEN, edit_rows, judge_change, tally_verdicts, ask=ask_picture),
    "emoji-self": _benchmark(
        "emoji-self",
        OwnEyes.kind,
        self_rows,
        own_pictures.judge,
        own_pictures.tally,
        ask=ask_picture,
        told=own_pictures.told,
    ),
}
HOME = FOLDER

"""The evaluation sets: 600 prompts, 600 questions and 300 edits, a third of each over held-out compositions.

Every set has its own file of one JSON object a line; other sets of the same form can be read from any folder.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diptych.data.worlds.emoji import Graph, Scene
from diptych.errors import InputError

FOLDER = Path(__file__).with_name("sets")


@dataclass(frozen=True)
class PromptItem:
    """A prompt in two languages, what it asks, and one scene that is right. `split` is "seen" or "heldout"."""

    id: str
    task: str
    kind: str
    split: str
    prompt: str
    prompt_zh: str
    graph: Graph
    reference: Scene


@dataclass(frozen=True)
class QuestionItem:
    """A scene with a question and answer in two languages; `accepted` holds every right answer."""

    id: str
    type: str
    split: str
    scene: Scene
    question: str
    answer: str
    question_zh: str
    answer_zh: str
    accepted: tuple[str, ...]


@dataclass(frozen=True)
class EditItem:
    """A scene, an instruction in two languages, and the scene after it."""

    id: str
    op: str
    split: str
    source: Scene
    instruction: str
    instruction_zh: str
    target: Scene


def read_prompts(folder: str | Path = FOLDER) -> list[PromptItem]:
    rows = _rows(Path(folder) / "prompts_eval.jsonl")
    return [
        PromptItem(
            reference=Scene.from_json(row.pop("reference_scene")), graph=Graph.from_json(row.pop("graph")), **row
        )
        for row in rows
    ]


def read_questions(folder: str | Path = FOLDER) -> list[QuestionItem]:
    rows = _rows(Path(folder) / "vqa_eval.jsonl")
    return [
        QuestionItem(scene=Scene.from_json(row.pop("scene")), accepted=tuple(row.pop("accepted")), **row)
        for row in rows
    ]


def read_edits(folder: str | Path = FOLDER) -> list[EditItem]:
    rows = _rows(Path(folder) / "edit_eval.jsonl")
    return [
        EditItem(source=Scene.from_json(row.pop("source")), target=Scene.from_json(row.pop("target")), **row)
        for row in rows
    ]


def _rows(path: Path) -> list[dict[str, Any]]:
    if not path.is_file():
        raise InputError(f"no evaluation set at {path}; give the folder that holds {path.name}")
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]

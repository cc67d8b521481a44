"""A kind of recipe for the tests, as a trainer's module looks."""

from pathlib import Path
from typing import Any

from diptych.training.loop import Result
from diptych.training.recipes import fields
from tests.training.tiny import TinyTask


def task(recipe: dict[str, Any]) -> TinyTask:
    fields(recipe, ["kind", "training", "model", "out"], "the top level")
    fields(recipe.get("model", {}), ["width"], "[model]")
    return TinyTask()


def finish(task: TinyTask, result: Result, out: Path) -> None:
    (out / "finished").write_text(f"{result.step}")

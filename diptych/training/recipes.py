"""Recipes: TOML files that say what to train and how.

```toml
kind = "visual-tokenizer"      # which trainer reads the rest
[training]                     # diptych.training.settings.Settings
steps = 20000
lr = 3e-4
[model]                        # and whatever tables the kind knows
```
"""

from __future__ import annotations

import copy
import json
import tomllib
from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from diptych.errors import TrainingError
from diptych.storage import replacing
from diptych.training import checkpoints
from diptych.training.bar import Progress
from diptych.training.loop import Result, train
from diptych.training.settings import Settings, nearest
from diptych.training.step import seed_all

# A kind's module offers `task(recipe) -> Task` and may offer `finish(task, result, out)`, called once it is trained.
KINDS = {
    "visual-tokenizer": "diptych.training.visual",
    "autoencoder": "diptych.training.autoencoder",
    "unified": "diptych.training.unified",
    "encoder": "diptych.training.encoder",
}
STORED = "recipe.json"


def run(
    path: str | Path,
    out: str | Path | None = None,
    resume: bool | str = True,
    overrides: Mapping[str, Any] | None = None,
    *,
    progress: Progress | None = None,
    stop: Callable[[], bool] | None = None,
) -> Result:
    """Trains what a recipe describes, in `out` (by default the recipe's own `out`, or `runs/<its file name>`).

    overrides  values for dotted names, such as {"training.steps": 100}
    The other options are those of `diptych.training.loop.train`. The recipe as it was run is kept in `out` as
    `recipe.json`; resuming with another one raises TrainingError unless `resume` is "changed".
    """
    recipe = read(path, overrides)
    folder = Path(out or recipe.get("out") or Path("runs") / Path(path).stem)
    settings = Settings.read(recipe["training"])
    module = trainer(recipe)
    _keep(recipe, folder, resume)
    seed_all(settings.seed)
    task = module.task(recipe)
    result = train(task, settings, folder, resume=resume, progress=progress, stop=stop)
    if result.finished and hasattr(module, "finish"):
        module.finish(task, result, folder)
    return result


def read(path: str | Path, overrides: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """A recipe as nested dicts, with overrides applied; TrainingError if it cannot be read or has no known kind."""
    try:
        recipe = tomllib.loads(Path(path).read_text("utf-8"))
    except OSError as error:
        raise TrainingError(f"no recipe at {path}: {error.strerror or error}") from error
    except ValueError as error:
        raise TrainingError(f"{path} is not valid TOML: {error}") from error
    recipe = overridden(recipe, overrides or {})
    kind = recipe.get("kind")
    if kind not in KINDS:
        raise TrainingError(f"{path} has the unknown kind {kind!r}{nearest(str(kind), list(KINDS))}")
    if not isinstance(recipe.get("training"), dict):
        raise TrainingError(f"{path} needs a table [training], with at least `steps`")
    return recipe


def overridden(recipe: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of a recipe with values at dotted names replaced or added."""
    result = copy.deepcopy(dict(recipe))
    for name, value in overrides.items():
        *tables, last = name.split(".")
        table: Any = result
        for part in tables:
            table = table.setdefault(part, {})
            if not isinstance(table, dict):
                raise TrainingError(f"cannot set {name}: {part} is a value, not a table")
        table[last] = value
    return result


def assignments(texts: Iterable[str]) -> dict[str, Any]:
    """Overrides from `name=value` texts, as on a command line. Values are TOML; what is not is taken as a string."""
    found = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name.strip():
            raise TrainingError(f"an override is written name=value, for example training.steps=100, not {text!r}")
        try:
            found[name.strip()] = tomllib.loads(f"value = {value}")["value"]
        except ValueError:
            found[name.strip()] = value.strip()
    return found


def trainer(recipe: Mapping[str, Any]) -> ModuleType:
    """The module that trains a recipe's kind, imported only now."""
    return import_module(KINDS[recipe["kind"]])


def fields(table: Mapping[str, Any], known: Iterable[str], where: str) -> None:
    """For trainers: raises TrainingError, with the nearest known name, if a recipe's table has any other field."""
    names = list(known)
    for name in table:
        if name not in names:
            raise TrainingError(f"unknown field {name!r} in {where} of the recipe{nearest(name, names)}")


def _keep(recipe: dict[str, Any], folder: Path, resume: bool | str) -> None:
    """Stores the recipe beside its training. Settings are compared by the loop, which knows those that may change."""
    path = folder / STORED
    if path.is_file() and resume != "changed" and checkpoints.complete(folder / "checkpoints"):
        before = json.loads(path.read_text("utf-8"))
        changed = sorted(name for name in {*before, *recipe} - {"training", "out"} if _differ(before, recipe, name))
        if changed:
            raise TrainingError(
                f"the training in {folder} was started with another recipe (changed: {', '.join(changed)}). Restore it,"
                " choose a new folder, or resume with resume='changed'"
            )
        return
    with replacing(path) as draft:
        draft.write_text(json.dumps(recipe, indent=2, default=str) + "\n", "utf-8")


def _differ(before: dict[str, Any], recipe: dict[str, Any], name: str) -> bool:
    """Compared as JSON, since that is how the earlier one comes back."""
    return json.dumps(before.get(name), sort_keys=True) != json.dumps(recipe.get(name), sort_keys=True, default=str)

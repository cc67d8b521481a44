"""What of the catalogue runs here: the families of `models/`, their published weights, and how exactly they are met.

Families are read as source, not imported, for importing them takes torch.
"""

import ast
import json
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from diptych.catalogue.records import Model
from diptych.models.registry import FAMILIES

COMMANDS = {
    "chat": 'diptych ask picture.png "What is this?" --model {}',
    "generate": 'diptych generate "a red apple" --model {}',
    "edit": 'diptych edit picture.png "Make it blue." --model {}',
    "inpaint": 'diptych edit picture.png "a cat" --mask mask.png --model {}',
    "infill": 'diptych infill picture.png "a <m> cat" --model {}',
}
PACKAGE = Path(__file__).parents[1]
# In an installation the figures lie beside the records; in the repository they are a page of the docs.
FIGURES = (Path(__file__).parent / "data" / "parity.json", PACKAGE.parent / "docs" / "parity.json")


@dataclass(frozen=True)
class Running:
    """A family that runs a model. layout: in whose published layout, where that is not the authors'.

    checkpoints: hub ids that load; can: what the code does with them; cases: golden cases that were measured against
    the official code (0: none yet); worst: the largest relative error among them.
    """

    family: str
    papers: tuple[str, ...]
    layout: str | None
    checkpoints: tuple[str, ...]
    can: tuple[str, ...]
    cases: int
    worst: float | None


def runs(model: Model) -> tuple[Running, ...]:
    """The families that run a model, each with those of its checkpoints that are this model's.

    A family runs what its papers describe and what its checkpoints hold. One in another layout has checkpoints of other
    publishers, whose names are those of the authors' own.
    """
    own = {name.rpartition("/")[2] for name in model.weights}
    found = []
    for family in families():
        described = model.arxiv is not None and model.arxiv in family.papers
        names = tuple(
            name
            for name in family.checkpoints
            if name in model.weights or (described and name.rpartition("/")[2] in own)
        )
        if names or (described and family.layout is None):
            found.append(Running(**{**vars(family), "checkpoints": names}))
    return tuple(found)


def commands(running: Running) -> list[str]:
    """A command line for each thing that a family can do."""
    names = running.checkpoints or ("FOLDER",)  # a family of which no weights are published
    return [COMMANDS[ability].format(names[0]) for ability in COMMANDS if ability in running.can]


@cache
def families() -> tuple[Running, ...]:
    """All families, in the registry's order."""
    figures = parity()
    return tuple(_read(name, figures) for name in FAMILIES)


def parity() -> dict[str, Any]:
    """The measured sets by name (docs/parity.json); empty where they were not installed."""
    file = next((file for file in FIGURES if file.is_file()), None)
    return json.loads(file.read_text(encoding="utf-8"))["sets"] if file else {}


def _read(name: str, sets: dict[str, Any]) -> Running:
    module, _, family = FAMILIES[name].partition(":")
    parent = next((other for other in FAMILIES if name.startswith(f"{other}-")), None)
    said = ast.get_docstring(_source(FAMILIES[parent or name].partition(":")[0])) or ""
    errors = [error for one in sets.values() if one["family"] == name for error in one["errors"].values()]
    return Running(
        family=name,
        papers=tuple(re.findall(r"\b\d{4}\.\d{5}\b", said.partition("\n")[0])),
        layout=name.removeprefix(f"{parent}-") if parent else None,
        checkpoints=tuple(_attribute(module, family, "checkpoints") or ()),
        can=tuple(sorted(_attribute(module, _dialogue(module, family), "can") or ())),
        cases=len(errors),
        worst=max(errors, default=None),
    )


@cache
def _source(module: str) -> ast.Module:
    file = PACKAGE.joinpath(*module.split(".")[1:]).with_suffix(".py")
    return ast.parse(file.read_text(encoding="utf-8"))


def _class(module: str, name: str) -> tuple[str, ast.ClassDef] | None:
    """Where a class that a module names is written, and how; None for one from elsewhere."""
    for node in _source(module).body:
        if isinstance(node, ast.ClassDef) and node.name == name:
            return module, node
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("diptych."):
            for alias in node.names:
                if (alias.asname or alias.name) == name:
                    return _class(str(node.module), alias.name)
    return None


def _attribute(module: str, name: str, attribute: str) -> Any:
    """The value of a class' attribute, or of its bases', where it is written out; else None."""
    found = _class(module, name)
    if found is None:
        return None
    module, written = found
    for node in written.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == attribute:
            value = node.value
            return ast.literal_eval(value.args[0] if isinstance(value, ast.Call) else value)
    inherited = (_attribute(module, ast.unparse(base), attribute) for base in written.bases)
    return next((value for value in inherited if value is not None), None)


def _dialogue(module: str, family: str) -> str:
    """The name of the class that a family's `dialogue` answers with."""
    found = _class(module, family)
    methods = found[1].body if found else []
    return next(
        ast.unparse(m.returns) for m in methods if isinstance(m, ast.FunctionDef) and m.name == "dialogue" and m.returns
    )

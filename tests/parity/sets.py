"""The golden sets: tiny checkpoints in a published layout, with inputs and outputs computed by the published code.

They lie under $DIPTYCH_PARITY, else in `../shared/parity` beside the checkout, else in `tests/fixtures/parity`. A set
is a folder with `cases.safetensors`, whose tensors are named `<case>.in.<name>` and `<case>.out.<name>`. Which family
a set belongs to is for the library to recognise, not for the folder's name to say; sizes come from config and tensors.
"""

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from diptych.weights.files import Checkpoint

ROOT = Path(__file__).parents[2]
ERRORS: list[float] = []  # relative errors that `close` saw, for the report to collect


class Case(NamedTuple):
    """One recorded run: tensors by short name, and the scalar settings that cases.json has for it."""

    inputs: dict[str, Tensor]
    outputs: dict[str, Tensor]
    settings: Any


@dataclass(frozen=True)
class GoldenSet:
    """One folder of golden numbers."""

    folder: Path

    @property
    def name(self) -> str:
        return self.folder.relative_to(root()).as_posix()

    @cached_property
    def cases(self) -> dict[str, Case]:
        """Every case by name."""
        tensors = Checkpoint(self.folder / "cases.safetensors")
        names = sorted({_split(key)[0] for key in tensors})
        table: dict[str, Case] = {name: Case({}, {}, self.settings.get(name, {})) for name in names}
        for key in tensors:
            name, side, short = _split(key)
            (table[name].inputs if side == "in" else table[name].outputs)[short] = tensors[key]
        return table

    @cached_property
    def settings(self) -> dict[str, Any]:
        """cases.json: scalar settings, by case where they belong to one."""
        return self.json("cases.json") if (self.folder / "cases.json").is_file() else {}

    @property
    def prompts(self) -> dict[str, Any]:
        """prompts.json: prompt strings, special tokens and templates, official and of the set."""
        return self.json("prompts.json")

    @property
    def config(self) -> dict[str, Any]:
        return self.json("config.json")

    @property
    def full_keys(self) -> dict[str, Any]:
        """full_keys.json: by published checkpoint, its tensors' names and shapes under `keys`."""
        return self.json("full_keys.json") if (self.folder / "full_keys.json").is_file() else {}

    def json(self, name: str) -> Any:
        return json.loads((self.folder / name).read_text(encoding="utf-8"))


def root() -> Path:
    """The folder that holds the sets."""
    if stated := os.environ.get("DIPTYCH_PARITY"):
        return Path(stated)
    beside = ROOT.parent / "shared" / "parity"
    return beside if beside.is_dir() else ROOT / "tests" / "fixtures" / "parity"


def sets() -> list[GoldenSet]:
    """Every set there is, in order of name."""
    return [GoldenSet(file.parent) for file in sorted(root().rglob("cases.safetensors"))]


def sets_of(*families: str) -> list[GoldenSet]:
    """The sets whose checkpoint the library recognises as one of these families."""
    from diptych.models.registry import recognise

    return [golden for golden in sets() if recognise(golden.folder) in families]


def run_case(checks: Mapping[str, Callable[[Any, str, Case], None]], golden: GoldenSet, name: str) -> None:
    """The check whose prefix a case's name has; a case without one is a failure."""
    check = next((check for prefix, check in checks.items() if name.startswith(prefix)), None)
    assert check is not None, f"no check is written for case {name}"
    check(golden, name, golden.cases[name])


def close(ours: Tensor, theirs: Tensor, tolerance: float = 1e-4, name: str = "") -> None:
    """Asserts equal shapes, and values equal to `tolerance` of the largest |theirs|; whole numbers must be equal."""
    assert ours.shape == theirs.shape, f"{name}: shape {list(ours.shape)}, published {list(theirs.shape)}"
    if not theirs.is_floating_point() and not theirs.is_complex():
        wrong = (ours != theirs).sum().item()
        assert wrong == 0, f"{name}: {wrong} of {theirs.numel()} values differ, first at {_first(ours != theirs)}"
        return
    ours, theirs = ours.detach().double(), theirs.double()
    assert torch.equal(ours.isnan(), theirs.isnan()), f"{name}: not a number in other places"
    same = (ours == theirs) | theirs.isnan()  # equal infinities differ by nan
    gap = (ours - theirs).abs().masked_fill(same, 0.0)
    scale = theirs[theirs.isfinite()].abs().amax().item() if theirs.isfinite().any() else 0.0
    worst = gap.amax().item() if gap.numel() else 0.0
    ERRORS.append(worst / max(scale, 1e-30))
    assert worst <= tolerance * scale, (
        f"{name}: largest difference {worst:.2e} at {_first(gap == worst)}, scale {scale:.2e}, "
        f"relative {worst / max(scale, 1e-30):.1e} > {tolerance:.0e}"
    )


def _first(where: Tensor) -> list[int]:
    return where.nonzero()[0].tolist() if where.any() else []


def _split(key: str) -> tuple[str, str, str]:
    """`case.in.name` or `case.out.name`; the name may have points of its own."""
    case, side, name = key.split(".", 2)
    assert side in ("in", "out"), f"{key}: neither an input nor an output"
    return case, side, name

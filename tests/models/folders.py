"""Small model folders to be loaded: the golden Janus, and what tests make of it."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor

from tests.parity.sets import GoldenSet, root

GOLDEN = GoldenSet(root() / "janus")
WEIGHTS = "model.safetensors"


def copied(target: Path) -> Path:
    """The golden Janus as a folder of its own, without its cases."""
    target.mkdir(parents=True, exist_ok=True)
    for file in GOLDEN.folder.iterdir():
        if file.suffix == ".json" or file.name == WEIGHTS:
            shutil.copyfile(file, target / file.name)
    return target


def edit_json(file: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    table = json.loads(file.read_text(encoding="utf-8"))
    change(table)
    file.write_text(json.dumps(table), encoding="utf-8")


def edit_weights(folder: Path, change: Callable[[dict[str, Tensor]], Any]) -> None:
    tensors = load_file(folder / WEIGHTS)
    change(tensors)
    save_file(tensors, folder / WEIGHTS)

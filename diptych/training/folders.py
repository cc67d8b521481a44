"""A trained network as a model folder that `diptych.load` reads wherever it is put."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import torch
from torch import nn

from diptych.models.companions import Companion, Found
from diptych.models.registry import TEXTS
from diptych.weights.files import export


def write_folder(
    kind: Any, config: dict[str, Any], source: Path, network: nn.Module, folder: Path, dtype: torch.dtype
) -> None:
    """Writes the network under its published names, and the configs and tokenizer files of `source` beside it.

    kind, config: the family, and the config the network was built from. What is a companion's goes into a folder of
    the companion's name in this one, under the companion's names. The network itself is left in `dtype`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    copy_texts(source, folder)
    layout, network = kind.layout(config), network.to(dtype)
    own = {tensor.data_ptr(): name for name, tensor in reversed(network.state_dict().items())}  # a tied head once
    keys = layout.published(own.values())
    for companion in kind.companions(config):
        prefix = f"{companion.name}/"
        theirs = [key.removeprefix(prefix) for key in keys if key.startswith(prefix)]
        keys = [key for key in keys if not key.startswith(prefix)]
        copy_companion(companion, config["companions"][companion.name], source, folder)
        if theirs:
            export(network, layout.inside(prefix), theirs, folder / companion.name)
    export(network, layout, keys, folder)


def copy_companion(companion: Companion, found: Found, source: Path, folder: Path) -> None:
    """A companion's configs and tokenizer files; what lay in the model's own folder is copied already."""
    if found.folder.resolve() != source.resolve():
        place = folder / companion.name
        place.mkdir(exist_ok=True)
        copy_texts(found.folder, place)


def copy_texts(source: Path, folder: Path) -> None:
    """All but weights, and the tables of contents of weights."""
    for pattern in TEXTS:
        for file in source.glob(pattern):
            if not file.name.endswith(".index.json"):
                shutil.copyfile(file, folder / file.name)

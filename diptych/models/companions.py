"""Folders that a model needs beside its own: an image tokenizer, a vision encoder, the language model it began as.

Published models leave these in repositories of their own (`showlab/magvitv2`, `microsoft/phi-1_5`). A companion is
looked for inside the model's folder, beside it, beside the folder that holds it, and then on the hub. Its config
stands in the model's config under `companions`; its tensors are claimed by the model's layout like the model's own,
as `<companion>/<published name>`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from diptych.errors import UnknownModelError, WeightsError
from diptych.models.registry import from_hub, read_json
from diptych.weights.files import Checkpoint


@dataclass(frozen=True)
class Companion:
    """name: what the family calls it, and the usual name of its folder; hub: its id on the hub.

    weights: it brings tensors; otherwise only its config, and tokenizer files where it has some. file: a config of this
    name in the model's own folder comes first, and all the rest is then looked for there too. published: the config,
    where none was ever published; then nothing is missing."""

    name: str
    hub: str
    weights: bool = True
    file: str | None = None
    published: Mapping[str, Any] | None = None

    @property
    def folders(self) -> tuple[str, ...]:
        """The names its folder may have."""
        return tuple(dict.fromkeys((self.name, PurePosixPath(self.hub).name)))


class Found(NamedTuple):
    """A companion that is there: its folder and its config.json."""

    folder: Path
    config: dict[str, Any]


def find(companions: Sequence[Companion], folder: Path) -> dict[str, Found]:
    """By name, every companion of the model in `folder`.

    Raises WeightsError that says where a missing one was looked for.
    """
    return {companion.name: _found(companion, folder) for companion in companions}


def _found(companion: Companion, folder: Path) -> Found:
    if companion.file is not None and (folder / companion.file).is_file():
        return Found(folder, read_json(folder / companion.file))
    if companion.published is not None:
        return Found(folder, dict(companion.published))
    place = _place(companion, folder)
    return Found(place, read_json(place / "config.json"))


def _place(companion: Companion, folder: Path) -> Path:
    folder = folder.absolute()
    above = dict.fromkeys((folder, folder.parent, folder.parent.parent))
    places = [place / name for place in above for name in companion.folders]
    for place in places:
        if (place / "config.json").is_file():
            return place
    try:
        return from_hub(companion.hub, weights=companion.weights)
    except UnknownModelError as error:
        looked = ", ".join(map(str, places))
        raise WeightsError(
            f"{folder.name} needs {companion.hub}, which is published apart: looked for it at {looked}, and on the hub "
            f"({error}); download {companion.hub} to {places[0]}"
        ) from error


def joined(own: Checkpoint, companions: Sequence[Companion], found: dict[str, Found]) -> Checkpoint:
    """A model's checkpoint together with those of its companions, their names behind `<companion>/`."""
    for companion in companions:
        if companion.weights:
            part = weights(companion, found[companion.name].folder)
            own.files = [*own.files, *part.files]
            own.entries |= {f"{companion.name}/{name}": entry for name, entry in part.entries.items()}
    return own


def weights(companion: Companion, folder: Path) -> Checkpoint:
    """A companion's tensors, under its own names. Raises WeightsError.

    From the hub only safetensors are fetched, and some repositories (OpenAI's CLIP) hold pickles alone."""
    try:
        return Checkpoint(folder)
    except WeightsError as error:
        if any(folder.glob("*.safetensors")) or "diptych convert" in str(error):
            raise
        remedy = f"put the weights of {companion.hub} there; if they are pickled, then run: diptych convert {folder}"
        raise WeightsError(f"{error}; {remedy}") from error

"""Checkpoints that a power cut cannot spoil.

A checkpoint is a folder `step-00001000` with safetensors files, `state.json` and `manifest.json`, which lists the
size and SHA-256 of all others. It is written under another name, flushed to disk and then renamed, so that a folder
of that name is complete. Tensors go to disk one at a time; nothing is pickled.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from diptych.errors import TrainingError
from diptych.storage import flush, replacing
from diptych.weights.safetensors import read_header, read_tensor, write

MANIFEST, STATE = "manifest.json", "state.json"
RETREAT = "remove its folder, or resume with resume='older', to go on from the checkpoint before it"
FOREIGN = "resume with the recipe the training was started with, or choose a new folder"


def passing(point: str) -> None:
    """Does nothing. Called at every point of a save at which a crash must do no harm; tests replace it."""


@dataclass(frozen=True)
class Checkpoint:
    """One complete checkpoint on disk."""

    folder: Path

    @property
    def step(self) -> int:
        """The number of steps it was saved after."""
        return int(self.folder.name.removeprefix("step-"))

    def state(self) -> dict[str, Any]:
        """Everything that is not a tensor."""
        return json.loads((self.folder / STATE).read_text("utf-8"))

    def copy_into(self, file: str, targets: dict[str, Tensor]) -> None:
        """Fills the tensors of the same names, one at a time; names and shapes must agree exactly."""
        entries, _ = read_header(self.folder / file)
        _same_names(self.folder / file, set(entries), set(targets))
        for name, target in targets.items():
            stored, wanted = (entries[name].dtype, entries[name].shape), (target.dtype, tuple(target.shape))
            if stored != wanted:
                raise TrainingError(f"{self.folder / file} has {name} as {stored}, the model as {wanted}; {FOREIGN}")
            target.detach().copy_(read_tensor(entries[name]))

    def names(self, file: str) -> list[str]:
        """The names of the tensors in a file."""
        return list(read_header(self.folder / file)[0])

    def verify(self) -> None:
        """Reads every byte; raises TrainingError naming the first file that is not as it was written."""
        for name, facts in _manifest(self.folder).items():
            path = self.folder / name
            if not path.is_file():
                raise TrainingError(f"{path} is missing")
            if path.stat().st_size != facts["bytes"]:
                raise TrainingError(f"{path} has {path.stat().st_size} bytes instead of {facts['bytes']}")
            if _sha256(path) != facts["sha256"]:
                raise TrainingError(f"{path} is damaged: its SHA-256 is not the one in the manifest")


def save(
    folder: Path, step: int, tensors: dict[str, dict[str, Tensor]], state: dict[str, Any], keep: int
) -> Checkpoint:
    """Writes a checkpoint of `step` and removes the oldest ones beyond `keep`.

    tensors: file name -> tensors by name. A complete checkpoint of this step that is there already is left as it is.
    Raises TrainingError if the disk does not take it; what was there stays.
    """
    draft, target = folder / f".saving-{step:08d}", folder / f"step-{step:08d}"
    if (target / MANIFEST).is_file():
        return Checkpoint(target)
    try:
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(parents=True)
        _fill(draft, tensors, state)
        _put(draft, target)
        prune(folder, keep)
    except OSError as error:
        shutil.rmtree(draft, ignore_errors=True)
        raise TrainingError(
            f"the checkpoint of step {step} could not be written to {folder} ({error.strerror or error});"
            f" earlier ones are intact ({_listed(folder)}). Make room and run again to resume."
        ) from error
    return Checkpoint(target)


def newest(folder: Path, older: bool = False) -> Checkpoint | None:
    """The newest complete checkpoint, every byte of it checked; None if there is none.

    A damaged one raises TrainingError, unless `older` allows falling back to the newest whole one; the damaged ones
    after that are then removed, since the training will write those steps again.
    """
    damaged: list[Checkpoint] = []
    for checkpoint in reversed(complete(folder)):
        try:
            checkpoint.verify()
        except TrainingError as error:
            if not older or checkpoint == complete(folder)[0]:
                remedy = "there is no earlier one that is whole" if older else RETREAT
                raise TrainingError(f"{error}; {remedy}") from error
            damaged.append(checkpoint)
            continue
        for spoilt in damaged:
            _remove(spoilt.folder)
        return checkpoint
    return None


def complete(folder: Path) -> list[Checkpoint]:
    """All checkpoints that have a manifest, oldest first."""
    found = sorted(folder.glob("step-[0-9]*")) if folder.is_dir() else []
    return [Checkpoint(path) for path in found if (path / MANIFEST).is_file()]


def sweep(folder: Path) -> None:
    """Removes what an interrupted save or removal left behind."""
    for leftover in [*folder.glob(".saving-*"), *folder.glob(".removing-*")]:
        shutil.rmtree(leftover, ignore_errors=True)


def prune(folder: Path, keep: int) -> None:
    """Removes all but the newest `keep` checkpoints; renamed first, so that none is ever half there."""
    for checkpoint in complete(folder)[:-keep]:
        _remove(checkpoint.folder)


def _remove(path: Path) -> None:
    aside = path.with_name(f".removing-{path.name}")
    shutil.rmtree(aside, ignore_errors=True)
    path.rename(aside)
    passing("removing")
    shutil.rmtree(aside)


def _put(draft: Path, target: Path) -> None:
    if target.exists():  # without a manifest, so not a checkpoint
        _remove(target)
    passing("rename")
    draft.rename(target)
    passing("renamed")
    flush(target.parent)
    flush(target.parent.parent)


def _fill(draft: Path, tensors: dict[str, dict[str, Tensor]], state: dict[str, Any]) -> None:
    for name, content in tensors.items():
        passing(f"{name} begins")
        _write_tensors(draft / name, content)
    _write_text(draft / STATE, json.dumps(state))
    passing("manifest")
    files = {path.name: {"bytes": path.stat().st_size, "sha256": _sha256(path)} for path in draft.iterdir()}
    _write_text(draft / MANIFEST, _manifest_text(files))


def _write_text(path: Path, text: str) -> None:
    with replacing(path) as draft:
        draft.write_text(text, "utf-8")


def _write_tensors(path: Path, tensors: dict[str, Tensor]) -> None:
    """One tensor at a time, so that saving needs no memory for all of them."""
    facts = {name: (tensor.dtype, tuple(tensor.shape)) for name, tensor in tensors.items()}
    middle = list(tensors)[len(tensors) // 2] if tensors else None

    def get(name: str) -> Tensor:
        if name == middle:
            passing(f"{path.name} half")
        return tensors[name]

    write(path, facts, get)


def _manifest_text(files: dict[str, Any]) -> str:
    """The manifest guards itself: a digest of its own list comes last."""
    text = json.dumps(files, sort_keys=True)
    return json.dumps({"files": files, "sha256": hashlib.sha256(text.encode()).hexdigest()}, sort_keys=True)


def _manifest(folder: Path) -> dict[str, dict[str, Any]]:
    path = folder / MANIFEST
    try:
        text = path.read_text("utf-8")
        files = json.loads(text)["files"]
        if text != _manifest_text(files):
            raise ValueError
        return files
    except (ValueError, KeyError, TypeError) as error:
        raise TrainingError(f"{path} is damaged: it is not as it was written") from error


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _same_names(path: Path, stored: set[str], wanted: set[str]) -> None:
    if stored != wanted:
        lacking, foreign = sorted(wanted - stored)[:3], sorted(stored - wanted)[:3]
        raise TrainingError(
            f"{path} does not belong to this model: it lacks {lacking}, has besides {foreign}; {FOREIGN}"
        )


def _listed(folder: Path) -> str:
    names: Iterable[str] = (checkpoint.folder.name for checkpoint in complete(folder))
    return ", ".join(names) or "there are none yet"

"""Checkpoints that a power cut cannot spoil.

A checkpoint is a folder `step-00001000` with safetensors files, `state.json` and `manifest.json`, which lists the
size and SHA-256 of all others. It is written under another name, flushed to disk and then renamed, so that a folder
of that name is complete. Tensors go to disk one at a time; nothing is pickled.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from safetensors import safe_open
from torch import Tensor

from diptych.errors import TrainingError
from diptych.storage import _flush as flush

MANIFEST, STATE = "manifest.json", "state.json"
CHUNK = 1 << 22
DTYPES = {
    "torch.float64": "F64",
    "torch.float32": "F32",
    "torch.float16": "F16",
    "torch.bfloat16": "BF16",
    "torch.int64": "I64",
    "torch.int32": "I32",
    "torch.int16": "I16",
    "torch.int8": "I8",
    "torch.uint8": "U8",
    "torch.bool": "BOOL",
}


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
        with safe_open(self.folder / file, framework="pt") as stored:
            _same_names(self.folder / file, set(stored.keys()), set(targets))
            for name, target in targets.items():
                value = stored.get_tensor(name)
                if value.shape != target.shape:
                    raise TrainingError(
                        f"{self.folder / file} has {name} of shape {list(value.shape)}, the model {list(target.shape)};"
                        " resume with the recipe the training was started with, or choose a new folder"
                    )
                target.detach().copy_(value)

    def names(self, file: str) -> list[str]:
        """The names of the tensors in a file."""
        with safe_open(self.folder / file, framework="pt") as stored:
            return list(stored.keys())

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

    tensors: file name -> tensors by name. Raises TrainingError if the disk does not take it; what was there stays.
    """
    draft, target = folder / f".saving-{step:08d}", folder / f"step-{step:08d}"
    try:
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(parents=True)
        _fill(draft, tensors, state)
        _swap(draft, target)
        passing("renamed")
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

    A damaged one raises TrainingError, unless `older` allows falling back to the one before it.
    """
    for checkpoint in reversed(complete(folder)):
        try:
            checkpoint.verify()
            return checkpoint
        except TrainingError as error:
            if not older:
                raise TrainingError(
                    f"{error}. Remove {checkpoint.folder} or resume with resume='older' to go on from the one before it"
                ) from error
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


def _swap(draft: Path, target: Path) -> None:
    if target.exists():
        _remove(target)
    passing("rename")
    draft.rename(target)
    flush(target.parent)


def _fill(draft: Path, tensors: dict[str, dict[str, Tensor]], state: dict[str, Any]) -> None:
    files = {}
    for name, content in tensors.items():
        passing(f"{name} begins")
        files[name] = _write_tensors(draft / name, content)
    files[STATE] = _write_text(draft / STATE, json.dumps(state, allow_nan=False))
    passing("manifest")
    _write_text(draft / MANIFEST, _manifest_text(files))
    flush(draft)


class _Hashing:
    """Writes through to a file while counting and hashing; the bytes are never read again."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file, self.hash, self.bytes = file, hashlib.sha256(), 0

    def write(self, data: bytes | memoryview) -> None:
        for start in range(0, len(data), CHUNK):
            part = data[start : start + CHUNK]
            self.file.write(part)
            self.hash.update(part)
        self.bytes += len(data)

    def close(self) -> dict[str, Any]:
        self.file.flush()
        os.fsync(self.file.fileno())
        return {"bytes": self.bytes, "sha256": self.hash.hexdigest()}


def _write_text(path: Path, text: str) -> dict[str, Any]:
    with path.open("wb") as file:
        sink = _Hashing(file)
        sink.write(text.encode())
        return sink.close()


def _write_tensors(path: Path, tensors: dict[str, Tensor]) -> dict[str, Any]:
    """The safetensors format: 8 bytes of length, a JSON header, the tensors' bytes. One copy of one tensor at most."""
    header, end = {}, 0
    for name, tensor in tensors.items():
        start, end = end, end + tensor.numel() * tensor.element_size()
        header[name] = {"dtype": DTYPES[str(tensor.dtype)], "shape": list(tensor.shape), "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        sink = _Hashing(file)
        sink.write(len(text).to_bytes(8, "little") + text)
        for number, tensor in enumerate(tensors.values()):
            if number == len(tensors) // 2:
                passing(f"{path.name} half")
            sink.write(_bytes(tensor))
        return sink.close()


def _bytes(tensor: Tensor) -> memoryview:
    import torch

    flat = tensor.detach().cpu().contiguous().reshape(-1)
    return memoryview(flat.view(torch.uint8).numpy()) if flat.numel() else memoryview(b"")


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
            f"{path} does not belong to this model: it lacks {lacking}, has besides {foreign};"
            " resume with the recipe the training was started with, or choose a new folder"
        )


def _listed(folder: Path) -> str:
    names: Iterable[str] = (checkpoint.folder.name for checkpoint in complete(folder))
    return ", ".join(names) or "there are none yet"

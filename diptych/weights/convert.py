"""Pickled checkpoints, rewritten once as safetensors.

A pickle can run code when it is opened. It is opened here alone, with torch's weights-only reader, which builds tensors
and plain containers and refuses everything else, in a process of its own. What comes out is checked like any file.
"""

import json
import os
import pickle
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from diptych.errors import WeightsError
from diptych.weights.files import PICKLED, write_index
from diptych.weights.safetensors import read_header, save

_USUAL = ("state_dict", "model", "module", "ema")  # where published checkpoints keep the weights, the likeliest first


def convert(source: str | os.PathLike[str], entry: str = "") -> list[Path]:
    """Writes a .safetensors file beside every pickled one of a folder, or beside one file. Returns the new files.

    `entry` names the part to take, such as "trainer.ema", where a file holds several. An index of shards is rewritten
    too. Files already converted are left alone. Raises WeightsError for what is missing, unsafe or damaged.
    """
    path = Path(source)
    files = sorted(f for f in path.iterdir() if f.suffix in PICKLED) if path.is_dir() else [path]
    if not files:
        raise WeightsError(f"{path}: holds no pickled weights ({', '.join(PICKLED)})")
    if missing := [file for file in files if not file.is_file()]:
        raise WeightsError(f"{missing[0]}: no such file")
    made = _convert_files(files, entry)
    for index in path.glob("*.index.json") if path.is_dir() else ():
        _convert_index(index)
    return made


def _convert_files(files: list[Path], entry: str) -> list[Path]:
    """Converts what is not converted yet, all in one process of its own."""
    targets = [file.with_suffix(".safetensors") for file in files]
    pairs = [str(path) for pair in zip(files, targets, strict=True) if not pair[1].exists() for path in pair]
    if pairs:
        command = [sys.executable, "-m", "diptych.weights.convert", entry, *pairs]
        home = str(Path(__file__).parents[2])
        environment = os.environ | {"PYTHONPATH": os.pathsep.join([home, os.environ.get("PYTHONPATH", "")])}
        result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if result.returncode:
            lines = result.stderr.strip().splitlines()
            raise WeightsError(lines[-1] if lines else f"the reader of {files[0]} stopped ({result.returncode})")
    for target in targets:
        read_header(target)
    return targets


def _convert_index(index: Path) -> None:
    """The index of pickled shards, as one of the converted shards."""
    stem = index.name.removesuffix(".index.json")
    if Path(stem).suffix not in PICKLED:
        return
    try:
        weight_map = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
        renamed = {name: str(Path(file).with_suffix(".safetensors")) for name, file in weight_map.items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise WeightsError(f"{index}: is no index of shards") from error
    write_index(index.with_name(f"{Path(stem).with_suffix('.safetensors')}.index.json"), renamed)


def _rewrite(file: Path, target: Path, entry: str) -> None:
    tensors = _weights(_unpickled(file), file, entry)
    save(tensors, target)


def _unpickled(file: Path) -> Any:
    """The contents, of tensors and plain containers. An embedding saved as an object is a table like any other."""
    with torch.serialization.safe_globals([nn.Embedding]):
        for mapped in (True, False):  # files of old torch versions cannot be mapped into memory
            try:
                return torch.load(file, map_location="cpu", weights_only=True, mmap=mapped)
            except pickle.UnpicklingError as error:
                raise WeightsError(
                    f"{file}: holds more than tensors, so opening it could run code; "
                    "ask its publisher for safetensors, or save its state_dict() alone"
                ) from error
            except Exception as error:  # the reader raises whatever its parsers meet in a damaged file
                if not mapped:
                    raise WeightsError(f"{file}: is damaged or no checkpoint of torch") from error
    raise AssertionError("unreachable")


def _weights(contents: Any, file: Path, entry: str) -> dict[str, Tensor]:
    """The one table of tensors in a checkpoint: the named entry, one in a usual place, or the only one there is."""
    if isinstance(contents, Tensor):
        return {"weight": contents}
    if isinstance(contents, nn.Embedding):
        return {"weight": contents.weight.detach()}
    tables = dict(_tables(contents, ""))
    if entry:
        if entry not in tables:
            raise WeightsError(f"{file}: has no entry {entry!r}; it has {_listed(tables)}")
        return tables[entry]
    for name in ("", *_USUAL):
        if name in tables:
            return tables[name]
    if len(tables) != 1:
        raise WeightsError(f"{file}: holds {len(tables)} sets of weights, name one with --entry: {_listed(tables)}")
    return next(iter(tables.values()))


def _tables(contents: Any, place: str) -> list[tuple[str, dict[str, Tensor]]]:
    """Every dictionary of tensors by its path. Numbers and texts among the tensors are not weights and left out."""
    if not isinstance(contents, Mapping):
        return []
    tensors = {str(name): value for name, value in contents.items() if isinstance(value, Tensor)}
    found = [(place, tensors)] if tensors else []
    for name, value in contents.items():
        found += _tables(value, f"{place}.{name}" if place else str(name))
    return found


def _listed(tables: Mapping[str, Any]) -> str:
    return ", ".join(name or "(top)" for name in list(tables)[:6]) or "none"


if __name__ == "__main__":
    try:
        for source_name, target_name in zip(sys.argv[2::2], sys.argv[3::2], strict=True):
            _rewrite(Path(source_name), Path(target_name), sys.argv[1])
    except WeightsError as problem:
        sys.exit(str(problem).replace("\n", " "))

"""From a name to a model that answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from diptych.errors import InputError, UnknownModelError, WeightsError
from diptych.models.companions import find, joined
from diptych.models.fitting import Fit, fitted
from diptych.models.model import Model
from diptych.models.registry import FAMILIES, PIPELINE, family, locate, read_config
from diptych.weights.files import Checkpoint, load_into

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def load(
    name: str | Path,
    device: str = "auto",
    dtype: str | torch.dtype = "auto",
    quantize: str | None = None,
    offload: bool = False,
) -> Model:
    """A model by built-in name, from a local folder in its published layout, or by hub id.

    device: "auto" (a GPU if there is one), or what torch.device takes.
    dtype: "auto" (bfloat16 on a GPU, float32 on a CPU), or float32, bfloat16, float16.
    quantize: "int8" or "int4": the weights of the backbone's linear layers in so many bits, rounded as they are read;
        "int8-dynamic": what goes through them as well, the quickest on CPUs.
    offload: the backbone's blocks stay in the CPU's memory; each is brought to the GPU when it is its turn.
    Weights are safetensors only; no code of the folder is ever run. Raises UnknownModelError, WeightsError, InputError.
    """
    folder = locate(name)
    where = _device(device)
    precision = _dtype(dtype, where)
    fitted(quantize, offload, where)
    kind, config = described(folder)
    checkpoint = opened(kind, config, folder)
    config = kind.completed(config, checkpoint.shapes)
    network = _built(kind, config, folder)
    fit = Fit(network, quantize, offload)
    load_into(network, kind.layout(config), checkpoint, device=where, dtype=precision, placed=fit)
    fit.finish(where)
    network.requires_grad_(False).eval()
    return Model(Path(name).name, network, kind.dialogue(folder, config, network), folder)


def described(folder: Path) -> tuple[Any, dict[str, Any]]:
    """The family of a model folder, and its config, in which the companions stand that have been found for it.

    Raises UnknownModelError, WeightsError."""
    config = read_config(folder)
    kind = _kind(folder, config)
    found = find(kind.companions(config), folder)
    return kind, config | {"companions": found} if found else config


def opened(kind: Any, config: dict[str, Any], folder: Path) -> Checkpoint:
    """The tensors of a described folder, and of the companions it was described with. Raises WeightsError."""
    own = Checkpoint(_files(folder, kind.weights))
    return joined(own, kind.companions(config), config.get("companions", {}))


def _kind(folder: Path, config: dict[str, Any]) -> Any:
    for name in FAMILIES:
        kind = family(name)
        if kind.recognises(config, folder):
            return kind
    known = ", ".join(FAMILIES)
    single = (folder / "config.json").is_file()
    file, key = ("config.json", "model_type") if single else (PIPELINE, "_class_name")
    raise UnknownModelError(f"{folder / file} ({key} {config.get(key)!r}) is of no family known here; known: {known}")


def _built(kind: Any, config: dict[str, Any], folder: Path) -> Any:
    """The network on the meta device: names and shapes, and no memory."""
    try:
        with torch.device("meta"):
            return kind.build(config)
    except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
        reason = f"lacks {error}" if isinstance(error, KeyError) else f"describes no {kind.name} model ({error})"
        raise WeightsError(f"{folder / 'config.json'} {reason}; take the file published with the weights") from error


def _files(folder: Path, patterns: tuple[str, ...]) -> Path | list[Path]:
    """The files that match the family's patterns; the whole folder where it has none, or where no file does (a model
    that was saved anew)."""
    if patterns == ("*.safetensors",):
        return folder
    return [path for pattern in patterns for path in sorted(folder.glob(pattern))] or folder


def _device(device: str) -> torch.device:
    """The device, once it has been seen to work."""
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    remedy = "use auto, cpu, or one that is on this machine, such as cuda:0 or mps"
    try:
        found = torch.device(device)
        torch.empty(0, device=found)
    except (RuntimeError, AssertionError, NotImplementedError, TypeError) as error:
        raise InputError(f"device {device!r} is unknown or not on this machine; {remedy}") from error
    if found.type == "meta":  # tensors without memory: nothing can be computed there
        raise InputError(f"device {device!r} holds no numbers; {remedy}")
    return found


def _dtype(dtype: str | torch.dtype, device: torch.device) -> torch.dtype:
    if dtype == "auto":
        return torch.bfloat16 if device.type == "cuda" else torch.float32
    if dtype in DTYPES.values() and isinstance(dtype, torch.dtype):
        return dtype
    if dtype not in DTYPES:
        raise InputError(f"unknown dtype {dtype!r}; use auto, {', '.join(DTYPES)}")
    return DTYPES[str(dtype)]

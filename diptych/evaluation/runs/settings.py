"""What a number depends on, written down beside it (`run.json`)."""

from __future__ import annotations

import hashlib
import inspect
import platform
from collections.abc import Mapping
from typing import Any

import torch

import diptych
from diptych.evaluation.benchmark import Benchmark
from diptych.models.family import Options
from diptych.models.network import parameter_count

SEEDS = "sha256(seed/row/picture)"
PLAIN = (bool, int, float, str, type(None))


def seed_of(seed: int, row: str, picture: int = 0) -> int:
    """The seed of a row's answer or picture, 0 to 2**32: whatever was made before it, and with what."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{row}/{picture}".encode()).digest()[:4], "big")


def settings(
    model: Any, name: str, benchmark: Benchmark, want: str, seed: int, pictures: int, options: Mapping[str, Any]
) -> dict[str, Any]:
    """All that is known before the first answer. name: what the model is called by, such as its hub id.

    `sampler` holds how the model writes, its published defaults included; `options` only what was asked for.
    """
    chosen = Options(**options)
    writer = model.dialogue.image(chosen) if want == "image" else model.dialogue.text(chosen)
    return {
        "benchmark": benchmark.name,
        "scorer": benchmark.version,
        "scorer_source": benchmark.source,
        "model": name,
        "weights_sha256": weights_sha256(model.network),
        "parameters": parameter_count(model.network),
        "dtype": str(model.dtype).removeprefix("torch."),
        "device": device_name(model.device),
        "seed": seed,
        "seeds": SEEDS,
        "pictures_per_prompt": pictures if want == "image" else 0,
        "prompts": "as in rows.jsonl; not rewritten",
        "sampler": {part: described(getattr(writer, part)) for part in ("objective", "schedule", "guide", "order")},
        "options": dict(options),
        "size": list(chosen.size or model.image_size) if want == "image" else None,
        "think": bool(options.get("think", False)),
        "diptych": diptych.__version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def weights_sha256(network: torch.nn.Module) -> str:
    """Of every tensor that the model computes with, by name, as it was loaded (so it differs between dtypes)."""
    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def device_name(device: torch.device | str) -> str:
    """The kind of device, not its number: processes of one run may use several."""
    kind = torch.device(device).type
    return f"cuda ({torch.cuda.get_device_name(device)})" if kind == "cuda" else kind


def described(part: Any) -> Any:
    """A part of a writer in words and numbers: `euler(shift=3.0, steps=50)`, `Token(pick=pick(temperature=1.0))`."""
    if isinstance(part, PLAIN):
        return part
    if isinstance(part, tuple | list) and all(isinstance(one, PLAIN) for one in part):
        return list(part)
    if isinstance(part, Mapping):
        return "{" + ", ".join(f"{key}: {described(value)}" for key, value in part.items()) + "}"
    if inspect.isfunction(part):
        name, values = part.__qualname__.split(".")[0], inspect.getclosurevars(part).nonlocals
    elif not isinstance(part, torch.nn.Module) and type(part).__module__.startswith("diptych."):
        name, values = type(part).__name__, getattr(part, "__dict__", {})
    else:
        return type(part).__name__  # tensors, modules: their numbers are the weights
    said = [f"{key}={described(value)}" for key, value in sorted(values.items()) if not key.startswith("_")]
    return f"{name}({', '.join(said)})"

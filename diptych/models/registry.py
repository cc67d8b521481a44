"""Which families there are, which one a folder belongs to, and where a name leads."""

from __future__ import annotations

import difflib
import importlib
import json
from pathlib import Path
from typing import Any

from diptych.errors import UnknownModelError, WeightsError

FAMILIES = {
    "janus": "diptych.models.janus:Janus",
    "janus-transformers": "diptych.models.janus_converted:JanusConverted",
    "mmada": "diptych.models.mmada:MMaDA",
    "show_o": "diptych.models.show_o:ShowO",
}
BUILTIN = Path(__file__).parents[1] / "builtin"


def family(name: str) -> Any:
    """The family class of that name, imported on demand."""
    module, _, attribute = FAMILIES[name].partition(":")
    return getattr(importlib.import_module(module), attribute)


def read_config(folder: Path) -> dict[str, Any]:
    """config.json of a model folder."""
    path = folder / "config.json"
    if not path.is_file():
        raise UnknownModelError(f"{folder} holds no config.json; point to a model folder in its published layout")
    return read_json(path)


def read_json(path: Path) -> dict[str, Any]:
    """A JSON file of a model folder that holds one object. Raises WeightsError where it is missing or damaged."""
    if not path.is_file():
        raise WeightsError(f"{path}: no such file; the model needs it, download it from where the weights came from")
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError, RecursionError) as error:
        raise WeightsError(f"{path} is not valid JSON; download it again") from error
    if not isinstance(table, dict):
        raise WeightsError(f"{path} must hold a JSON object; download it again")
    return table


def recognise(folder: Path | str) -> str | None:
    """The name of the family a folder's config.json belongs to, or None."""
    if not (Path(folder) / "config.json").is_file():
        return None
    config = read_config(Path(folder))
    return next((name for name in FAMILIES if family(name).recognises(config, Path(folder))), None)


def builtin() -> dict[str, Path]:
    """The models that come with the package."""
    if not BUILTIN.is_dir():
        return {}
    return {p.name: p for p in sorted(BUILTIN.iterdir()) if (p / "config.json").is_file()}


def locate(name: str | Path) -> Path:
    """A built-in name, a folder, or a hub id -> a local folder. UnknownModelError says what was close."""
    shipped = builtin()
    if str(name) in shipped:
        return shipped[str(name)]
    folder = Path(name).expanduser()
    if folder.is_dir():
        return folder
    text = str(name)
    if text.count("/") == 1 and not text.startswith((".", "/", "~")):
        return from_hub(text)
    close = difflib.get_close_matches(text, shipped, n=1, cutoff=0.4)
    hint = f"did you mean {close[0]!r}? " if close else ""
    raise UnknownModelError(
        f"unknown model {text!r}; {hint}give a built-in name ({', '.join(shipped) or 'none'}), a folder, or a hub id "
        "such as deepseek-ai/Janus-Pro-1B"
    )


def from_hub(name: str, weights: bool = True) -> Path:
    """Weights (or not) and text files only: no code is ever fetched. Raises UnknownModelError."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    wanted = ["*.json", "*.txt", "*.model", *(["*.safetensors"] if weights else [])]
    try:
        return Path(snapshot_download(name, allow_patterns=wanted))
    except LocalEntryNotFoundError as error:
        raise UnknownModelError(
            f"{name} is not in the local hub cache and the hub cannot be reached; connect, or give a local folder"
        ) from error
    except HfHubHTTPError as error:
        raise UnknownModelError(f"the hub does not give {name}: check the id, or log in if it is gated") from error
    except (OSError, ValueError) as error:
        raise UnknownModelError(f"{name} could not be fetched from the hub; give a local folder instead") from error

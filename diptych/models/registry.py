"""Which families there are, which one a folder belongs to, and where a name leads."""

from __future__ import annotations

import difflib
import importlib
import json
from pathlib import Path
from typing import Any

from diptych.errors import UnknownModelError, WeightsError

FAMILIES = {
    "bagel": "diptych.models.bagel:Bagel",
    "harmon": "diptych.models.harmon:Harmon",
    "muddit": "diptych.models.muddit:Muddit",
    "janus": "diptych.models.janus:Janus",
    "janus-transformers": "diptych.models.janus_converted:JanusConverted",
    "janusflow": "diptych.models.janusflow:JanusFlow",
    "mmada": "diptych.models.mmada:MMaDA",
    "show_o": "diptych.models.show_o:ShowO",
    "show_o2": "diptych.models.show_o2:ShowO2",
    "transfusion": "diptych.models.transfusion:Transfusion",
    "unidisc": "diptych.models.unidisc:UniDisc",
}
BUILTIN = Path(__file__).parents[1] / "builtin"
PIPELINE = "model_index.json"  # of a diffusers pipeline, whose parts are folders
TEXTS = ("*.json", "*.txt", "*.model")  # of a model folder, beside its weights: configs, tokenizers
PARTS = ("config.json", "scheduler_config.json", "tokenizer_config.json", "preprocessor_config.json")


def family(name: str) -> Any:
    """The family class of that name, imported on demand."""
    module, _, attribute = FAMILIES[name].partition(":")
    return getattr(importlib.import_module(module), attribute)


def read_config(folder: Path) -> dict[str, Any]:
    """config.json of a model folder; of a diffusers pipeline its model_index.json, in which each part's own config
    stands under the part's name, with `_class_name`."""
    if (folder / "config.json").is_file():
        return read_json(folder / "config.json")
    if (folder / PIPELINE).is_file():
        index = read_json(folder / PIPELINE)
        parts = {name: _part(folder / name, *value) for name, value in index.items() if _is_part(name, value)}
        return index | parts
    raise UnknownModelError(f"{folder} holds no config.json; point to a model folder in its published layout")


def _is_part(name: str, value: Any) -> bool:
    """[library, class], or [null, null] for a part that is not there. Its name is that of a folder: one that leads
    elsewhere is none."""
    return isinstance(value, list) and len(value) == 2 and isinstance(value[1], str) and name.isidentifier()


def _part(folder: Path, library: str, kind: str) -> dict[str, Any]:
    file = next((folder / name for name in PARTS if (folder / name).is_file()), None)
    return {"_class_name": kind} | (read_json(file) if file else {})


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
    """The name of the family a folder's config.json (or model_index.json) belongs to, or None."""
    if not any((Path(folder) / name).is_file() for name in ("config.json", PIPELINE)):
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

    wanted = [*TEXTS, *(["*.safetensors"] if weights else [])]
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

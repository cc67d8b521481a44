"""Networks at published sizes with random weights, and the folders their dialogues read: nothing is downloaded.

Strings are read by a stand-in tokenizer with one id for every word, so that prompts are about as long as real ones.
"""

from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import nn

from benchmarks.published_sizes import Published
from benchmarks.stacks import settled
from diptych.models.companions import Found
from diptych.models.registry import family


def configured(fact: Published, depths: list[int] | None, folder: Path) -> dict[str, Any]:
    """The family's config with stacks of these depths (None: as published), its companions in `folder`."""
    config = deepcopy(fact.config)
    for path, depth in zip(fact.stacks, depths or [], strict=depths is not None):
        place = config
        for name in path[:-1]:
            place = place[name]
        place[path[-1]] = depth
    if "companions" in config:
        config["companions"] = {name: Found(folder, stated) for name, stated in config["companions"].items()}
    return family(fact.kind).completed(config, fact.shapes)


def depths_of(fact: Published) -> list[int]:
    found = []
    for path in fact.stacks:
        place: Any = fact.config
        for name in path:
            place = place[name]
        found.append(place)
    return found


def described(fact: Published, config: dict[str, Any]) -> Any:
    """The network on the meta device."""
    with torch.device("meta"):
        return family(fact.kind).build(config)


def filled(network: nn.Module, dtype: torch.dtype) -> Any:
    """A network of the meta device with small random weights, as `diptych.load` would leave it; shared ones stay so.

    One row of numbers is repeated: drawing billions would take minutes."""
    numbers = (torch.randn(2**20 + 7, generator=torch.Generator().manual_seed(0)) * 0.02).to(dtype)
    made: dict[int, nn.Parameter] = {}
    for module in network.modules():
        for name, old in list(module.named_parameters(recurse=False)):
            if id(old) not in made:
                count = old.numel()
                row = numbers.repeat(-(-count // len(numbers)))[:count]
                made[id(old)] = nn.Parameter(row.view(old.shape), requires_grad=False)
            setattr(module, name, made[id(old)])
    left = [name for name, t in network.state_dict().items() if t.is_meta]
    assert not left, f"{left[0]} is no parameter and has no weights"
    return settled(network)


def furnished(fact: Published, folder: Path) -> None:
    """What a dialogue reads in its folder: a tokenizer with one id for every word, and for Muddit CLIP's two files."""
    words = Tokenizer(models.WordLevel({"word": 0}, unk_token="word"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()  # type: ignore[assignment]
    words.add_special_tokens(list(fact.marks))
    words.save(str(folder / "tokenizer.json"))
    for name, content in fact.files.items():
        (folder / name).write_text(json.dumps(content), "utf-8")
    (folder / "tokenizer").mkdir()
    clip = {"word</w>": 0, "<|startoftext|>": 49406, "<|endoftext|>": 49407}
    (folder / "tokenizer" / "vocab.json").write_text(json.dumps(clip), "utf-8")
    (folder / "tokenizer" / "merges.txt").write_text("#version: 0.2\n", "utf-8")

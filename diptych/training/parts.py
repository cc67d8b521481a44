"""What a network begins with: fresh weights, its companions' tensors, and parts that were trained before."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from diptych.backbone.transformer import seeded
from diptych.errors import TrainingError, WeightsError
from diptych.models import companions
from diptych.models.companions import Companion
from diptych.models.loading import described, load, opened
from diptych.models.network import Network
from diptych.weights.files import load_into
from diptych.weights.layout import Layout

SCALE = 0.02  # spread of a backbone's fresh weights


def begun(
    folder: Path, start: str | None, seed: int, changes: Mapping[str, Any]
) -> tuple[Any, dict[str, Any], Network]:
    """The model that `folder` describes -> its family, its config, and its network in float32.

    start: a trained model of the same sizes to go on from; None: fresh weights, but those of companions, which are
    found as `diptych.load` finds them. changes: values that stand in the config for those of `folder`.
    Raises UnknownModelError, WeightsError, and TrainingError for a change of what the config does not have.
    """
    kind, config = described(folder)
    if unknown := sorted(changes.keys() - config.keys()):
        raise TrainingError(f"[model.config] changes {', '.join(unknown)}, which {folder}/config.json does not have")
    config = {**config, **changes}
    before = opened(*described(Path(start)), Path(start)) if start else None
    config = kind.completed(config, before.shapes if before else {})
    network, layout = initialised(kind.build(config), seed), kind.layout(config)
    if before:
        load_into(network, layout, before, dtype=torch.float32)
    else:
        for companion in kind.companions(config):
            if companion.weights:
                lend(network, layout, companion, config["companions"][companion.name].folder)
    return kind, config, network


def initialised(network: Network, seed: int) -> Network:
    """Fresh weights for the backbone (GPT-2's); readers and ports keep torch's own, whose outputs are of order one:
    a token of 1e-3 drowns behind a norm's epsilon, and the model would not see what it wrote."""
    seeded(network.backbone, seed, SCALE)
    return network


def lend(network: Network, layout: Layout, companion: Companion, folder: Path) -> None:
    """Fill what of the network is a companion's from the companion's folder. Raises WeightsError unless it fits."""
    prefix, state = f"{companion.name}/", network.state_dict()
    theirs = companions.weights(companion, folder)
    ours = [name for name in state if layout.published([name])[0].startswith(prefix)]
    claims = layout.inside(prefix).check(theirs.shapes, {name: state[name].shape for name in ours})
    for claim in claims:
        if claim.rule:
            network.load_state_dict(claim.split(theirs[claim.theirs]), strict=False)


def load_part(network: Network, layout: Layout, part: str, source: str) -> None:
    """Fill a submodule from the part of the same name of another model, or from a file of its tensors.

    source: what `diptych.load` takes, or a .safetensors file, under our own names or under published ones, where the
    part itself may be called as another family calls it.
    Raises TrainingError if it is missing or does not fit, UnknownModelError.
    """
    module = submodule(network, part)
    try:
        module.load_state_dict(_read(layout, part, module, source))
    except (RuntimeError, WeightsError) as error:
        raise TrainingError(f"{source} does not fit {part}: {str(error).splitlines()[-1].strip()}") from error


def _read(layout: Layout, part: str, module: nn.Module, source: str) -> dict[str, Tensor]:
    if not source.endswith(".safetensors"):
        return submodule(load(source, device="cpu", dtype="float32").network, part).state_dict()
    if not Path(source).is_file():
        raise TrainingError(f"{source} is missing; train that part first (its recipe writes it)")
    tensors = load_file(source)
    if tensors.keys() == module.state_dict().keys():
        return tensors
    tensors = _renamed(tensors, layout.published(f"{part}.{name}" for name in module.state_dict()))
    return {name.removeprefix(part + "."): tensor for name, tensor in layout.read(tensors).items()}


def _renamed(tensors: dict[str, Tensor], published: list[str]) -> dict[str, Tensor]:
    """A part that was trained by itself stands in its file under one family's name for it (`gen_vision_model.` for
    Janus' tokenizer); another family has its own (`vq_model.`), and what follows is alike."""
    (there, *others), (here, *more) = ({name.split(".")[0] for name in names} for names in (tensors, published))
    if others or more:
        return tensors
    return {here + name.removeprefix(there): tensor for name, tensor in tensors.items()}


def submodule(network: Network, part: str) -> nn.Module:
    """A part by its dotted name. Raises TrainingError, with the parts there are, for a name that leads nowhere."""
    try:
        return network.get_submodule(part)
    except AttributeError as error:
        known = ", ".join(name for name, _ in network.named_children())
        raise TrainingError(f"the model has no part {part!r}; it has {known}, and parts of these") from error

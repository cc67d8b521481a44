"""The tensors of a training: weights, optimizer, average; to a checkpoint and back."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from diptych.errors import TrainingError
from diptych.training.checkpoints import Checkpoint
from diptych.training.optim import Ema, Optimizer, trainable

WEIGHTS, AVERAGE, OPTIMIZER = "weights.safetensors", "ema.safetensors", "optimizer.safetensors"


def tensors(module: nn.Module, optimizer: Optimizer, ema: Ema | None) -> dict[str, dict[str, Tensor]]:
    """All tensors of a training by file and name, not copied. Raises TrainingError if a weight is not finite."""
    weights = _persistent(module)
    for name, parameter in trainable(module).items():
        if not bool(torch.isfinite(parameter).all()):
            raise TrainingError(f"weight {name} is not finite; nothing was saved, the last checkpoint is intact")
    files = {WEIGHTS: weights, OPTIMIZER: _moments(module, optimizer)}
    if ema is not None:
        files[AVERAGE] = _averaged(module, ema)
    return files


def restore(checkpoint: Checkpoint, module: nn.Module, optimizer: Optimizer, ema: Ema | None) -> None:
    """Puts a checkpoint's tensors into a training just set up."""
    with torch.no_grad():
        checkpoint.copy_into(WEIGHTS, _persistent(module))
        _make_room(checkpoint.names(OPTIMIZER), module, optimizer)
        checkpoint.copy_into(OPTIMIZER, _moments(module, optimizer))
        if ema is not None and (checkpoint.folder / AVERAGE).is_file():
            checkpoint.copy_into(AVERAGE, _averaged(module, ema))
        elif ema is not None:  # the average was switched on since
            ema.module.load_state_dict(module.state_dict())


def _persistent(module: nn.Module) -> dict[str, Tensor]:
    found = module.state_dict(keep_vars=True)
    for name, value in found.items():
        if not isinstance(value, Tensor):
            raise TrainingError(f"{name} in the module's state is no tensor; keep such state in a buffer")
    return {name: value.detach() for name, value in found.items()}


def _averaged(module: nn.Module, ema: Ema) -> dict[str, Tensor]:
    """Frozen parameters are shared with the module, so they are stored there only."""
    every = module.named_parameters(remove_duplicate=False)
    shared = {name for name, parameter in every if not parameter.requires_grad}
    return {name: value for name, value in _persistent(ema.module).items() if name not in shared}


def _moments(module: nn.Module, optimizer: Optimizer) -> dict[str, Tensor]:
    """`exp_avg/<parameter>` and so on; parameters that never had a gradient have none."""
    return {
        f"{moment}/{name}": value
        for name, parameter in trainable(module).items()
        for moment, value in optimizer.state.get(parameter, {}).items()
    }


def _make_room(names: list[str], module: nn.Module, optimizer: Optimizer) -> None:
    """Empty moments of the right shapes, which the optimizer itself only makes at its first step."""
    parameters = trainable(module)
    for full in names:
        moment, name = full.split("/", 1)
        if name in parameters:
            parameter = parameters[name]
            scalar = torch.zeros((), dtype=torch.float32, device=parameter.device)
            optimizer.state[parameter][moment] = scalar if moment == "step" else torch.zeros_like(parameter)

"""Models that fit into less memory: rounded weights, blocks that stay with the CPU. Settled tensor by tensor."""

from __future__ import annotations

import torch
from torch import nn

from diptych.backbone.blocks import Blocks
from diptych.backbone.quantised import KINDS
from diptych.errors import InputError


def fitted(quantize: str | None, offload: bool, device: torch.device) -> None:
    """Raises InputError where there is no such way to save memory."""
    if quantize is not None and quantize not in KINDS:
        raise InputError(f"quantize is one of {', '.join(KINDS)}, not {quantize!r}")
    if offload and device.type != "cuda":
        raise InputError(f"offload saves a GPU's memory, but this model runs on {device}; leave it out")


class Fit:
    """What becomes of a network's tensors as they are loaded, told of each by name: there is never more of the blocks
    as they were published than one tensor."""

    def __init__(self, network: nn.Module, quantize: str | None, offload: bool):
        self.network, self.offload = network, offload
        self.rounded = None if quantize is None else KINDS[quantize]
        self.blocks = {f"{path}.": m for path, m in network.named_modules() if isinstance(m, Blocks)}

    def __call__(self, name: str) -> None:
        if not name.startswith(tuple(self.blocks)):
            return
        path, _, leaf = name.rpartition(".")
        layer = self.network.get_submodule(path)
        if self.rounded is not None and leaf == "weight" and isinstance(layer, nn.Linear):
            layer = self.rounded(layer)
            parent, _, own = path.rpartition(".")
            setattr(self.network.get_submodule(parent), own, layer)
        if self.offload:
            _home(layer)

    def finish(self, device: torch.device) -> None:
        """All is loaded: blocks that stayed with the CPU are brought to the device from here on."""
        if self.offload:
            for blocks in self.blocks.values():
                blocks.offload(device)


def _home(layer: nn.Module) -> None:
    """Tensors of a layer that have been loaded, into the CPU's memory."""
    for tensor in (*layer._parameters.values(), *layer._buffers.values()):
        if tensor is not None and not tensor.is_meta:
            tensor.data = tensor.data.cpu()

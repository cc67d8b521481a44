"""Models that fit their machine: weights that are rounded, that lie in a CPU's order, blocks that stay with the CPU.

Settled tensor by tensor.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import torch
from torch import nn

from diptych.backbone.blocks import Blocks
from diptych.backbone.products import BEYOND, slow_rows
from diptych.backbone.quantised import KINDS, Int8Dynamic
from diptych.backbone.reordered import Reordered, worthwhile
from diptych.backbone.transformer import Linear
from diptych.errors import InputError


def fitted(quantize: str | None, offload: bool, device: torch.device) -> None:
    """Raises InputError where there is no such way to save memory."""
    if quantize is not None and quantize not in KINDS:
        raise InputError(f"quantize is one of {', '.join(KINDS)}, not {quantize!r}")
    if offload and device.type != "cuda":
        raise InputError(f"offload saves a GPU's memory, but this model runs on {device}; leave it out")


SLOW: dict[tuple[type, torch.dtype], frozenset[int]] = {}  # `slow_rows` by layer and type, in this process


class Fit:
    """What becomes of a network's tensors as they are loaded, told of each by name: of the blocks as
    they were published there is never more than one tensor, and the next one being read.

    quantize, offload: as in `diptych.load`. On CPUs, large weights that are neither rounded nor shared are reordered.
    """

    def __init__(self, network: nn.Module, quantize: str | None, offload: bool):
        self.network, self.offload = network, offload
        self.rounded = None if quantize is None else KINDS[quantize]
        self.blocks = {f"{path}.": m for path, m in network.named_modules() if isinstance(m, Blocks)}
        owners = Counter(id(p) for _, p in network.named_parameters(remove_duplicate=False))
        self.shared = {name for name, p in network.named_parameters(remove_duplicate=False) if owners[id(p)] > 1}

    def __call__(self, name: str) -> None:
        path, _, leaf = name.rpartition(".")
        inside = name.startswith(tuple(self.blocks))
        if leaf == "weight" and name not in self.shared:
            self.settle(path, self.network.get_submodule(path), inside)
        if inside and self.offload:
            _home(self.network.get_submodule(path))

    def everything(self) -> None:
        """Of a network that has been loaded already."""
        for name in list(self.network.state_dict()):
            self(name)
        self.quicken()

    def settle(self, path: str, layer: nn.Module, inside: bool) -> None:
        """A layer whose weight has just been loaded, and whether it is one of a block."""
        if inside and self.rounded is not None and isinstance(layer, nn.Linear):
            self.replace(path, self.rounded(layer))
        elif isinstance(layer, nn.Linear) and not self.offload and self.plain(layer, inside):
            self.replace(path, Reordered(layer))

    @staticmethod
    def plain(layer: nn.Linear, inside: bool) -> bool:
        """Whether nothing but products is asked of a layer, and they are quicker reordered."""
        return type(layer) in ((Linear, nn.Linear) if inside else (Linear,)) and worthwhile(layer.weight)

    def replace(self, path: str, layer: nn.Module) -> None:
        parent, _, own = path.rpartition(".")
        setattr(self.network.get_submodule(parent), own, layer)

    def quicken(self) -> None:
        """Products of a few rows with matrices in a CPU's order are made as they are quickest with these very ones, if
        they are too large for caches. Measured once a process."""
        ordered: dict[tuple[type, torch.dtype], list[Any]] = {}
        for layer in self.network.modules():
            if isinstance(layer, Reordered | Int8Dynamic) and layer.blocked is not None:
                ordered.setdefault((type(layer), layer.blocked.dtype), []).append(layer)
        for (kind, dtype), layers in ordered.items():
            if some := _beyond_caches(layers):
                if (kind, dtype) not in SLOW:
                    SLOW[kind, dtype] = slow_rows(some, dtype if dtype.is_floating_point else torch.float32)
                for layer in layers:
                    layer.slow = SLOW[kind, dtype]

    def finish(self, device: torch.device) -> None:
        """All is loaded: blocks that stayed with the CPU are brought to the device from here on."""
        self.quicken()
        if self.offload:
            for blocks in self.blocks.values():
                blocks.offload(device)


def _beyond_caches(layers: Sequence[Any]) -> list[Any]:
    """The first of the layers that together no cache holds; none, if caches hold them all."""
    sizes = accumulate(layer.in_features * layer.out_features * layer.blocked.itemsize for layer in layers)
    return next((list(layers[:count]) for count, size in enumerate(sizes, 1) if size >= BEYOND), [])


def _home(layer: nn.Module) -> None:
    """Tensors of a layer that have been loaded, into the CPU's memory."""
    for tensor in (*layer._parameters.values(), *layer._buffers.values()):
        if tensor is not None and not tensor.is_meta:
            tensor.data = tensor.data.cpu()

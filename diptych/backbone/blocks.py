"""The blocks of a backbone, where nearly all of a model's weights lie; they may lie in the CPU's memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn


class Place(NamedTuple):
    """Where a module holds a tensor: its table of parameters or of buffers, and the name there."""

    table: dict[str, Any]
    name: str


class Blocks(nn.ModuleList):
    """Blocks that are walked over, one after the other.

    Once offloaded, their tensors stay where they are loaded, in the CPU's memory. A walk brings each block to the
    device, the next one while it runs, and lets it go afterwards: two blocks at most are on the device at a time.
    """

    device: torch.device | None = None  # where they are brought; None: they are there

    def offload(self, device: torch.device) -> None:
        """From now on, bring blocks to `device` when it is their turn. Their tensors are in the CPU's memory already,
        and are pinned there if the device is a GPU, which may then copy while it computes."""
        self.device = device
        if device.type == "cuda":
            for table, name in (place for block in self._modules.values() for place in _places(block)):
                table[name].data = table[name].data.pin_memory()

    def __iter__(self) -> Iterator[nn.Module]:
        return iter(self._modules.values()) if self.device is None else self._brought(Carrier(self.device))  # type: ignore[arg-type]

    def _brought(self, carrier: Carrier) -> Iterator[nn.Module]:
        """Each block, while its tensors are copies on the device."""
        blocks: list[Any] = list(self._modules.values())
        coming = carrier.fetch(blocks[0]) if blocks else []
        for block, following in zip(blocks, [*blocks[1:], None], strict=True):
            places = _places(block)
            homes = [table[name] for table, name in places]
            _put(places, carrier.arrived(coming))
            coming = [] if following is None else carrier.fetch(following)
            try:
                yield block
            finally:
                _put(places, homes)


class Carrier:
    """Copies tensors to a device; to a GPU beside what it computes, in a stream of their own."""

    def __init__(self, device: torch.device):
        self.device = device
        self.stream = torch.cuda.Stream(device) if device.type == "cuda" else None

    def fetch(self, block: nn.Module) -> list[Tensor]:
        """Copies of a block's tensors, on their way."""
        with torch.cuda.stream(self.stream):  # nothing where there is none
            homes = [table[name].detach() for table, name in _places(block)]
            return [home.to(self.device, non_blocking=True, copy=True) for home in homes]

    def arrived(self, tensors: list[Tensor]) -> list[Tensor]:
        """What is computed from here on waits for the copies, whose memory is not given away before it is done."""
        if self.stream is not None:
            current = torch.cuda.current_stream(self.device)
            current.wait_stream(self.stream)
            for tensor in tensors:
                tensor.record_stream(current)
        return tensors


def _places(block: nn.Module) -> list[Place]:
    """Where a block's tensors are held, in an order that does not change."""
    tables = [table for module in block.modules() for table in (module._parameters, module._buffers)]
    return [Place(table, name) for table in tables for name, tensor in table.items() if tensor is not None]


def _put(places: Sequence[Place], tensors: Sequence[Tensor]) -> None:
    for (table, name), tensor in zip(places, tensors, strict=True):
        table[name] = tensor

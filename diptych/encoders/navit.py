"""A vision transformer for pictures of any shape: each has its own grid of patches (NaViT, arXiv 2307.06304).

B pictures of one shape, N patches, D width.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from diptych.encoders.grids import cells, stretched_cells
from diptych.encoders.vit import ViT, ViTConfig


class NaViT(ViT):
    """SigLIP-NaViT of BAGEL: positions are read from the learned table by row and column, with nothing interpolated.

    side: cells of the table along a row; stretched: a picture spreads over the whole table, whatever its size.
    """

    def __init__(self, config: ViTConfig, side: int, stretched: bool = False) -> None:
        super().__init__(config)
        self.side, self.cells = side, stretched_cells if stretched else cells

    def positions(self, height: int, width: int) -> Tensor:  # -> [1, N, D]
        assert self.position is not None
        return self.position[:, self.cells(height, width, self.side).to(self.position.device)]


def by_shape(tensors: Sequence[Tensor], apply: Callable[[list[int], Tensor], Tensor]) -> list[Tensor]:
    """`apply(numbers, stacked [n, ...]) -> [n, ...]` to the tensors of each shape at once; results in order."""
    groups: dict[tuple[int, ...], list[int]] = {}
    for i, tensor in enumerate(tensors):
        groups.setdefault(tuple(tensor.shape), []).append(i)
    found: dict[int, Tensor] = {}
    for own in groups.values():
        found |= zip(own, apply(own, torch.stack([tensors[i] for i in own])), strict=True)
    return [found[i] for i in range(len(tensors))]

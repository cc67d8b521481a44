"""Where patches stand on a square grid: their cells, and the fixed 2-D sine-cosine table of cells (MAE, DiT, BAGEL).

N patches of a picture, row by row; D width.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from diptych.errors import InputError


def cells(height: int, width: int, side: int) -> Tensor:
    """Int[height * width]: the cells of a picture in the upper left corner of a grid of side x side, row by row.

    Raises InputError where the picture is larger than the grid.
    """
    if max(height, width) > side:
        raise InputError(f"a picture of {height}x{width} patches is too large; at most {side} fit along each side")
    return (torch.arange(height)[:, None] * side + torch.arange(width)).flatten()


def stretched_cells(height: int, width: int, side: int) -> Tensor:
    """The same for a picture spread over the whole grid, each patch in the cell in which it begins (NaViT)."""
    edges = torch.arange(1 / side, 1.0, 1 / side)

    def along(count: int) -> Tensor:
        return torch.bucketize(torch.arange(0, 1 - 1e-6, 1 / count), edges, right=True)

    return (along(height)[:, None] * side + along(width)).flatten()


def sincos(side: int, width: int) -> Tensor:
    """Float32[side * side, D]: half of the channels tell the column, the other half the row; sines, then cosines."""
    rate = 10000.0 ** (-torch.arange(width // 4, dtype=torch.float64) / (width / 4))

    def waves(place: Tensor) -> Tensor:
        turn = place.flatten()[:, None] * rate
        return torch.cat([turn.sin(), turn.cos()], -1)

    row, column = torch.meshgrid(*[torch.arange(side, dtype=torch.float64)] * 2, indexing="ij")
    return torch.cat([waves(column), waves(row)], -1).float()


class GridTable(nn.Module):
    """The sine-cosine table of a grid, as weights that are never trained; or, where a checkpoint leaves it out,
    computed (`stored=False`)."""

    def __init__(self, side: int, width: int, stored: bool = True, stretched: bool = False) -> None:
        super().__init__()
        self.side, self.cells = side, stretched_cells if stretched else cells
        if stored:
            self.table = nn.Parameter(torch.zeros(side * side, width), requires_grad=False)
        else:
            with torch.device("cpu"):  # whatever device the rest is built on: it has no other source
                self.register_buffer("table", sincos(side, width), persistent=False)

    def forward(self, height: int, width: int) -> Tensor:  # -> [N, D]
        return self.table[self.cells(height, width, self.side).to(self.table.device)]

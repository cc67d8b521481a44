"""Grids of codes as a transformer's tokens and back, by convolutions (aMUSEd, arXiv 2401.01808; Meissonic, Muddit).

B images, h and w height and width of the grid, D width.
"""

from __future__ import annotations

from torch import Tensor, nn

from diptych.backbone.transformer import RMSNorm

EPS = 1e-6


class CodesIn(nn.Module):
    """Embedded codes [B, h, w, D] -> tokens [B, n, D], row by row; `halved`: one token for 2 x 2 codes."""

    def __init__(self, width: int, halved: bool):
        super().__init__()
        self.norm, self.conv = RMSNorm(width, eps=EPS), nn.Linear(width, width, bias=False)
        self.norm_down = RMSNorm(width, eps=EPS) if halved else nn.Identity()
        self.down = nn.Conv2d(width, width, 2, 2, bias=False) if halved else nn.Identity()
        self.norm_out, self.out = RMSNorm(width, eps=EPS), nn.Linear(width, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm_down(self.conv(self.norm(x)))
        x = self.down(x.movedim(-1, 1)).flatten(2).transpose(1, 2)
        return self.out(self.norm_out(x))


class CodesOut(nn.Module):
    """Hidden states [B, n, D] of tokens on a grid (h', w') -> logits [B, h w, codes]; `doubled`: of 2 x 2 codes each.

    With `where` Bool[B, h w] only those, [k, codes].
    """

    def __init__(self, width: int, codes: int, doubled: bool):
        super().__init__()
        self.norm, self.into = RMSNorm(width, eps=EPS), nn.Linear(width, width, bias=False)
        self.norm_up = RMSNorm(width, eps=EPS) if doubled else nn.Identity()
        self.up = nn.ConvTranspose2d(width, width, 2, 2, bias=False) if doubled else nn.Identity()
        self.conv, self.norm_out = nn.Linear(width, width, bias=False), RMSNorm(width, eps=EPS)
        self.out = nn.Linear(width, codes, bias=False)

    def forward(self, hidden: Tensor, grid: tuple[int, int], where: Tensor | None = None) -> Tensor:
        x = self.norm_up(self.into(self.norm(hidden))).unflatten(1, grid)
        x = self.up(x.movedim(-1, 1)).flatten(2).transpose(1, 2)
        x = x if where is None else x[where]
        return self.out(self.norm_out(self.conv(x)))

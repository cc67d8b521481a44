"""From the width of a vision encoder to the width of a backbone."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

from torch import nn


def mlp(*widths: int, act: Callable[[], nn.Module] = nn.GELU, of: type[nn.Linear] = nn.Linear) -> nn.Sequential:
    """Linear layers (`of` this class) from each width to the next with exact GELUs (or `act`) between them: layer i is
    number 2 i.

    LLaVA's `mlp2x_gelu`, Janus' `MlpProjector` and its image head. [..., widths[0]] -> [..., widths[-1]].
    """
    layers: list[nn.Module] = []
    for width_in, width_out in pairwise(widths):
        layers += [act(), of(width_in, width_out)]
    return nn.Sequential(*layers[1:])

"""Chance as recorded: what was drawn, in the order it was drawn."""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from diptych.canvas import Draws


class Tape(Draws):
    """Replays `uniform`, `normal` and `exponential` draws; asking for more than was recorded is an error."""

    def __init__(self, **kinds: Iterable[Tensor]):
        super().__init__([])
        self.kinds = {kind: iter(draws) for kind, draws in kinds.items()}

    def only(self, samples: Sequence[int]) -> Draws:
        return self

    def uniform(self, rows: Sequence[int], *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
        return self._next("uniform", rows, shape, dtype)

    def normal(self, rows: Sequence[int], *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
        return self._next("normal", rows, shape, dtype)

    def exponential(self, rows: Sequence[int], *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
        return self._next("exponential", rows, shape, dtype)

    def _next(self, kind: str, rows: Sequence[int], shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        return next(self.kinds[kind]).reshape(len(rows), *shape).to(dtype)

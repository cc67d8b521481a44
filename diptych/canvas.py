"""What is written on: the canvas, one visit to it, where chance comes from, and the door between canvas and backbone.

Text and images are written by the same act: a canvas of blank slots is visited again and again, each visit letting
the backbone look at context and canvas and settling (or moving) some slots, until none is open.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from diptych.backbone.foreseen import Foresight
from diptych.backbone.packing import Span


class Step(NamedTuple):
    """One visit.

    index: its number; feed: which of the port's tokens go in (one at a time from left to right);
    left:  slots still open afterwards; Int[B] where rows differ (inpainting); take: how many take their turn,
           instead of `left`, where a slot may stay open although its turn was used (MMaDA's text);
    reach: slots from here on may not be settled yet (text in blocks); heat: the share of chance in "surest";
    time, next: flow time now and afterwards, Float[B] where rows differ; seen: the time at which the backbone last saw
           the canvas, where that is not now (lazy writers); keep: what is fed stays in the context;
    stale: by approximation only the port's tokens from this one on are computed, over keys that the last visit with
           `renew` found; None: everything is computed, and nothing is approximate.
    """

    index: int = 0
    feed: slice = slice(None)
    left: int | Tensor = 0
    take: int | Tensor | None = None
    reach: int | None = None
    heat: float = 0.0
    time: float | Tensor = 0.0
    next: float | Tensor = 0.0
    keep: bool = False
    seen: float | Tensor | None = None
    stale: int | None = None
    renew: bool = False


@dataclass
class Canvas:
    """The span being written, N slots a row.

    value: codes Int[B, N], codes in depth Int[B, N, K], or latents Float[B, N, C];
    known: Bool[B, N], settled; rank: Float[B, N], slots are settled from high to low where the order is fixed;
    turn:  Bool[B, N], whose turn it is in this visit, where that is known beforehand;
    grid:  the slots' shape, (N,) for text and (height, width) for images; done: Bool[B], rows that have ended;
    memo:  what an objective's `corrupt` hands to its `loss` (the noise that was mixed in);
    given: Bool[B, N], known before the first visit.
    """

    value: Tensor
    known: Tensor
    rank: Tensor
    grid: tuple[int, ...]
    done: Tensor
    turn: Tensor | None = None
    memo: Any = None
    given: Tensor | None = None

    @property
    def slots(self) -> int:
        return self.known.shape[1]

    def eligible(self, step: Step) -> Tensor:
        """Bool[B, N]: the open slots that this visit may settle."""
        if step.reach is None:
            return ~self.known
        return ~self.known & (torch.arange(self.slots, device=self.known.device) < step.reach)

    def without(self, slots: Tensor) -> Canvas:
        """The canvas but for these slots, Bool[N]."""
        keep = ~slots.to(self.known.device)
        shape = (int(keep.sum()),)
        return replace(self, value=self.value[:, keep], known=self.known[:, keep], rank=self.rank[:, keep], grid=shape)


class Given(NamedTuple):
    """What stands on a canvas before the first visit: value Int[..., N] or Float[..., N, C], known Bool[..., N]."""

    value: Tensor
    known: Tensor


class Draws:
    """One CPU generator a sample, so that a result depends on neither device nor neighbours.

    `rows` says to which sample each draw belongs; draws of one sample must stand together.
    """

    def __init__(self, seeds: Sequence[int]):
        self.generators = [torch.Generator().manual_seed(int(seed)) for seed in seeds]

    def only(self, samples: Sequence[int]) -> Draws:
        """The generators of these samples, as samples 0, 1, ... of their own."""
        own = Draws(())
        own.generators = [self.generators[i] for i in samples]
        return own

    def uniform(self, rows: Sequence[int], *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
        """In [0, 1), [len(rows), *shape], on the CPU."""
        return self._draw(rows, shape, dtype, lambda t, g: t.uniform_(generator=g))

    def normal(self, rows: Sequence[int], *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
        return self._draw(rows, shape, dtype, lambda t, g: t.normal_(generator=g))

    def exponential(self, rows: Sequence[int], *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
        return self._draw(rows, shape, dtype, lambda t, g: t.exponential_(generator=g))

    def _draw(self, rows: Sequence[int], shape: tuple[int, ...], dtype: torch.dtype, fill: Callable) -> Tensor:
        out = torch.empty(len(rows), *shape, dtype=dtype)
        begin = 0
        for end in range(1, len(rows) + 1):
            if end == len(rows) or rows[end] != rows[begin]:
                fill(out[begin:end], self.generators[rows[begin]])
                begin = end
        return out


class Port(nn.Module, ABC):
    """The door between a canvas and the backbone.

    span: how its tokens stand in the context. lag = 1: a slot is foretold by the token before it, so nothing need be
    fed before the first.
    """

    span: Span = Span()
    lag: int = 0

    @abstractmethod
    def embed(self, canvas: Canvas, step: Step) -> tuple[Tensor, Any]:
        """-> tokens [B, n, D], and what the way out needs from the way in (a pytree of [B, ...] tensors, or None).
        Where the guidance branches see different canvases, tokens are [G * B, n, D]."""

    @abstractmethod
    def head(self, hidden: Tensor, memo: Any, where: Tensor | None = None) -> Tensor:
        """hidden [R, n, D] -> condition [R, m, C]; with `where` Bool[R, m] only those, [k, C] (training)."""

    def spans(self, n: int) -> list[tuple[int, Span]]:
        """How n tokens are cut into spans; alike in every row."""
        return [(n, self.span)]


def selected(hidden: Tensor, where: Tensor | None) -> Tensor:
    """hidden [R, m, D], or the [k, D] of it that `where` Bool[R, m] names."""
    return hidden if where is None else hidden[where]


class Drawn(NamedTuple):
    """What an objective drew in one visit.

    values [B, m, ...] for the last-fed m slots or all N; score [B, m] ranks them (None: every slot moves);
    stays_open Bool[B, m]: slots whose draw leaves them open; rewrites: the values go to settled slots as well.
    """

    values: Tensor
    score: Tensor | None = None
    stays_open: Tensor | None = None
    rewrites: bool = False


Guide = Callable[[Tensor, Canvas, Step], Tensor]  # the branches [G, B, m, C] -> [B, m, C]
Schedule = Callable[[Canvas], Iterator[Step]]  # the canvas as it is at the start -> visits


class Objective(Protocol):
    """What a slot is: how it is blank, drawn, spoilt for training and judged."""

    def blank(self, batch: int, grid: tuple[int, ...], draws: Draws, device: Any) -> Tensor: ...

    def draw(self, parts: Tensor, canvas: Canvas, step: Step, guide: Guide, draws: Draws) -> Drawn:
        """parts [G, B, m, C], one per guidance branch ([G, k, C] where the writer focuses). The objective says what
        of it is guided: logits, velocity or noise."""
        ...

    def corrupt(self, target: Tensor, grid: tuple[int, ...], draws: Draws) -> tuple[Canvas, Step]: ...

    def learned(self, canvas: Canvas) -> Tensor | None:
        """Bool[B, N]: slots whose prediction is learned; None: all."""
        ...

    def loss(self, condition: Tensor, target: Tensor, canvas: Canvas, step: Step) -> Tensor:
        """condition [k, C] where `learned` names slots, else [B, N, C]; target [B, N, ...] -> a scalar mean."""
        ...


@dataclass
class Writer:
    """How a model writes one modality. order: raster | random | surest.

    focus: the head runs only on slots that the visit may settle, and the objective gets their conditions as
    [G, k, C]. It saves a large vocabulary's logits; what is drawn is the same, but fewer random numbers are asked for.
    lazy: a canvas that the last visit did not change is not shown again.
    needs: (step, branches) -> of how many branches, from the first on, the guide reads this visit's predictions; only
    those are computed. None: of all.
    foresight: by approximation some visits are extrapolated from those before (backbone/foreseen.py); None: none.
    """

    port: Port
    objective: Objective
    schedule: Schedule
    guide: Guide
    order: str = "raster"
    stop: Callable[[Canvas, Step], Tensor] | None = None  # -> Bool[B]: rows that have ended
    focus: bool = False
    lazy: bool = False
    needs: Callable[[Step, int], int] | None = None
    foresight: Foresight | None = None

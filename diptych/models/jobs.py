"""Pictures to be made: what each is made from, and who is told how far they are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from PIL import Image as Pillow

from diptych.canvas import Canvas, Given
from diptych.errors import InputError
from diptych.models.family import Dialogue
from diptych.models.network import Ids, Network
from diptych.models.painting import sketch
from diptych.samplers.conversation import Watch
from diptych.types import Request

Progress = Callable[[int, int], None]
Preview = Callable[[int, Pillow.Image], None]


class Job(NamedTuple):
    """One picture to be made. start: what of its canvas is there already; said: what the model has thought about it."""

    request: Request
    seed: int
    start: Given | None = None
    said: tuple[Ids, ...] = ()


def jobs_of(
    requests: Sequence[Request], n: int, seed: int | Sequence[int], starts: Sequence[Given] | None = None
) -> list[Job]:
    """`n` jobs a request, with seeds from its own on."""
    n = several(n)
    begun, seeds = starts or [None] * len(requests), seeds_of(seed, len(requests))
    asked = zip(requests, seeds, begun, strict=True)
    return [Job(request, first + k, start) for request, first, start in asked for k in range(n)]


def several(n: int) -> int:
    """How many pictures a request may ask for. Raises InputError for another number."""
    if not 1 <= n <= 1024:
        raise InputError(f"n must lie in 1..1024, not {n}")
    return n


def seeds_of(seed: int | Sequence[int], count: int) -> list[int]:
    seeds = [seed] * count if isinstance(seed, int) else list(seed)
    if len(seeds) != count:
        raise InputError(f"{len(seeds)} seeds for {count} requests; give one, or one for each")
    return seeds


def given_text(text: str | Sequence[str], complaint: str) -> list[str]:
    texts = [text] if isinstance(text, str) else list(text)
    if any(not isinstance(t, str) or not t.strip() for t in texts):
        raise InputError(complaint)
    return texts


@dataclass(frozen=True)
class Watched:
    """Who wants to hear of the work on many pictures."""

    progress: Progress | None = None
    preview: Preview | None = None
    every: int = 8

    def of(self, network: Network, dialogue: Dialogue, begin: int, size: int, jobs: int) -> Watch | None:
        """For one batch: its share of the whole, as if each visit wrote as many slots, and its pictures so far."""
        if self.progress is None and self.preview is None:
            return None

        def watch(visit: int, visits: int, canvas: Canvas) -> None:
            if self.progress is not None:
                self.progress(begin * canvas.slots + canvas.slots * size * visit // visits, jobs * canvas.slots)
            if self.preview is not None and visit % self.every == 0:
                for row in range(size):
                    self.preview(begin + row, sketch(network, dialogue, canvas, row))

        return watch

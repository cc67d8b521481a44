"""`local:clip`: how near each picture is to its prompt. The plain cosine; CLIPScore is 2.5 times it, never below 0."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from diptych.evaluation.benchmark import Benchmark, Row
from diptych.evaluation.features import cosines
from diptych.evaluation.judges.asking import stand_in
from diptych.evaluation.networks import CLIP, Clip

PREFIX = "A photo depicts "  # before every caption, as CLIPScore has it


@dataclass(frozen=True)
class Matcher:
    """Cosines by one CLIP. CLIPScore's own is ViT-B/32."""

    kind: str
    network: Clip

    @property
    def official(self) -> bool:
        return self.network.id == CLIP

    @property
    def id(self) -> str:
        return stand_in(f"local:{self.network.id}", self.official, (CLIP,))

    def see(self, row: Row, images: Sequence[Path], reply: str = "") -> list[float]:
        seen, read = self.network.images(list(images)), self.network.texts([PREFIX + row.prompt])
        return [float(value) for value in cosines(seen, read)]


def clip(models: Sequence[str], benchmark: Benchmark, data: Path | None) -> Matcher:
    return Matcher(benchmark.evidence, Clip(models[0]))

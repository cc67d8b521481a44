"""Evidence that somebody recorded before, so that scoring needs no model and old findings can be scored anew.

A file is one JSON object, evidence by row id, or JSON lines `{"id": ..., "evidence": ...}`; lines may say who saw it
(`"judge": "gpt-4o"`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diptych.errors import BenchmarkError
from diptych.evaluation.benchmark import Benchmark, Row
from diptych.evaluation.files import read_json, read_json_lines, take


@dataclass(frozen=True)
class Replay:
    """Answers from a file."""

    path: Path
    kind: str
    evidence: Mapping[str, Any]
    recorded: str = ""  # who saw it, if the file says so
    official: bool = False

    @property
    def id(self) -> str:
        by = f", seen by {self.recorded}" if self.recorded else ""
        return f"replay:{self.path.name}{by}"

    def see(self, row: Row, images: Sequence[Path], reply: str = "") -> Any:
        if row.id not in self.evidence:
            raise BenchmarkError(f"{self.path} has no evidence on row {row.id!r}; judge it, or leave the row out")
        return self.evidence[row.id]


def make(rest: str, benchmark: Benchmark, data: Path | None) -> Replay:
    """The judge of a file. Raises `BenchmarkError` if it is missing or of another form."""
    path = Path(rest)
    if path.suffix != ".jsonl":
        return Replay(path, benchmark.evidence, read_json(path))
    records = read_json_lines(path)
    evidence = {str(take(record, "id", path)): take(record, "evidence", path) for record in records}
    seen_by = sorted({str(record["judge"]) for record in records if "judge" in record})
    return Replay(path, benchmark.evidence, evidence, " and ".join(seen_by))

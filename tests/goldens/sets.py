"""Golden scores: inputs and the scores that the official code gave for them, in groups, one `golden.json` a benchmark.

They lie under $DIPTYCH_GOLDENS, else in `../shared/benchmarks` beside the checkout, else in
`tests/fixtures/benchmarks`.
"""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
FIXTURES = ROOT / "tests" / "fixtures" / "benchmarks"


@dataclass(frozen=True)
class Group:
    """The cases of one official function."""

    folder: Path
    function: str
    tolerance: float
    cases: tuple[dict[str, Any], ...]

    @property
    def benchmark(self) -> str:
        return self.folder.name

    def __str__(self) -> str:
        return f"{self.benchmark}-{self.function}"


def root() -> Path:
    """The folder that holds the sets."""
    if stated := os.environ.get("DIPTYCH_GOLDENS"):
        return Path(stated)
    beside = ROOT.parent / "shared" / "benchmarks"
    return beside if beside.is_dir() else FIXTURES


def folder_of(benchmark: str) -> Path:
    """The folder of a benchmark's set, where files that its cases name lie."""
    return next(file.parent for file in sorted(root().rglob("golden.json")) if file.parent.name == benchmark)


def groups(under: Path | None = None) -> list[Group]:
    """Every group of every set there is, in order of name."""
    found = []
    for file in sorted((under or root()).rglob("golden.json")):
        for group in json.loads(file.read_text(encoding="utf-8"), object_hook=_floats)["groups"]:
            found.append(Group(file.parent, group["function"], group["abs_tol"], tuple(group["cases"])))
    return found


def _floats(value: dict[str, Any]) -> Any:
    """`{"__float__": "nan"}` stands for a number that JSON cannot write."""
    return float(value["__float__"]) if set(value) == {"__float__"} else value

"""Which benchmarks of the catalogue are scored here, and whether that is proven. Read as source, as families are."""

import ast
from functools import cache
from pathlib import Path
from typing import NamedTuple

from diptych.catalogue.records import Benchmark, Entry

ROOM = Path(__file__).parents[1] / "evaluation" / "benchmarks"
# By record: the names of its scorers in `evaluation.benchmarks`.
SCORERS = {
    "gqa": ("gqa",),
    "drawbench": ("drawbench",),
    "partiprompts": ("partiprompts",),
    "tifa": ("tifa",),
    "mmbench": ("mmbench",),
    "t2i-compbench": ("t2icompbench",),
    "seed-bench": ("seedbench",),
    "mm-vet": ("mmvet",),
    "geneval": ("geneval",),
    "dsg-1k": ("dsg",),
    "mmmu": ("mmmu",),
    "dpg-bench": ("dpgbench",),
    "genai-bench": ("genai-bench",),
    "gedit-bench": ("gedit",),
    "unibench": ("unieval",),
    "kris-bench": ("kris",),
    "imgedit-bench": ("imgedit",),
    "wise": ("wise", "wise-verified"),
    "oneig-bench": ("oneig",),
    "genexam": ("genexam",),
}


class Scorer(NamedTuple):
    """verified: equal to the official scorer on golden values; else written by the published rule alone."""

    name: str
    verified: bool

    @property
    def command(self) -> str:
        return f"diptych eval MODEL --bench {self.name} --data DIR"


def scorers(record: Entry) -> tuple[Scorer, ...]:
    """What scores a benchmark here; nothing of other records."""
    names = SCORERS.get(record.id, ()) if isinstance(record, Benchmark) else ()
    return tuple(Scorer(name, name not in unverified()) for name in names)


@cache
def homes() -> dict[str, str]:
    """The file that holds each scorer."""
    tree = ast.parse((ROOM / "__init__.py").read_text(encoding="utf-8"))
    (found,) = (n.value for n in tree.body if isinstance(n, ast.Assign) and ast.unparse(n.targets[0]) == "HOMES")
    return ast.literal_eval(found)


@cache
def unverified() -> frozenset[str]:
    """Scorers whose file says `verified=False`."""
    marked = {home for home in set(homes().values()) if _marked(ROOM / f"{home}.py")}
    return frozenset(name for name, home in homes().items() if home in marked)


def _marked(file: Path) -> bool:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    return any(
        isinstance(n, ast.keyword) and n.arg == "verified" and ast.unparse(n.value) == "False" for n in ast.walk(tree)
    )

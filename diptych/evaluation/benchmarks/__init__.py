"""The benchmarks, found by name: `find("pope")`, `names()`.

Each file holds one benchmark or a close family: pure scoring functions, and the `BENCHMARKS` made of them.
"""

from difflib import get_close_matches
from importlib import import_module

from diptych.errors import BenchmarkError
from diptych.evaluation.benchmark import Benchmark

# The file that holds each benchmark; files are imported when they are asked for.
HOMES = {
    "pope": "pope",
    "mme": "mme",
    "mmbench": "mmbench",
    "seedbench": "seedbench",
    "mmvet": "mmvet",
    "vqav2": "vqa",
    "textvqa": "vqa",
    "gqa": "gqa",
    "mmmu": "mmmu",
    "mathvista": "mathvista",
    "dsg": "questions",
    "dpgbench": "questions",
    "tifa": "questions",
    "geneval": "geneval",
    "wise": "wise",
    "wise-verified": "wise",
    "t2icompbench": "t2icompbench",
    "oneig": "oneig",
    "imgedit": "imgedit",
    "gedit": "gedit",
    "kris": "kris",
    "rise": "rise",
    "genexam": "genexam",
    "unieval": "unieval",
    "caption": "caption",
    "ai2d": "lettered",
    "scienceqa": "lettered",
    "mmstar": "lettered",
    "realworldqa": "lettered",
    "docvqa": "documents",
    "infovqa": "documents",
    "chartqa": "documents",
    "ocrbench": "documents",
    "hallusionbench": "hallusion",
    "genai-bench": "matched",
    "partiprompts": "matched",
    "drawbench": "matched",
    "emoji-draw": "emoji",
    "emoji-ask": "emoji",
    "emoji-edit": "emoji",
    "emoji-self": "emoji",
}


def names() -> list[str]:
    return list(HOMES)


def find(name: str) -> Benchmark:
    """The benchmark of this name. Raises `BenchmarkError` if there is none."""
    if name not in HOMES:
        close = get_close_matches(name.casefold(), HOMES, n=1, cutoff=0.5)
        meant = f"did you mean {close[0]!r}? " if close else ""
        raise BenchmarkError(f"unknown benchmark {name!r}; {meant}choose one of {', '.join(HOMES)}")
    return import_module(f"{__name__}.{HOMES[name]}").BENCHMARKS[name]

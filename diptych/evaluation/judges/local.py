"""`local:NAME`: models that run here, through transformers (the extra `eval`).

    local:mask2former                      GenEval: Mask2Former finds, CLIP names colours
    local:blip-vqa                         yes-or-no questions, TIFA, VQAScore
    local:qwen2.5-vl                       whatever is asked in words, VQAScore
    local:clip                             cosines of pictures and prompts

`local:NAME=MODEL` takes another model of that kind, a folder or a hub id; GenEval takes two, `=DETECTOR,CLIP`. Only
safetensors are read, and no code of a model's folder is run.
"""

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from diptych.errors import BenchmarkError
from diptych.evaluation.benchmark import Benchmark
from diptych.evaluation.judges import asking

YES_OR_NO = ("dsg", "dpgbench", "tifa")
MATCHED = ("partiprompts", "drawbench")  # prompts without a judge of their own: pictures are matched with them


class Local(NamedTuple):
    """A kind of local model: its models unless others are named, what it judges, and the function that makes it."""

    models: tuple[str, ...]
    benchmarks: tuple[str, ...]
    home: str  # module:function


KINDS = {
    "mask2former": Local(
        ("facebook/mask2former-swin-small-coco-instance", "openai/clip-vit-large-patch14"),
        ("geneval",),
        "detecting:make",
    ),
    "blip-vqa": Local(("Salesforce/blip-vqa-capfilt-large",), (*YES_OR_NO, "genai-bench"), "answering:blip"),
    "qwen2.5-vl": Local(("Qwen/Qwen2.5-VL-7B-Instruct",), (*asking.HOMES, "genai-bench"), "answering:chat"),
    "clip": Local(("openai/clip-vit-base-patch32",), MATCHED, "matching:clip"),
}


def names(benchmark: Benchmark) -> list[str]:
    """The kinds that can judge a benchmark."""
    return [name for name, kind in KINDS.items() if benchmark.name in kind.benchmarks]


def make(rest: str, benchmark: Benchmark, data: Path | None) -> Any:
    """The judge of `NAME` or `NAME=MODEL[,MODEL]`. Raises `BenchmarkError` where a model cannot be loaded."""
    name, given, listed = rest.partition("=")
    kind = KINDS[name]
    models = tuple(model.strip() for model in listed.split(",")) if given else kind.models
    if len(models) != len(kind.models) or not all(models):
        raise BenchmarkError(
            f"local:{name} takes {len(kind.models)} models (as {','.join(kind.models)}), not {listed!r}"
        )
    module, _, function = kind.home.partition(":")
    maker: Callable[..., Any] = getattr(import_module(f"diptych.evaluation.judges.{module}"), function)
    return maker(models, benchmark, data)

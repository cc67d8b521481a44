"""Options that several commands share, alone and in groups, and how their texts become values.

A group is a dataclass: a command with a parameter of its kind has all its options (`console.command` sees to it).
"""

import re
from dataclasses import dataclass
from typing import Annotated, Any, Never, TypeAlias

import typer

from diptych.errors import InputError

DEFAULT_MODEL = "janus-emoji"

Model: TypeAlias = Annotated[
    str, typer.Option("--model", "-m", help="Built-in name, folder in its published layout, or hub id.")
]
Device: TypeAlias = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 ...")]
Dtype: TypeAlias = Annotated[str, typer.Option(help="auto, float32, bfloat16 or float16.")]
Seed: TypeAlias = Annotated[int, typer.Option(min=0, help="Same seed, same result.")]
Count: TypeAlias = Annotated[int, typer.Option("--n", "-n", min=1, max=1024, help="Pictures for each prompt.")]
Guidance: TypeAlias = Annotated[float | None, typer.Option(help="Strength of guidance; the model's own by default.")]
Temperature: TypeAlias = Annotated[
    float | None, typer.Option(help="0 takes the likeliest; the model's own by default.")
]
Steps: TypeAlias = Annotated[
    int | None, typer.Option(min=1, help="Visits to the canvas, where the model has a choice.")
]
Size: TypeAlias = Annotated[str | None, typer.Option(metavar="WIDTHxHEIGHT", help="Where the model has a choice.")]
MaxTokens: TypeAlias = Annotated[int, typer.Option(min=1, help="Longest answer, in tokens.")]
TopP: TypeAlias = Annotated[float, typer.Option(help="Nucleus of sampling, where the temperature is above 0.")]
Quantize: TypeAlias = Annotated[
    str | None,
    typer.Option(metavar="int8|int8-dynamic|int4", help="Round the language model's weights, to fit into less memory."),
]
Offload: TypeAlias = Annotated[
    bool, typer.Option("--offload", help="Keep its layers in the CPU's memory, to fit a smaller GPU; slower.")
]
Think: TypeAlias = Annotated[bool, typer.Option("--think", help="Let it think first, where it has learned that.")]
Interval: TypeAlias = Annotated[
    str | None, typer.Option(metavar="FROM-TO", help="Times in 0-1 at which guidance acts (flow matching).")
]
Renorm: TypeAlias = Annotated[
    str | None, typer.Option(metavar="global|channel|text_channel", help="How guidance keeps its norm (BAGEL).")
]
Shift: TypeAlias = Annotated[float | None, typer.Option(help="How far times bend towards noise (flow matching).")]
Foresee: TypeAlias = Annotated[
    int | None, typer.Option(min=1, help="Compute each so many-th visit only, guess the others: faster, approximate.")
]
Json: TypeAlias = Annotated[bool, typer.Option("--json", help="Print one JSON object, for programs.")]
Film: TypeAlias = Annotated[
    str | None, typer.Option(metavar="FILE.png", help="Also the first picture step by step, as a strip.")
]
Out: TypeAlias = Annotated[str, typer.Option("--out", "-o", help="Folder, or one .png file.")]


def parse_size(text: str | None) -> tuple[int, int] | None:
    """`512x384` (width x height) or `384` (square) as (height, width). Raises InputError for anything else."""
    if text is None:
        return None
    match = re.fullmatch(r"(\d{1,5})(?:[xX×](\d{1,5}))?", text.strip())
    width = int(match[1]) if match else 0
    height = int(match[2] or width) if match else 0
    if not width or not height:
        raise InputError(f"size {text!r} is not of the form 512x384 (width x height) or 384")
    return height, width


def parse_interval(text: str | None) -> tuple[float, float] | None:
    """`0.4-1` as (0.4, 1.0). Raises InputError for anything else."""
    if text is None:
        return None
    match = re.fullmatch(r"([\d.]+)\s*[-,]\s*([\d.]+)", text.strip())
    try:
        return (float(match[1]), float(match[2])) if match else _no_interval(text)
    except ValueError:
        return _no_interval(text)


def _no_interval(text: str) -> Never:
    raise InputError(f"interval {text!r} is not of the form 0.4-1.0, two times in 0-1") from None


def given(**options: Any) -> dict[str, Any]:
    """The options that were given; what was not is left to the model's published defaults."""
    return {name: value for name, value in options.items() if value is not None and value is not False}


@dataclass(frozen=True)
class Placing:
    """Where a model computes, and in how much memory."""

    device: Device = "auto"
    dtype: Dtype = "auto"
    quantize: Quantize = None
    offload: Offload = False


@dataclass(frozen=True)
class Talking:
    """How words are answered."""

    max_tokens: MaxTokens = 512
    temperature: Annotated[float, typer.Option(min=0.0, help="0 takes the likeliest word.")] = 0.0
    top_p: TopP = 1.0
    seed: Seed = 0
    think: Think = False

    def chosen(self) -> dict[str, Any]:
        return given(**vars(self))


@dataclass(frozen=True)
class Filling:
    """How what is missing of a picture is made."""

    guidance: Guidance = None
    temperature: Temperature = None
    steps: Steps = None

    def chosen(self) -> dict[str, Any]:
        return given(**vars(self))


@dataclass(frozen=True)
class Drawing(Filling):
    """How pictures are made. Raises InputError for a size or an interval of another form."""

    size: Size = None
    interval: Interval = None
    renorm: Renorm = None
    shift: Shift = None
    foresee: Foresee = None
    think: Think = False

    def chosen(self) -> dict[str, Any]:
        return given(**{**vars(self), "size": parse_size(self.size), "interval": parse_interval(self.interval)})

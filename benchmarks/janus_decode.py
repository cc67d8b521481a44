"""How fast Janus decodes here and in transformers: image tokens with guidance, and text.

    python -m benchmarks.janus_decode [--tokens 64] [--repeats 7] [--threads 2] [--json]

Both sides have the same random weights at the sizes of recipes/janus-emoji and start from the same prompt; a run is
timed from the prompt's ids to the last token, prefill included, pixels not. Runs of the two sides take turns, and the
ratio is taken run by run, so that whatever else the machine does meets both. The image tokenizer and the vision encoder
take no part in it; they are as near to the recipe as transformers' configs allow (32 normalisation groups, no
convolutional stem). Sampling is on for pictures, as in use; before that both write greedily, and whether they write
the same is part of the report.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
import transformers
from rich.console import Console
from rich.table import Table
from torch import Tensor

import diptych
from diptych.canvas import Draws
from diptych.models.family import Options
from diptych.models.janus import Janus, JanusDialogue, JanusNetwork
from diptych.models.janus_converted import JanusConverted
from diptych.models.registry import read_config
from diptych.samplers.conversation import draw, say, write
from diptych.tokenizers.text import TextTokenizer
from diptych.types import Request
from tests.models.their_janus import their_config

RECIPE = Path(__file__).parents[1] / "recipes" / "janus-emoji"
PROMPT = "a red circle above a blue square, and a small green star to the left of both"
GUIDANCE = 3.0
Run = Callable[[bool], Tensor]  # greedy? -> tokens [B, n]


# --- the two sides -------------------------------------------------------------------------------------------


@dataclass
class Sides:
    """One set of weights, twice."""

    ours: JanusNetwork
    dialogue: JanusDialogue
    theirs: Any

    @property
    def device(self) -> torch.device:
        return self.ours.device


def sides(tokens: int, device: str, dtype: torch.dtype) -> Sides:
    torch.manual_seed(0)
    official, special = read_config(RECIPE), TextTokenizer(RECIPE).special
    marks = {"bos": "<｜begin▁of▁sentence｜>", "eos": "<｜end▁of▁sentence｜>", "pad": "<｜▁pad▁｜>"}
    ids = {f"{role}_token_id": special(name) for role, name in marks.items()}
    tied = official["language_config"]["tie_word_embeddings"]
    config = their_config(official, tokens, ids, tie_word_embeddings=tied)
    theirs: Any = transformers.JanusForConditionalGeneration(config).eval()
    theirs.generation_config.generation_kwargs = {"boi_token_id": special("<begin_of_image>")}
    stated = config.to_dict()
    ours = JanusConverted.build(stated)
    ours.load_state_dict(JanusConverted.layout(stated).read(theirs.state_dict()))
    ours.requires_grad_(False).eval().to(device, dtype)
    return Sides(ours, Janus.dialogue(RECIPE, official, ours), theirs.to(device, dtype))


def our_images(pair: Sides, images: int, tokens: int) -> Run:
    def run(greedy: bool) -> Tensor:
        options = Options(guidance=GUIDANCE, temperature=0.0 if greedy else 1.0)
        request = Request.of(PROMPT, "image")
        rows = [pair.dialogue.render(request, (), branch) for branch in ("full", "no_text") for _ in range(images)]
        context = say(pair.ours.backbone, pair.ours.read(rows), room=tokens)
        return draw(context, pair.dialogue.image(options), (tokens, 1), 2, Draws(range(images))).value

    return run


def their_images(pair: Sides, images: int, tokens: int) -> Run:
    (piece,) = pair.dialogue.render(Request.of(PROMPT, "image"))
    prompt = torch.tensor([piece[0]] * images, device=pair.device)

    def run(greedy: bool) -> Tensor:
        return pair.theirs.generate(
            prompt,
            attention_mask=torch.ones_like(prompt),
            generation_mode="image",
            do_sample=not greedy,
            guidance_scale=GUIDANCE,
            max_length=prompt.shape[1] + tokens,
        )

    return run


def our_text(pair: Sides, tokens: int) -> Run:
    writer = replace(pair.dialogue.text(Options()), stop=None)  # to the full length

    def run(greedy: bool) -> Tensor:
        rows = [pair.dialogue.render(Request.of(PROMPT))]
        context = say(pair.ours.backbone, pair.ours.read(rows), room=tokens)
        *_, (_, canvas) = write(context, writer, tokens, Draws([0]))
        return canvas.value

    return run


def their_text(pair: Sides, tokens: int) -> Run:
    (piece,) = pair.dialogue.render(Request.of(PROMPT))
    prompt = torch.tensor([piece[0]], device=pair.device)

    def run(greedy: bool) -> Tensor:
        written = pair.theirs.generate(
            prompt,
            attention_mask=torch.ones_like(prompt),
            do_sample=False,
            max_new_tokens=tokens,
            eos_token_id=-1,  # to the full length
        )
        return written[:, prompt.shape[1] :]

    return run


# --- taking time ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Spread:
    """Median, least and largest."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: list[float]) -> Spread:
        return cls(statistics.median(values), min(values), max(values))

    def shown(self, digits: int) -> str:
        return f"{self.median:,.{digits}f}  ({self.low:,.{digits}f} to {self.high:,.{digits}f})"


@dataclass(frozen=True)
class Result:
    """What was written, tokens per second of both sides, and how many times faster we are."""

    task: str
    tokens: int
    same_when_greedy: bool
    diptych: Spread
    transformers: Spread
    ratio: Spread


def seconds(run: Run, device: torch.device) -> float:
    began = time.perf_counter()
    run(False)
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - began


@torch.inference_mode()
def compared(task: str, ours: Run, theirs: Run, repeats: int, device: torch.device) -> Result:
    """Turn by turn, each side first every other time. The greedy runs before are the warm-up."""
    one, other = ours(True), theirs(True)
    same, tokens = one.shape == other.shape and bool((one == other).all()), one.numel()
    times: dict[Run, list[float]] = {ours: [], theirs: []}
    for turn in range(repeats):
        for run in (ours, theirs) if turn % 2 == 0 else (theirs, ours):
            times[run].append(seconds(run, device))
    rates = [Spread.of([tokens / t for t in times[run]]) for run in (ours, theirs)]
    ratio = Spread.of([slow / fast for fast, slow in zip(times[ours], times[theirs], strict=True)])
    return Result(task, tokens, same, *rates, ratio)


def measured(pair: Sides, tokens: int, repeats: int) -> list[Result]:
    results = []
    for images in (1, 8):
        runs = our_images(pair, images, tokens), their_images(pair, images, tokens)
        results.append(compared(f"image tokens, {images} at once", *runs, repeats, pair.device))
    runs = our_text(pair, tokens), their_text(pair, tokens)
    return [*results, compared("text tokens", *runs, repeats, pair.device)]


# --- report --------------------------------------------------------------------------------------------------


def facts(options: argparse.Namespace) -> dict[str, Any]:
    versions = {"diptych": diptych.__version__, "transformers": transformers.__version__, "torch": torch.__version__}
    return versions | {"python": platform.python_version(), "processor": platform.machine()} | vars(options)


def table(results: list[Result], about: dict[str, Any]) -> Table:
    keys = ("torch", "transformers", "device", "dtype", "threads", "repeats")
    title = ", ".join(f"{key} {about[key]}" for key in keys)
    shown = Table("", "same tokens", "diptych, tokens/s", "transformers, tokens/s", "times faster", title=title)
    for result in results:
        ours, theirs = result.diptych.shown(0), result.transformers.shown(0)
        same = "yes" if result.same_when_greedy else "no"
        shown.add_row(f"{result.task} ({result.tokens})", same, ours, theirs, result.ratio.shown(2))
    return shown


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--tokens", type=int, default=64, help="tokens a picture or text (64 is the recipe's picture)")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32", choices=("float32", "bfloat16", "float16"))
    parser.add_argument("--json", action="store_true", help="print figures as JSON")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    transformers.logging.set_verbosity_error()
    pair = sides(options.tokens, options.device, getattr(torch, options.dtype))
    results, about = measured(pair, options.tokens, options.repeats), facts(options)
    if options.json:
        print(json.dumps({"about": about, "results": [asdict(result) for result in results]}, indent=1))
    else:
        Console().print(table(results, about))


if __name__ == "__main__":
    main()

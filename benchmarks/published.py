"""What one picture and one answer would take on this machine at the published sizes of the families that diffuse.

    python -m benchmarks.published [show_o mmada ...] [--quick] [--threads 2] [--more 2]

AN EXTRAPOLATION, with random weights and without any download: no whole model is ever run. A network is built at the
published widths (`published_sizes`), its language model with one layer, and once more with `--more` layers more;
all else (vision encoder, U-ViT, flow head, diffusion head, MAR, CLIP's tower, tokenizer) at its full depth. Through the
family's own dialogue and writers, of its default visits a few are timed, spread evenly over the schedule, each on a
canvas as that visit would find it (so many slots settled, as many guidance branches as it asks for). Then

    seconds = reading + (saying + sum over visits)(one layer) + (layers - 1) * (what a layer more takes) + decoding,

straight in depth and from the timed visits to their neighbours. Reading is what stands before the language model,
saying its prefill. Of a text from left to right a few tokens are timed with half of it said: there one costs the mean.
Decoding, measured once, is by one thread, as the library decodes. Of float32 and bfloat16 that one is taken, for
pictures and answers apart, in which one layer is quicker. Parameters are counted at full depth, without memory.

--quick: one visit, one layer more, bfloat16, no decoding, small pictures where the family draws any: a look, no more.
Run whole and without it, docs/published.json is written.
"""

from __future__ import annotations

import argparse
import gc
import json
import math
import statistics
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import torch
from PIL import Image as Pillow
from rich.console import Console
from rich.table import Table
from torch import Tensor

from benchmarks.harness import machine, seconds
from benchmarks.published_networks import configured, depths_of, described, filled, furnished
from benchmarks.published_sizes import FAMILIES, Published
from diptych.backbone.packing import Segment
from diptych.canvas import Canvas, Draws, Given, Step, Writer
from diptych.models.family import Dialogue, Options
from diptych.models.network import Network, parameter_count
from diptych.models.registry import family
from diptych.samplers.conversation import begun, draw, say, write
from diptych.samplers.loop import blank
from diptych.types import Request, Turn

DRAWING = Request.of("A red bicycle leans on a white wall under a small window, in the evening light.", "image")
SEEN = 512  # pixels a side of the picture that is asked about
ASKING = Request.of(Turn.user(Pillow.new("RGB", (SEEN, SEEN), (90, 60, 200)), "Please describe this image."))
KINDS = (torch.bfloat16, torch.float32)
RESULTS = Path(__file__).parents[1] / "docs" / "published.json"
HEADS = ("family", "picture", "answer", "parameters", "weights in bfloat16", "extrapolated from")


class Amounts(NamedTuple):
    """more: layers by which the second network is deeper; visits: how many are timed of each kind; quick: a look."""

    more: int
    visits: int
    tokens: int
    quick: bool


class Took(NamedTuple):
    """Seconds: before the language model; in it and its writer, over all official visits; visits: their number."""

    reading: float
    rest: float
    visits: int


class Estimate(NamedTuple):
    """Of a picture or an answer. seconds: in all; layer: of it, by one layer; decoding: of it, 0 where left out."""

    seconds: float
    layer: list[float]
    decoding: float
    visits: int
    dtype: str


# --- visits ----------------------------------------------------------------------------------------------------


def chosen(writer: Writer, steps: list[Step], branches: int, count: int) -> Iterator[tuple[int, float]]:
    """Numbers of visits that stand for all, and how many each stands for: of those that ask for as many branches, the
    middles of `count` equal parts."""
    kinds: dict[int, list[int]] = {}
    for number, step in enumerate(steps):
        asked = branches if writer.needs is None else writer.needs(step, branches)
        kinds.setdefault(asked, []).append(number)
    for numbers in kinds.values():
        parts = min(count, len(numbers))
        for part in range(parts):
            yield numbers[int((part + 0.5) * len(numbers) / parts)], len(numbers) / parts


def found(writer: Writer, start: Canvas, steps: list[Step], number: int) -> Given | None:
    """What stands on the canvas when visit `number` comes; None where slots are not settled one by one (flow)."""
    if writer.order == "raster":
        return None
    free = (~start.known[0]).nonzero()[:, 0]
    if steps[0].take is not None:  # blocks, from left to right
        count = sum(int(step.take if step.take is not None else 0) for step in steps[:number])
    else:
        free = free[torch.randperm(len(free), generator=torch.Generator().manual_seed(0))]
        count = len(free) - int(steps[number - 1].left) if number else 0
    known = start.known.clone()
    known[:, free[:count]] = True
    value = start.value if start.value.is_floating_point() else start.value.clamp(min=0)
    return Given(value, known)


def drawn(context: Any, writer: Writer, grid: tuple[int, ...], branches: int, given: Given | None, count: int):
    """Seconds of all visits to a canvas, from a few, and their number."""
    start = begun(blank(writer, 1, grid, Draws([0]), "cpu"), given)
    steps = list(writer.schedule(start))

    def visit(number: int) -> float:
        only = replace(writer, schedule=lambda canvas: iter([steps[number]]), stop=None)
        beforehand = found(writer, start, steps, number)
        return seconds(lambda: draw(context, only, grid, branches, Draws([0]), given=beforehand))

    visit(0)  # not counted
    return sum(visit(number) * weight for number, weight in chosen(writer, steps, branches, count)), len(steps)


def told(backbone: Any, rows: list[list[Segment]], writer: Writer, tokens: int, count: int) -> float:
    """Seconds of a text from left to right, from a few tokens in its middle."""
    half = Segment(backbone.embed(torch.zeros(tokens // 2, dtype=torch.long)))
    context = say(backbone, [[*row, half] for row in rows], room=tokens)
    visits, times = write(context, replace(writer, stop=None), count + 2, Draws([0])), list[float]()
    for _ in range(count + 2):  # the first feeds nothing, the second is not counted
        times.append(seconds(lambda: next(visits)))
    return tokens * statistics.median(times[2:])


@torch.inference_mode()
def timed(network: Network, dialogue: Dialogue, request: Request, options: Options, amounts: Amounts) -> Took:
    """One picture, or one answer, whichever the request wants."""
    picture = request.want == "image"
    writer = dialogue.image(options) if picture else dialogue.text(options)
    names = dialogue.branches(request, options) if picture else dialogue.text_branches(options)
    grid = dialogue.grid(options) if picture else (options.max_tokens,)
    asked = [dialogue.render(request, branch=name) for name in names]
    began = time.perf_counter()
    rows = network.read(asked)
    reading = time.perf_counter() - began
    say(network.backbone, rows)  # not counted
    began = time.perf_counter()
    context = say(network.backbone, rows, room=math.prod(grid))
    saying = time.perf_counter() - began
    given = None if picture else dialogue.given(request)
    if writer.order == "raster" and not picture:
        spoken = told(network.backbone, rows, writer, options.max_tokens, amounts.tokens)
        return Took(reading, saying + spoken, options.max_tokens)
    whole = None if given is None else Given(given.value[None], given.known[None])
    visiting, visits = drawn(context, writer, grid, len(names), whole, amounts.visits)
    return Took(reading, saying + visiting, visits)


@torch.inference_mode()
def decoded(network: Network, dialogue: Dialogue, options: Options) -> float:
    """Seconds from slots to pixels, by one thread."""
    grid, threads = dialogue.grid(options), torch.get_num_threads()
    slots: Tensor = blank(dialogue.image(options), 1, grid, Draws([0]), "cpu").value
    slots = slots.to(network.dtype) if slots.is_floating_point() else slots.clamp(min=0)
    torch.set_num_threads(1)
    try:
        return seconds(lambda: network.decode(slots, grid))
    finally:
        torch.set_num_threads(threads)


# --- families --------------------------------------------------------------------------------------------------


def estimated(fact: Published, amounts: Amounts, folder: Path) -> dict[str, Estimate]:
    """A picture and an answer, by those names."""
    small = fact.small if amounts.quick else None
    tasks = {"picture": (DRAWING, Options(size=small)), "answer": (ASKING, Options(max_tokens=fact.answer))}
    depths = [1] * len(fact.stacks)

    def measured(which: list[int], dtype: torch.dtype, names: list[str], decode: bool = False):
        config = configured(fact, which, folder)
        network = filled(described(fact, config), dtype)
        dialogue = family(fact.kind).dialogue(folder, config, network)
        took = {name: timed(network, dialogue, *tasks[name], amounts) for name in names}
        decoding = decoded(network, dialogue, tasks["picture"][1]) if decode else 0.0
        del network, dialogue
        gc.collect()
        return took, decoding

    base = {kind: measured(depths, kind, list(tasks), not amounts.quick) for kind in KINDS[: 1 if amounts.quick else 2]}
    best = {name: min(base, key=lambda kind, name=name: base[kind][0][name].rest) for name in tasks}
    layers: dict[str, list[float]] = {name: [] for name in tasks}
    for number in range(len(depths)):
        deeper = [depth + amounts.more * (place == number) for place, depth in enumerate(depths)]
        for kind in set(best.values()):
            took, _ = measured(deeper, kind, [name for name in tasks if best[name] == kind])
            for name, own in took.items():  # noise may make a layer that costs nothing look like a gain
                layers[name].append(max(0.0, own.rest - base[kind][0][name].rest) / amounts.more)
    found: dict[str, Estimate] = {}
    for name, kind in best.items():
        took, decoding = base[kind][0][name], base[kind][1] if name == "picture" else 0.0
        beyond = sum((depth - 1) * layer for depth, layer in zip(depths_of(fact), layers[name], strict=True))
        total = took.reading + took.rest + beyond + decoding
        found[name] = Estimate(total, layers[name], decoding, took.visits, str(kind).removeprefix("torch."))
    return found


def row(fact: Published, amounts: Amounts) -> dict[str, Any]:
    """One row of the results."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        furnished(fact, folder)
        count = parameter_count(described(fact, configured(fact, None, folder)))
        found = {task: estimate._asdict() for task, estimate in estimated(fact, amounts, folder).items()}
    facts = {
        "checkpoint": fact.checkpoint,
        "layers": depths_of(fact),
        "answer_tokens": fact.answer,
        "from": fact.source,
        "drawn": list(fact.small) if amounts.quick and fact.small else None,
    }
    return {"family": fact.title, **facts, **found, "parameters": count, "GiB": 2 * count / 2**30}


def cells(one: dict[str, Any], amounts: Amounts) -> list[str]:
    picture, answer, tokens = one["picture"], one["answer"], one["answer_tokens"]
    decoding = f"{picture['decoding']:,.1f} of them decoding" if picture["decoding"] else "decoding left out"
    size = f" at {' x '.join(map(str, one['drawn']))} pixels" if one["drawn"] else ""
    shown = [one["family"], f"{picture['visits']} visits{size}, {picture['seconds']:,.0f} s, {decoding}"]
    visits = "" if answer["visits"] == tokens else f" in {answer['visits']} visits"
    shown.append(f"{tokens} tokens{visits}, {answer['seconds']:,.0f} s")
    kinds = " and ".join(dict.fromkeys(part["dtype"] for part in (picture, answer)))
    whole = " + ".join(map(str, one["layers"]))
    shown += [f"{one['parameters'] / 1e9:.2f} B", f"{one['GiB']:.1f} GiB"]
    return [*shown, f"1 and {1 + amounts.more} of {whole} layers, {kinds}"]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    known = [fact.kind for fact in FAMILIES]
    parser.add_argument("families", nargs="*", help=f"of {', '.join(known)}; all if none is given")
    parser.add_argument("--quick", action="store_true", help="one visit, bfloat16, no decoding, nothing written")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--more", type=int, default=2, help="layers by which the second network is deeper")
    settings = parser.parse_args()
    if unknown := [name for name in settings.families if name not in known]:
        parser.error(f"no family {unknown[0]!r}; there are {', '.join(known)}")
    torch.set_num_threads(settings.threads)
    amounts = Amounts(1, 1, 2, True) if settings.quick else Amounts(settings.more, 4, 8, False)
    table = Table(*HEADS, title="Extrapolated from a few layers and visits with random weights; no whole model was run")
    rows = list[dict[str, Any]]()
    for fact in FAMILIES:
        if not settings.families or fact.kind in settings.families:
            rows.append(row(fact, amounts))
            table.add_row(*cells(rows[-1], amounts))
            Console().print(table)
    if not settings.families and not settings.quick:
        about = {"extrapolated": True, "machine": machine(), "settings": vars(settings)}
        RESULTS.write_text(json.dumps(about | {"results": rows}, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()

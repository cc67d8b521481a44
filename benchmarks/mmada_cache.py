"""What keys out of date are worth to masked diffusion of text: speed against the exact path, and how much is the same.

    python benchmarks/mmada_cache.py [--prompt 384] [--tokens 64] [--block 16] [--repeats 3] [--threads 1] [--json]

Everything sees everything, so that the exact path computes the whole context in every visit. `refresh` keeps the keys
of the prompt and of finished blocks while a block is written (Fast-dLLM): in every row of the report for so many visits
at most, and never longer than a block. Runs take turns, and time is the processor's own, which other programs do not
lengthen. The model is small and random: the ratio of times is that of its sizes, and the agreement says how far the
approximation goes, not how good a trained model's answers would be.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from diptych.backbone.packing import Segment, Span
from diptych.backbone.transformer import Backbone, BackboneConfig, seeded
from diptych.canvas import Draws, Writer
from diptych.models.ports import Words
from diptych.objectives.tokens import Masked, surest64
from diptych.samplers.conversation import say, write
from diptych.samplers.guidance import alone
from diptych.samplers.schedules import blocks

MODEL = BackboneConfig(width=256, depth=6, heads=8, kv_heads=8, hidden=704, vocab=4096, theta=5e5, eps=1e-5)
MASK, ALL = MODEL.vocab - 1, Span("all")
NAMES = {None: "exact", 1: "every visit", 10_000: "once a block"}
REFRESHES = (None, 1, 4, 10_000)


def model() -> Backbone:
    """Random, with logits as far apart as a trained model's."""
    backbone = seeded(Backbone(MODEL), 0, scale=0.06)
    backbone.head.weight.data *= 8
    return backbone.requires_grad_(False).eval()


def run(backbone: Backbone, prompt: Tensor, length: int, block: int, refresh: int | None) -> tuple[float, Tensor]:
    """-> seconds of processor time, and the ids that were written, Int[length]; two a visit."""
    port, schedule = Words(backbone, mask=MASK, span=ALL), blocks(block, length // 2, refresh)
    writer = Writer(port, Masked(sure=surest64), schedule, alone, "surest", focus=True)
    began = time.process_time()
    with torch.inference_mode():
        context = say(backbone, [[Segment(backbone.embed(prompt), ALL)]])
    *_, (_, canvas) = write(context, writer, length, Draws([0]))
    return time.process_time() - began, canvas.value[0]


def measured(settings: argparse.Namespace) -> list[dict[str, float | str]]:
    backbone = model()
    prompt = torch.randint(0, MASK, (settings.prompt,), generator=torch.Generator().manual_seed(1))
    seconds: dict[int | None, list[float]] = {refresh: [] for refresh in REFRESHES}
    ids: dict[int | None, Tensor] = {}
    run(backbone, prompt, settings.block, settings.block, None)
    for _ in range(settings.repeats):
        for refresh in REFRESHES:
            took, ids[refresh] = run(backbone, prompt, settings.tokens, settings.block, refresh)
            seconds[refresh].append(took)
    rows = []
    for refresh in REFRESHES:
        ratios = [exact / own for exact, own in zip(seconds[None], seconds[refresh], strict=True)]
        rows.append(
            {
                "refresh": NAMES.get(refresh, str(refresh)),
                "seconds": round(statistics.median(seconds[refresh]), 3),
                "times as fast": round(statistics.median(ratios), 2),
                "tokens agree": round(float((ids[refresh] == ids[None]).float().mean()), 3),
            }
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    for name, value in {"prompt": 384, "tokens": 64, "block": 16, "repeats": 3, "threads": 1}.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--json", action="store_true")
    settings = parser.parse_args()
    torch.set_num_threads(settings.threads)
    rows = measured(settings)
    if settings.json:
        print(json.dumps(rows, indent=1))
        return
    table = Table(*rows[0])
    for row in rows:
        table.add_row(*map(str, row.values()))
    Console().print(table)


if __name__ == "__main__":
    main()

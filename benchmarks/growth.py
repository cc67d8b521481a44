"""How the cost of a visit grows with what stands before it, with how many pictures of a prompt are decoded at once, and
with a picture's size: plots and numbers.

    python -m benchmarks.growth

Janus-Pro-1B's sizes, two of its layers, bfloat16, without guidance. Expected of one token a row: reading the weights is
the same for every visit, so that its time is a constant, here that of the shortest context, and the time to read the
keys and values at the memory's speed; and a batch costs little more than one row until products take the time.
Expected of a whole picture a visit, as flow matching and masked codes have it: products grow as its tokens, attention
as their square.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch

from benchmarks.harness import Spread, ceilings, seconds
from benchmarks.pro_decode import pair
from benchmarks.stacks import fitted
from diptych.backbone.context import Context
from diptych.backbone.packing import Segment, Span
from diptych.backbone.transformer import Backbone

DOCS = Path(__file__).parents[1] / "docs"
LENGTHS, BATCHES, VISITS, REPEATS = (256, 512, 1024, 2048, 4096, 8192), (1, 2, 4, 8, 16, 32), 8, 5
SIZES, PATCH = (128, 256, 512, 768, 1024), 16  # pixels a side of a picture, and of a token


def visit(backbone: Backbone, length: int, batch: int, tokens: int = 1) -> Spread:
    """Milliseconds of so many tokens a row behind `length` others; a single one is kept, more are only tried."""
    width, dtype = backbone.config.width, backbone.embed.weight.dtype
    one, visits = tokens == 1, VISITS if tokens == 1 else 1
    with torch.inference_mode():
        row = [Segment(torch.randn(length, width).to(dtype), Span())]
        context = Context(backbone, [row] * batch, room=visits * tokens * (REPEATS + 1))
        shown, spans = torch.randn(batch, tokens, width).to(dtype), [(tokens, Span("causal" if one else "full"))]

        def some() -> None:
            for _ in range(visits):
                context.visit(shown, spans, one)

        some()
        return Spread.of(1000 * seconds(some) / visits for _ in range(REPEATS))


def expected(name: str, x: list[int], y: list[float], a_key: float) -> tuple[str, list[float]]:
    """What the curve should look like, and through which points it then goes; a_key: ms to read a key and its value."""
    if name == "batch":
        return "reading the weights alone", [y[0]] * len(x)
    if name == "length":
        return "a constant, and reading the keys", [y[0] + a_key * (n - x[0]) for n in x]
    tokens = [(side // PATCH) ** 2 for side in x]
    return "as its tokens", [y[1] * n / tokens[1] for n in tokens]


def plotted(found: dict[str, dict[int, Spread]], a_key: float, path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 3, figsize=(12.5, 3.6), constrained_layout=True)
    names = {
        "length": "tokens in the context, one row",
        "batch": "rows at once, behind 256 tokens",
        "size": f"pixels a side of a picture, {PATCH} a token",
    }
    for axis, (name, series) in zip(axes, found.items(), strict=True):
        x, y = list(series), [spread.median for spread in series.values()]
        bars = [[s.median - s.low for s in series.values()], [s.high - s.median for s in series.values()]]
        axis.errorbar(x, y, yerr=bars, marker="o", color="#1f5fa8", label="measured (least to most)")
        said, line = expected(name, x, y, a_key)
        axis.plot(x, line, "--", color="#888888", label=f"expected: {said}")
        axis.set(xlabel=names[name], ylabel="ms a visit", xscale="log", xticks=x, xticklabels=x)
        axis.set(yscale="log") if name == "size" else axis.set(ylim=(0, None))
        axis.minorticks_off()
        axis.legend(frameon=False, fontsize=8, loc="lower right")
        axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=130)


def main() -> None:
    network, _ = pair(2)
    backbone = fitted(network, torch.bfloat16).backbone
    config = backbone.config
    a_key = 1000 * config.depth * 2 * config.kv_heads * config.head * torch.bfloat16.itemsize / ceilings().bandwidth
    found = {
        "length": {n: visit(backbone, n, 1) for n in LENGTHS},
        "batch": {b: visit(backbone, 256, b) for b in BATCHES},
        "size": {side: visit(backbone, 64, 1, (side // PATCH) ** 2) for side in SIZES},
    }
    for name, series in found.items():
        print(name, {x: spread.shown() for x, spread in series.items()})
    plotted(found, a_key, DOCS / "performance-growth.png")
    shown = {name: {x: spread._asdict() for x, spread in series.items()} for name, series in found.items()}
    (DOCS / "performance-growth.json").write_text(json.dumps(shown, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()

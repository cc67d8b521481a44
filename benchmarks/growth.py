"""How the cost of decoding grows with what stands before it and with how many are decoded at once: plots and numbers.

    python -m benchmarks.growth

Janus-Pro-1B's sizes, two of its layers, bfloat16, without guidance. Expected: reading the weights is the same for every
visit, so that a visit's time is a constant and a part that grows with the keys; and a batch costs little more than one
row until products, not reading, take the time.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch

from benchmarks.harness import Spread, seconds
from benchmarks.pro_decode import pair
from benchmarks.stacks import fitted
from diptych.backbone.context import Context
from diptych.backbone.packing import Segment, Span

DOCS = Path(__file__).parents[1] / "docs"
LENGTHS, BATCHES, VISITS, REPEATS = (256, 512, 1024, 2048, 4096, 8192), (1, 2, 4, 8, 16, 32), 8, 5


def visit(backbone, length: int, batch: int) -> Spread:
    """Milliseconds of one token a row behind `length` tokens."""
    width, dtype = backbone.config.width, backbone.embed.weight.dtype
    with torch.inference_mode():
        row = [Segment(torch.randn(length, width).to(dtype), Span())]
        context = Context(backbone, [row] * batch, room=VISITS * (REPEATS + 1))
        tokens = torch.randn(batch, 1, width).to(dtype)

        def some() -> None:
            for _ in range(VISITS):
                context.visit(tokens, [(1, Span())], True)

        some()
        return Spread.of(1000 * seconds(some) / VISITS for _ in range(REPEATS))


def plotted(found: dict[str, dict[int, Spread]], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(9, 3.6), constrained_layout=True)
    names = {"length": "tokens in the context, one row", "batch": "rows at once, behind 256 tokens"}
    for axis, (name, series) in zip(axes, found.items(), strict=True):
        x, y = list(series), [spread.median for spread in series.values()]
        bars = [[s.median - s.low for s in series.values()], [s.high - s.median for s in series.values()]]
        axis.errorbar(x, y, yerr=bars, marker="o", color="#1f5fa8", label="measured (least to most)")
        slope = (y[-1] - y[0]) / (x[-1] - x[0])
        line = [y[0] + slope * (n - x[0]) for n in x] if name == "length" else [y[0]] * len(x)
        said = "a constant and a part that grows evenly" if name == "length" else "reading the weights alone"
        axis.plot(x, line, "--", color="#888888", label=f"expected: {said}")
        axis.set(xlabel=names[name], ylabel="ms a visit", xscale="log", xticks=x, xticklabels=x, ylim=(0, None))
        axis.minorticks_off()
        axis.legend(frameon=False, fontsize=8)
        axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=130)


def main() -> None:
    network, _ = pair(2)
    backbone = fitted(network, torch.bfloat16).backbone
    found = {
        "length": {n: visit(backbone, n, 1) for n in LENGTHS},
        "batch": {b: visit(backbone, 256, b) for b in BATCHES},
    }
    for name, series in found.items():
        print(name, {x: spread.shown() for x, spread in series.items()})
    plotted(found, DOCS / "performance-growth.png")
    shown = {name: {x: spread._asdict() for x, spread in series.items()} for name, series in found.items()}
    (DOCS / "performance-growth.json").write_text(json.dumps(shown, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()

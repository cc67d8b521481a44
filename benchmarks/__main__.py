"""All workloads on this machine: `python -m benchmarks [names] [--quick]`, or `make bench`.

Prints one table and writes docs/performance.json and docs/performance.md. --quick: small amounts, a look and no more;
it writes nothing. The other files of this folder (startup, mmada_cache, ...) are run by their own names.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
import transformers
from rich.console import Console

from benchmarks import flow_decode, loading, masked_decode, pro_decode, tokenizers, training_step
from benchmarks.harness import Amounts, Result, ceilings, machine, markdown, record, table

FILES = (pro_decode, masked_decode, flow_decode, tokenizers, training_step, loading)
WORKLOADS = {module.__name__.rpartition(".")[2]: module.run for module in FILES}
DOCS = Path(__file__).parents[1] / "docs"
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"


def facts(limits) -> str:
    about = machine()
    return (
        f"Measured with torch {about['torch']} on {about['threads']} threads ({about['processor']}, "
        f"{', '.join(about['instructions']) or 'no vector instructions known here'}), which read "
        f"{limits.bandwidth / 1e9:.0f} GB/s and multiply {limits.flops / 1e9:,.0f} GFLOP/s in float32, "
        f"{limits.flops16 / 1e9:,.0f} in bfloat16, at most."
    )


def publish(text: str, page: Path) -> None:
    """Puts the measured part into the page, between its marks."""
    before, rest = page.read_text("utf-8").split(BEGIN)
    page.write_text(f"{before}{BEGIN}\n{text}\n{END}{rest.split(END)[1]}", "utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", help=f"of {', '.join(WORKLOADS)}; all if none is given")
    parser.add_argument("--quick", action="store_true", help="one layer, few tokens, nothing written")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--layers", type=int, default=4, help="of the 24 of Janus-Pro-1B")
    options = parser.parse_args()
    names = options.names or list(WORKLOADS)
    if unknown := [name for name in names if name not in WORKLOADS]:
        parser.error(f"no workload {unknown[0]!r}; there are {', '.join(WORKLOADS)}")
    torch.set_num_threads(options.threads)
    limits = ceilings()
    amounts = Amounts(1, 1, 4, quick=True) if options.quick else Amounts(options.repeats, options.layers, 24)
    transformers.logging.set_verbosity_error()
    results = list[Result]()
    Console().print(facts(limits))
    for name in names:  # each is shown, and kept, as soon as it is known
        rows = WORKLOADS[name](limits, amounts)
        results += rows
        Console().print(table(rows))
        if not options.quick:
            (DOCS / "performance.json").write_text(record(results, limits, vars(options)) + "\n", "utf-8")
            publish(f"{facts(limits)}\n\n{markdown(results)}", DOCS / "performance.md")


if __name__ == "__main__":
    main()

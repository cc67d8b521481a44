"""What starting costs: importing the package, the command line's help, a first answer and a first picture from the
command line, loading the shipped model, its peak memory.

    python -m benchmarks.startup [--repeats 7]

Each figure is a process of its own; the minimum, median and maximum are printed.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time

COMMAND = "import sys; sys.argv = ['diptych', *{}]; from diptych.cli import main; main()"
INSIDE = """
import resource, time
import torch, diptych
from diptych.models.loading import load
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
began = time.perf_counter()
model = load("janus-emoji")
loaded = time.perf_counter() - began
began = time.perf_counter()
model.generate("a red car")
first = time.perf_counter() - began
began = time.perf_counter()
model.generate(["a red car"] * 16)
sixteen = time.perf_counter() - began
print(loaded, first, 16 / sixteen, before / 1024, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""
NAMES = ("load janus-emoji, s", "first picture, s", "pictures/s, 16 at once", "memory before, MiB", "peak memory, MiB")


def timed(folder: str) -> dict[str, str]:
    """What is timed, by name; the second command draws in that folder what the third asks about."""
    picture, on_cpu = f"{folder}/car.png", ["--device", "cpu"]
    return {
        "import diptych": "import diptych",
        "diptych --help": COMMAND.format(["--help"]),
        "diptych generate, to its picture": COMMAND.format(["generate", "a red car", "--out", picture, *on_cpu]),
        "diptych ask, to its first token": COMMAND.format(
            ["ask", picture, "What is it?", "--max-tokens", "1", *on_cpu]
        ),
        "import torch (for comparison)": "import torch",
    }


def seconds(program: str) -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)
    return time.perf_counter() - began


def bare() -> float:
    return seconds("pass")


def show(name: str, values: list[float]) -> None:
    print(f"{name:<34} {min(values):9.3f} {statistics.median(values):9.3f} {max(values):9.3f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repeats", type=int, default=7)
    repeats = parser.parse_args().repeats
    print(f"{'':<34} {'least':>9} {'median':>9} {'most':>9}")
    show("python itself, s", [bare() for _ in range(repeats)])
    with tempfile.TemporaryDirectory() as folder:
        for name, program in timed(folder).items():
            show(f"{name}, s", [seconds(program) for _ in range(repeats)])
    rows = []
    for _ in range(repeats):
        done = subprocess.run([sys.executable, "-c", INSIDE], check=True, capture_output=True, text=True)
        rows.append([float(value) for value in done.stdout.split()])
    for name, values in zip(NAMES, zip(*rows, strict=True), strict=True):
        show(name, list(values))


if __name__ == "__main__":
    main()

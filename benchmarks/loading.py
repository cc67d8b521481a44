"""Loading weights at Janus-Pro-1B's sizes, beside safetensors' own `load_file` of the same file: seconds and memory.

Each run is a process of its own; the file, about a gigabyte of random bfloat16, is in the system's cache for both. Ours
checks every name and shape, gives each tensor memory of its own and, on CPUs, brings large weights into oneDNN's order;
`load_file` maps the file, so that its numbers are read when they are first used: here both sides also add all up once.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from dataclasses import replace
from functools import partial
from pathlib import Path

from benchmarks.harness import Amounts, Ceilings, Result, measured
from benchmarks.pro_decode import pair

BEGIN = "import json, sys, time, torch; folder = sys.argv[1]\n"
OURS = """
from diptych.models.fitting import Fit
from diptych.models.janus_converted import JanusConverted
from diptych.weights.files import Checkpoint, load_into
began = time.perf_counter()
config = json.load(open(folder + "/config.json"))
with torch.device("meta"):
    network = JanusConverted.build(config)
layout, fit = JanusConverted.layout(config), Fit(network, None, False)
load_into(network, layout, Checkpoint(folder), dtype=torch.bfloat16, placed=fit)
total = sum(float(t.sum()) for t in network.parameters())
"""
THEIRS = """
from safetensors.torch import load_file
began = time.perf_counter()
total = sum(float(t.sum()) for t in load_file(folder + "/model.safetensors").values())
"""
END = """
peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(time.perf_counter() - began, int(peak.split()[1]) / 1024)
"""


def loaded(program: str, folder: str, peaks: list[float]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", BEGIN + program + END, folder], check=True, capture_output=True, text=True
    )
    peaks.append(float(done.stdout.split()[1]))


def run(limits: Ceilings, amounts: Amounts) -> list[Result]:
    import torch
    from safetensors.torch import save_file

    _, theirs = pair(1 if amounts.quick else 2)
    with tempfile.TemporaryDirectory() as folder:
        state = {name: t.to(torch.bfloat16).contiguous() for name, t in theirs.state_dict().items()}
        save_file(state, Path(folder) / "model.safetensors")
        (Path(folder) / "config.json").write_text(json.dumps(theirs.config.to_dict()))
        size = (Path(folder) / "model.safetensors").stat().st_size / 2**30
        del theirs, state
        peaks: dict[str, list[float]] = {OURS: [], THEIRS: []}
        sides = [partial(loaded, program, folder, peaks[program]) for program in (OURS, THEIRS)]
        floor = size * 2**30 / limits.bandwidth
        found = measured(f"loading {size:.1f} GiB", "loads", 1, *sides, amounts.repeats, floor)
    ours, others = (f"{max(found):,.0f} MiB" for found in peaks.values())
    return [replace(found, note=f"at most {ours}, theirs {others}; a process each, its start included")]

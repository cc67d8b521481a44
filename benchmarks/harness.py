"""What every benchmark here shares: turns that two sides take, what the machine can do at most, the table, the JSON.

A side is timed whole; sides take turns, each first every other time, and the ratio is taken turn by turn, so that
whatever else the machine does meets both. The floor is the time that the machine's measured ceilings (a plain read of
memory, a large product of matrices) would need for what the workload must move or compute; a share of 1 is the limit.
"""

from __future__ import annotations

import json
import platform
import statistics
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from rich.table import Table

Side = Callable[[], object]
READ, MATRIX, PROBES = 2**26, 2048, 5  # float32 numbers read; width of a square matrix; runs of which the best counts
INSTRUCTIONS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_int8", "amx_bf16")


class Spread(NamedTuple):
    """Median, least and largest."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread:
        found = list(values)
        return cls(statistics.median(found), min(found), max(found))

    def shown(self) -> str:
        digits = 3 if self.median < 1 else 2 if self.median < 100 else 0
        return f"{self.median:,.{digits}f} ({self.low:,.{digits}f} to {self.high:,.{digits}f})"


class Ceilings(NamedTuple):
    """bandwidth: bytes a second of a plain read; flops, flops16: of a large product in float32, bfloat16, a second."""

    bandwidth: float
    flops: float
    flops16: float

    def of(self, dtype: torch.dtype) -> float:
        """FLOP/s at most."""
        return self.flops16 if dtype == torch.bfloat16 else self.flops


class Amounts(NamedTuple):
    """repeats: turns of each side; layers, tokens: of a language model, and that it writes; quick: a look only."""

    repeats: int
    layers: int
    tokens: int
    quick: bool = False


@dataclass(frozen=True)
class Result:
    """One row of the table. ours, peer: `unit` a second; share: of the floor's speed that ours reaches; None: no peer,
    no ratio, no floor."""

    workload: str
    unit: str
    ours: Spread
    peer: Spread | None
    ratio: Spread | None
    share: float | None
    note: str = ""


class Ours(NamedTuple):
    """One way of ours to do a piece of work; floor: the seconds that a run needs at the machine's ceilings."""

    workload: str
    side: Side
    floor: float | None
    note: str = ""


def measured(
    workload: str, unit: str, amount: float, ours: Side, peer: Side | None, repeats: int, floor: float | None, note=""
) -> Result:
    """amount: how many units a run makes."""
    return compared(unit, amount, [Ours(workload, ours, floor, note)], peer, repeats)[0]


def compared(unit: str, amount: float, ours: list[Ours], peer: Side | None, repeats: int) -> list[Result]:
    """Several ways of ours, and the peer once a turn for all of them."""
    sides = [way.side for way in ours] + ([] if peer is None else [peer])
    times: dict[Side, list[float]] = {side: [] for side in sides}
    for side in sides:  # not counted
        side()
    for turn in range(repeats):
        for side in sides if turn % 2 == 0 else sides[::-1]:
            times[side].append(seconds(side))
    rates = {side: Spread.of(amount / t for t in found) for side, found in times.items()}
    results = []
    for way in ours:
        ratio = None
        if peer is not None:
            ratio = Spread.of(slow / fast for fast, slow in zip(times[way.side], times[peer], strict=True))
        share = None if way.floor is None else way.floor / statistics.median(times[way.side])
        theirs = None if peer is None else rates[peer]
        results.append(Result(way.workload, unit, rates[way.side], theirs, ratio, share, way.note))
    return results


def best_type(side: Callable[[torch.dtype], object]) -> torch.dtype:
    """Of float32 and bfloat16 the one in which this work is quicker here."""
    kinds = torch.float32, torch.bfloat16
    return min(kinds, key=lambda kind: min(seconds(lambda: side(kind)) for _ in range(2)))


def seconds(side: Side) -> float:
    began = time.perf_counter()
    side()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - began


def ceilings(device: str = "cpu") -> Ceilings:
    numbers = torch.ones(READ, device=device)
    matrix = torch.ones(MATRIX, MATRIX, device=device)
    half = matrix.bfloat16()
    read, *products = (_best(work) for work in (numbers.sum, lambda: matrix @ matrix, lambda: half @ half))
    return Ceilings(numbers.numel() * numbers.element_size() / read, *(2 * MATRIX**3 / took for took in products))


def _best(work: Side) -> float:
    seconds(work)
    return min(seconds(work) for _ in range(PROBES))


def machine() -> dict[str, Any]:
    """What a figure depends on, and nothing that says whose machine it is."""
    listed = Path("/proc/cpuinfo")
    flags = set(listed.read_text().split()) if listed.is_file() else set()
    return {
        "processor": platform.machine(),
        "instructions": [name for name in INSTRUCTIONS if name in flags],
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "torch": str(torch.__version__),
        "python": platform.python_version(),
    }


HEADS = ("workload", "unit", "diptych", "peer", "times faster", "share of floor", "note")


def cells(result: Result) -> list[str]:
    peer, ratio = ("-" if spread is None else spread.shown() for spread in (result.peer, result.ratio))
    share = "-" if result.share is None else f"{result.share:.0%}"
    return [result.workload, f"{result.unit}/s", result.ours.shown(), peer, ratio, share, result.note]


def table(results: list[Result]) -> Table:
    shown = Table(*HEADS)
    for result in results:
        shown.add_row(*cells(result))
    return shown


def markdown(results: list[Result]) -> str:
    rows = [HEADS, ["---"] * len(HEADS), *map(cells, results)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def record(results: list[Result], limits: Ceilings, settings: dict[str, Any]) -> str:
    """As JSON."""
    rows = [asdict(result) for result in results]
    return json.dumps(
        {"machine": machine(), "ceilings": limits._asdict(), "settings": settings, "results": rows}, indent=1
    )

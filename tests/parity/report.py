"""Measures parity anew: `python -m tests.parity.report` writes docs/parity.json and the READMEs' tables of models.

Every test of a case runs as always; what it compared with `close` is noted on the way. Nothing is written unless all
of them pass. With files, such as tests/parity/test_janus.py, only their sets are measured, and other figures stay.
"""

import json
import platform
import sys
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
import torch

from diptych.models.registry import recognise
from tests.parity import sets, table
from tests.parity.sets import GoldenSet


class Recorder:
    """A pytest plugin: the largest relative error of each case of each set; 0 where everything compared was equal."""

    def __init__(self) -> None:
        self.errors: dict[GoldenSet, dict[str, float]] = {}
        self.failed: list[str] = []

    def pytest_runtest_setup(self) -> None:
        sets.ERRORS.clear()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, Any]:
        report = yield
        if not report.passed:
            self.failed.append(item.nodeid)
        elif call.when == "call" and (case := case_of(item)):
            golden, name = case
            cases = self.errors.setdefault(golden, {})
            cases[name] = max([cases.get(name, 0.0), *sets.ERRORS])
        return report


def case_of(item: pytest.Item) -> tuple[GoldenSet, str] | None:
    """The set and the case that a test is about, by its parameters."""
    callspec = getattr(item, "callspec", None)
    values = list(callspec.params.values()) if callspec else []
    for golden in (value for value in values if isinstance(value, GoldenSet)):
        for name in (value for value in values if isinstance(value, str) and value in golden.cases):
            return golden, name
    return None


def family_of(golden: GoldenSet) -> str | None:
    """The family of the checkpoint in a set, or of those in its folders; None for a tokenizer's set."""
    folders = [golden.folder, *sorted(path for path in golden.folder.iterdir() if path.is_dir())]
    return next((name for folder in folders if (name := recognise(folder))), None)


def facts(errors: dict[GoldenSet, dict[str, float]]) -> dict[str, Any]:
    """By set: its family, how many cases it has, and the relative error of each that was compared."""
    found = {
        golden.name: {
            "family": family_of(golden),
            "cases": len(golden.cases),
            "errors": {name: float(f"{error:.2g}") for name, error in sorted(own.items())},
        }
        for golden, own in sorted(errors.items(), key=lambda pair: pair[0].name)
    }
    return {"torch": torch.__version__, "processor": platform.machine(), "sets": found}


def main(files: list[str]) -> None:
    recorder = Recorder()
    code = pytest.main([*(files or [str(Path(__file__).parent)]), "-q"], plugins=[recorder])
    if code or recorder.failed:
        raise SystemExit(f"{len(recorder.failed)} failed; {table.FIGURES} was left as it is")
    found = facts(recorder.errors)
    if files:
        found["sets"] = dict(sorted((table.figures()["sets"] | found["sets"]).items()))
    table.FIGURES.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    table.main()


if __name__ == "__main__":
    main(sys.argv[1:])

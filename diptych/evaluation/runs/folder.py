"""The folder of a run: made once, gone on with, read back."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from diptych.errors import BenchmarkError
from diptych.evaluation.benchmark import Row
from diptych.evaluation.runs import journal, rows
from diptych.storage import replacing

FORMAT = 1
LATER = ("judge",)  # of run.json: what is only known once the answers are there
OWN = re.compile(r"(run|score)\.json|report\.html|(rows|answers.*|evidence-.*)\.jsonl|images|inputs|\..*")


class Run:
    """What was asked, how, and what came of it so far."""

    def __init__(self, path: Path, settings: dict[str, Any], rows: Sequence[Row]) -> None:
        self.path, self.settings, self.rows = path, settings, rows

    @classmethod
    def open(cls, path: str | Path) -> Run:
        """A run that is there. Raises `BenchmarkError` for a folder that is none."""
        folder = Path(path)
        if not (folder / "run.json").is_file():
            raise BenchmarkError(f"{folder} is no folder of a run (it has no run.json); make one with: diptych eval")
        settings = _settings(folder / "run.json")
        return cls(folder, settings, rows.read(folder, Path(settings["data"])))

    @classmethod
    def begin(cls, path: str | Path, settings: Mapping[str, Any], asked: Sequence[Row], data: Path) -> Run:
        """A new run, or the one in that folder. Raises `BenchmarkError` if the folder holds another run, or other
        things."""
        folder, text = Path(path), rows.text_of(asked, data)
        if not asked or len({row.id for row in asked}) < len(asked):
            raise BenchmarkError(f"{data} gives {len(asked)} rows, and each needs an id of its own; check the files")
        now = {"format": FORMAT, **settings, "rows": len(asked), "data": str(data)}
        if (folder / "run.json").is_file():
            _same(folder, _settings(folder / "run.json"), now, text)
        else:
            _ours(folder)
            rows.store_inputs(asked, folder, data)
            _write(folder / "rows.jsonl", text)
            _write(folder / "run.json", _pretty(now))  # last: where it is, the rest is whole
        return cls.open(folder)

    def note(self, **facts: Any) -> None:
        """Puts facts into run.json."""
        self.settings = self.settings | facts
        _write(self.path / "run.json", _pretty(self.settings))

    def answers(self) -> dict[str, dict[str, Any]]:
        """What all processes wrote so far, by row. Raises `BenchmarkError` for a row that was not asked."""
        found = {
            record["id"]: record
            for path in sorted(self.path.glob("answers*.jsonl"))
            for record in journal.records(path)
        }
        if strange := set(found) - {row.id for row in self.rows}:
            raise BenchmarkError(f"{self.path}: an answer to row {sorted(strange)[0]!r}, which was not asked")
        return found

    def images(self, row: Row) -> list[Path]:
        """The pictures drawn for a row."""
        return [self.path / name for name in self.answers()[row.id]["images"]]

    def answers_file(self, shard: tuple[int, int]) -> Path:
        return self.path / ("answers.jsonl" if shard == (0, 1) else f"answers-{shard[0]}-of-{shard[1]}.jsonl")

    def evidence_file(self, judge: str) -> Path:
        return self.path / f"evidence-{quote(judge, safe='')[:150]}.jsonl"

    def write_score(self, score: Mapping[str, Any]) -> None:
        _write(self.path / "score.json", _pretty(score))

    def score(self) -> dict[str, Any]:
        """The stored score. Raises `BenchmarkError` if the run has none yet."""
        if not (self.path / "score.json").is_file():
            raise BenchmarkError(f"{self.path} has no score yet; run: diptych score {self.path}")
        return json.loads((self.path / "score.json").read_text("utf-8"))


def picture_name(row: str, number: int) -> str:
    """`images/<row>-<number>.png`; what a file's name cannot hold is written as in addresses (%2F)."""
    return f"images/{quote(row, safe=' ,;=+@')[:180]}-{number}.png"


def _settings(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise BenchmarkError(f"{path} is no JSON; it is not the file of a run") from error
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise BenchmarkError(f"{path} is not the file of a run, or of a later version's; update diptych")
    return found


def _same(folder: Path, before: Mapping[str, Any], now: Mapping[str, Any], text: str) -> None:
    """What goes on must be what was begun; the data may have moved."""
    given = json.loads(json.dumps(now))
    other = [key for key in given if key not in (*LATER, "data") and before.get(key) != given[key]]
    if other:
        differences = "; ".join(f"{key} was {before.get(key)!r:.60}, is {given[key]!r:.60}" for key in other[:3])
        raise BenchmarkError(f"{folder} holds another run ({differences}); choose another --out")
    if (folder / "rows.jsonl").read_text("utf-8") != text:
        raise BenchmarkError(f"{folder} holds a run of other rows than {now['data']} has now; choose another --out")


def _ours(folder: Path) -> None:
    strange = sorted(item.name for item in folder.iterdir() if not OWN.fullmatch(item.name)) if folder.is_dir() else []
    if folder.exists() and (strange or not folder.is_dir()):
        raise BenchmarkError(f"{folder} holds other things ({', '.join(strange[:3])}); choose another --out")


def _pretty(value: Mapping[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False, indent=1) + "\n"


def _write(path: Path, text: str) -> None:
    with replacing(path) as draft:
        draft.write_text(text, "utf-8")

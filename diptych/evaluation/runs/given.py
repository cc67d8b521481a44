"""Answers and pictures that others made, brought into the form of a run."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from diptych.errors import BenchmarkError
from diptych.evaluation.benchmark import Benchmark, Row
from diptych.evaluation.files import read_json, read_json_lines, take
from diptych.evaluation.runs.folder import Run, picture_name
from diptych.evaluation.runs.journal import Record, appending
from diptych.storage import replacing

ENDINGS = {".png", ".jpg", ".jpeg", ".webp"}


def read_answers(path: Path, rows: Sequence[Row]) -> dict[str, str]:
    """JSON lines `{"id": ..., "answer": ...}`, or one JSON object of answers by id: one for each row.

    Raises `BenchmarkError` for answers to rows that there are not, and for rows without an answer.
    """
    if path.suffix == ".jsonl":
        found = {str(take(r, "id", path, (str, int))): take(r, "answer", path, str) for r in read_json_lines(path)}
    else:
        answers = read_json(path)
        found = {name: take(answers, name, path, str) for name in answers}
    known = [row.id for row in rows]
    if strange := sorted(set(found) - set(known)):
        raise BenchmarkError(
            f"{path}: {len(strange)} answers to unknown rows ({', '.join(strange[:3])}); "
            f"rows are called {known[0]}, ..."
        )
    _all_there(path, [name for name in known if name not in found], len(known), "answer")
    return found


def find_pictures(folder: Path, rows: Sequence[Row]) -> dict[str, list[Path]]:
    """The pictures of each row, in order: `ID.png`, `ID-0.png`, `ID_1.jpg`, ..., or files in a folder ID (or
    ID/samples, as GenEval has them), searched through all of `folder`.

    Raises `BenchmarkError` if a row has none.
    """
    if not folder.is_dir():
        raise BenchmarkError(f"{folder} is no folder of pictures")
    by_name: dict[tuple[int, str], list[Path]] = {}
    for path in sorted(folder.rglob("*"), key=_natural):
        if path.suffix.lower() in ENDINGS and path.is_file():
            for way, name in enumerate(_names(path.relative_to(folder))):
                by_name.setdefault((way, name), []).append(path)
    found = {row.id: _first(by_name, row.id) for row in rows}
    _all_there(folder, [name for name, paths in found.items() if not paths], len(rows), "picture")
    return found


def _names(path: Path) -> list[str]:
    """The ids that a picture may belong to, the surest way first: its place, its name, its name without a number at
    the end, the folder it lies in."""
    parents = [part for part in path.parts[:-1] if part != "samples"]
    return [path.with_suffix("").as_posix(), path.stem, re.sub(r"[-_]\d+$", "", path.stem), *parents[-1:]]


def _first(by_name: Mapping[tuple[int, str], list[Path]], row: str) -> list[Path]:
    spellings = (row, Path(picture_name(row, 0)).stem.removesuffix("-0"))
    ways = ((way, name) for way in range(4) for name in spellings)
    return next((by_name[key] for key in ways if key in by_name), [])


def _natural(path: Path) -> list[Any]:
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", path.as_posix())]


def _all_there(where: Path, missing: Sequence[str], total: int, what: str) -> None:
    if missing:
        shown = ", ".join(missing[:3]) + (", ..." if len(missing) > 3 else "")
        raise BenchmarkError(
            f"{where}: {len(missing)} of {total} rows have no {what} ({shown}); add them, or score fewer with --limit"
        )


def take_in(
    path: Path, benchmark: Benchmark, rows: Sequence[Row], data: Path, found: Mapping[str, Any], name: str
) -> Run:
    """A run of answers (texts by row) or pictures (paths by row) that others made, copied into its folder."""
    settings = {
        "benchmark": benchmark.name,
        "scorer": benchmark.version,
        "scorer_source": benchmark.source,
        "model": name,
        "made_by": "others: how is not known here",
    }
    run = Run.begin(path, settings, rows, data)
    with appending(run.answers_file((0, 1))) as journal:
        done = run.answers()
        for row in rows:
            if row.id not in done:
                journal.add([_record(run, row, found[row.id])])
    return run


def _record(run: Run, row: Row, found: Any) -> Record:
    if isinstance(found, str):
        return {"id": row.id, "answer": found}
    names = [Path(picture_name(row.id, k)).with_suffix(path.suffix.lower()) for k, path in enumerate(found)]
    for name, path in zip(names, found, strict=True):
        with replacing(run.path / name) as draft:
            shutil.copyfile(path, draft)
    return {"id": row.id, "images": [name.as_posix() for name in names]}

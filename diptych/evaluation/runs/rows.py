"""Rows on disk, so that a run can be scored and read without the benchmark's files."""

import hashlib
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import PIL.Image

from diptych.errors import BenchmarkError
from diptych.evaluation.benchmark import Row
from diptych.evaluation.runs.journal import line, records
from diptych.storage import replacing

INPUTS = "inputs"
SHOWN = 3  # names in a message


def text_of(rows: Sequence[Row], data: Path) -> str:
    """The rows as lines. Pictures in the benchmark's folder are named from there, those in its files by content."""
    return "".join(line(_record(row, data)) for row in rows)


def _record(row: Row, data: Path) -> dict[str, Any]:
    images = [_name(image, data) for image in row.images]
    return {"id": row.id, "prompt": row.prompt, "images": images, "facts": dict(row.facts)}


def _name(image: Path | bytes, data: Path) -> dict[str, str]:
    if isinstance(image, bytes):
        return {"input": f"{INPUTS}/{hashlib.sha256(image).hexdigest()[:24]}{_ending(image)}"}
    return {"data": image.relative_to(data).as_posix()} if image.is_relative_to(data) else {"path": str(image)}


def _ending(image: bytes) -> str:
    try:
        with PIL.Image.open(io.BytesIO(image)) as opened:
            return f".{(opened.format or 'bin').lower()}"
    except OSError as error:
        raise BenchmarkError("a picture in the benchmark's files cannot be read; download them again") from error


def store_inputs(rows: Sequence[Row], folder: Path, data: Path) -> None:
    """The pictures that came inside the benchmark's files, as files of the run."""
    for row in rows:
        for image in row.images:
            if isinstance(image, bytes):
                path = folder / _name(image, data)["input"]
                if not path.exists():
                    with replacing(path) as draft:
                        draft.write_bytes(image)


def read(folder: Path, data: Path) -> list[Row]:
    """The rows of `rows.jsonl`. Raises `BenchmarkError` if it is damaged."""
    path = folder / "rows.jsonl"
    places = {"data": data, "input": folder, "path": Path()}
    try:
        return [
            Row(
                record["id"],
                record["prompt"],
                tuple(places[kind] / name for image in record["images"] for kind, name in image.items()),
                record["facts"],
            )
            for record in records(path)
        ]
    except (KeyError, TypeError, AttributeError) as error:
        raise BenchmarkError(f"{path} is damaged; give the run again with another --out") from error


def check_pictures(rows: Sequence[Row]) -> None:
    """Raises `BenchmarkError` where files that rows name are not there."""
    paths = {image for row in rows for image in row.images if isinstance(image, Path)}
    if missing := sorted(path for path in paths if not path.is_file()):
        shown = ", ".join(map(str, missing[:SHOWN])) + (", ..." if len(missing) > SHOWN else "")
        raise BenchmarkError(f"{len(missing)} pictures of the benchmark are missing: {shown}; put them there")

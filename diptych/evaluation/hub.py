"""Benchmarks as the hub has them: a repository's files fetched once, and rows out of its parquet files.

Parquet is read by pyarrow (the extra `eval`): pictures stay the encoded bytes that they are. No loading script of a
repository is run.
"""

import ast
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from diptych.errors import BenchmarkError

HUB = "hub:"


def fetched(repository: str) -> Path:
    """A copy of a data set's repository (`owner/name`), from the cache where it is there already.

    Raises `BenchmarkError` if it cannot be had.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    patterns = ["*.parquet", "*.json", "*.jsonl", "*.csv", "*.tsv", "*.txt", "*.png", "*.jpg", "*.jpeg"]
    try:
        return Path(snapshot_download(repository, repo_type="dataset", allow_patterns=patterns))
    except (OSError, HfHubHTTPError, HFValidationError) as error:
        said = " ".join(str(error).split())[:160]
        raise BenchmarkError(f"{HUB}{repository} cannot be fetched ({said}); check its name and the network") from error


def holds_parquet(folder: Path, split: str) -> bool:
    return bool(_files(folder, split))


def read_parquet(folder: Path, split: str, columns: Sequence[str]) -> list[dict[str, Any]]:
    """The rows of a split (`test-00000-of-00002.parquet`, in any folder below), in order; only these columns.

    Raises `BenchmarkError` for missing files and columns.
    """
    files = _files(folder, split)
    if not files:
        raise BenchmarkError(
            f"{folder} holds no {split}*.parquet; download the benchmark's files and pass their folder"
        )
    try:
        import pyarrow.parquet as parquet
        from pyarrow import ArrowException
    except ImportError as error:
        raise BenchmarkError('parquet files need pyarrow: pip install "diptych[eval]"') from error
    records = []
    for path in files:
        try:
            present = parquet.read_schema(path).names
            if missing := [column for column in columns if column not in present]:
                raise BenchmarkError(f"{path} has no column {', '.join(missing)}: it is of another form than published")
            records += parquet.read_table(path, columns=list(columns)).to_pylist()
        except (ArrowException, OSError) as error:
            raise BenchmarkError(f"{path} is no parquet file: {error}; download it again") from error
    return records


def _files(folder: Path, split: str) -> list[Path]:
    return sorted(folder.rglob(f"{split}*.parquet"))


def picture(cell: Any, where: object) -> bytes:
    """The encoded picture of a cell `{"bytes", "path"}`."""
    if not isinstance(cell, dict) or not isinstance(cell.get("bytes"), bytes):
        raise BenchmarkError(f"{where}: its picture is not in the file: the data set is of another form")
    return cell["bytes"]


def listed(text: Any, where: object) -> list[Any]:
    """A list, or one written as Python writes it, as some columns have it."""
    try:
        found = ast.literal_eval(text) if isinstance(text, str) else text
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        found = None
    if not isinstance(found, list):
        raise BenchmarkError(f"{where}: {text!r:.60} is no list: the data set is of another form")
    return found

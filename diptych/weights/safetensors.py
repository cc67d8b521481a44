"""The safetensors format, read strictly and written tensor by tensor.

A file is 8 bytes of header length, a JSON header (name -> dtype, shape, byte offsets) and the tensors end to end.
Everything the header says is checked against the size of the file before a tensor is read. A tensor is read straight
into its own memory, so that loading costs no more than the weights themselves.
"""

import json
import os
import struct
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor

from diptych.errors import WeightsError
from diptych.storage import replacing

DTYPES = {
    "BOOL": torch.bool,
    "U8": torch.uint8,
    "I8": torch.int8,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
    "I16": torch.int16,
    "U16": torch.uint16,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I32": torch.int32,
    "U32": torch.uint32,
    "F32": torch.float32,
    "I64": torch.int64,
    "U64": torch.uint64,
    "F64": torch.float64,
}
_NAMES = {dtype: name for name, dtype in DTYPES.items()}
_MAX_HEADER = 100_000_000


@dataclass(frozen=True)
class Entry:
    """One tensor of a file: what it is and where its bytes begin, counted from the start of the file."""

    file: Path
    dtype: torch.dtype
    shape: tuple[int, ...]
    start: int

    @property
    def size(self) -> int:
        """Bytes."""
        return prod(self.shape) * self.dtype.itemsize


def read_header(file: Path) -> tuple[dict[str, Entry], dict[str, str]]:
    """The entries of a file by name, and its metadata. Raises WeightsError for anything that is not as it must be."""
    with _opened(file) as stream:
        length = os.fstat(stream.fileno()).st_size
        header, data_start = _read_json(stream, file, length)
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise _damaged(file, "its metadata is no table of strings")
    entries = {name: _entry(file, name, facts, data_start) for name, facts in header.items()}
    _check_tiling(file, entries, data_start, length)
    return entries, metadata


def read_tensor(entry: Entry) -> Tensor:
    """The tensor of an entry, in memory of its own on the CPU."""
    tensor = torch.empty(entry.shape, dtype=entry.dtype)
    if not entry.size:
        return tensor
    view = _bytes(tensor)
    with _opened(entry.file) as stream:
        stream.seek(entry.start)
        done = 0
        while done < entry.size:  # a single read is cut at 2 GiB by some systems
            count = stream.readinto(view[done:])  # type: ignore[attr-defined]
            if not count:
                raise _damaged(entry.file, "it became shorter while it was read")
            done += count
    return tensor


def write(
    file: str | os.PathLike[str],
    facts: Mapping[str, tuple[torch.dtype, tuple[int, ...]]],
    get: Callable[[str], Tensor],
    metadata: Mapping[str, str] | None = None,
) -> Path:
    """Writes the tensors that `facts` names, asking `get` for one at a time; the file is whole or not there.

    Wide types stand first, so that each tensor begins at a multiple of its element size.
    """
    order = sorted(facts, key=lambda name: (-facts[name][0].itemsize, name))
    header = _header(order, facts, metadata or {})
    with replacing(file) as draft, open(draft, "wb") as stream:
        stream.write(struct.pack("<Q", len(header)) + header)
        for name in order:
            tensor = get(name).detach().to("cpu").contiguous()
            if (tensor.dtype, tuple(tensor.shape)) != facts[name]:
                raise WeightsError(f"{name}: is {tensor.dtype} {list(tensor.shape)}, announced as {facts[name]}")
            stream.write(_bytes(tensor) if tensor.numel() else b"")
    return Path(file)


def save(
    tensors: Mapping[str, Tensor], file: str | os.PathLike[str], metadata: Mapping[str, str] | None = None
) -> Path:
    """Writes tensors as one safetensors file; whole or not at all. Tensors that share memory are written in full."""
    facts = {name: (tensor.dtype, tuple(tensor.shape)) for name, tensor in tensors.items()}
    return write(file, facts, tensors.__getitem__, metadata)


@contextmanager
def _opened(file: Path) -> Iterator[IO[bytes]]:
    try:
        with open(file, "rb", buffering=0) as stream:
            yield stream
    except FileNotFoundError:
        raise WeightsError(f"{file}: no such file") from None
    except OSError as error:
        raise WeightsError(f"{file}: cannot be read ({error.strerror})") from error


def _read_json(stream: IO[bytes], file: Path, length: int) -> tuple[dict[str, Any], int]:
    raw = stream.read(8)
    size = struct.unpack("<Q", raw)[0] if len(raw) == 8 else 0
    if size < 2 or size > min(_MAX_HEADER, length - 8):
        raise _damaged(file, "it is cut short or no safetensors file")
    try:
        header = json.loads(stream.read(size).decode("utf-8"), object_pairs_hook=_without_duplicates)
    except (ValueError, RecursionError) as error:
        raise _damaged(file, f"its header cannot be read ({str(error)[:120]})") from None
    if not isinstance(header, dict):
        raise _damaged(file, "its header is no table")
    return header, 8 + size


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{twice[:80]!r} stands in it twice")
    return table


def _entry(file: Path, name: str, facts: Any, data_start: int) -> Entry:
    if not isinstance(facts, dict) or facts.keys() != {"dtype", "shape", "data_offsets"}:
        raise _damaged(file, f"{name!r} lacks dtype, shape or data_offsets")
    shape, offsets = facts["shape"], facts["data_offsets"]
    if not (_counts(shape) and _counts(offsets) and len(offsets) == 2):
        raise _damaged(file, f"{name!r} has an impossible shape or place")
    if not isinstance(facts["dtype"], str) or facts["dtype"] not in DTYPES:
        raise _damaged(file, f"{name!r} is of the unknown type {str(facts['dtype'])[:20]!r}")
    entry = Entry(file, DTYPES[facts["dtype"]], tuple(shape), data_start + offsets[0])
    if entry.size != offsets[1] - offsets[0]:
        raise _damaged(file, f"{name!r} takes {offsets[1] - offsets[0]} bytes where its shape needs {entry.size}")
    return entry


def _counts(values: Any) -> bool:
    """A list of whole numbers from 0 up. JSON's true is a bool, which Python counts among the integers."""
    return isinstance(values, list) and all(type(v) is int and 0 <= v < 2**63 for v in values)


def _check_tiling(file: Path, entries: Mapping[str, Entry], data_start: int, length: int) -> None:
    """The tensors lie end to end and fill the file: nothing overlaps, nothing is hidden, nothing is missing."""
    expected = data_start
    for name, entry in sorted(entries.items(), key=lambda item: (item[1].start, item[1].size)):
        if entry.start != expected:
            raise _damaged(file, f"{name!r} overlaps its neighbour or leaves a gap")
        expected += entry.size
    if expected != length:
        raise _damaged(file, f"it has {length} bytes where its header needs {expected}; download it again")


def _header(
    order: list[str], facts: Mapping[str, tuple[torch.dtype, tuple[int, ...]]], metadata: Mapping[str, str]
) -> bytes:
    table: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    at = 0
    for name in order:
        dtype, shape = facts[name]
        if dtype not in _NAMES:
            raise WeightsError(f"{name}: safetensors has no type for {dtype}")
        end = at + prod(shape) * dtype.itemsize
        table[name] = {"dtype": _NAMES[dtype], "shape": list(shape), "data_offsets": [at, end]}
        at = end
    raw = json.dumps(table, separators=(",", ":")).encode("utf-8")
    return raw + b" " * (-len(raw) % 8)


def _bytes(tensor: Tensor) -> memoryview:
    """The memory of a contiguous tensor on the CPU, to read into or to write out."""
    return memoryview(tensor.reshape(-1).view(torch.uint8).numpy())  # type: ignore[arg-type]


def _damaged(file: Path, reason: str) -> WeightsError:
    return WeightsError(f"{file}: {reason}")

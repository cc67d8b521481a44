"""Checkpoints: one or several safetensors files as one table of tensors; into a module, and back out.

Names, shapes and types come from the headers alone. A module built on the meta device is filled tensor by tensor, on
the device and in the type asked for, while the next one is read: the peak is the weights and two tensors more.
"""

import json
import os
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import TypeAlias

import torch
from torch import Tensor, nn

from diptych.errors import WeightsError
from diptych.storage import replacing
from diptych.weights.layout import Claim, Layout, merged
from diptych.weights.safetensors import Entry, read_header, read_tensor, write

Progress: TypeAlias = Callable[[int, int], None]
PICKLED = (".bin", ".pt", ".pth", ".ckpt")
_WHOLE = ("model.safetensors", "diffusion_pytorch_model.safetensors", "pytorch_model.safetensors")
Source: TypeAlias = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]


class Checkpoint(Mapping[str, Tensor]):
    """A folder, a file or several files of safetensors as a mapping from published names to tensors.

    Looking a tensor up reads it from disk; `shapes` does not. Raises WeightsError if files are missing,
    damaged, pickled, or hold one name twice.
    """

    def __init__(self, source: Source) -> None:
        self.files = _files(source)
        self.entries: dict[str, Entry] = {}
        self.metadata: dict[str, str] = {}
        for file in self.files:
            entries, metadata = read_header(file)
            if twice := self.entries.keys() & entries.keys():
                raise WeightsError(f"{file}: {sorted(twice)[0]} also stands in {self.entries[min(twice)].file.name}")
            self.entries |= entries
            self.metadata |= metadata

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        return {name: entry.shape for name, entry in self.entries.items()}

    @property
    def size(self) -> int:
        """Bytes of all tensors."""
        return sum(entry.size for entry in self.entries.values())

    def __getitem__(self, name: str) -> Tensor:
        return read_tensor(self.entries[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)


def load_into(
    module: nn.Module,
    layout: Layout,
    checkpoint: Checkpoint,
    device: torch.device | str = "cpu",
    dtype: torch.dtype | None = None,
    progress: Progress | None = None,
    placed: Callable[[str], None] | None = None,
) -> None:
    """Fills a module, usually built on the meta device, with a checkpoint's tensors.

    `dtype` is for floating-point tensors; None keeps each as it is stored. `progress` hears bytes done and in all;
    `placed` the name of each tensor that is in the module now, and may make something else of it there and then.
    Parameters that are one object in the module (a tied head) stay one; the checkpoint may hold either name or both.
    Buffers that are not part of the state must be made on a real device by the module itself; they are moved along.
    Raises WeightsError, before any weights are read, if names or shapes do not match.
    """
    state = module.state_dict(keep_vars=True)
    claims = layout.check(checkpoint.shapes, _shapes_to_find(state, layout, checkpoint))
    ties = {name: group for group in _ties(state).values() for name in group}
    filled: dict[str, Tensor] = {}
    done, total = 0, checkpoint.size
    wanted = [claim for claim in claims if claim.rule]
    with closing(_read_ahead(checkpoint, [claim.theirs for claim in wanted])) as tensors:
        for claim, tensor in zip(wanted, tensors, strict=True):
            for name, part in claim.split(tensor).items():
                _place(module, state, ties[name], _settled(part, device, dtype), filled, name)
                if placed:
                    placed(name)
            del tensor
            done += checkpoint.entries[claim.theirs].size
            if progress:
                progress(done, total)
    if progress and done < total:
        progress(total, total)  # what the layout drops is not read
    _move_tables(module, device)


def _read_ahead(checkpoint: Checkpoint, names: Sequence[str]) -> Generator[Tensor, None, None]:
    """Tensors in this order; while one is used the next is read, for reading waits and using computes."""
    with ThreadPoolExecutor(1, thread_name_prefix="weights") as pool:
        coming: Future[Tensor] | None = None
        for name in (*names, None):
            before, coming = coming, None if name is None else pool.submit(checkpoint.__getitem__, name)
            if before is not None:
                yield before.result()


def export(
    module: nn.Module,
    layout: Layout,
    keys: Sequence[str],
    folder: str | os.PathLike[str],
    metadata: Mapping[str, str] | None = None,
    shard_bytes: int = 5_000_000_000,
) -> list[Path]:
    """Writes a module under the published names `keys`, as one file or as shards with an index. Returns the files.

    What was read with `dtype=None` comes out bit for bit; tensors the layout drops are left out.
    """
    ours = module.state_dict()
    claims = {claim.theirs: claim for claim in layout.claims(keys) if claim.rule}
    facts = {theirs: _facts(claim, ours) for theirs, claim in claims.items()}
    shards = _shards(facts, shard_bytes)
    folder = Path(folder)
    files = []
    for number, names in enumerate(shards, 1):
        name = _WHOLE[0] if len(shards) == 1 else f"model-{number:05d}-of-{len(shards):05d}.safetensors"
        files.append(write(folder / name, {n: facts[n] for n in names}, lambda n: merged(claims[n], ours), metadata))
    if len(shards) > 1:
        write_index(
            folder / "model.safetensors.index.json", {n: f.name for f, s in zip(files, shards, strict=True) for n in s}
        )
    return files


def write_index(file: Path, weight_map: Mapping[str, str]) -> None:
    """The table that says which shard holds which tensor, as the hub's tools write it."""
    with replacing(file) as draft:
        draft.write_text(json.dumps({"metadata": {}, "weight_map": dict(weight_map)}, indent=1), encoding="utf-8")


def _files(source: Source) -> list[Path]:
    if not isinstance(source, str | os.PathLike):
        return [file for one in source for file in _files(one)]
    path = Path(source)
    if path.is_dir():
        return _files_of_folder(path)
    if path.suffix in PICKLED:
        raise _pickled(path)
    return [path]


def _files_of_folder(folder: Path) -> list[Path]:
    """The files of the one checkpoint in a folder: by its index, by a usual name, or the only one there is."""
    indexes = sorted(folder.glob("*.safetensors.index.json"))
    if len(indexes) == 1:
        return _files_of_index(indexes[0])
    for name in _WHOLE:
        if (folder / name).is_file():
            return [folder / name]
    found = sorted(folder.glob("*.safetensors"))
    shards = [file for file in found if "-of-" in file.name]
    if shards or len(found) == 1:
        return shards or found
    if found:
        names = ", ".join(file.name for file in found[:4])
        raise WeightsError(f"{folder}: holds several checkpoints ({names}); name the file")
    if pickled := sorted(file for file in folder.iterdir() if file.suffix in PICKLED):
        raise _pickled(pickled[0])
    raise WeightsError(f"{folder}: holds no .safetensors file")


def _files_of_index(index: Path) -> list[Path]:
    try:
        names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise WeightsError(f"{index}: is no index of shards") from error
    if outside := [name for name in names if Path(name).name != name]:
        raise WeightsError(f"{index}: names a file outside its folder ({outside[0]})")
    if missing := [name for name in names if not (index.parent / name).is_file()]:
        raise WeightsError(f"{index.parent}: lacks {missing[0]}, {len(missing)} of {len(names)} shards; download them")
    return [index.parent / name for name in names]


def _pickled(path: Path) -> WeightsError:
    folder = path if path.is_dir() else path.parent
    return WeightsError(
        f"{path.name} is a pickle, which can run code when it is opened; convert it once with: diptych convert {folder}"
    )


def _ties(state: Mapping[str, Tensor]) -> dict[int, list[str]]:
    """Names by the tensor they stand for; several names of one tensor are tied."""
    groups: dict[int, list[str]] = {}
    for name, tensor in state.items():
        groups.setdefault(id(tensor), []).append(name)
    return groups


def _shapes_to_find(state: Mapping[str, Tensor], layout: Layout, checkpoint: Checkpoint) -> dict[str, torch.Size]:
    """What the checkpoint must bring: of tied parameters those it has, or the first if it has none."""
    brought = {name for claim in layout.claims(checkpoint) for name in claim.ours}
    wanted = {}
    for group in _ties(state).values():
        for name in [n for n in group if n in brought] or group[:1]:
            wanted[name] = state[name].shape
    return wanted


def _settled(part: Tensor, device: torch.device | str, dtype: torch.dtype | None) -> Tensor:
    """The tensor where and as it is wanted, in memory of its own: a view would keep all of its source alive."""
    kind = dtype if dtype is not None and part.is_floating_point() else part.dtype
    moved = part.to(device=device, dtype=kind)
    whole = moved.untyped_storage().nbytes() == moved.numel() * moved.element_size()
    return moved if whole and moved.is_contiguous() else moved.clone(memory_format=torch.contiguous_format)


def _place(
    module: nn.Module,
    state: Mapping[str, Tensor],
    names: Sequence[str],
    tensor: Tensor,
    filled: dict[str, Tensor],
    name: str,
) -> None:
    """Puts a tensor under every name it is tied to. A second source of a tied tensor must bring the same numbers."""
    if names[0] in filled:
        if not torch.equal(filled[names[0]], tensor):
            raise WeightsError(f"{name}: tied to {names[0]} in this model, but the checkpoint holds other numbers")
        return
    old = state[names[0]]
    new = nn.Parameter(tensor, requires_grad=old.requires_grad) if isinstance(old, nn.Parameter) else tensor
    for tied in names:
        owner, _, leaf = tied.rpartition(".")
        setattr(module.get_submodule(owner), leaf, new)
    if len(names) > 1:  # of what has one source only nothing is remembered: `placed` may have made it smaller
        filled[names[0]] = tensor


def _move_tables(module: nn.Module, device: torch.device | str) -> None:
    """Buffers that no checkpoint brings."""
    for path, part in module.named_modules():
        for leaf in part._non_persistent_buffers_set:
            buffer = part._buffers[leaf]
            if buffer is not None and buffer.is_meta:
                raise WeightsError(f"{path}.{leaf}: has no values and is not part of the checkpoint")
            if buffer is not None:
                part._buffers[leaf] = buffer.to(device)


def _facts(claim: Claim, ours: Mapping[str, Tensor]) -> tuple[torch.dtype, tuple[int, ...]]:
    """Type and shape of a published tensor, found by running its rule on tensors without memory."""
    ghosts = {name: ours[name].to("meta") for name in claim.ours if name in ours}
    ghost = merged(claim, ghosts)
    return ghost.dtype, tuple(ghost.shape)


def _shards(facts: Mapping[str, tuple[torch.dtype, tuple[int, ...]]], limit: int) -> list[list[str]]:
    shards: list[list[str]] = [[]]
    filled = 0
    for name, (dtype, shape) in facts.items():
        size = torch.Size(shape).numel() * dtype.itemsize
        if shards[-1] and filled + size > limit:
            shards.append([])
            filled = 0
        shards[-1].append(name)
        filled += size
    return shards

"""Checkpoints on disk: damage is found and named, failed saves leave no trace, memory stays small."""

import errno
import os
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from diptych.errors import TrainingError
from diptych.training import checkpoints
from diptych.training.checkpoints import Checkpoint
from diptych.training.loop import train
from tests.training.tiny import SETTINGS, TinyModule, TinyTask, everything, finish

FILES = ["weights.safetensors", "optimizer.safetensors", "ema.safetensors", "state.json", "manifest.json"]
TENSORS = {
    "a.safetensors": {
        "float": torch.randn(3, 4, generator=torch.Generator().manual_seed(0)),
        "half": torch.arange(5).to(torch.bfloat16),
        "scalar": torch.tensor(7.5),
        "flag": torch.tensor([True, False]),
        "empty": torch.zeros(0, 3),
        "strided": torch.arange(24.0).reshape(2, 3, 4).permute(2, 0, 1),
    }
}


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    folder = tmp_path_factory.mktemp("saved")
    return checkpoints.save(folder, 40, TENSORS, {"step": 40, "note": "ok"}, keep=2)


def test_tensors_and_state_come_back(saved: Checkpoint) -> None:
    targets = {name: torch.zeros_like(value) for name, value in TENSORS["a.safetensors"].items()}
    saved.copy_into("a.safetensors", targets)
    for name, value in TENSORS["a.safetensors"].items():
        assert torch.equal(targets[name], value) and targets[name].dtype == value.dtype, name
    assert saved.state() == {"step": 40, "note": "ok"}
    assert saved.step == 40


def test_all_files_are_safetensors_or_json(tmp_path: Path) -> None:
    finish(tmp_path)
    last = checkpoints.complete(tmp_path / "checkpoints")[-1].folder
    assert sorted(path.name for path in last.iterdir()) == sorted(FILES)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_flipped_byte_is_found_and_its_file_named(saved: Checkpoint, data: st.DataObject) -> None:
    path = saved.folder / data.draw(st.sampled_from(["a.safetensors", "state.json", "manifest.json"]))
    whole = path.read_bytes()
    at = data.draw(st.integers(0, len(whole) - 1))
    flip = data.draw(st.integers(1, 255))
    try:
        path.write_bytes(whole[:at] + bytes([whole[at] ^ flip]) + whole[at + 1 :])
        with pytest.raises(TrainingError, match=path.name.replace(".", r"\.")):
            saved.verify()
    finally:
        path.write_bytes(whole)
    saved.verify()


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_truncation_is_found_and_its_file_named(saved: Checkpoint, data: st.DataObject) -> None:
    path = saved.folder / data.draw(st.sampled_from(["a.safetensors", "state.json", "manifest.json"]))
    whole = path.read_bytes()
    try:
        path.write_bytes(whole[: data.draw(st.integers(0, len(whole) - 1))])
        with pytest.raises(TrainingError, match=path.name.replace(".", r"\.")):
            saved.verify()
    finally:
        path.write_bytes(whole)


@pytest.mark.parametrize("name", FILES)
def test_resuming_refuses_a_damaged_checkpoint_and_may_fall_back(
    name: str, tmp_path: Path, uninterrupted: dict
) -> None:
    train(TinyTask(), SETTINGS, tmp_path, stop=lambda: len(checkpoints.complete(tmp_path / "checkpoints")) == 2)
    last = checkpoints.complete(tmp_path / "checkpoints")[-1].folder
    damage(last / name)
    with pytest.raises(TrainingError, match=rf"{last.name}/{name}.*resume='older'"):
        finish(tmp_path)
    assert train(TinyTask(), SETTINGS, tmp_path, resume="older").finished
    assert everything(tmp_path) == uninterrupted


def test_falling_back_needs_something_to_fall_back_to(tmp_path: Path) -> None:
    finish(tmp_path)
    for one in checkpoints.complete(tmp_path / "checkpoints"):
        damage(one.folder / "weights.safetensors")
    with pytest.raises(TrainingError, match="no earlier one that is whole"):
        train(TinyTask(), SETTINGS, tmp_path, resume="older")


def test_a_folder_without_manifest_is_no_checkpoint(tmp_path: Path, uninterrupted: dict) -> None:
    train(TinyTask(), SETTINGS, tmp_path, stop=lambda: len(checkpoints.complete(tmp_path / "checkpoints")) == 2)
    last = checkpoints.complete(tmp_path / "checkpoints")[-1]
    (last.folder / "manifest.json").unlink()
    found = checkpoints.newest(tmp_path / "checkpoints")
    assert found is not None and found.step < last.step
    finish(tmp_path)
    assert everything(tmp_path) == uninterrupted


def test_only_the_newest_stay(tmp_path: Path) -> None:
    finish(tmp_path)
    assert [one.step for one in checkpoints.complete(tmp_path / "checkpoints")] == [9, 12]
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == ["step-00000009", "step-00000012"]


@pytest.mark.parametrize("point", ["weights.safetensors half", "optimizer.safetensors begins", "manifest", "rename"])
def test_a_full_disk_leaves_the_old_checkpoint(point: str, tmp_path: Path, points: list[str], uninterrupted) -> None:
    def fill_up(name: str) -> None:
        points.append(name)
        if points.count(point) == 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    checkpoints.passing = fill_up
    with pytest.raises(TrainingError, match=r"step 6 could not be written.*No space left.*intact \(step-00000003\)"):
        finish(tmp_path)
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step-00000003"]
    checkpoints.passing = points.append
    finish(tmp_path)
    assert everything(tmp_path) == uninterrupted


def test_another_model_is_refused(tmp_path: Path) -> None:
    finish(tmp_path)

    class Wider(TinyModule):
        def __init__(self) -> None:
            super().__init__()
            self.head = torch.nn.Linear(8, 2)

    with pytest.raises(TrainingError, match=r"does not belong to this model: it lacks \['head.bias'\]"):
        train(TinyTask(Wider()), SETTINGS, tmp_path)
    module = TinyModule()
    module.unused = torch.nn.Parameter(torch.ones(4))
    with pytest.raises(TrainingError, match="has unused as"):
        train(TinyTask(module), SETTINGS, tmp_path)


def test_saving_copies_one_tensor_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Counts the bytes of all tensors alive that hold copies, at every write, where each must be copied."""
    import weakref

    alive: dict[int, int] = {}
    peak = [0]
    original = torch.Tensor.contiguous

    def contiguous(tensor: torch.Tensor, *args: object, **options: object) -> torch.Tensor:
        copy = original(tensor, *args, **options)
        if copy is not tensor:
            alive[id(copy)] = copy.nbytes
            weakref.finalize(copy, alive.pop, id(copy))
            peak[0] = max(peak[0], sum(alive.values()))
        return copy

    monkeypatch.setattr(torch.Tensor, "contiguous", contiguous)
    many = {str(number): torch.zeros(100, 50).T for number in range(20)}
    checkpoints.save(tmp_path, 1, {"many.safetensors": many}, {}, keep=1)
    assert 0 < peak[0] <= 2 * many["0"].nbytes


def damage(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)

"""Numbers that are not finite never reach the weights."""

import dataclasses
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from diptych.errors import TrainingError
from diptych.training import checkpoints, state
from diptych.training.log import read
from diptych.training.loop import train
from tests.training.tiny import SETTINGS, TinyTask, finish


@pytest.mark.parametrize("gradient", [False, True], ids=["loss", "gradient"])
def test_training_stops_with_the_sample_ids(gradient: bool, tmp_path: Path) -> None:
    task = TinyTask(poison=17, poison_gradient=gradient)  # the second batch of step 9
    with pytest.raises(TrainingError, match=r"step 9: the (loss|gradient norm) is (nan|inf)") as caught:
        train(task, SETTINGS, tmp_path)
    assert all(f"17/{row}" in str(caught.value) for row in range(5))
    last = checkpoints.newest(tmp_path / "checkpoints")
    assert last is not None and last.step == 6
    for file in (state.WEIGHTS, state.AVERAGE):
        assert all(bool(torch.isfinite(value).all()) for value in load_file(last.folder / file).values())
    assert all(bool(torch.isfinite(parameter).all()) for parameter in task.module.parameters())


@pytest.mark.parametrize("gradient", [False, True], ids=["loss", "gradient"])
def test_allowed_skips_are_counted_and_change_nothing(gradient: bool, tmp_path: Path) -> None:
    kept: list[dict[str, torch.Tensor]] = []

    class Watched(TinyTask):
        def losses(self, batch):
            if batch.ids[0] in ("16/0", "18/0"):  # the first batch of the step with the fault, and of the next
                kept.append({name: value.clone() for name, value in self.module.state_dict().items()})
            return super().losses(batch)

    settings = dataclasses.replace(SETTINGS, max_skipped=1)
    outcome = train(Watched(poison=17, poison_gradient=gradient), settings, tmp_path)
    assert outcome.finished and outcome.skipped == 1
    assert [line["step"] for line in read(tmp_path) if line.get("event") == "skipped"] == [9]
    before, after = kept
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_skips_are_remembered_over_a_restart(tmp_path: Path) -> None:
    settings = dataclasses.replace(SETTINGS, max_skipped=1)
    train(TinyTask(poison=2), settings, tmp_path, stop=stop_after(4))
    with pytest.raises(TrainingError, match="max_skipped"):
        train(TinyTask(poison=20), settings, tmp_path)


def test_weights_that_are_not_finite_are_never_saved(tmp_path: Path) -> None:
    class Poisoned(TinyTask):
        def losses(self, batch):
            if batch.ids[0] == "9/0":  # something in the task itself spoils a weight no loss depends on
                with torch.no_grad():
                    self.module.unused[1] = float("inf")
            return super().losses(batch)

    with pytest.raises(TrainingError, match="weight unused is not finite"):
        train(Poisoned(), SETTINGS, tmp_path)
    assert [one.step for one in checkpoints.complete(tmp_path / "checkpoints")] == [3]


def test_a_loss_must_be_there_and_scalar(tmp_path: Path) -> None:
    class Nameless(TinyTask):
        def losses(self, batch):
            return {"total": super().losses(batch)["loss"]}

    class Wide(TinyTask):
        def losses(self, batch):
            return {"loss": self.module(batch.words, batch.x)}

    for number, kind in enumerate((Nameless, Wide)):
        with pytest.raises(TrainingError, match='scalar losses with one named "loss"'):
            train(kind(), SETTINGS, tmp_path / str(number))


def test_an_error_in_a_batch_surfaces_at_its_step(tmp_path: Path) -> None:
    class Broken(TinyTask):
        def batch(self, step):
            if step == 15:
                raise TrainingError("shard 3 is damaged")
            return super().batch(step)

    for workers in (0, 1):
        folder = tmp_path / str(workers)
        with pytest.raises(TrainingError, match="shard 3 is damaged"):
            train(Broken(), dataclasses.replace(SETTINGS, workers=workers), folder)
        assert checkpoints.complete(folder / "checkpoints")[-1].step == 6


def test_nothing_to_train_is_refused(tmp_path: Path) -> None:
    task = TinyTask()
    task.module.requires_grad_(False)
    with pytest.raises(TrainingError, match="no parameter"):
        train(task, SETTINGS, tmp_path)


def test_one_training_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import subprocess
    import sys

    from diptych.training import interrupt

    program = (
        "import fcntl, sys, time; file = open(sys.argv[1], 'w'); fcntl.lockf(file, fcntl.LOCK_EX);"
        "print('held', flush=True); time.sleep(60)"
    )
    other = subprocess.Popen([sys.executable, "-c", program, str(tmp_path / ".lock")], stdout=subprocess.PIPE)
    try:
        assert other.stdout is not None and other.stdout.readline() == b"held\n"
        monkeypatch.setattr(interrupt, "PATIENCE", 0.0)
        with pytest.raises(TrainingError, match="another process trains"):
            finish(tmp_path)
    finally:
        other.kill()
        other.communicate()
    monkeypatch.setattr(interrupt, "PATIENCE", 10.0)
    assert finish(tmp_path).finished


def stop_after(steps: int):
    left = [steps]

    def stop() -> bool:
        left[0] -= 1
        return left[0] == 0

    return stop

"""A training ended at any moment and taken up again ends as if nothing had happened, bit for bit."""

import dataclasses
import multiprocessing
import signal
from pathlib import Path

import pytest
import torch

from diptych.errors import TrainingError
from diptych.training import checkpoints
from diptych.training.loop import train
from diptych.training.step import chained
from tests.training.tiny import SETTINGS, Killed, TinyTask, arm, everything, finish, ids_of, run_in_child

# Every point of a save, found by walking through one: see test_points_are_those_of_a_save.
POINTS = [
    "weights.safetensors begins",
    "weights.safetensors half",
    "optimizer.safetensors begins",
    "optimizer.safetensors half",
    "ema.safetensors begins",
    "ema.safetensors half",
    "manifest",
    "rename",
    "renamed",
    "removing",
]
LAZY = ["torch._dynamo", "matplotlib.figure", "matplotlib.backends.backend_agg", "rich.progress"]
ONCE = [(point, count) for point in POINTS for count in (1, 2)] + [("losses", n) for n in (1, 7, 12, 24)]


def test_points_are_those_of_a_save(tmp_path: Path, points: list[str]) -> None:
    finish(tmp_path)
    assert set(points) == set(POINTS)


def test_samples_are_the_ordered_list_of_all_ids(uninterrupted: dict, tmp_path: Path) -> None:
    digest = ""
    for ids in ids_of(SETTINGS.steps, SETTINGS.accumulate):
        digest = chained(digest, ids)
    assert uninterrupted["state"]["samples"] == digest


@pytest.mark.parametrize(("point", "count"), ONCE)
def test_killed_once(point: str, count: int, tmp_path: Path, points: list[str], uninterrupted: dict) -> None:
    task = TinyTask()
    arm(task, point, count, die)
    with pytest.raises(Killed):
        train(task, SETTINGS, tmp_path)
    checkpoints.passing = points.append
    assert finish(tmp_path).finished
    assert everything(tmp_path) == uninterrupted


def test_killed_at_every_save_point_in_one_training(tmp_path: Path, points: list[str], uninterrupted: dict) -> None:
    """Each life passes one point more than the one before, so it dies at another; many deaths share one epoch."""
    deaths = 0
    for life in range(1, 60):
        task = TinyTask()
        arm(task, "save", life, die)
        try:
            train(task, SETTINGS, tmp_path)
            break
        except Killed:
            deaths += 1
    assert deaths >= 10
    assert everything(tmp_path) == uninterrupted


@pytest.fixture(scope="module")
def children():
    """Processes that can really be killed, forked from one that has torch loaded and nothing running."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.training.tiny", *LAZY])
    return context


@pytest.mark.parametrize(
    ("point", "count"),
    [
        ("batch", 3),
        ("losses", 9),
        ("optimizer.safetensors half", 1),
        ("manifest", 2),
        ("rename", 2),
        ("renamed", 1),
        ("removing", 1),
    ],
)
def test_sigkill(point: str, count: int, tmp_path: Path, children, uninterrupted: dict) -> None:
    assert child(children, tmp_path, point, count, "SIGKILL") == -signal.SIGKILL
    assert (tmp_path / "hit").read_text() == point
    assert child(children, tmp_path, None, 0, "") == 0
    assert everything(tmp_path) == uninterrupted


def test_sigkill_with_worker_processes(tmp_path: Path, children, uninterrupted: dict) -> None:
    """Two processes make the batches; three deaths in one epoch."""
    settings = dataclasses.replace(SETTINGS, workers=2)
    for count in (8, 9, 10):
        assert child(children, tmp_path, "losses", count, "SIGKILL", settings) == -signal.SIGKILL
    assert child(children, tmp_path, None, 0, "", settings) == 0
    assert everything(tmp_path) == uninterrupted


@pytest.mark.parametrize("how", ["SIGINT", "SIGTERM"])
@pytest.mark.parametrize("point", ["losses", "ema.safetensors half"])
def test_signal_saves_and_says_how_to_go_on(
    how: str, point: str, tmp_path: Path, children, uninterrupted: dict
) -> None:
    assert child(children, tmp_path, point, 2, how) == 0
    message = (tmp_path / "message").read_text()
    assert how in message and "Run the same command again" in message
    assert child(children, tmp_path, None, 0, "") == 0
    assert everything(tmp_path) == uninterrupted


def test_signal_between_saves_saves_that_step(tmp_path: Path, children) -> None:
    child(children, tmp_path, "losses", 8, "SIGTERM")
    assert checkpoints.complete(tmp_path / "checkpoints")[-1].step == 4


def test_stop_is_asked_after_each_step(tmp_path: Path, uninterrupted: dict) -> None:
    for step in range(1, SETTINGS.steps):
        outcome = train(TinyTask(), SETTINGS, tmp_path, stop=lambda: True)
        assert (outcome.step, outcome.finished) == (step, False)
    assert finish(tmp_path).finished
    assert everything(tmp_path) == uninterrupted


def test_bfloat16_resumes_exactly_too(tmp_path: Path) -> None:
    settings = dataclasses.replace(SETTINGS, precision="bfloat16")
    finish(tmp_path / "whole", settings)
    train(TinyTask(), settings, tmp_path / "parts", stop=lambda: True)
    finish(tmp_path / "parts", settings)
    assert everything(tmp_path / "parts") == everything(tmp_path / "whole")


def test_reports_do_not_change_the_training(tmp_path: Path, uninterrupted: dict) -> None:
    @dataclasses.dataclass
    class Looking(TinyTask):
        def report(self, step, module_ema, folder):
            self.module.eval()
            return {"noise": float(torch.rand(()))}

    train(Looking(), dataclasses.replace(SETTINGS, report_every=1), tmp_path)
    assert everything(tmp_path) == uninterrupted


def test_a_failing_report_costs_no_step(tmp_path: Path) -> None:
    class Failing(TinyTask):
        def report(self, step, module_ema, folder):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        train(Failing(), dataclasses.replace(SETTINGS, report_every=5), tmp_path)
    assert checkpoints.complete(tmp_path / "checkpoints")[-1].step == 5


def test_a_finished_training_is_left_alone(tmp_path: Path, uninterrupted: dict) -> None:
    finish(tmp_path)
    again = finish(tmp_path)
    assert again.finished and again.step == SETTINGS.steps
    assert everything(tmp_path) == uninterrupted


def test_other_settings_are_refused_unless_accepted(tmp_path: Path) -> None:
    train(TinyTask(), SETTINGS, tmp_path, stop=lambda: True)
    other = dataclasses.replace(SETTINGS, lr=0.5, log_every=1)
    with pytest.raises(TrainingError, match="lr was 0.01, is 0.5.*resume='changed'") as caught:
        train(TinyTask(), other, tmp_path)
    assert "log_every" not in str(caught.value)
    assert train(TinyTask(), other, tmp_path, resume="changed").finished


def test_a_new_training_does_not_overwrite_an_old_one(tmp_path: Path) -> None:
    finish(tmp_path)
    with pytest.raises(TrainingError, match="already holds a training"):
        train(TinyTask(), SETTINGS, tmp_path, resume=False)


def test_time_budget_ends_at_the_lowest_rate_and_survives_a_restart(tmp_path: Path) -> None:
    settings = dataclasses.replace(SETTINGS, steps=10**9, minutes=0.4 / 60, save_every=10**9)
    first = train(TinyTask(), settings, tmp_path, stop=lambda: True)
    second = train(TinyTask(), settings, tmp_path)
    assert not first.finished and second.finished and second.step < 10**9
    assert second.seconds >= 0.4 > first.seconds
    assert finish(tmp_path, settings).step == second.step


def child(context, folder: Path, point: str | None, count: int, how: str, settings=SETTINGS) -> int | None:
    process = context.Process(target=run_in_child, args=(folder, settings, point, count, how))
    process.start()
    process.join(60)
    return process.exitcode


def die() -> None:
    raise Killed

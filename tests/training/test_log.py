"""The log, the curve, the progress."""

import dataclasses
import json
from pathlib import Path

import pytest
from PIL import Image

from diptych.training import curve, loop
from diptych.training.log import Log, read
from diptych.training.loop import train
from tests.training.tiny import SETTINGS, TinyModule, TinyTask, ids_of


def test_lines_hold_means_over_the_steps_between(tmp_path: Path) -> None:
    train(TinyTask(), dataclasses.replace(SETTINGS, log_every=1), tmp_path / "one")
    train(TinyTask(), dataclasses.replace(SETTINGS, log_every=4), tmp_path / "four")
    single = {line["step"]: line for line in read(tmp_path / "one") if "losses" in line}
    grouped = [line for line in read(tmp_path / "four") if "losses" in line]
    assert [line["step"] for line in grouped] == [4, 8, 12]
    for line in grouped:
        parts = [single[step] for step in range(line["step"] - 3, line["step"] + 1)]
        for name in ("loss", "root"):
            mean = sum(part["losses"][name] for part in parts) / 4
            assert line["losses"][name] == pytest.approx(mean)
        assert line["grad_norm"] == pytest.approx(sum(part["grad_norm"] for part in parts) / 4)
        assert line["lr"] == parts[-1]["lr"]


def test_rates_and_seconds(tmp_path: Path) -> None:
    train(TinyTask(), SETTINGS, tmp_path)
    lines = [line for line in read(tmp_path) if "losses" in line]
    samples = len(ids_of(1, SETTINGS.accumulate)[0])
    for line in lines:  # 7 tokens a batch, two batches a step
        assert line["tokens_per_second"] / line["samples_per_second"] == pytest.approx(14 / samples)
        assert 0 <= line["waiting"] <= 1
    assert [line["seconds"] for line in lines] == sorted(line["seconds"] for line in lines)


def test_resuming_takes_out_what_will_be_done_again(tmp_path: Path) -> None:
    log = Log(tmp_path, 0)
    for step in (10, 20, 30):
        log.add(step=step, losses={"loss": float("nan") if step == 20 else 1.0})
    with (tmp_path / "log.jsonl").open("a") as file:
        file.write('{"step": 40, "los')  # the process died here
    Log(tmp_path, 20).add(step=25)
    assert [line["step"] for line in read(tmp_path)] == [10, 20, 25]
    for text in (tmp_path / "log.jsonl").read_text().splitlines():
        json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))


def test_a_resumed_training_logs_each_step_once(tmp_path: Path) -> None:
    for steps in (5, 3, 100):
        train(TinyTask(), SETTINGS, tmp_path, stop=lambda left=[steps]: left.append(left.pop() - 1) or left[0] == 0)
    assert [line["step"] for line in read(tmp_path) if "losses" in line] == [2, 4, 6, 8, 10, 12]


def test_the_curve_is_a_picture(tmp_path: Path) -> None:
    log = Log(tmp_path, 0)
    assert curve.draw(tmp_path) is None
    for step in range(1, 40):
        log.add(step=step, lr=0.1, losses={"loss": 4 / step, "text": float("nan") if step == 3 else 1.0})
    path = curve.draw(tmp_path, log_x=True)
    assert path is not None
    with Image.open(path) as picture:
        assert picture.format == "PNG" and len(picture.convert("RGB").getcolors(1 << 20) or []) > 10
    assert sorted(file.name for file in tmp_path.iterdir()) == ["curve.png", "log.jsonl"]


def test_smoothing_keeps_constants_and_follows_steps() -> None:
    assert curve.smoothed([3.0] * 50, span=0.2) == pytest.approx([3.0] * 50)
    edge = curve.smoothed([0.0] * 100 + [1.0] * 100, span=0.1)
    assert edge[99] == pytest.approx(1 - edge[100]) and 0.3 < edge[99] < 0.5 < edge[100] < 0.7
    assert edge[0] == pytest.approx(0.0, abs=0.01) and edge[-1] == pytest.approx(1.0, abs=0.01)


def test_smoothing_does_not_lag_behind() -> None:
    falling = [float(100 - i) for i in range(100)]
    assert curve.smoothed(falling, span=0.1)[30:70] == pytest.approx(falling[30:70], abs=0.05)


def test_the_curve_shows_where_it_was_resumed(tmp_path: Path) -> None:
    lines = [{"step": step, "lr": 0.1, "losses": {"loss": 1.0 + step}} for step in range(1, 9)]
    axes = curve._figure(lines, [4], False).axes
    assert [[line.get_xdata()[0] for line in axis.lines if line.get_linestyle() == ":"] for axis in axes] == [[4], [4]]
    assert axes[-1].get_xlabel() == "step (dotted: resumed)"


def test_training_draws_its_curve_at_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = []
    monkeypatch.setattr(curve, "available", lambda: True)
    monkeypatch.setattr(curve, "draw", drawn.append)
    train(TinyTask(), SETTINGS, tmp_path)
    assert drawn == [tmp_path]
    drawn.clear()
    monkeypatch.setattr(loop, "REDRAW", 0.0)
    train(TinyTask(), SETTINGS, tmp_path / "live")
    assert len(drawn) == SETTINGS.steps


def test_reports_get_the_average_a_folder_and_leave_the_mode(tmp_path: Path) -> None:
    seen = []

    class Looking(TinyTask):
        def report(self, step, module_ema, folder):
            assert module_ema is not self.module and not module_ema.training
            seen.append((step, folder))
            return {"step": float(step)}

        def losses(self, batch):
            assert self.module.training
            return super().losses(batch)

    train(Looking(), dataclasses.replace(SETTINGS, report_every=5), tmp_path)
    assert seen == [(step, tmp_path / "reports") for step in (5, 10, 12)]
    assert [line["report"] for line in read(tmp_path) if "report" in line] == [{"step": float(s)} for s in (5, 10, 12)]


def test_progress_is_told_after_each_step(tmp_path: Path) -> None:
    seen = []
    train(TinyTask(), SETTINGS, tmp_path, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(step, 12) for step in range(1, 13)]


def test_compile_is_asked_of_the_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(TinyModule, "compile", lambda self: asked.append(self))
    task = TinyTask()
    train(task, dataclasses.replace(SETTINGS, compile=True), tmp_path)
    assert asked == [task.module]


def test_without_an_average_the_module_itself_is_returned(tmp_path: Path) -> None:
    task = TinyTask()
    outcome = train(task, dataclasses.replace(SETTINGS, ema=0), tmp_path)
    assert outcome.module is task.module and not task.module.training

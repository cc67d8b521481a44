"""Model folders that are diffusers pipelines: no config.json of their own, but parts that have one."""

import json
from pathlib import Path
from typing import Any

import pytest

import diptych
from diptych.errors import UnknownModelError, WeightsError
from diptych.models.registry import read_config, recognise


def pipeline(folder: Path, parts: dict[str, Any], index: dict[str, Any] | None = None) -> Path:
    """A pipeline whose parts have these files: {name: {file: contents}}."""
    listed: dict[str, Any] = {"_class_name": "Pipe", "_diffusers_version": "0.34.0"}
    for name, files in parts.items():
        (folder / name).mkdir()
        listed[name] = ["library", f"Class{name}"]
        for file, contents in files.items():
            (folder / name / file).write_text(json.dumps(contents))
    (folder / "model_index.json").write_text(json.dumps(listed | (index or {})))
    return folder


def test_each_part_brings_its_config(tmp_path: Path) -> None:
    parts = {
        "unet": {"config.json": {"_class_name": "Net", "width": 3}},
        "text": {"config.json": {"model_type": "clip"}},
        "scheduler": {"scheduler_config.json": {"steps": 5}},
        "words": {},
    }
    config = read_config(pipeline(tmp_path, parts, {"safety": [None, None], "requires_safety": False}))
    assert config["_class_name"] == "Pipe"
    assert config["unet"] == {"_class_name": "Net", "width": 3}
    assert config["text"] == {"_class_name": "Classtext", "model_type": "clip"}
    assert config["scheduler"] == {"_class_name": "Classscheduler", "steps": 5}
    assert config["words"] == {"_class_name": "Classwords"}
    assert config["safety"] == [None, None] and config["requires_safety"] is False


def test_a_config_of_its_own_comes_first(tmp_path: Path) -> None:
    folder = pipeline(tmp_path, {})
    (folder / "config.json").write_text('{"model_type": "bert"}')
    assert read_config(folder) == {"model_type": "bert"}


def test_nothing_outside_the_folder_is_read(tmp_path: Path) -> None:
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "config.json").write_text('{"width": 3}')
    (tmp_path / "model").mkdir()
    folder = pipeline(tmp_path / "model", {}, {"../secret": ["library", "Class"], "..": ["library", "Class"]})
    assert read_config(folder)["../secret"] == ["library", "Class"]
    assert read_config(folder)[".."] == ["library", "Class"]


def test_a_damaged_part(tmp_path: Path) -> None:
    folder = pipeline(tmp_path, {"unet": {}})
    (folder / "unet" / "config.json").write_text("{")
    with pytest.raises(WeightsError, match=r"unet/config\.json is not valid JSON; download it again"):
        recognise(folder)


def test_a_pipeline_of_no_known_family(tmp_path: Path) -> None:
    folder = pipeline(tmp_path, {"unet": {"config.json": {"_class_name": "UNet2DConditionModel"}}})
    assert recognise(folder) is None
    with pytest.raises(UnknownModelError, match=r"model_index\.json \(_class_name 'Pipe'\) is of no family known here"):
        diptych.load(folder)


def test_a_folder_with_neither(tmp_path: Path) -> None:
    assert recognise(tmp_path) is None
    with pytest.raises(UnknownModelError, match="holds no config.json"):
        read_config(tmp_path)

"""Folders that a model needs beside its own: where they are looked for, and what is said when they are not there."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from diptych.errors import WeightsError
from diptych.models.companions import Companion, find, joined
from diptych.weights.files import Checkpoint

TOKENIZER = Companion("eye", "somebody/keen-eye")


def stated(folder: Path, **config: int) -> Path:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.mark.parametrize("place", ["eye", "keen-eye", "../eye", "../keen-eye", "../../eye"])
def test_places(tmp_path: Path, place: str) -> None:
    model = stated(tmp_path / "models" / "model")
    stated(model / place, bits=3)
    found = find((TOKENIZER,), model)["eye"]
    assert found.config == {"bits": 3}
    assert found.folder.samefile(model / place)


def test_the_nearest_is_taken(tmp_path: Path) -> None:
    model = stated(tmp_path / "model")
    stated(tmp_path / "eye", bits=1)
    stated(model / "keen-eye", bits=2)
    assert find((TOKENIZER,), model)["eye"].config == {"bits": 2}


def test_a_file_in_the_models_own_folder(tmp_path: Path) -> None:
    """It comes first, then what is published, then a folder."""
    model = stated(tmp_path / "model")
    stated(model / "eye", bits=1)
    plain = Companion("eye", "somebody/keen-eye", weights=False, file="eye_config.json")
    assert find((plain,), model)["eye"] == (model / "eye", {"bits": 1})
    known = Companion("eye", "somebody/keen-eye", weights=False, file="eye_config.json", published={"bits": 2})
    assert find((known,), model)["eye"] == (model, {"bits": 2})
    (model / "eye_config.json").write_text('{"bits": 3}')
    assert find((plain,), model)["eye"] == find((known,), model)["eye"] == (model, {"bits": 3})


def test_a_folder_without_a_config_is_no_companion(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says where it was looked for, and what to fetch."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    model = stated(tmp_path / "model")
    (model / "eye").mkdir()
    with pytest.raises(WeightsError) as error:
        find((TOKENIZER,), model)
    for part in ("somebody/keen-eye", str(model / "eye"), str(tmp_path / "keen-eye"), "on the hub"):
        assert part in str(error.value)


def test_a_damaged_config(tmp_path: Path) -> None:
    model = stated(tmp_path / "model")
    (stated(model / "eye") / "config.json").write_text("{")
    with pytest.raises(WeightsError, match="not valid JSON"):
        find((TOKENIZER,), model)


def test_tensors_stand_behind_the_companions_name(tmp_path: Path) -> None:
    model = stated(tmp_path / "model")
    save_file({"weight": torch.zeros(2)}, model / "model.safetensors")
    save_file({"weight": torch.ones(3)}, stated(model / "eye") / "model.safetensors")
    mute = Companion("words", "somebody/words", weights=False)
    stated(model / "words")
    companions = (TOKENIZER, mute)
    checkpoint = joined(Checkpoint(model), companions, find(companions, model))
    assert checkpoint.shapes == {"weight": (2,), "eye/weight": (3,)}
    assert torch.equal(checkpoint["eye/weight"], torch.ones(3))


def test_a_companion_without_weights_where_it_needs_them(tmp_path: Path) -> None:
    model = stated(tmp_path / "model")
    save_file({"weight": torch.zeros(2)}, model / "model.safetensors")
    stated(model / "eye")
    with pytest.raises(WeightsError, match=r"eye: holds no .* of somebody/keen-eye there; .*diptych convert"):
        joined(Checkpoint(model), (TOKENIZER,), find((TOKENIZER,), model))

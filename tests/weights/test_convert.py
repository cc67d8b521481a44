"""Pickled checkpoints become safetensors without any of their code running."""

import json
import os
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from torch import nn

from diptych.errors import WeightsError
from diptych.weights.convert import convert
from diptych.weights.files import Checkpoint


class Canary:
    """What a hostile checkpoint does: run a command when it is opened."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self):
        return os.system, (f"touch {self.file}",)


def test_a_folder_of_shards_with_its_index(tmp_path):
    shards = {
        "pytorch_model-00001-of-00002.bin": {"a": torch.ones(2)},
        "pytorch_model-00002-of-00002.bin": {"b": torch.zeros(3)},
    }
    for name, tensors in shards.items():
        torch.save(tensors, tmp_path / name)
    index = {"weight_map": {"a": "pytorch_model-00001-of-00002.bin", "b": "pytorch_model-00002-of-00002.bin"}}
    (tmp_path / "pytorch_model.bin.index.json").write_text(json.dumps(index))
    assert [file.suffix for file in convert(tmp_path)] == [".safetensors"] * 2
    checkpoint = Checkpoint(tmp_path)
    assert checkpoint["a"].tolist() == [1, 1] and checkpoint["b"].tolist() == [0, 0, 0]
    stamps = [file.stat().st_mtime_ns for file in checkpoint.files]
    convert(tmp_path)
    assert [file.stat().st_mtime_ns for file in checkpoint.files] == stamps, "converted anew"


def test_where_the_weights_are_is_found(tmp_path):
    """Tables inside, tensors that share memory, other numbers beside them, a bare table: one process a file."""
    base = torch.arange(6.0).reshape(2, 3)
    contents = {
        "state": {"state_dict": OrderedDict(w=base, tied=base, turned=base.t()), "epoch": 3, "optimizer": {"w": base}},
        "only": {"trainer": {"unitok": {"w": base}}, "args": {"lr": 0.1}},
        "bare": base,
        "object": nn.Embedding.from_pretrained(base),
    }
    for name, content in contents.items():
        torch.save(content, tmp_path / f"{name}.pth")
    torch.save({"w": base}, tmp_path / "old.ckpt", _use_new_zipfile_serialization=False)
    found = {file.stem: Checkpoint(file) for file in convert(tmp_path)}
    assert torch.equal(found["state"]["turned"], base.t()) and torch.equal(found["state"]["tied"], base)
    for name, key in (("only", "w"), ("bare", "weight"), ("object", "weight"), ("old", "w")):
        assert torch.equal(found[name][key], base), name


def test_several_sets_of_weights_need_a_choice(tmp_path):
    file = tmp_path / "two.pt"
    torch.save({"net": {"w": torch.ones(1)}, "net_ema": {"w": torch.zeros(1)}}, file)
    with pytest.raises(WeightsError, match="2 sets of weights, name one with --entry: net, net_ema"):
        convert(file)
    with pytest.raises(WeightsError, match="no entry 'other'"):
        convert(file, "other")
    (made,) = convert(file, "net_ema")
    assert Checkpoint(made)["w"].item() == 0


def test_hostile_and_damaged_files(tmp_path):
    torch.save({"w": torch.ones(1), "x": Canary(tmp_path / "canary")}, tmp_path / "hostile.bin")
    with pytest.raises(WeightsError, match="could run code"):
        convert(tmp_path / "hostile.bin")
    (tmp_path / "noise.pt").write_bytes(b"no checkpoint")
    with pytest.raises(WeightsError, match="damaged"):
        convert(tmp_path / "noise.pt")
    assert {file.name for file in tmp_path.iterdir()} == {"hostile.bin", "noise.pt"}


def test_nothing_to_convert(tmp_path):
    with pytest.raises(WeightsError, match="no pickled weights"):
        convert(tmp_path)
    with pytest.raises(WeightsError, match="no such file"):
        convert(tmp_path / "a.bin")

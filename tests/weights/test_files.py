"""Checkpoints into modules and back out, and files that are not as they should be."""

import json
import struct

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import nn

from diptych.errors import DiptychError, WeightsError
from diptych.weights import safetensors
from diptych.weights.files import Checkpoint, export, load_into
from diptych.weights.layout import DROP, Layout, cut
from diptych.weights.safetensors import DTYPES, save


class Tiny(nn.Module):
    """A tied head, a buffer that is state and one that is not."""

    def __init__(self, tied: bool = True) -> None:
        super().__init__()
        self.embed = nn.Embedding(10, 4)
        self.q, self.k = nn.Linear(4, 4), nn.Linear(4, 4)
        self.head = nn.Linear(4, 10, bias=False)
        if tied:
            self.head.weight = self.embed.weight
        self.register_buffer("mean", torch.zeros(2))
        self.register_buffer("table", torch.arange(3, device="cpu"), persistent=False)


LAYOUT = Layout({"emb.*": "embed.*", "lm_head.*": "head.*", "qk.*": cut("q.*", "k.*"), "freq": DROP, "mean": "mean"})


def on_meta(tied: bool = True) -> Tiny:
    with torch.device("meta"):
        return Tiny(tied)


@pytest.fixture
def published() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return {
        "emb.weight": torch.randn(10, 4).bfloat16(),
        "qk.weight": torch.randn(8, 4),
        "qk.bias": torch.randn(8).half(),
        "freq": torch.ones(3),
        "mean": torch.tensor([1.0, 2.0]),
    }


@pytest.fixture
def folder(tmp_path, published):
    save(published, tmp_path / "model.safetensors", {"made": "by a test"})
    return tmp_path


def test_files_are_what_other_readers_expect(folder, published):
    theirs = load_file(folder / "model.safetensors")
    assert all(torch.equal(theirs[name], published[name]) for name in published)
    checkpoint = Checkpoint(folder)
    assert checkpoint.metadata == {"made": "by a test"}
    assert checkpoint.shapes["qk.weight"] == (8, 4)
    assert checkpoint.entries["emb.weight"].dtype == torch.bfloat16
    assert checkpoint.size == 80 + 128 + 16 + 12 + 8


def test_files_of_other_writers_are_read(tmp_path):
    kinds = [kind for kind in DTYPES.values() if kind not in (torch.float8_e4m3fn, torch.float8_e5m2)]
    tensors = {str(kind): torch.tensor([[0, 1, 1], [1, 0, 0]]).to(kind) for kind in kinds}
    tensors |= {"empty": torch.zeros(0, 3), "scalar": torch.tensor(7.0)}
    save_file(tensors, tmp_path / "a.safetensors")
    checkpoint = Checkpoint(tmp_path / "a.safetensors")
    assert checkpoint.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert checkpoint[name].dtype == tensor.dtype
        assert torch.equal(checkpoint[name].double(), tensor.double())


def test_a_module_is_filled_as_it_is_stored(folder, published):
    module, heard = on_meta(), []
    load_into(module, LAYOUT, Checkpoint(folder), progress=lambda done, total: heard.append((done, total)))
    assert torch.equal(module.embed.weight, published["emb.weight"])
    assert torch.equal(torch.cat([module.q.bias, module.k.bias]), published["qk.bias"])
    assert torch.equal(module.mean, published["mean"])
    assert module.head.weight is module.embed.weight
    assert module.table.tolist() == [0, 1, 2]
    assert heard[-1] == (244, 244) and sorted(heard) == heard


def test_parts_of_a_tensor_do_not_keep_the_whole_alive(folder):
    module = on_meta()
    load_into(module, LAYOUT, Checkpoint(folder))
    assert module.q.weight.untyped_storage().nbytes() == 64


def test_dtype_is_for_numbers_with_a_point(folder):
    module = on_meta()
    load_into(module, LAYOUT, Checkpoint(folder), dtype=torch.float64)
    assert {module.q.weight.dtype, module.embed.weight.dtype, module.mean.dtype} == {torch.float64}


def test_requires_grad_is_kept(folder):
    module = on_meta()
    module.q.requires_grad_(False)
    load_into(module, LAYOUT, Checkpoint(folder))
    assert not module.q.weight.requires_grad and module.k.weight.requires_grad


def test_either_name_of_a_tied_tensor_will_do(tmp_path, published):
    published["lm_head.weight"] = published["emb.weight"]
    save(published, tmp_path / "both.safetensors")
    load_into(on_meta(), LAYOUT, Checkpoint(tmp_path / "both.safetensors"))
    del published["emb.weight"]
    save(published, tmp_path / "head.safetensors")
    module = on_meta()
    load_into(module, LAYOUT, Checkpoint(tmp_path / "head.safetensors"))
    assert torch.equal(module.embed.weight, published["lm_head.weight"])


def test_tied_tensors_that_differ_are_refused(tmp_path, published):
    save(published | {"lm_head.weight": torch.zeros(10, 4).bfloat16()}, tmp_path / "a.safetensors")
    with pytest.raises(WeightsError, match="tied to .* other numbers"):
        load_into(on_meta(), LAYOUT, Checkpoint(tmp_path / "a.safetensors"))


def test_nothing_is_read_when_names_do_not_match(folder, monkeypatch):
    monkeypatch.setattr("diptych.weights.files.read_tensor", lambda entry: pytest.fail("read weights"))
    with pytest.raises(WeightsError, match="head.weight"):
        load_into(on_meta(tied=False), LAYOUT, Checkpoint(folder))


def test_values_nobody_gives_are_an_error(folder):
    module = on_meta()
    module.register_buffer("lost", torch.empty(2, device="meta"), persistent=False)
    with pytest.raises(WeightsError, match="lost"):
        load_into(module, LAYOUT, Checkpoint(folder))


@pytest.mark.parametrize("limit", [10**9, 150])
def test_export_is_the_checkpoint_again(folder, tmp_path, published, limit):
    module, checkpoint = on_meta(), Checkpoint(folder)
    load_into(module, LAYOUT, checkpoint)
    files = export(module, LAYOUT, list(checkpoint), tmp_path / "out", shard_bytes=limit)
    assert (len(files) > 1) == (limit == 150)
    back = Checkpoint(tmp_path / "out")
    assert back.files == sorted(files)
    assert back.keys() == published.keys() - {"freq"}
    for name in back:
        assert back[name].dtype == published[name].dtype and torch.equal(back[name], published[name])


def test_a_failed_write_leaves_nothing(tmp_path):
    def get(name: str) -> torch.Tensor:
        raise RuntimeError("no more")

    with pytest.raises(RuntimeError, match="no more"):
        safetensors.write(tmp_path / "a.safetensors", {"x": (torch.float32, (2,))}, get)
    assert list(tmp_path.iterdir()) == []


def test_folders_without_one_checkpoint(tmp_path):
    with pytest.raises(WeightsError, match="holds no .safetensors"):
        Checkpoint(tmp_path)
    (tmp_path / "pytorch_model.bin").touch()
    with pytest.raises(WeightsError, match=r"pytorch_model.bin is a pickle.*diptych convert"):
        Checkpoint(tmp_path)
    with pytest.raises(WeightsError, match="diptych convert"):
        Checkpoint(tmp_path / "pytorch_model.bin")
    save({"x": torch.ones(1)}, tmp_path / "ae.safetensors")
    assert list(Checkpoint(tmp_path)) == ["x"]
    save({"y": torch.ones(1)}, tmp_path / "ema.safetensors")
    with pytest.raises(WeightsError, match="several checkpoints .ae.safetensors, ema.safetensors.; name the file"):
        Checkpoint(tmp_path)
    with pytest.raises(WeightsError, match="no such file"):
        Checkpoint(tmp_path / "no.safetensors")


def test_several_files_are_one_table(tmp_path):
    save({"x": torch.ones(1)}, tmp_path / "a.safetensors")
    save({"y": torch.ones(1)}, tmp_path / "b.safetensors")
    assert set(Checkpoint([tmp_path / "a.safetensors", tmp_path / "b.safetensors"])) == {"x", "y"}
    with pytest.raises(WeightsError, match="x also stands in a.safetensors"):
        Checkpoint([tmp_path / "a.safetensors", tmp_path / "a.safetensors"])


@pytest.mark.parametrize(
    ("index", "message"),
    [
        ({"weight_map": {"x": "a.safetensors", "y": "b.safetensors"}}, "lacks b.safetensors, 1 of 2"),
        ({"weight_map": {"x": "../a.safetensors"}}, "outside its folder"),
        ({"weight_map": {"x": "/etc/hostname"}}, "outside its folder"),
        ({"weights": {}}, "no index"),
        ([1], "no index"),
    ],
)
def test_broken_indexes(tmp_path, index, message):
    save({"x": torch.ones(1)}, tmp_path / "a.safetensors")
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(WeightsError, match=message):
        Checkpoint(tmp_path)


def raw(header: object, data: bytes = b"", length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


ONE = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "cut short"),
        (b"1234567", "cut short"),
        (raw({}, length=2**63), "cut short"),
        (raw({}, length=2**64 - 1), "cut short"),
        (raw({"x": ONE}, b"1234567"), "15|has .* bytes where its header needs"),
        (raw({"x": ONE}, b"123456789"), "has .* bytes where its header needs"),
        (raw({"x": ONE, "y": ONE}, b"12345678"), "overlaps"),
        (raw({"x": ONE, "y": ONE | {"data_offsets": [4, 12]}}, b"1" * 12), "overlaps"),
        (raw({"x": ONE, "y": ONE | {"data_offsets": [12, 20]}}, b"1" * 20), "gap"),
        (raw({"x": ONE | {"shape": [3]}}, b"12345678"), "takes 8 bytes where its shape needs 12"),
        (raw({"x": ONE | {"dtype": "F64"}}, b"12345678"), "takes 8 bytes"),
        (raw({"x": ONE | {"dtype": "Q4"}}, b"12345678"), "unknown type 'Q4'"),
        (raw({"x": ONE | {"dtype": ["F32"]}}, b"12345678"), "unknown type"),
        (raw({"x": ONE | {"shape": [-2]}}, b"12345678"), "impossible"),
        (raw({"x": ONE | {"shape": [True, 2]}}, b"12345678"), "impossible"),
        (raw({"x": ONE | {"shape": [2**62, 2**62]}}, b"12345678"), "takes 8 bytes"),
        (raw({"x": ONE | {"shape": "2"}}, b"12345678"), "impossible"),
        (raw({"x": ONE | {"data_offsets": [8, 0]}}, b"12345678"), "takes -8 bytes"),
        (raw({"x": ONE | {"data_offsets": [0, 2**70]}}, b"12345678"), "impossible"),
        (raw({"x": ONE | {"data_offsets": [0]}}, b"12345678"), "impossible"),
        (raw({"x": [1]}, b""), "lacks dtype"),
        (raw({"x": ONE | {"code": "import os"}}, b"12345678"), "lacks dtype"),
        (raw([1, 2]), "no table"),
        (raw(b"{not json}"), "cannot be read"),
        (raw(b"[" * 100_000), "cannot be read"),
        (raw(b"\xff\xfe{}"), "cannot be read"),
        (raw(b'{"x":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"x":{}}', b"1" * 8), "'x' stands in it twice"),
        (raw({"__metadata__": {"a": 1}}), "metadata"),
    ],
)
def test_damaged_files_are_named(tmp_path, content, message):
    (tmp_path / "a.safetensors").write_bytes(content)
    with pytest.raises(WeightsError, match=message) as caught:
        Checkpoint(tmp_path / "a.safetensors")
    assert "a.safetensors" in str(caught.value)


WHOLE = raw({"x": ONE, "y": {"dtype": "I64", "shape": [1, 3], "data_offsets": [8, 32]}}, bytes(range(32)))


@settings(max_examples=500)
@given(data=st.data())
def test_mutated_files_are_typed_errors_or_tensors(data, tmp_path_factory):
    content = bytearray(WHOLE)
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    content = content[: data.draw(st.integers(0, len(content)))] if data.draw(st.booleans()) else content
    file = tmp_path_factory.getbasetemp() / "mutated.safetensors"
    file.write_bytes(content)
    try:
        checkpoint = Checkpoint(file)
        assert sum(checkpoint[name].nbytes for name in checkpoint) <= len(WHOLE)
    except DiptychError as error:
        assert isinstance(error, WeightsError)


def test_a_file_that_shrinks_while_it_is_read(folder):
    checkpoint = Checkpoint(folder)
    content = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(content[:-8])
    with pytest.raises(WeightsError, match="shorter while"):
        [checkpoint[name] for name in checkpoint]

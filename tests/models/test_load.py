"""`diptych.load`: what it refuses, what it never does, and that it knows every published tensor."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

import diptych
from diptych.errors import InputError, UnknownModelError, WeightsError
from diptych.models import registry
from diptych.models.janus import Janus
from tests.models.folders import GOLDEN, WEIGHTS, copied, edit_json, edit_weights

ROOT = Path(__file__).parents[2]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return copied(tmp_path / "model")


def in_child(script: str, *arguments: object) -> Any:
    """What a fresh interpreter prints as JSON on its last line."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", script, *map(str, arguments)]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout.splitlines()[-1])


# --- names ---------------------------------------------------------------------------------------------------


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """One built-in model, janus-tiny."""
    monkeypatch.setattr(registry, "BUILTIN", tmp_path)
    return copied(tmp_path / "janus-tiny")


def test_built_in_names_load(shipped: Path) -> None:
    model = diptych.load("janus-tiny", device="cpu")
    assert (model.name, model.folder, model.dtype) == ("janus-tiny", shipped, torch.float32)


def test_a_misspelt_name_is_told_the_right_one(shipped: Path) -> None:
    with pytest.raises(UnknownModelError, match="unknown model 'janus-tinny'; did you mean 'janus-tiny'"):
        diptych.load("janus-tinny")


def test_a_name_like_no_other_is_told_what_there_is(shipped: Path) -> None:
    with pytest.raises(UnknownModelError, match=r"'xyzzy'; give a built-in name \(janus-tiny\), a folder, or a hub id"):
        diptych.load("xyzzy")


def test_a_hub_id_without_the_hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(UnknownModelError, match="nobody/has-this is not in the local hub cache .* give a local folder"):
        diptych.load("nobody/has-this")


# --- folders -------------------------------------------------------------------------------------------------


def test_no_config(folder: Path) -> None:
    (folder / "config.json").unlink()
    with pytest.raises(UnknownModelError, match=r"holds no config\.json; point to a model folder"):
        diptych.load(folder)


@pytest.mark.parametrize("text", ["{", "[1]", "[" * 100_000, "\x00"])
def test_a_damaged_config(folder: Path, text: str) -> None:
    (folder / "config.json").write_text(text)
    with pytest.raises(WeightsError, match=r"config\.json .*download it again"):
        diptych.load(folder)


def test_a_foreign_family(folder: Path) -> None:
    edit_json(folder / "config.json", lambda config: config.update(model_type="bert"))
    with pytest.raises(UnknownModelError, match="model_type 'bert'.* known: .*janus"):
        diptych.load(folder)


@pytest.mark.parametrize("part", ["language_config", "vision_config", "gen_vision_config.params.n_embed"])
def test_a_config_with_a_hole(folder: Path, part: str) -> None:
    *path, last = part.split(".")

    def cut(config: dict[str, Any]) -> None:
        for name in path:
            config = config[name]
        del config[last]

    edit_json(folder / "config.json", cut)
    with pytest.raises(WeightsError, match=rf"config\.json lacks '{last}'; take the file published with the weights"):
        diptych.load(folder)


@pytest.mark.parametrize("name", ["preprocessor_config.json", "processor_config.json", "tokenizer.json"])
def test_a_missing_file(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(WeightsError, match=name):
        diptych.load(folder)


def test_pickled_weights_are_refused_with_the_remedy(folder: Path) -> None:
    (folder / WEIGHTS).rename(folder / "pytorch_model.bin")
    with pytest.raises(WeightsError, match=rf"pytorch_model\.bin is a pickle.*diptych convert {folder}"):
        diptych.load(folder)


def test_no_weights(folder: Path) -> None:
    (folder / WEIGHTS).unlink()
    with pytest.raises(WeightsError, match=r"holds no \.safetensors file"):
        diptych.load(folder)


@pytest.mark.parametrize("device", ["abacus", "cuda:99", "cpu:x"])
def test_unknown_devices(device: str) -> None:
    with pytest.raises(InputError, match=f"device {device!r} is unknown or not on this machine; use auto, cpu"):
        diptych.load(GOLDEN.folder, device=device)


def test_a_device_without_memory() -> None:
    with pytest.raises(InputError, match="device 'meta' holds no numbers; use auto, cpu"):
        diptych.load(GOLDEN.folder, device="meta")


@pytest.mark.parametrize("dtype", ["int4", "", torch.int8])
def test_unknown_dtypes(dtype: Any) -> None:
    with pytest.raises(InputError, match="unknown dtype .*; use auto, float32, bfloat16, float16"):
        diptych.load(GOLDEN.folder, device="cpu", dtype=dtype)


@pytest.mark.parametrize("dtype", ["bfloat16", torch.float16])
def test_every_parameter_has_the_dtype(dtype: Any) -> None:
    model = diptych.load(GOLDEN.folder, device="cpu", dtype=dtype)
    wanted = dtype if isinstance(dtype, torch.dtype) else torch.bfloat16
    assert {parameter.dtype for parameter in model.network.parameters()} == {wanted}
    assert not any(parameter.requires_grad for parameter in model.network.parameters())


# --- tensors -------------------------------------------------------------------------------------------------

GATE = "language_model.model.layers.1.mlp.gate_proj.weight"
WRONG = {
    "missing": (lambda t: t.pop(GATE), r"without a tensor in the checkpoint: backbone\.blocks\.1\.gate\.weight"),
    "unexpected": (lambda t: t.update({"extra.weight": torch.ones(2)}), r"does not know: extra\.weight"),
    "misshaped": (lambda t: t.update({GATE: t[GATE].T.contiguous()}), rf"shapes differ: {GATE} gives \[64, 112\]"),
    "one block more": (
        lambda t: t.update({GATE.replace("1", "2"): t[GATE].clone()}),
        "parameters the model does not have",
    ),
}


@pytest.mark.parametrize("kind", WRONG)
def test_wrong_tensors_are_found_before_any_is_read(folder: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    change, message = WRONG[kind]
    edit_weights(folder, change)

    def read(entry: Any) -> Any:
        raise AssertionError(f"{entry} was read")

    monkeypatch.setattr("diptych.weights.files.read_tensor", read)
    with pytest.raises(WeightsError, match=message):
        diptych.load(folder, device="cpu")


def test_that_watch_on_reading_bites(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("diptych.weights.files.read_tensor", lambda entry: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        diptych.load(folder, device="cpu")


def published() -> dict[str, dict[str, Any]]:
    """Real checkpoints; one that has the same tensors as another follows it."""
    listed = GOLDEN.full_keys
    return {name: listed[facts["same_as"]] if "same_as" in facts else facts for name, facts in listed.items()}


@pytest.mark.parametrize("name", published())
def test_every_published_tensor_is_claimed_once(name: str) -> None:
    facts = published()[name]
    with torch.device("meta"):
        network = Janus.build(facts["config"])
    ours = {key: tensor.shape for key, tensor in network.state_dict().items()}
    claims = Janus.layout(facts["config"]).check(dict(facts["keys"]), ours)
    assert [claim.theirs for claim in claims] == [key for key, _ in facts["keys"]]
    assert sorted(key for claim in claims for key in claim.ours) == sorted(ours)
    dropped = [claim.theirs for claim in claims if claim.rule is None]
    assert all(".attn_pool." in key or key.endswith("quantize.codebook_used") for key in dropped)
    assert len(dropped) == 14


def test_the_published_list_is_not_empty() -> None:
    sizes = {name: sum(torch.Size(shape).numel() for _, shape in f["keys"]) for name, f in published().items()}
    assert (
        sizes["deepseek-ai/Janus-Pro-7B"] > sizes["deepseek-ai/Janus-Pro-1B"] == sizes["deepseek-ai/Janus-1.3B"] > 2e9
    )


# --- no code of the folder -----------------------------------------------------------------------------------

CANARY = "from pathlib import Path\nPath(__file__).with_name('canary').write_text('run')\n"
WATCH = """
import json, sys
folder = sys.argv[1]
seen = []
def watch(event, arguments):
    if event in ("import", "exec", "open", "compile", "marshal.loads") and folder in str(arguments):
        seen.append([event, str(arguments)])
sys.addaudithook(watch)
import diptych
model = diptych.load(folder, device="cpu")
model.chat("hello", max_tokens=2)
print(json.dumps(seen))
"""


def test_code_in_the_folder_is_never_run(folder: Path) -> None:
    """R1: a folder that asks for its own code in every config loads, and none of that code is so much as opened."""
    custom = {
        "auto_map": {
            "AutoConfig": "modeling_x.X",
            "AutoModel": "modeling_x.X",
            "AutoTokenizer": ["modeling_x.X", None],
        },
        "trust_remote_code": True,
        "custom_pipeline": "modeling_x.py",
    }
    for name in ("modeling_x.py", "processing_x.py", "tokenization_x.py", "sitecustomize.py", "__init__.py"):
        (folder / name).write_text(CANARY)
    for name in ("config", "preprocessor_config", "processor_config", "tokenizer_config"):
        edit_json(folder / f"{name}.json", lambda table: table.update(custom))
    seen = in_child(WATCH, folder)
    assert not (folder / "canary").exists()
    assert any("config.json" in arguments for _, arguments in seen), "the watch saw nothing at all"
    assert [arguments for event, arguments in seen if event != "open" or ".py" in arguments] == []


# --- memory --------------------------------------------------------------------------------------------------

PEAK = r"""
import json, re, resource, sys
from pathlib import Path
import torch, diptych
from diptych.weights.files import Checkpoint
how, folder, tiny = sys.argv[1:]
diptych.load(tiny, device="cpu").chat("hello", max_tokens=2)
if how == "twice":
    held = dict(Checkpoint(folder))
if how != "nothing":
    model = diptych.load(folder, device="cpu")
if sys.platform == "linux":  # where ru_maxrss remembers the process that started this one
    peak = int(re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[1]) * 1024
else:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps(peak))
"""


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of about 70 MB."""
    folder = copied(tmp_path_factory.mktemp("wide") / "model")
    sizes = {"hidden_size": 512, "intermediate_size": 1408, "num_hidden_layers": 4, "vocab_size": 4096}
    edit_json(folder / "config.json", lambda config: config["language_config"].update(sizes))
    for part in ("aligner", "gen_aligner", "gen_head"):
        edit_json(folder / "config.json", lambda c, part=part: c[f"{part}_config"]["params"].update(n_embed=512))
    config = json.loads((folder / "config.json").read_text())
    network = Janus.build(config)
    layout = Janus.layout(config)
    weights = layout.write(network.state_dict(), layout.published(network.state_dict()))
    save_file({name: tensor.contiguous() for name, tensor in weights.items()}, folder / WEIGHTS)
    return folder


def test_weights_are_streamed(wide: Path) -> None:
    """Loading costs the weights and two tensors more. That two copies would be noticed is shown beside it."""
    whole = (wide / WEIGHTS).stat().st_size
    largest = 4096 * 512 * 4
    assert 50e6 < whole < 90e6
    nothing, once, twice = (in_child(PEAK, how, wide, GOLDEN.folder) for how in ("nothing", "once", "twice"))
    assert 0.5 * whole < once - nothing < 1.5 * whole + largest
    assert twice - nothing > 1.5 * whole + largest

"""Show-o trained for a few steps: its tokenizer a part of another model, or a companion; its folder loads anywhere."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image as Pillow
from safetensors.torch import save_file

import diptych
from diptych.errors import DiptychError, TrainingError, WeightsError
from diptych.models.model import Model
from diptych.models.network import Ids, Seen
from diptych.training import recipes
from diptych.training.batches import Learn
from diptych.training.folders import write_folder
from diptych.training.unified import UnifiedTask
from diptych.weights.files import Checkpoint
from tests.parity.sets import sets_of
from tests.parity.test_show_o import spoken
from tests.training.stepped import losses_of

ROOT = Path(__file__).parents[2]
PICTURE = Pillow.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8))
VQ = {"image_token_size": 64, "n_embed": 8, "ch": 4, "ch_mult": [1, 2, 4, 8], "num_res_blocks": 1, "z_channels": 8}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The recipe's model with everything narrow."""
    into = tmp_path_factory.mktemp("tiny") / "model"
    shutil.copytree(ROOT / "recipes" / "show-o-emoji", into)
    config = json.loads((into / "config.json").read_text("utf-8"))
    config |= {"codebook_size": 64, "mask_token_id": 6218, "vocab_size": 6219}
    config["vq_model"]["params"] = VQ | {"num_groups": 2}
    (into / "config.json").write_text(json.dumps(config), "utf-8")
    llm = json.loads((into / "llm_config.json").read_text("utf-8"))
    llm |= {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2}
    llm |= {"num_attention_heads": 4, "num_key_value_heads": 4}
    (into / "llm_config.json").write_text(json.dumps(llm), "utf-8")
    return into


@pytest.fixture
def published(tmp_path: Path) -> Path:
    """A golden Show-o with its companions in folders of their own."""
    (tmp_path / "published").mkdir()
    golden = next(golden for golden in sets_of("show_o") if not golden.config["w_clip_vit"])
    return spoken(golden, tmp_path / "published")


def recipe(folder: Path, **model: Any) -> dict[str, Any]:
    return {
        "kind": "unified",
        "model": {"folder": str(folder), "frozen": ["tokenizer"], **model},
        "data": {"seed": 1, "batch": 6, "width": 256},
        "training": {"steps": 1, "warmup": 1, "ema": 0.0, "precision": "float32", "lr": 1e-2},
    }


def written(task: UnifiedTask, folder: Path) -> Path:
    network: Any = task.module.network
    write_folder(task.family, task.config, task.folder, network, folder, torch.bfloat16)
    network.float().requires_grad_(False).eval()
    return folder


def alike(task: UnifiedTask, folder: Path) -> None:
    """What was trained and what was written answer and draw the same."""
    own, again = Model("own", task.module.network, task.dialogue, folder), diptych.load(folder, "cpu", "float32")
    rows = [again.dialogue.render(diptych.Request.of([diptych.Turn.user(PICTURE, "What is this?")]))]
    assert torch.equal(again.logits(rows), own.logits(rows))
    for seed in (0, 1):
        ours, theirs = (np.asarray(m.generate("a red car", seed=seed, steps=3)[0]) for m in (own, again))
        assert np.array_equal(ours, theirs)


def test_the_shipped_recipes_are_sound(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The sizes of its files agree with each other and with a tokenizer trained by itself, under Janus' names."""
    monkeypatch.chdir(ROOT)
    wanted = recipes.read("recipes/show-o-emoji-objects.toml")
    whole = Checkpoint(ROOT / "diptych" / "builtin" / "janus-emoji")
    tensors = {name: whole[name] for name in whole if name.startswith("gen_vision_model.")}
    save_file(tensors, tmp_path / "vq.safetensors")
    assert wanted["parts"]["tokenizer"].endswith("/vq.safetensors") and wanted["data"]["apart"]
    wanted["parts"]["tokenizer"] = str(tmp_path / "vq.safetensors")
    task = UnifiedTask(wanted)
    codebook = task.module.network.get_parameter("tokenizer.quantiser.codebook")
    assert torch.equal(codebook, tensors["gen_vision_model.quantize.embedding.weight"].float())
    assert task.dialogue.image_size == (64, 64) and task.conversations.grid == (8, 8)
    assert set(wanted["data"]["shares"]) <= {"drawing", "naming", "question", "caption"}
    assert recipes.read("recipes/show-o-emoji.toml")["model"]["folder"] == wanted["model"]["folder"]
    network: Any = task.module.network
    last = network.first + len(codebook)
    assert (last, task.dialogue.mask) == (task.config["vocab_size"] - 1, last)


def test_steps_then_a_folder_of_one_file(folder: Path, tmp_path: Path) -> None:
    task = UnifiedTask(recipe(folder))
    seen = losses_of(task)
    assert set(seen[0]) == {"loss", "image", "text"}
    assert all(seen[-1][name] < seen[0][name] for name in seen[0])
    into = written(task, tmp_path / "model")
    assert not any(path.is_dir() for path in into.iterdir())
    names = set(Checkpoint(into))
    assert "vq_model.quantize.embedding.weight" in names and not any("/" in name for name in names)
    alike(task, into)
    (again,) = written(UnifiedTask(recipe(into, start=str(into))), tmp_path / "second").glob("*.safetensors")
    assert again.read_bytes() == (into / "model.safetensors").read_bytes()


def test_every_trained_part_learns_and_the_tokenizer_does_not(folder: Path) -> None:
    task = UnifiedTask(recipe(folder))
    task.module.train()
    task.losses(task.batch(0))["loss"].backward()
    for name, parameter in task.module.named_parameters():
        assert (parameter.grad is None) == (".tokenizer." in name), name
    assert not task.module.network.get_submodule("tokenizer.decoder").training


def test_a_companion_is_found_kept_and_written_apart(published: Path, tmp_path: Path) -> None:
    companion = Checkpoint(published / "magvitv2")
    task = UnifiedTask(recipe(published))
    kept = task.family.layout(task.config).inside("magvitv2/").write(task.module.network.state_dict(), companion)
    assert kept and all(torch.equal(tensor, companion[name]) for name, tensor in kept.items())
    own = Checkpoint(published / "pytorch_model.safetensors")
    assert not torch.equal(task.module.network.backbone.embed.weight, own["showo.model.embed_tokens.weight"])
    into = written(task, tmp_path / "elsewhere" / "model")
    assert {path.name for path in into.iterdir() if path.is_dir()} == {"phi-1_5", "magvitv2"}
    assert Checkpoint(into / "magvitv2").keys() == kept.keys()
    assert all(name.startswith("showo.") for name in Checkpoint(into / "model.safetensors"))
    alike(task, into)


def test_going_on_from_a_published_model(published: Path) -> None:
    task = UnifiedTask(recipe(published, start=str(published)))
    there = diptych.load(published, "cpu", "float32").network.state_dict()
    assert all(torch.equal(tensor, there[name]) for name, tensor in task.module.network.state_dict().items())


def test_a_companion_that_does_not_fit(published: Path, tmp_path: Path) -> None:
    whole = dict(Checkpoint(published / "magvitv2"))
    (published / "magvitv2").unlink()
    (published / "magvitv2").mkdir()
    (published / "magvitv2" / "config.json").write_text("{}")
    save_file({"encoder.conv_in.weight": next(iter(whole.values()))}, published / "magvitv2" / "model.safetensors")
    with pytest.raises(WeightsError, match="without a tensor"):
        UnifiedTask(recipe(published))


def test_a_part_of_another_model(folder: Path, tmp_path: Path) -> None:
    other = written(UnifiedTask(recipe(folder, seed=5)), tmp_path / "other")
    task = UnifiedTask(recipe(folder) | {"parts": {"tokenizer": str(other)}})
    theirs = diptych.load(other, "cpu", "float32").network.state_dict()
    ours = task.module.network.state_dict()
    assert all(torch.equal(ours[n], theirs[n]) == n.startswith("tokenizer.") for n in theirs if n.endswith("v.weight"))
    assert torch.equal(ours["tokenizer.quantiser.codebook"], theirs["tokenizer.quantiser.codebook"])
    assert not torch.equal(ours["backbone.embed.weight"], theirs["backbone.embed.weight"])


def test_conversations_stand_as_they_are_rendered(folder: Path) -> None:
    """A question is learned behind what `chat` would read, a drawing behind what `generate` would."""
    task = UnifiedTask(recipe(folder))
    for name, row in (pair for step in range(4) for pair in task.conversations.batch(step)):
        kinds = [type(piece) for piece in row]
        if name.startswith("drawing"):
            assert kinds == [Ids, Learn] and row[0].ids[0] == task.dialogue.specials["<|t2i|>"]
            assert row[1].writer == "image" and row[1].target.max() < 64
        else:
            assert kinds[:5] == [Ids, Seen, Ids, Ids, Learn]
            assert row[0].ids == [task.dialogue.specials[mark] for mark in ("<|mmu|>", "<|soi|>")]
            assert {piece.writer for piece in row if isinstance(piece, Learn)} == {"text"}


# --- wrong input ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "able"), [("edit", "edit"), ("story", "interleave")])
def test_what_it_cannot_express_is_refused(folder: Path, kind: str, able: str) -> None:
    wanted = recipe(folder)
    wanted["data"]["shares"] = {"drawing": 0.5, kind: 0.5}
    with pytest.raises(TrainingError, match=rf"cannot {able}.*'{kind}'.*drawing, naming, question, caption"):
        UnifiedTask(wanted)
    wanted["data"]["shares"][kind] = 0.0
    assert UnifiedTask(wanted).conversations.shares == {"drawing": 0.5, kind: 0.0}


def test_the_usual_shares_are_of_what_it_can(folder: Path) -> None:
    assert set(UnifiedTask(recipe(folder)).conversations.shares) == {"drawing", "naming", "question", "caption"}


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"parts": {"ears": "janus-emoji"}}, "no part 'ears'; it has backbone, tokenizer"),
        ({"parts": {"tokenizer": "janus-emoji"}}, "does not fit tokenizer"),
        ({"parts": {"tokenizer": "janus-emojy"}}, "did you mean 'janus-emoji'"),
        ({"parts": {"tokenizer": "nowhere.safetensors"}}, "nowhere.safetensors is missing"),
        ({"model": {"folder": "", "frozen": ["ears"]}}, "no part 'ears'"),
    ],
)
def test_mistakes_in_parts_are_named(folder: Path, change: dict[str, Any], error: str) -> None:
    wanted = recipe(folder) | change
    wanted["model"] |= {"folder": str(folder)}
    with pytest.raises(DiptychError, match=error):
        UnifiedTask(wanted)

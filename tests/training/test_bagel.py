"""BAGEL trained for a few steps on latents of an autoencoder: it draws, answers, edits; its folder loads anywhere."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image as Pillow

import diptych
from diptych.data.worlds.emoji import straightened
from diptych.errors import TrainingError
from diptych.evaluation.runs.settings import described
from diptych.models.family import Options
from diptych.models.network import Ids, Seen, Traced
from diptych.training import recipes
from diptych.training.batches import Learn
from diptych.training.conversations import Canvases
from diptych.training.folders import write_folder
from diptych.training.loop import Result
from diptych.training.unified import UnifiedTask, finish
from tests.training.stepped import losses_of

ROOT = Path(__file__).parents[2]
PICTURE = Pillow.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The recipe's model with everything narrow."""
    into = tmp_path_factory.mktemp("tiny") / "model"
    shutil.copytree(ROOT / "recipes" / "bagel-emoji", into)
    config = json.loads((into / "config.json").read_text("utf-8"))
    config["llm_config"] |= {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2}
    config["llm_config"] |= {"num_attention_heads": 4, "num_key_value_heads": 4}
    config["vit_config"] |= {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2}
    config["vae_config"] |= {"ch_mult": [1, 1, 1, 1], "z_channels": 4}
    (into / "config.json").write_text(json.dumps(config), "utf-8")
    return into


def recipe(folder: Path) -> dict[str, Any]:
    shares = {"drawing": 0.3, "question": 0.3, "edit": 0.4}
    return {
        "kind": "unified",
        "model": {"folder": str(folder), "frozen": ["tokenizer"]},
        "data": {"seed": 1, "batch": 6, "width": 256, "shares": shares},
        "training": {"steps": 1},
    }


def test_steps_then_a_folder_that_draws_answers_and_edits(folder: Path, tmp_path: Path) -> None:
    task = UnifiedTask(recipe(folder))
    seen = losses_of(task)
    assert set(seen[0]) == {"loss", "image", "text"} and seen[-1]["loss"] < seen[0]["loss"]
    assert all(p.grad is not None for p in task.module.parameters() if p.requires_grad)
    assert all(p.grad is None for p in task.module.network.get_submodule("tokenizer").parameters())
    write_folder(task.family, task.config, folder, task.module.network, tmp_path / "model", torch.float32)
    model = diptych.load(tmp_path / "model", device="cpu", dtype="float32")
    assert model.generate("a red car", steps=2)[0].size == (64, 64)
    assert model.edit(PICTURE, "Make it red.", steps=2)[0].size == (64, 64)
    assert isinstance(model.chat((PICTURE, "What is this?"), max_tokens=4).text, str)
    config = json.loads((tmp_path / "model" / "config.json").read_text("utf-8"))
    config["diptych"]["defaults"] |= {"steps": 2, "guidance": 1.0}
    (tmp_path / "model" / "config.json").write_text(json.dumps(config), "utf-8")
    settled = diptych.load(tmp_path / "model", device="cpu", dtype="float32")
    for change, other in ((settled.generate, model.generate), (settled.edit, model.edit)):
        given = ("a red car",) if change == settled.generate else (PICTURE, "Make it red.")
        by_config, asked = change(*given)[0], other(*given, steps=2, guidance=1.0)[0]
        assert by_config.tobytes() == asked.tobytes() != other(*given, steps=2)[0].tobytes()


@pytest.mark.parametrize("exact", [False, True])
def test_exact_edits_keep_the_places_of_what_is_not_spoken_of(folder: Path, exact: bool) -> None:
    """All others are learned straightened, so that nothing of their source could be copied."""
    asked = recipe(folder)
    asked["data"] |= {"exact_edits": exact}
    conversations, kept = UnifiedTask(asked).conversations, 0
    for index in range(30):
        edit, canvases = conversations.world.edit(index, "en"), Canvases(conversations.fill, (8, 8))
        *_, target = conversations._edit(index, "en", False, canvases)
        assert target == (edit.target if exact else straightened(edit.target))
        kept += bool(set(target.objects) & set(edit.source.objects))
    assert kept > 10 if exact else kept == 0


def test_a_recipe_changes_its_models_config(folder: Path, tmp_path: Path) -> None:
    asked = recipe(folder)
    asked["model"] |= {"config": {"timestep_shift": 2.5}}
    task = UnifiedTask(asked)
    assert task.config["timestep_shift"] == task.module.network.shift == 2.5
    finish(task, Result(1, 1, True, "", 0.0, {}, "", 0, task.module, tmp_path), tmp_path)
    stated, before = (json.loads((path / "config.json").read_text("utf-8")) for path in (tmp_path / "model", folder))
    assert stated == before | {"timestep_shift": 2.5} != before
    asked["model"]["config"] = {"timestep_shifts": 2.5}
    with pytest.raises(TrainingError, match="timestep_shifts"):
        UnifiedTask(asked)


def test_objects_apart_cannot_stand_exactly(folder: Path) -> None:
    asked = recipe(folder)
    asked["data"] |= {"exact_edits": True, "apart": True}
    with pytest.raises(TrainingError, match="exact_edits = false"):
        UnifiedTask(asked)


def test_edits_read_the_picture_both_ways(folder: Path) -> None:
    conversations = UnifiedTask(recipe(folder)).conversations
    rows = dict(conversations.batch(0) + conversations.batch(1))
    for name, row in rows.items():
        kinds = [type(piece) for piece in row]
        learned = [piece for piece in row if isinstance(piece, Learn)]
        if name.startswith("edit"):
            assert kinds == [Traced, Seen, Ids, Learn] and learned[0].target.shape == (64, 4)
        elif name.startswith("question"):
            assert kinds[0] is Seen and all(piece.writer == "text" for piece in learned)


def test_further_questions_stand_as_the_template_puts_them(folder: Path) -> None:
    """Behind a reply: the question between its marks, and the mark that opens the next reply."""
    task = UnifiedTask(recipe(folder))
    dialogue: Any = task.dialogue
    further = task.conversations._next("What is this?").ids
    assert further[0] == further[-1] == dialogue.begin and further[-2] == dialogue.ending
    assert dialogue.tokenizer.decode(further[1:-2]).strip() == "What is this?"


def test_the_shipped_recipe_is_sound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    wanted = recipes.read("recipes/bagel-emoji-first.toml")
    vae = recipes.read("recipes/emoji-kl.toml")["model"]
    del wanted["parts"]
    task = UnifiedTask(wanted)
    assert task.config["vae_config"].items() >= vae.items()
    assert task.dialogue.image_size == (64, 64) and task.conversations.grid == (8, 8)
    assert sum(p.numel() for p in task.module.parameters()) < 15e6


def test_a_run_tells_how_it_was_guided(folder: Path, tmp_path: Path) -> None:
    """Defaults of the config included, for pictures that are drawn and for those that are edited."""
    folder = shutil.copytree(folder, tmp_path / "model")
    config = json.loads((folder / "config.json").read_text("utf-8"))
    config["diptych"] = {"defaults": {"steps": 3, "guidance": 1.5, "image_guidance": 1.25}}
    (folder / "config.json").write_text(json.dumps(config), "utf-8")
    writer = UnifiedTask(recipe(folder)).dialogue.image(Options(shift=2.0))
    assert described(writer.schedule) == "euler(ascending=False, shift=2.0, steps=3)"
    guide = described(writer.guide)
    assert "cfg_text_image(image=1.0, least=0.0, renorm=global, text=1.5)" in guide
    assert "cfg_text_image(image=1.25, least=0.0, renorm=text_channel, text=1.5)" in guide

"""A unified model trained for a few steps, from recipe to folder to answers."""

import json
import shutil
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from PIL import Image as Pillow

import diptych
from diptych.errors import TrainingError
from diptych.models.network import Ids, Seen
from diptych.models.registry import family, read_config
from diptych.training import recipes
from diptych.training.batches import Learn
from diptych.training.card import facts, page
from diptych.training.conversations import SHARES, Canvases
from diptych.training.encoder import EncoderTask, standardise
from diptych.training.parts import initialised
from diptych.training.unified import UnifiedTask
from diptych.types import Image, Request, Turn

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped model's files, with everything narrow."""
    into = tmp_path_factory.mktemp("tiny") / "model"
    shutil.copytree(ROOT / "recipes" / "janus-emoji", into)
    config = json.loads((into / "config.json").read_text("utf-8"))
    config["language_config"] |= {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2}
    config["language_config"] |= {"num_attention_heads": 4, "num_key_value_heads": 4}
    config["vision_config"]["params"] |= {"width": 16, "layers": 1, "heads": 2, "stem": [4, 8, 8, 16]}
    config["aligner_config"]["params"] |= {"input_dim": 16, "n_embed": 32}
    config["gen_aligner_config"]["params"]["n_embed"] = 32
    config["gen_head_config"]["params"] |= {"image_token_embed": 32, "image_token_size": 64, "n_embed": 32}
    config["gen_vision_config"]["params"] |= {"image_token_size": 64, "ch": 4, "z_channels": 8, "num_groups": 2}
    (into / "config.json").write_text(json.dumps(config), "utf-8")
    return into


def recipe(folder: Path, **data: object) -> dict:
    return {
        "kind": "unified",
        "model": {"folder": str(folder), "frozen": ["tokenizer", "eyes.encoder"]},
        "data": {"seed": 1, "batch": 8, **data},
        "training": {"steps": 2, "warmup": 1, "ema": 0.5, "precision": "float32"},
    }


def toml(wanted: dict) -> str:
    tables = {name: value for name, value in wanted.items() if isinstance(value, dict)}
    lines = [f"kind = {json.dumps(wanted['kind'])}"]
    for name, table in tables.items():
        lines += [f"[{name}]", *(f"{key} = {json.dumps(value)}" for key, value in table.items())]
    return "\n".join(lines)


def test_from_recipe_to_answers(folder: Path, tmp_path: Path) -> None:
    file, out = tmp_path / "tiny.toml", tmp_path / "run"
    file.write_text(toml(recipe(folder)), "utf-8")
    result = recipes.run(file, out)
    assert result.finished and set(result.losses) == {"loss", "text", "image"}
    model = diptych.load(out / "model")
    assert model.can == {"chat", "generate", "edit", "interleave"}
    (picture,) = model.generate("a red car")
    assert picture.size == (64, 64)
    assert model.edit(picture, "Make the car green.", seed=3)[0].size == (64, 64)
    assert isinstance(model.chat((picture, "What is this?"), max_tokens=4).text, str)
    card = facts(out, {"lang": "en", "seed": 0, "answers": {"what": {"all": {"share": 0.5, "passed": 1, "total": 2}}}})
    assert card["steps"] == 2 and "| what | - | - | 0.50 (1/2) |" in page("tiny", "A tiny one.", card)


def test_batches_are_functions_of_their_number(folder: Path) -> None:
    first, second = (UnifiedTask(recipe(folder, shares=SHARES)) for _ in range(2))
    for step in (3, 0):
        one, other = first.batch(step), second.batch(step)
        assert one.ids == other.ids
        for a, b in zip(one.rows, other.rows, strict=True):
            assert [type(p) for p in a] == [type(p) for p in b]
            assert all(torch.equal(torch.as_tensor(p[0]), torch.as_tensor(q[0])) for p, q in zip(a, b, strict=True)
                       if not isinstance(p[0], str))  # fmt: skip
    assert first.batch(0).ids != first.batch(1).ids


def test_every_trained_part_learns_and_frozen_parts_do_not(folder: Path) -> None:
    task = UnifiedTask(recipe(folder, batch=24))
    task.module.train()
    task.losses(task.batch(0))["loss"].backward()
    for name, parameter in task.module.named_parameters():
        frozen = ".tokenizer." in name or ".eyes.encoder." in name
        assert (parameter.grad is None) == frozen, name
    assert not task.module.network.get_submodule("eyes.encoder.patch").training


def test_what_it_reads_and_wrote_is_loud_enough(folder: Path) -> None:
    """Behind the first norm, codes must differ from each other: the spread between tokens is most of their size."""
    torch.manual_seed(0)
    config = read_config(folder)
    network = initialised(family("janus").build(config), 0)
    tokens = network.draw.tokens(torch.arange(64))
    assert tokens.square().mean().sqrt() > 0.05
    assert tokens.std(0).square().mean() > 0.3 * tokens.square().mean()


def test_standardised_features() -> None:
    model = {"image_size": 64, "patch": 8, "width": 16, "depth": 1, "heads": 2, "hidden": 16}
    task = EncoderTask({"model": model, "data": {"seed": 1, "batch": 16}})
    pixels = task.batch(0).pixels
    standardise(task.module.encoder, pixels)
    features = task.module.encoder(pixels).flatten(0, 1)
    assert features.mean(0).abs().max() < 1e-4 and (features.std(0) - 1).abs().max() < 1e-3


def test_mistakes_are_named(folder: Path) -> None:
    with pytest.raises(TrainingError, match="unknown kinds of conversation: poem"):
        UnifiedTask(recipe(folder, shares={"poem": 1.0}))
    wrong = recipe(folder) | {"parts": {"tokenizer": "nowhere.safetensors"}}
    with pytest.raises(TrainingError, match="nowhere.safetensors is missing"):
        UnifiedTask(wrong)


def test_several_answers_stand_as_in_a_real_conversation(folder: Path) -> None:
    task = UnifiedTask(recipe(folder, shares={"question": 1.0}))
    for index in range(20):
        row = task.conversations._question(index, "en", False, Canvases(task.conversations.fill, (8, 8)))
        asked = task.conversations.world.questions(index, "en")
        turns = [Turn.user(Image(Pillow.new("RGB", (64, 64))), asked[0].question)]
        for before, after in pairwise(asked):
            turns += [Turn.assistant(before.answer), Turn.user(after.question)]
        learned = [piece.target.tolist() for piece in row if isinstance(piece, Learn)]
        ours = [i for piece in row if not isinstance(piece, Seen) for i in piece[0 if isinstance(piece, Ids) else 1]]
        whole = [
            i for piece in task.dialogue.render(Request(tuple(turns))) if isinstance(piece, Ids) for i in piece.ids
        ]
        assert [int(i) for i in ours] == [*whole, *learned[-1]]
        assert len(learned) == 3

"""The KL autoencoder: it learns, its latents end with unit spread, and a model takes it as its tokenizer."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from diptych.errors import TrainingError
from diptych.tokenizers.flux import flux_tokenizer
from diptych.training import recipes
from diptych.training.autoencoder import UNSCALED, even, names, task, through
from diptych.training.parts import load_part
from diptych.training.pictures import held_out
from tests.training.stepped import losses_of

MODEL = {"ch": 32, "ch_mult": [1, 1], "num_res_blocks": 1, "z_channels": 4}
RECIPE: dict[str, Any] = {
    "kind": "autoencoder",
    "model": MODEL,
    "data": {"batch": 2, "size": 16, "mosaics": [0.2, 0.1], "seed": 1},
    "training": {"steps": 4, "warmup": 1, "ema": 0.0, "precision": "float32", "lr": 2e-3, "report_every": 4},
}


def toml(path: Path, recipe: dict[str, Any]) -> Path:
    lines = [
        f"{key} = {str(value).lower() if isinstance(value, bool) else repr(value)}"
        for key, value in recipe.items()
        if not isinstance(value, dict)
    ]
    for name, table in recipe.items():
        if isinstance(table, dict):
            lines += [f"[{name}]", *(f"{key} = {value!r}" for key, value in table.items())]
    path.write_text("\n".join(lines).replace("'", '"'))
    return path


def test_it_learns_whole_pictures_and_objects_apart() -> None:
    for apart in (0.0, 1.0):
        torch.manual_seed(0)
        own = task(
            RECIPE
            | {"data": {**RECIPE["data"], "size": 64, "apart": apart}, "model": {**MODEL, "ch_mult": [1, 1, 1, 1]}}
        )
        assert (own.batch(0).scenes is not None) == bool(apart)
        seen = losses_of(own)
        assert (
            set(seen[0]) == {"loss", "absolute", "squared", "edges", "hue", "kl"} and seen[-1]["loss"] < seen[0]["loss"]
        )
        assert all(p.grad is not None for p in own.module.parameters())


def test_even_latents_show_the_same_pictures() -> None:
    torch.manual_seed(1)
    tokenizer, pixels = flux_tokenizer(MODEL | UNSCALED), held_out(8, 16)
    with torch.no_grad():
        tokenizer.encoder.conv_out.weight *= 7
        before, shown = through(tokenizer, pixels)
        logvar = tokenizer.moments(pixels.float() / 127.5 - 1).logvar
        even(tokenizer, pixels)
        after, again = through(tokenizer, pixels)
        change = tokenizer.moments(pixels.float() / 127.5 - 1).logvar - logvar
    assert abs(after.std() - 1) < 1e-4 < abs(before.std() - 1)
    assert (shown.int() - again.int()).abs().max() <= 1
    assert torch.allclose(change, -2 * before.std().log().expand_as(change), atol=1e-4)


def test_a_run_leaves_a_tokenizer_under_published_names(tmp_path: Path) -> None:
    recipes.run(toml(tmp_path / "kl.toml", RECIPE), tmp_path / "run")
    tensors = load_file(tmp_path / "run" / "ae.safetensors")
    assert "encoder.mid.block_1.norm1.weight" in tensors and (tmp_path / "run" / "ae.json").is_file()
    tokenizer = flux_tokenizer(MODEL | UNSCALED)
    holder: Any = torch.nn.ModuleDict({"tokenizer": tokenizer})
    load_part(holder, names(MODEL).under("", "tokenizer."), "tokenizer", str(tmp_path / "run" / "ae.safetensors"))
    latents, _ = through(tokenizer, held_out(256, 16))
    assert abs(latents.std() - 1) < 1e-3
    sheet = list((tmp_path / "run" / "reports").rglob("*.png"))
    assert sheet
    on = toml(tmp_path / "on.toml", RECIPE | {"start": str(tmp_path / "run" / "ae.safetensors")})
    begun = task(recipes.read(on)).module.tokenizer
    assert torch.equal(begun.decoder.conv_in.weight, tokenizer.decoder.conv_in.weight)


def test_wrong_recipes() -> None:
    with pytest.raises(TrainingError, match="z_channels"):
        task(RECIPE | {"model": {**MODEL, "z_chanels": 4}})
    with pytest.raises(TrainingError, match="name the folder of a trained encoder"):
        task(RECIPE | {"losses": {"features": 1.0}})


def test_the_shipped_recipe_is_sound(monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = recipes.read(Path(__file__).parents[2] / "recipes" / "emoji-kl.toml")
    del recipe["start"], recipe["teacher"], recipe["losses"]["features"]
    tokenizer = task(recipe).module.tokenizer
    assert tokenizer.factor == 8 and tokenizer.encode(torch.zeros(1, 3, 64, 64)).shape == (1, 8, 8, 8)

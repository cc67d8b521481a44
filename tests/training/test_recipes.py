"""Recipes: read, overridden, checked, run."""

import json
import re
from pathlib import Path

import pytest

from diptych.errors import TrainingError
from diptych.training import recipes
from diptych.training.settings import Settings

TEXT = """
kind = "tiny"
[model]
width = 8
[training]
steps = 4
warmup = 2
precision = "float32"
"""
ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(recipes.KINDS, "tiny", "tests.training.tiny_kind")


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "small.toml"
    path.write_text(TEXT)
    return path


def test_run_trains_stores_the_recipe_and_finishes(recipe: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    seen = []
    result = recipes.run(recipe, out, progress=lambda done, total: seen.append((done, total)))
    assert result.finished and result.step == 4
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert (out / "finished").read_text() == "4"
    assert json.loads((out / "recipe.json").read_text())["model"] == {"width": 8}


def test_finish_waits_until_training_is_over(recipe: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert not recipes.run(recipe, out, stop=lambda: True).finished
    assert not (out / "finished").exists()
    assert recipes.run(recipe, out).finished
    assert (out / "finished").exists()


def test_the_folder_is_the_recipes_own_or_named_after_it(recipe: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    recipes.run(recipe)
    recipes.run(recipe, overrides={"out": "elsewhere"})
    assert Path("runs/small/finished").exists() and Path("elsewhere/finished").exists()


def test_overrides_reach_the_settings(recipe: Path, tmp_path: Path) -> None:
    assert recipes.run(recipe, tmp_path / "out", overrides={"training.steps": 2}).step == 2


def test_assignments_are_toml_or_text() -> None:
    texts = ["training.steps=7", "training.lr = 1e-3", "data.folder=some/place", "a.b=[1, 2]", "c=true"]
    assert recipes.assignments(texts) == {
        "training.steps": 7,
        "training.lr": 1e-3,
        "data.folder": "some/place",
        "a.b": [1, 2],
        "c": True,
    }
    with pytest.raises(TrainingError, match="name=value"):
        recipes.assignments(["training.steps"])


def test_overriding_copies() -> None:
    original = {"training": {"steps": 1}, "kind": "tiny"}
    assert recipes.overridden(original, {"training.steps": 2, "model.width": 3}) == {
        "training": {"steps": 2},
        "kind": "tiny",
        "model": {"width": 3},
    }
    assert original == {"training": {"steps": 1}, "kind": "tiny"}
    with pytest.raises(TrainingError, match="kind is a value"):
        recipes.overridden(original, {"kind.of": 1})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "visual-tokeniser"}, "did you mean 'visual-tokenizer'"),
        ({"training.step": 3}, "unknown training setting 'step'; did you mean 'steps'"),
        ({"training.steps": 0}, "steps must be a whole number of at least 1, not 0"),
        ({"training": 3}, r"needs a table \[training\]"),
        ({"modle.width": 3}, "unknown field 'modle' in the top level of the recipe; did you mean 'model'"),
        ({"model.widht": 3}, r"unknown field 'widht' in \[model\] of the recipe; did you mean 'width'"),
    ],
)
def test_what_is_not_known_is_refused_with_the_nearest(change: dict, message: str, recipe: Path, tmp_path) -> None:
    with pytest.raises(TrainingError, match=message):
        recipes.run(recipe, tmp_path / "out", overrides=change)


def test_unreadable_recipes(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="no recipe at"):
        recipes.read(tmp_path / "missing.toml")
    (tmp_path / "broken.toml").write_text("kind = ")
    with pytest.raises(TrainingError, match="not valid TOML"):
        recipes.read(tmp_path / "broken.toml")
    (tmp_path / "steps.toml").write_text('kind = "tiny"\n[training]\nlr = 1.0')
    with pytest.raises(TrainingError, match="need `steps`"):
        recipes.run(tmp_path / "steps.toml", tmp_path / "out")


def test_another_recipe_is_refused_in_the_same_folder(recipe: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    recipes.run(recipe, out, stop=lambda: True)
    with pytest.raises(TrainingError, match=r"another recipe \(changed: model\)"):
        recipes.run(recipe, out, overrides={"model.width": 9})
    assert json.loads((out / "recipe.json").read_text())["model"] == {"width": 8}
    assert recipes.run(recipe, out, "changed", overrides={"model.width": 9}).finished


@pytest.mark.parametrize("kind", ["visual-tokenizer", "unified", "encoder"])
def test_every_kind_has_a_trainer(kind: str) -> None:
    assert callable(recipes.trainer({"kind": kind}).task)


@pytest.mark.parametrize("path", sorted((ROOT / "recipes").rglob("*.toml")), ids=lambda path: path.stem)
def test_shipped_recipes_are_valid(path: Path) -> None:
    assert Settings.read(recipes.read(path)["training"]).steps > 0


def test_shipped_recipes_are_trained_in_an_order_in_which_each_finds_what_it_needs() -> None:
    """That of `make train-emoji`, which trains all of them."""
    listed = (ROOT / "Makefile").read_text("utf-8").split("for part in ")[1].split("; do")[0]
    order = listed.replace("\\", " ").split()
    assert sorted(order) == sorted(path.stem for path in (ROOT / "recipes").glob("*.toml"))
    for place, name in enumerate(order):
        needed = re.findall(r'"runs/([^/"]+)', (ROOT / "recipes" / f"{name}.toml").read_text("utf-8"))
        assert set(needed) <= set(order[:place]), name


def test_every_setting_is_checked() -> None:
    wrong = {
        "steps": 1.5,
        "optimizer": "sgd",
        "lr": "high",
        "warmup": -1,
        "min_lr_ratio": 1.5,
        "betas": [0.9],
        "weight_decay": -0.1,
        "clip": float("nan"),
        "ema": 1.0,
        "precision": "float16",
        "accumulate": 0,
        "seed": -1,
        "save_every": 0,
        "keep": 0,
        "log_every": True,
        "report_every": None,
        "minutes": 0,
        "max_skipped": -1,
        "threads": 0,
        "workers": -1,
        "ahead": 0,
        "compile": "yes",
    }
    assert set(wrong) == set(Settings(steps=1).as_dict())
    for name, value in wrong.items():
        with pytest.raises(TrainingError, match=name):
            Settings.read({"steps": 1, name: value})

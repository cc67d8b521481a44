"""The models that come with the package."""

import json

import numpy as np
import pytest
import torch

import diptych
from diptych.data.worlds.emoji.rules import BACKGROUNDS
from diptych.models.registry import builtin

LARGEST = 30_000_000  # bytes of the whole folder


@pytest.fixture(scope="module")
def model():
    return diptych.load("janus-emoji")


@pytest.mark.parametrize("name", builtin())
def test_each_is_small_and_has_a_card(name: str) -> None:
    folder = builtin()[name]
    assert sum(file.stat().st_size for file in folder.iterdir()) <= LARGEST
    card = json.loads((folder / "card.json").read_text("utf-8"))
    assert card["recipe"]["kind"] == "unified" and card["steps"] > 0
    assert {"drawings", "answers", "ceiling", "floor"} <= {part for part, table in card["scores"].items() if table}
    assert ("edits" in card["scores"]) == ("edit" in diptych.load(name).can)
    assert (folder / "README.md").is_file() and (folder / "curve.png").is_file()


@pytest.mark.parametrize("name", builtin())
def test_each_draws_and_answers(name: str) -> None:
    model = diptych.load(name)
    (picture,) = model.generate("a red car", seed=5)
    assert picture.size == (64, 64) and model.chat((picture, "What color is the car?"), max_tokens=16).text


def test_it_does_everything(model) -> None:
    assert model.can == {"chat", "generate", "edit", "interleave"}
    first, second = model.generate(["a red car", "一辆红色的汽车"], seed=5)
    assert first.size == second.size == (64, 64)
    assert model.edit(first, "Make the car green.")[0].size == (64, 64)
    assert model.chat((first, "What color is the car?")).text
    story = model.chat("Tell a story about a cat.", want="any", max_tokens=64)
    assert story.text


def test_empty_canvas_is_one_code_a_colour(model) -> None:
    seen = set()
    for rgb in BACKGROUNDS.values():
        pixels = torch.from_numpy(np.full((1, 64, 64, 3), rgb, np.uint8)).permute(0, 3, 1, 2) / 127.5 - 1
        codes, counts = model.network.encode(pixels).unique(return_counts=True)
        assert counts.max() >= 60
        seen.add(int(codes[counts.argmax()]))
    assert len(seen) == len(BACKGROUNDS)

"""The model that comes with the package."""

import json

import numpy as np
import pytest
import torch

import diptych
from diptych.data.worlds.emoji.rules import BACKGROUNDS
from diptych.models.registry import builtin

FOLDER = builtin()["janus-emoji"]
LARGEST = 30_000_000  # bytes of the whole folder


@pytest.fixture(scope="module")
def model():
    return diptych.load("janus-emoji")


def test_it_is_small_and_has_a_card() -> None:
    assert sum(file.stat().st_size for file in FOLDER.iterdir()) <= LARGEST
    card = json.loads((FOLDER / "card.json").read_text("utf-8"))
    assert card["recipe"]["kind"] == "unified" and card["steps"] > 0
    for part in ("drawings", "answers", "edits", "ceiling", "floor"):
        assert card["scores"][part], part
    assert (FOLDER / "README.md").is_file() and (FOLDER / "curve.png").is_file()


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

"""The renderer against recorded hashes, byte for byte."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from diptych.data.worlds.emoji import Scene, Thing, pixel_box, render
from diptych.data.worlds.emoji.atlas import sheet
from diptych.data.worlds.emoji.render import SpriteCache
from diptych.data.worlds.emoji.rules import BACKGROUNDS, STYLES
from diptych.errors import InputError
from diptych.evaluation.emoji.sets import read_prompts

RECORDED = json.loads((Path(__file__).parents[1] / "fixtures/emoji/reference_hashes.json").read_text(encoding="utf-8"))
CASES = [case for case in RECORDED["items"] if case["atlas"] == 64]


@pytest.fixture(scope="module")
def references() -> dict[str, Scene]:
    return {item.id: item.reference for item in read_prompts()}


@pytest.mark.parametrize("style", STYLES)
def test_atlas_decodes_to_the_recorded_bytes(style: str) -> None:
    assert hashlib.sha256(sheet(style).tobytes()).hexdigest() == RECORDED["decoded_atlas_sha256"][f"{style}_64"]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case['prompt_id']}-{case['size']}")
def test_render_gives_the_recorded_bytes(case: dict, references: dict[str, Scene]) -> None:
    pixels = render(references[case["prompt_id"]], case["size"])
    assert hashlib.sha256(pixels.tobytes()).hexdigest() == case["sha256"]


def test_both_sizes_are_recorded() -> None:
    assert {case["size"] for case in CASES} == {64, 128}


def test_nothing_is_drawn_outside_the_boxes() -> None:
    scene = Scene("twemoji", "navy blue", (Thing("cat", None, 64, 128, 100), Thing("car", "red", 192, 128, 100)))
    pixels, outside = render(scene), np.ones((64, 64), bool)
    for thing in scene.objects:
        left, top, right, bottom = pixel_box(thing, scene.style, 64)
        assert (pixels[top:bottom, left:right] != BACKGROUNDS["navy blue"]).any()
        outside[top:bottom, left:right] = False
    assert (pixels[outside] == BACKGROUNDS["navy blue"]).all()


def test_objects_over_the_edge_are_cut() -> None:
    whole = render(Scene("noto", "white", (Thing("sun", "yellow", 128, 128, 128),)))
    cut = render(Scene("noto", "white", (Thing("sun", "yellow", 0, 256, 128),)))
    assert (cut[32:, :32] == whole[:32, 32:]).all()
    assert (cut[:32] == 255).all() and (cut[:, 32:] == 255).all() and (whole[:32, 32:] != 255).any()


def test_cache_stays_within_its_bytes() -> None:
    cache = SpriteCache(limit=20_000)
    fresh = cache.get("noto", "cat", None, 40)
    for name in ("dog", "cow", "car"):
        cache.get("noto", name, "blue", 40)
    assert cache.held == sum(sprite.nbytes for sprite in cache.sprites.values()) <= 20_000
    assert (cache.get("noto", "cat", None, 40) == fresh).all()


def test_unknown_names_are_refused_with_the_nearest() -> None:
    with pytest.raises(InputError, match="cat"):
        Thing("catt", None, 128, 128, 100)
    with pytest.raises(InputError, match="noto"):
        Scene("notto", "white", ())
    with pytest.raises(InputError, match="64 is usual"):
        render(Scene("noto", "white", ()), 4)

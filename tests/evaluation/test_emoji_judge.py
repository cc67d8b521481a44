"""The judge on pictures whose truth is known."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from diptych.data.worlds.emoji import EmojiWorld, Graph, Mention, Scene, Thing, render
from diptych.errors import ImageError, WeightsError
from diptych.evaluation.emoji.classifier import WEIGHTS, load_classifier
from diptych.evaluation.emoji.judge import Judge
from diptych.evaluation.emoji.measure_judge import DAMAGES, measure_prompts, measure_scenes
from diptych.evaluation.emoji.proposals import label, propose
from diptych.evaluation.emoji.sets import read_edits, read_prompts

CAT_AND_CAR = Scene("twemoji", "cream", (Thing("cat", None, 68, 128, 100), Thing("car", "red", 188, 128, 100)))
ASKED = Graph((Mention("cat"), Mention("car", "red")), ((0, "left", 1),), bg="cream")


@pytest.fixture(scope="module")
def judge() -> Judge:
    return Judge()


def flood(mask: np.ndarray) -> np.ndarray:
    """Components the slow way: from every unseen pixel to all its neighbours."""
    labels, number = np.zeros(mask.shape, int), 0
    for start in zip(*np.nonzero(mask), strict=True):
        if labels[start]:
            continue
        number, open_pixels = number + 1, [start]
        while open_pixels:
            y, x = open_pixels.pop()
            if 0 <= y < mask.shape[0] and 0 <= x < mask.shape[1] and mask[y, x] and not labels[y, x]:
                labels[y, x] = number
                open_pixels += [(y + down, x + across) for down in (-1, 0, 1) for across in (-1, 0, 1)]
    return labels


@pytest.mark.parametrize("density", (0.0, 0.1, 0.3, 0.5, 0.9, 1.0))
def test_components_equal_a_flood_fill(density: float) -> None:
    mask = np.random.default_rng(0).random((15, 21)) < density
    fast, slow = label(mask), flood(mask)
    assert ((fast > 0) == mask).all() and fast.max() == slow.max()
    assert len(set(zip(fast[mask].tolist(), slow[mask].tolist(), strict=True))) == fast.max()


def test_an_empty_picture_has_a_background_and_no_objects(judge: Judge) -> None:
    seen = judge.read(render(Scene("noto", "lavender", ())))
    assert (seen.background, seen.objects, seen.style) == ("lavender", (), None)


def test_it_reads_nearly_every_scene(judge: Judge) -> None:
    figures = measure_scenes(judge, count=40, seed=11)
    assert figures["scene"] >= 0.9 and figures["object"] >= 0.95 and figures["background"] == 1.0


def test_it_reads_what_is_there(judge: Judge) -> None:
    seen = judge.read(render(CAT_AND_CAR, 128))
    read = sorted((thing.id, thing.color, thing.style) for thing in seen.objects)
    assert read == [("car", "red", "twemoji"), ("cat", None, "twemoji")]
    for thing in seen.objects:
        expected = 68 if thing.id == "cat" else 188
        assert abs(thing.center[0] - expected) < 6 and abs(thing.center[1] - 128) < 6


def test_many_at_once_read_as_one_by_one(judge: Judge) -> None:
    images = [render(EmojiWorld(12).scene(index)) for index in range(6)]
    assert judge.read_all(images) == [judge.read(Image.fromarray(image)) for image in images]


def test_a_right_drawing_passes(judge: Judge) -> None:
    verdict = judge.drawing(render(CAT_AND_CAR), ASKED)
    assert verdict.ok and verdict.reasons == ()


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        (replace(CAT_AND_CAR, bg="navy blue"), "background"),
        (replace(CAT_AND_CAR, objects=CAT_AND_CAR.objects[:1]), "0 of 1: car"),
        (replace(CAT_AND_CAR, objects=(*CAT_AND_CAR.objects, Thing("star", "blue", 128, 40, 60))), "nobody asked"),
        (replace(CAT_AND_CAR, objects=(CAT_AND_CAR.objects[0], Thing("car", "blue", 188, 128, 100))), "not red"),
        (
            replace(CAT_AND_CAR, objects=(Thing("cat", None, 188, 128, 100), Thing("car", "red", 68, 128, 100))),
            "is not left of",
        ),
    ],
)
def test_a_wrong_drawing_fails_for_its_reason(judge: Judge, wrong: Scene, reason: str) -> None:
    verdict = judge.drawing(render(wrong), ASKED)
    assert not verdict.ok
    assert len(verdict.reasons) == 1 and reason in verdict.reasons[0]


def test_prompts_accept_right_and_refuse_wrong(judge: Judge) -> None:
    items = read_prompts()[::12]
    for name in ("clean", "blur32"):
        tables = measure_prompts(judge, items, DAMAGES[name])
        assert tables["right"]["all"]["all"]["share"] >= 0.8
        assert tables["wrong"]["all"]["all"]["passed"] == 0


def test_any_reconstruction_can_be_measured(judge: Judge) -> None:
    """A tokenizer that loses everything lets nothing pass."""
    tables = measure_prompts(judge, read_prompts()[:20], lambda images: [np.full_like(image, 255) for image in images])
    assert tables["right"]["all"]["all"]["passed"] == 0


def test_right_edits_pass_and_untouched_sources_fail(judge: Judge) -> None:
    items = read_edits()[::6]
    right = [judge.edit(render(item.target), item.source, item.target, item.op).ok for item in items]
    untouched = [judge.edit(render(item.source), item.source, item.target, item.op).ok for item in items]
    assert sum(right) >= 0.9 * len(items)
    assert sum(untouched) == 0


def test_painting_an_object_its_own_colour_must_show(judge: Judge) -> None:
    source = Scene("twemoji", "white", (Thing("strawberry", None, 128, 128, 160),))
    target = Scene("twemoji", "white", (Thing("strawberry", "red", 128, 128, 160),))
    assert not judge.edit(render(source), source, target, "recolor").ok


def test_pictures_it_cannot_read_are_refused(judge: Judge) -> None:
    for shape in ((64, 48, 3), (16, 16, 3), (64, 64)):
        with pytest.raises(ImageError, match="the judge reads"):
            judge.read(np.zeros(shape, np.uint8))
    with pytest.raises(ImageError, match="float64"):
        judge.read(np.zeros((64, 64, 3)))


def test_background_is_found_behind_noise() -> None:
    noisy = DAMAGES["noise"]([render(CAT_AND_CAR)])[0]
    found = propose(noisy)
    assert np.abs(found.background - (253, 240, 205)).max() < 6
    assert len(found.boxes) == 2


def test_missing_weights_say_what_to_do(tmp_path) -> None:
    with pytest.raises(WeightsError, match="train_judge"):
        load_classifier(tmp_path / "none.safetensors")
    assert not any(parameter.requires_grad for parameter in load_classifier().parameters())
    assert all(parameter.dtype == torch.float32 for parameter in load_classifier().parameters())


def test_measured_figures_lie_beside_the_weights() -> None:
    facts = json.loads(WEIGHTS.with_suffix(".json").read_text(encoding="utf-8"))
    assert WEIGHTS.stat().st_size < 2 << 20
    assert {f"{size} {name}" for size in (64, 128) for name in DAMAGES} == set(facts["figures"])
    assert facts["training"]["seed"] == "0" and facts["seed"] != 0

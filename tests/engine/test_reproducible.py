"""A result is a function of the request and its seed: not of neighbours, batch, threads, process or streaming."""

import hashlib
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from PIL import Image as Pillow

import diptych
from diptych.errors import InputError
from diptych.models.model import Model
from diptych.types import Image, Text, Turn
from tests.parity.sets import ROOT, GoldenSet, sets_of

SETS = sets_of("janus")[:1]
PROMPTS = [
    "a cat",
    "a red house by the sea, seen from a balloon",
    "two dogs",
    "rain",
    "an owl that reads",
    "the number seven",
    "a cat",
    "a green hill under a very small moon",
]


def folder(golden: GoldenSet) -> str:
    return golden.name


@pytest.fixture(scope="module", params=SETS, ids=folder)
def model(request: pytest.FixtureRequest) -> Model:
    return diptych.load(request.param.folder, device="cpu", dtype="float32")


def pixels(pictures: Sequence[Pillow.Image]) -> list[bytes]:
    return [picture.tobytes() for picture in pictures]


@pytest.fixture(scope="module")
def alone(model: Model) -> list[bytes]:
    """Each prompt drawn by itself."""
    return [pixels(model.generate(prompt, seed=4))[0] for prompt in PROMPTS]


def test_seeds_and_prompts_matter(model: Model, alone: list[bytes]) -> None:
    assert alone[0] == alone[6] and len(set(alone)) == len(PROMPTS) - 1
    assert pixels(model.generate(PROMPTS[0], seed=5))[0] != alone[0]


@pytest.mark.parametrize("size", [3, 8])
def test_neither_batch_nor_place_matter(
    model: Model, alone: list[bytes], size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model, "batch", size)
    assert pixels(model.generate(PROMPTS, seed=4)) == alone
    assert pixels(model.generate(PROMPTS[::-1], seed=4)) == alone[::-1]


def test_several_pictures_of_a_prompt_have_seeds_of_their_own(model: Model, alone: list[bytes]) -> None:
    found = pixels(model.generate(PROMPTS[:2], n=3, seed=3))
    assert len(set(found)) == 6
    assert found[1] == alone[0] and found[4] == alone[1]


def test_every_request_may_have_a_seed_of_its_own(model: Model, alone: list[bytes]) -> None:
    found = pixels(model.generate(PROMPTS[:2], n=2, seed=[4, 3]))
    assert found[0] == alone[0] and found[3] == alone[1]
    with pytest.raises(InputError, match="2 seeds for 3"):
        model.generate(PROMPTS[:3], seed=[1, 2])


def test_threads_do_not_matter(model: Model, alone: list[bytes]) -> None:
    before = torch.get_num_threads()
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            assert pixels(model.generate(PROMPTS[:3], seed=4)) == alone[:3]
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)


CHILD = """
import hashlib, sys, diptych
made = diptych.load(sys.argv[1], device="cpu", dtype="float32").generate(sys.argv[2:], seed=4)
print(*(hashlib.sha256(picture.tobytes()).hexdigest() for picture in made))
"""


@pytest.mark.parametrize("golden", SETS, ids=folder)
def test_another_process_with_more_threads_draws_the_same(golden: GoldenSet, alone: list[bytes]) -> None:
    environment = os.environ | {"OMP_NUM_THREADS": "2", "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": "7"}
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(Path(golden.folder).resolve()), *PROMPTS[:3]],
        capture_output=True,
        text=True,
        env=environment,
        check=True,
    )
    assert done.stdout.split() == [hashlib.sha256(own).hexdigest() for own in alone[:3]]


def test_other_chance_in_the_process_does_not_matter(model: Model, alone: list[bytes]) -> None:
    torch.manual_seed(99)
    before = torch.get_rng_state()
    assert pixels(model.generate(PROMPTS[1], seed=4)) == [alone[1]]
    assert torch.equal(before, torch.get_rng_state()), "the global generator was drawn from"


# --- conversations ---------------------------------------------------------------------------------------------


def conversations() -> list[list[Turn]]:
    pictures = [Pillow.effect_mandelbrot((40, 30), (-2, -1.5, 1, 1.5), 20 + i).convert("RGB") for i in range(2)]
    return [
        [Turn("user", (Text("What is this?"), Image(pictures[0])))],
        [Turn("user", (Text("Count to a hundred, and then say who you are."),))],
        [
            Turn("user", (Image(pictures[1]), Text("Why?"))),
            Turn("assistant", (Text("Because."),)),
            Turn.user("And now?"),
        ],
    ]


HOW = [{"temperature": 0.0}, {"temperature": 1.2, "top_p": 0.9, "top_k": 20}]


@pytest.mark.parametrize("how", HOW, ids=["greedy", "sampled"])
def test_replies_in_a_batch_are_those_alone(model: Model, how: dict[str, float]) -> None:
    asked = conversations()
    alone = [model.chat(turns, max_tokens=12, seed=6, **how).text for turns in asked]
    assert [reply.text for reply in model.chat_batch(asked, max_tokens=12, seed=6, **how)] == alone
    assert [reply.text for reply in model.chat_batch(asked[::-1], max_tokens=12, seed=6, **how)] == alone[::-1]
    assert len(set(alone)) == 3
    replies = model.chat_batch(asked, max_tokens=12, seed=[6, 7, 6], **how)
    assert [replies[0].text, replies[2].text] == [alone[0], alone[2]] and replies[1].seed == 7
    if how["temperature"]:
        assert model.chat(asked[0], max_tokens=12, seed=7, **how).text != alone[0]


@pytest.mark.parametrize("how", HOW, ids=["greedy", "sampled"])
def test_streamed_text_is_the_reply(model: Model, how: dict[str, float]) -> None:
    for turns in conversations():
        whole = model.chat(turns, max_tokens=12, seed=6, **how)
        parts = list(model.chat(turns, max_tokens=12, seed=6, stream=True, **how))
        assert "".join(part.text for part in parts if isinstance(part, Text)).strip() == whole.text
        assert whole.seed == 6


def test_a_picture_asked_for_in_a_conversation_is_the_one_generated(model: Model, alone: list[bytes]) -> None:
    for stream in (False, True):
        reply = model.chat(PROMPTS[1], want="image", seed=4, stream=stream)
        parts = list(reply) if stream else list(reply.parts)  # type: ignore[call-overload, union-attr]
        assert [part.pixels.tobytes() for part in parts if isinstance(part, Image)] == [alone[1]]


def test_progress_changes_nothing_and_counts_to_the_end(model: Model, alone: list[bytes]) -> None:
    seen: list[tuple[int, int]] = []
    found = model.generate(PROMPTS[:2], seed=4, progress=lambda done, total: seen.append((done, total)))
    assert pixels(found) == alone[:2]
    assert seen == sorted(seen) and seen[-1][0] == seen[-1][1] and len({total for _, total in seen}) == 1

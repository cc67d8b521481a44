"""Muddit in strings and pictures, on the golden checkpoint."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image as Pillow
from safetensors.torch import load_file, save_file

import diptych
from diptych.canvas import Canvas, Draws
from diptych.errors import InputError, WeightsError
from diptych.models.family import Options
from diptych.models.model import Model
from diptych.models.muddit import GUIDANCE, NEGATIVE, QUESTION, STEPS, TEXT_STEPS
from diptych.models.network import Ids, Seen
from diptych.objectives.tokens import whole
from diptych.types import BLANK, Draft, Image, Request, Text, Turn
from diptych.weights.convert import convert
from tests.parity.test_muddit import SETS

SIDE = 16
MASK_TOKEN = "transformer/mask_token_embedding.safetensors"


def loaded(folder: Path) -> Model:
    """With pictures of 16 x 16: the published 512 would be 16,384 codes here."""
    model = diptych.load(folder, device="cpu")
    model.dialogue.image_size = (SIDE, SIDE)
    return model


@pytest.fixture(scope="module")
def model() -> Model:
    return loaded(SETS[0].folder)


@pytest.fixture(scope="module")
def picture() -> Pillow.Image:
    noise = torch.randint(0, 256, (40, 30, 3), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    return Pillow.fromarray(noise.numpy())


def canvas(slots: int) -> Canvas:
    return whole(torch.zeros(1, slots, dtype=torch.long), (slots,))


# --- drawing -------------------------------------------------------------------------------------------------


def test_a_batch_draws_what_each_would_alone(model: Model) -> None:
    together = model.generate(["a red cat", "two dogs"], seed=3, steps=4)
    assert [p.size for p in together] == [(SIDE, SIDE)] * 2
    (alone,) = model.generate("two dogs", seed=3, steps=4)
    assert alone.tobytes() == together[1].tobytes() != together[0].tobytes()


def test_other_sizes(model: Model) -> None:
    assert model.generate("a cat", steps=2, size=(16, 24))[0].size == (24, 16)
    with pytest.raises(InputError, match="sides are multiples of 8, not 16x20"):
        model.generate("a cat", size=(16, 20))


def test_the_size_is_told(model: Model) -> None:
    port: Any = model.dialogue.image(Options(size=(16, 24))).port
    assert port.sizes.tolist() == [24, 16, 0, 0, 6]


def test_published_defaults(model: Model) -> None:
    talk, options = model.dialogue, Options()
    assert talk.branches(Request.of("a cat", "image"), options) == ("full", "no_text")
    assert talk.branches(Request.of("a cat", "image"), Options(guidance=1)) == ("full",)
    parts = torch.tensor([3.0, 2.0]).view(2, 1, 1, 1)
    assert talk.image(options).guide(parts, None, None).item() == 2 + GUIDANCE  # type: ignore[arg-type]
    for writer, steps in ((talk.image(options), STEPS), (talk.text(options), TEXT_STEPS)):
        visits = list(writer.schedule(canvas(100)))
        assert len(visits) == steps and (visits[0].heat, visits[-1].heat) == (2, 0)


def test_prompts_are_padded_or_cut(model: Model) -> None:
    talk: Any = model.dialogue
    long = talk.prompt("cat " * 100)
    assert len(long) == talk.length == len(talk.prompt("a cat"))
    assert long[-1] == talk.ending and talk.ending not in long[:-1]
    for branch, text in (("full", "a cat"), ("no_text", NEGATIVE)):
        assert talk.render(Request.of("a cat", "image"), branch=branch) == [Ids(talk.prompt(text))]


def test_a_picture_goes_on_to_the_right(model: Model, picture: Pillow.Image) -> None:
    height, width = model.image_size
    assert model.extend(picture, "two dogs", side="right", steps=3)[0].size == (width * 3 // 2, height)


def test_painting_over(model: Model, picture: Pillow.Image) -> None:
    """Codes that the mask leaves are the picture's own."""
    mask = Pillow.new("L", picture.size, 0)
    mask.paste(255, (0, 0, 15, 40))
    network: Any = model.network
    kept: list[torch.Tensor] = []
    network.decode, decode = lambda slots, grid: kept.append(slots) or decode(slots, grid), network.decode
    try:
        model.edit(picture, "two dogs", mask=mask, steps=3)
    finally:
        del network.decode
    own = network.encode(model.dialogue.source(picture)[None]).view(4, 4)
    assert torch.equal(kept[0].view(4, 4)[:, 2:], own[:, 2:])


# --- answering -----------------------------------------------------------------------------------------------


def test_a_question_stands_on_the_canvas(model: Model, picture: Pillow.Image) -> None:
    talk: Any = model.dialogue
    (piece,) = talk.render(Request.of(["what is this?", picture]))
    assert isinstance(piece, Seen) and piece.pixels.shape == (3, SIDE, SIDE)
    for asked, question in ((["what is this?", picture], "what is this?"), (picture, QUESTION)):
        value, known = talk.given(Request.of(asked))
        assert value.shape == known.shape == (talk.length,)
        assert value[known].tolist() == talk.tokenizer.encode(question)[:-1]


@pytest.mark.parametrize(
    ("written", "reply"),
    [("a cat cat. the the dog", "a cat ."), ("is is is", "is"), ("a a cat. a. dog", "a cat . a ."), ("", "")],
)
def test_replies_are_tidied(model: Model, written: str, reply: str) -> None:
    """A word said twice is said once, nothing is said behind the last period, and special tokens are no words."""
    talk: Any = model.dialogue
    assert talk.spell([*talk.tokenizer.encode(written), talk.ending]) == reply


def test_what_cannot_be_asked(model: Model, picture: Pillow.Image) -> None:
    talk: Any = model.dialogue
    image = Image(picture)
    for turns in (["hm"], [image, image], [Turn.user(image, "a?"), Turn.assistant("b."), Turn.user(image, "c?")]):
        with pytest.raises(InputError, match="one question about one picture"):
            talk.render(Request.of(turns))
    with pytest.raises(InputError, match="the question has 101 tokens and leaves no room to answer in 77"):
        talk.given(Request.of(["cat " * 100, image]))


def test_answers(model: Model, picture: Pillow.Image) -> None:
    """A reply alone, in a batch beside another question's, and as it is written: nothing is final before the end."""
    asked = ["what is this?", picture]
    reply = model.chat(asked, steps=4).text
    assert reply and [r.text for r in model.chat_batch([picture, asked], steps=4)][1] == reply
    assert list(model.chat(asked, steps=4, stream=True)) == [Text(reply)]
    *drafts, last = model.chat(asked, steps=4, stream="drafts")
    assert len(drafts) == 3 and not any(draft.final for draft in drafts)  # type: ignore[union-attr]
    assert last == Draft(reply, len(reply))
    assert drafts[0].text.count(BLANK) > drafts[-1].text.count(BLANK) > 0  # type: ignore[union-attr]


# --- loading -------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    target = tmp_path / "model"
    ignored = shutil.ignore_patterns("cases.*", "full_keys.json", "README.md", "prompts.json")
    shutil.copytree(SETS[0].folder, target, ignore=ignored, copy_function=shutil.copyfile)
    for path in (target, *target.iterdir()):
        path.chmod(0o755 if path.is_dir() else 0o644)
    return target


def test_the_mask_token_comes_pickled(folder: Path) -> None:
    """As published; it is asked for, and converted it is found."""
    (token,) = load_file(folder / MASK_TOKEN).values()
    (folder / MASK_TOKEN).unlink()
    torch.save(token, (folder / MASK_TOKEN).with_suffix(".pth"))
    with pytest.raises(WeightsError, match="mask_token_embedding.* convert it once with: diptych convert"):
        diptych.load(folder)
    convert(folder / "transformer")
    network: Any = loaded(folder).network
    assert torch.equal(network.text.mask, token)


@pytest.mark.parametrize("part", ["transformer", "vqvae", "text_encoder"])
def test_a_part_that_lacks_a_tensor(folder: Path, part: str) -> None:
    file = next(f for f in sorted((folder / part).glob("*.safetensors")) if "mask" not in f.name)
    tensors = load_file(file)
    tensors.pop(sorted(tensors)[0])
    save_file(tensors, file)
    with pytest.raises(WeightsError, match="parameters without a tensor"):
        diptych.load(folder)


def test_one_code_a_token(folder: Path) -> None:
    """Without the halving and doubling of grids, as a config may say."""
    path = folder / "transformer" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"downsample": False, "upsample": False}))
    file = folder / "transformer" / "diffusion_pytorch_model.safetensors"
    tensors = {n: t for n, t in load_file(file).items() if not n.startswith(("down_block.", "up_block."))}
    save_file(tensors, file)
    model = loaded(folder)
    assert model.generate("a cat", steps=2, size=(12, 20))[0].size == (20, 12)
    learned = model.dialogue.image(Options(size=(12, 20)))
    spoilt, step = learned.objective.corrupt(torch.zeros(1, 15, dtype=torch.long), (3, 5), Draws([0]))
    tokens, _ = learned.port.embed(spoilt, step)
    assert tokens.shape[1] == 2 + 15 == sum(n for n, _ in learned.port.spans(17))

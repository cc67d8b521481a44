"""JanusFlow in strings and pictures, on the golden checkpoint."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image as Pillow
from torch import Tensor

import diptych
from diptych.canvas import Draws
from diptych.errors import CapabilityError, InputError, WeightsError
from diptych.models import companions
from diptych.models.family import Options
from diptych.models.janusflow import GUIDANCE, STEPS
from diptych.models.model import Model
from diptych.models.network import Ids, Made, Seen
from diptych.models.registry import recognise
from diptych.objectives.tokens import whole
from diptych.training.batches import Learn, losses
from diptych.types import Image, Request, Turn
from tests.models.folders import GOLDEN, WEIGHTS, edit_json
from tests.parity.test_janusflow import SETS


@pytest.fixture(scope="module")
def model() -> Model:
    return diptych.load(SETS[0].folder, device="cpu")


@pytest.fixture(scope="module")
def picture() -> Image:
    noise = torch.randint(0, 256, (40, 30, 3), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    return Image(Pillow.fromarray(noise.numpy()))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the set without its cases; its autoencoder beside it."""
    target = tmp_path / "model"
    keep = shutil.ignore_patterns("cases.*", "README.md", "sdxl-vae")
    shutil.copytree(SETS[0].folder, target, ignore=keep, copy_function=shutil.copyfile)
    target.chmod(0o755)
    shutil.copytree(SETS[0].folder / "sdxl-vae", tmp_path / "sdxl-vae", copy_function=shutil.copyfile)
    return target


def gap(a: Pillow.Image, b: Pillow.Image) -> int:
    return int(np.abs(np.asarray(a, dtype=int) - np.asarray(b, dtype=int)).max())


# --- drawing -------------------------------------------------------------------------------------------------


def test_a_batch_draws_what_each_would_alone(model: Model) -> None:
    """Prompts of different lengths; float sums may differ by a bit, which may cut to the next byte."""
    together = model.generate(["a red cat on a blue table", "dogs"], n=2, seed=3, steps=4)
    assert [p.size for p in together] == [model.image_size[::-1]] * 4
    for i, prompt in enumerate(("a red cat on a blue table", "dogs")):
        for k, picture in enumerate(model.generate(prompt, n=2, seed=3, steps=4)):
            assert gap(picture, together[2 * i + k]) <= 1
    assert gap(together[0], together[1]) > 1 < gap(together[1], together[3])


def test_prompt_guidance_and_steps_matter(model: Model) -> None:
    (first,) = model.generate("a cat", steps=4)
    for other in ({"prompt": "a dog"}, {"guidance": 1}, {"guidance": 6.0}, {"steps": 8}, {"seed": 1}):
        (second,) = model.generate(**({"prompt": "a cat", "steps": 4} | other))  # type: ignore[arg-type]
        assert gap(first, second) > 1, other


def test_published_defaults(model: Model) -> None:
    talk, options = model.dialogue, Options()
    writer, grid = talk.image(options), talk.grid(options)
    assert len(list(writer.schedule(whole(torch.zeros(1, 64, 4), grid)))) == STEPS == 30
    parts = torch.tensor([3.0, 2.0]).view(2, 1, 1, 1)
    assert writer.guide(parts, None, None).item() == 2 + GUIDANCE  # type: ignore[arg-type]
    assert talk.branches(Request.of("a cat", "image"), options) == ("full", "no_text")
    assert talk.branches(Request.of("a cat", "image"), Options(guidance=1)) == ("full",)


def test_the_context_is_computed_once(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the prompt every step shows the backbone the time and the latents only."""
    backbone, lengths = model.network.backbone, list[int]()
    plain = backbone.forward

    def counted(packed: Any, cache: Any = None) -> Tensor:
        lengths.append(packed.x.shape[1])
        return plain(packed, cache)

    monkeypatch.setattr(backbone, "forward", counted)
    model.generate("a cat", steps=5)
    tokens = model.network.encoder.config.grid**2  # type: ignore[union-attr]
    assert lengths[1:] == [1 + tokens] * 5


def test_other_sizes_are_refused(model: Model) -> None:
    height, width = model.image_size
    assert model.generate("a cat", steps=1, size=(height, width))[0].size == (width, height)
    with pytest.raises(InputError, match=f"{width}x{height} pictures only"):
        model.generate("a cat", size=(2 * height, width))


def test_no_picture_is_drawn_from_pictures(model: Model, picture: Image) -> None:
    with pytest.raises(InputError, match="draws from text alone"):
        model.chat([Turn.user(picture, "another one")], want="image")
    with pytest.raises(CapabilityError, match="cannot edit"):
        model.edit(picture, "make it red")


def test_pictures_so_far_are_shown(model: Model) -> None:
    seen = list[int]()
    model.generate("a cat", steps=4, preview=lambda i, p: seen.append(p.size[0]), every=2)
    assert seen == [model.image_size[1]] * 2


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision(model: Model, dtype: str) -> None:
    """Nearly the same picture; in float16 the autoencoder computes in float32."""
    half = diptych.load(SETS[0].folder, device="cpu", dtype=dtype)
    (picture,) = half.generate("a red cat", steps=4)
    assert gap(picture, model.generate("a red cat", steps=4)[0]) < 16


# --- talking -------------------------------------------------------------------------------------------------


def test_replies(model: Model, picture: Image) -> None:
    about = [Turn.user(picture, "What is this?")]
    reply = model.chat(about, max_tokens=6)
    assert reply.text == "".join(p.text for p in model.chat(about, max_tokens=6, stream=True)).strip()  # type: ignore[union-attr]
    replies = model.chat_batch([about, "Hello"], max_tokens=6)
    assert [r.text for r in replies] == [reply.text, model.chat("Hello", max_tokens=6).text]
    with pytest.raises(CapabilityError, match="cannot interleave"):
        model.chat("draw and tell", want="any")


def test_a_picture_brings_its_beginning(model: Model, picture: Image) -> None:
    """In place of the begin mark's embedding stands a vector of its own."""
    talk, net = model.dialogue, model.network
    before, seen, after = talk.render(Request((Turn.user(picture, "What?"),)))
    assert isinstance(before, Ids) and isinstance(seen, Seen) and isinstance(after, Ids)
    mark = talk.tokenizer.special("<begin_of_image>")
    assert mark not in before.ids + after.ids and after.ids[0] == talk.tokenizer.special("<end_of_image>")
    (tokens,) = net.see([seen.pixels])
    assert torch.equal(tokens[0], net.begin[0])  # type: ignore[index]


def test_special_names_in_a_prompt_are_text(model: Model) -> None:
    (piece,) = model.dialogue.render(Request.of("draw <begin_of_image> now", "image"))
    assert model.dialogue.tokenizer.special("<begin_of_image>") not in piece.ids  # type: ignore[union-attr]


def test_an_own_picture_is_read_like_any_other(model: Model) -> None:
    grid = model.dialogue.grid(Options())
    slots = torch.randn(grid[0] * grid[1], 4, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        (tokens,) = model.network.recall([Made(slots, grid)])
        (seen,) = model.network.see(list(model.network.decode(slots[None], grid).clamp(-1, 1)))
    torch.testing.assert_close(tokens, seen)


# --- learning ------------------------------------------------------------------------------------------------


def test_both_tasks_are_learned_together(model: Model, picture: Image) -> None:
    net, talk = model.network, model.dialogue
    grid = talk.grid(Options())
    with torch.inference_mode():
        target = net.encode(talk.source(picture.pixels)[None])[0].clone()  # type: ignore[operator]
    drawn = [*talk.render(Request.of("a cat", "image")), Learn("image", target, grid)]
    told = [*talk.render(Request((Turn.user(picture, "What?"),))), Learn("text", torch.tensor([7, 8, 9]))]
    net.requires_grad_(True)
    found = losses(net, talk.lessons(), [drawn, told], Draws([0, 1]), width=256)
    sum(found.values()).backward()  # type: ignore[union-attr]
    still = {name for name, p in net.named_parameters() if p.grad is None}
    net.requires_grad_(False).zero_grad(set_to_none=True)
    assert {name.split(".")[0] for name in still} == {"tokenizer"}
    alone = losses(net, talk.lessons(), [drawn], Draws([0]))
    torch.testing.assert_close(alone["image"], found["image"])


# --- folders -------------------------------------------------------------------------------------------------


def test_it_is_told_from_janus() -> None:
    assert recognise(SETS[0].folder) == "janusflow" and recognise(GOLDEN.folder) == "janus"


def test_the_autoencoder_may_stand_beside_the_model(folder: Path, model: Model) -> None:
    loaded = diptych.load(folder, device="cpu")
    assert gap(loaded.generate("a cat", steps=2)[0], model.generate("a cat", steps=2)[0]) == 0


def test_a_missing_autoencoder_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.rmtree(folder.parent / "sdxl-vae")

    def offline(name: str, weights: bool = True) -> Path:
        raise companions.UnknownModelError(f"{name} cannot be reached")

    monkeypatch.setattr(companions, "from_hub", offline)
    with pytest.raises(WeightsError, match="needs stabilityai/sdxl-vae, which is published apart"):
        diptych.load(folder, device="cpu")


def test_keys_that_are_left_out_are_the_official_defaults(folder: Path) -> None:
    """Of a config that states nothing, sizes are those of the class, and do not fit these weights."""
    edit_json(folder / "config.json", lambda c: c["vision_gen_dec_config"]["params"].clear())
    with pytest.raises(WeightsError, match="draw.leave.doublings.1"):
        diptych.load(folder, device="cpu")


def test_a_config_without_a_part_says_which(folder: Path) -> None:
    edit_json(folder / "config.json", lambda c: c.pop("vision_und_enc_config"))
    with pytest.raises(WeightsError, match="lacks 'vision_und_enc_config'"):
        diptych.load(folder, device="cpu")
    assert json.loads((folder / "config.json").read_text()) and (folder / WEIGHTS).is_file()

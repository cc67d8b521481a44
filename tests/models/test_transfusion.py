"""Transfusion in strings, where a tokenizer is there, and what it refuses."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image as Pillow
from tokenizers import Tokenizer, decoders, models

import diptych
from diptych.canvas import Draws
from diptych.errors import CapabilityError, InputError, TrainingError, WeightsError
from diptych.models.family import Options
from diptych.models.model import Model
from diptych.models.network import Ids, Made
from diptych.models.transfusion import GUIDANCE, POINTS, Latent, kinds
from diptych.samplers.conversation import draw, say
from diptych.training.batches import Learn, losses
from diptych.types import Image, Request, Turn
from tests.parity.test_transfusion import SETS, checkpoints

FOLDERS = checkpoints(SETS[0])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first model with a tokenizer of single characters, and one character too many."""
    target = tmp_path_factory.mktemp("transfusion") / "model"
    shutil.copytree(FOLDERS["a"], target, copy_function=shutil.copyfile)
    target.chmod(0o755)
    known = json.loads((target / "config.json").read_text())["num_text_tokens"]
    letters = "abcdefghijklmnopqrstuvwxyz 0123456789.,?!:;-+()[]"[:known] + "\N{EURO SIGN}"
    tokenizer = Tokenizer(models.BPE({letter: i for i, letter in enumerate(letters)}, []))
    tokenizer.decoder = decoders.Fuse()
    tokenizer.save(str(target / "tokenizer.json"))
    return target


@pytest.fixture(scope="module")
def model(folder: Path) -> Model:
    return diptych.load(folder, device="cpu")


def test_text_from_strings(model: Model) -> None:
    """Untrained, it may open latents or write a shape; ids without a string are silent."""
    (piece,) = model.dialogue.render(Request.of("a cat"))
    names = model.dialogue.names  # type: ignore[attr-defined]
    assert isinstance(piece, Ids) and piece.ids[0] == names.begin and len(piece.ids) == 6
    reply = model.chat("a cat", max_tokens=5)
    assert [r.text for r in model.chat_batch(["a cat", "dogs"], max_tokens=5)][0] == reply.text


def test_a_prompt_to_draw_announces_the_shape(model: Model) -> None:
    talk: Any = model.dialogue
    (full,) = talk.render(Request.of("a cat", "image"))
    shape = kinds(json.loads((model.folder / "config.json").read_text()))[0].shape
    assert full.ids[6:] == talk.names.announced(0, shape) and talk.grid(Options()) == shape
    (blind,) = talk.render(Request.of("a cat", "image"), branch="no_text")
    assert blind.ids == [talk.names.null] * len(full.ids)


def test_latents_are_written_through_the_writers(model: Model) -> None:
    """A batch as each alone; guided by the same words without their meaning."""
    talk, net = model.dialogue, model.network
    writer, grid = talk.image(Options(steps=3)), talk.grid(Options())

    def drawn(*prompts: str) -> torch.Tensor:
        asked = [Request.of(p, "image") for p in prompts]
        rows = [talk.render(request, branch=b) for b in ("full", "no_text") for request in asked]
        return draw(say(net.backbone, net.read(rows)), writer, grid, 2, Draws([5] * len(asked))).value

    both = drawn("a cat", "two red dogs")
    torch.testing.assert_close(both, torch.cat([drawn("a cat"), drawn("two red dogs")]))
    with torch.inference_mode():
        seen = net.read([[Made(both[0], grid)], [Latent(0, both[0], grid)]])
    assert torch.equal(seen[0][0].x, seen[1][0].x) and seen[0][0].x[0, -1] == 1


def test_published_defaults(model: Model) -> None:
    talk, request = model.dialogue, Request.of("a cat", "image")
    assert (POINTS, GUIDANCE) == (16, 3.0)
    assert len(list(talk.image(Options()).schedule(None))) == 2 * (POINTS - 1)  # type: ignore[arg-type]
    assert talk.branches(request, Options()) == ("full", "no_text")
    assert talk.branches(request, Options(guidance=1)) == ("full",)


def test_pictures_are_refused(model: Model) -> None:
    picture = Image(Pillow.new("RGB", (8, 8)))
    with pytest.raises(InputError, match="no image tokenizer"):
        model.chat([Turn.user(picture, "what is this?")])
    with pytest.raises(CapabilityError, match="cannot generate"):
        model.generate("a cat")
    with pytest.raises(InputError, match="give and take latents"):
        model.network.decode(torch.zeros(1, 6, 6), (2, 3))


def test_without_a_tokenizer_strings_are_refused() -> None:
    with pytest.raises(WeightsError, match="holds no tokenizer.json"):
        diptych.load(FOLDERS["a"], device="cpu").chat("hello")


def test_a_tokenizer_of_another_model_is_refused(model: Model) -> None:
    with pytest.raises(InputError, match="this model knows 40 text ids"):
        model.chat("\N{EURO SIGN}")


@pytest.mark.parametrize("letter", FOLDERS)
def test_every_parameter_is_learned(letter: str) -> None:
    net, talk = (loaded := diptych.load(FOLDERS[letter], device="cpu")).network, loaded.dialogue
    config = json.loads((FOLDERS[letter] / "config.json").read_text())
    row: list[Any] = [Ids([1]), Learn("text", torch.tensor([2, 3]))]
    for k, kind in enumerate(kinds(config)):
        grid = kind.shape or (2,)
        slots = torch.randn(torch.Size(grid).numel(), kind.channels)
        row += [Learn(f"latents{k}", slots, grid), Learn("text", torch.tensor([4]))]
    net.requires_grad_(True)
    found = losses(net, talk.lessons(), [row], Draws(range(2 + 2 * len(kinds(config)))))
    sum(found.values()).backward()  # type: ignore[union-attr]
    assert [name for name, p in net.named_parameters() if p.grad is None] == []


def test_times_are_stated_for_all_or_none(model: Model) -> None:
    grid = model.dialogue.grid(Options())
    spans = [Learn("latents0", torch.zeros(6, 6), grid, time=t) for t in (0.5, None)]
    with pytest.raises(TrainingError, match="state all or none"):
        losses(model.network, model.dialogue.lessons(), [[span] for span in spans], Draws([0, 1]))


@pytest.mark.parametrize(
    ("stated", "expected"),
    [
        ({}, [(8, False, False, None, None)]),
        ({"dim_latent": 4}, [(4, False, False, None, None)]),
        ({"dim_latent": 4, "modality_default_shape": [2, 3], "add_pos_emb": True}, [(4, False, True, (2, 3), 2)]),
        (
            {"dim_latent": [4, 5], "modality_default_shape": [2, 3]},
            [(4, False, False, (2, 3), 2), (5, False, False, (2, 3), 2)],
        ),
        (
            {"dim_latent": [4, 5], "modality_num_dim": [1, 2], "channel_first_latent": True},
            [(4, True, False, None, 1), (5, True, False, None, 2)],
        ),
    ],
)
def test_arguments_of_the_constructor(stated: dict[str, Any], expected: list[tuple]) -> None:
    assert [tuple(kind) for kind in kinds({"transformer": {"dim": 8}} | stated)] == expected

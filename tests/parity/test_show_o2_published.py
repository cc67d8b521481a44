"""Show-o2 as it is published: names and shapes at real sizes, weights there and back, strings."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image as Pillow
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

import diptych
from diptych.canvas import Draws
from diptych.errors import InputError, WeightsError
from diptych.models.companions import Found
from diptych.models.family import Options
from diptych.models.model import Model
from diptych.models.network import Ids, Made, Piece, Traced
from diptych.models.show_o2 import VAE, ShowO2, llm, siglip
from diptych.training.batches import Learn, losses
from diptych.types import Image, Request, Turn
from diptych.weights.files import Checkpoint
from tests.parity.sets import GoldenSet
from tests.parity.show_o2_rows import model
from tests.parity.test_show_o2 import SETS

Shapes = dict[str, tuple[int, ...]]
EVERY_SET = pytest.mark.parametrize("golden", SETS, ids=lambda golden: golden.name)
AUTOENCODER = "Wan2.1_VAE.pth"


def count(shapes: Shapes, stem: str) -> int:
    return len({name.removeprefix(stem).split(".")[0] for name in shapes if name.startswith(stem)})


def published(golden: GoldenSet, shapes: Shapes) -> dict[str, Any]:
    """The config that fits these shapes, together with those of what stands beside."""
    width = shapes["showo.model.norm.weight"][0]
    (head,) = shapes["diffusion_head_a.0.self_attn.q_norm.weight"]
    heads = {"num_attention_heads": width // 128, "num_key_value_heads": None}
    heads["num_key_value_heads"] = shapes["showo.model.layers.0.self_attn.k_proj.weight"][0] // 128
    qwen = golden.json("llm_config.json") | heads | {"hidden_size": width}
    qwen["num_hidden_layers"] = count(shapes, "showo.model.layers.")
    qwen["intermediate_size"] = shapes["showo.model.layers.0.mlp.up_proj.weight"][0]
    eyes = {"num_hidden_layers": count(shapes, "und_trans.layers.") + 1, "num_attention_heads": 16}
    eyes["intermediate_size"] = shapes["und_trans.layers.0.mlp.fc1.weight"][0]
    config = golden.config | {"hidden_size": width, "clip_latent_dim": shapes["position_embedding.weight"][1]}
    config["num_diffusion_layers"] = count(shapes, "diffusion_head_a.")
    del config["diffusion_head_config"]  # hard-coded
    assert head == 64
    beside = {llm(config).name: qwen, siglip(config).name: {"vision_config": eyes}, VAE.name: VAE.published}
    config["companions"] = {name: Found(Path(), dict(found or {})) for name, found in beside.items()}
    return config


@EVERY_SET
def test_every_tensor_is_known(golden: GoldenSet) -> None:
    named = {name: {key: tuple(shape) for key, shape in keys} for name, keys in golden.full_keys.items()}
    autoencoder = named.pop(AUTOENCODER)
    assert named
    for own in named.values():
        shapes = own | autoencoder
        assert len(shapes) == len(own) + len(autoencoder)
        config = ShowO2.completed(published(golden, shapes), shapes)
        with torch.device("meta"):
            ours = ShowO2.build(config).state_dict()
        claims = ShowO2.layout(config).check(shapes, {name: tensor.shape for name, tensor in ours.items()})
        assert len(claims) == len(shapes) and all(claim.rule for claim in claims)


@EVERY_SET
def test_weights_are_written_back(golden: GoldenSet) -> None:
    """From official names to ours and back, bit for bit."""
    theirs = Checkpoint([file for pattern in ShowO2.weights for file in sorted(golden.folder.glob(pattern))])
    written = ShowO2.layout(golden.config).write(model(golden).network.state_dict(), theirs)
    assert written.keys() == set(theirs)
    assert all(torch.equal(written[name], theirs[name]) for name in theirs)


@EVERY_SET
@pytest.mark.parametrize("missing", ["model.safetensors", "Wan2.1_VAE.safetensors"])
def test_missing_weights(golden: GoldenSet, missing: str, tmp_path: Path) -> None:
    copied(golden, tmp_path, but=missing)
    with pytest.raises(WeightsError, match=r"(pytorch_model.bin|Wan2.1_VAE.pth) are not there; .* diptych convert"):
        diptych.load(tmp_path, device="cpu")


# --- strings -------------------------------------------------------------------------------------------------


def copied(golden: GoldenSet, folder: Path, but: str = "") -> None:
    for file in golden.folder.resolve().iterdir():
        if file.name not in (but, "cases.safetensors"):
            (folder / file.name).symlink_to(file)


def letters(golden: GoldenSet) -> Tokenizer:
    """Text as the few characters that the set's vocabulary has room for; the marks are the set's."""
    marks = model(golden).dialogue.marks  # type: ignore[attr-defined]
    names = ("<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>")
    vocabulary = dict(zip(names, marks, strict=True))
    known = sorted({c for c in json.dumps(golden.prompts) if c.isascii()} - set("{}[]|<>\\") | {"\n"})
    free = (i for i in range(golden.config["llm_vocab_size"]) if i not in marks)
    vocabulary |= {letter: next(free) for letter in known}
    found = Tokenizer(models.BPE(vocabulary, [], unk_token="?"))
    found.pre_tokenizer = pre_tokenizers.Split("", "isolated")  # type: ignore[assignment]
    found.decoder = decoders.Fuse()  # type: ignore[assignment]
    found.add_special_tokens(list(names))
    return found


@pytest.fixture(scope="module")
def spoken(tmp_path_factory: pytest.TempPathFactory) -> Any:
    made: dict[str, Model] = {}

    def load(golden: GoldenSet) -> Model:
        if golden.name not in made:
            folder = tmp_path_factory.mktemp("show_o2")
            copied(golden, folder)
            letters(golden).save(str(folder / "tokenizer.json"))
            made[golden.name] = diptych.load(folder, device="cpu", dtype="float32")
        return made[golden.name]

    return load


def picture(side: int = 40, shade: int = 90) -> Pillow.Image:
    return Pillow.new("RGB", (side, side + 8), (shade, 60, 200))


def spelt(found: Model, pieces: list[Piece]) -> str:
    """Pieces as the published strings have them."""
    tokenizer = found.dialogue.tokenizer
    said = [tokenizer.decode(p.ids, specials=True) if isinstance(p, Ids) else "{IMG}" for p in pieces]
    return "".join(said)


@EVERY_SET
def test_prompts(golden: GoldenSet, spoken: Any) -> None:
    found, published_ = spoken(golden), golden.prompts
    asked = published_["understanding"]
    question = Request.of(Turn.user(picture(), asked["question"]))
    assert spelt(found, found.dialogue.render(question)) == asked["string"]
    again = Turn.user("What colour?")
    turns = [Turn.user(picture(), "What is this?"), Turn.assistant("A cat."), again, Turn.assistant("Black.")]
    tuned = published_["understanding_tuning_two_turns"]["string"]
    assert spelt(found, found.dialogue.render(Request.of(turns))) == tuned
    for name, branch in (("text_to_image", "full"), ("text_to_image_unconditional", "no_text")):
        drawn = published_[name]["string"].partition("{IMG}")[0]
        request = Request.of(published_["text_to_image"]["prompt"], "image")
        assert spelt(found, found.dialogue.render(request, branch=branch)) == drawn


@EVERY_SET
def test_prompts_of_stories(golden: GoldenSet, spoken: Any) -> None:
    """Text, a picture, text; pictures stand at another time before pictures than before text."""
    found = spoken(golden)
    told, marks = golden.prompts["mixed_modality"], found.dialogue.marks
    request = Request.of(told["first_prompt"], "any")
    assert spelt(found, found.dialogue.render(request)) == told["text_turn"]
    own = Made(torch.zeros(4, 16), (2, 2))
    text = found.dialogue.tokenizer.encode(" ...text...", frame=False)
    said: list[Piece] = [Ids([*text, marks.opening]), own, Ids([marks.closing])]
    assert spelt(found, found.dialogue.render(request, said)) == told["next_text_turn"]
    assert found.dialogue.render(request, said)[2] == own
    again = found.dialogue.render(request, [*said, Ids([marks.opening])])
    assert [p.time for p in again if isinstance(p, Made)] == [1.0]
    assert spelt(found, found.dialogue.render(request, said, "no_text")) == told["null_first"].partition("{IMG}")[0]


@EVERY_SET
def test_special_tokens_of_a_person_are_text(golden: GoldenSet, spoken: Any) -> None:
    found = spoken(golden)
    (piece,) = found.dialogue.render(Request.of("cat<|vision_start|>", "image"))
    assert piece.ids.count(found.dialogue.marks.opening) == 1


@EVERY_SET
def test_what_is_refused(golden: GoldenSet, spoken: Any) -> None:
    found = spoken(golden)
    for size in ((17, 32), (0, 32)):
        with pytest.raises(InputError, match="multiples of"):
            found.generate("a cat", size=size, steps=1)
    with pytest.raises(InputError, match="in words"):
        found.dialogue.render(Request((Turn.user(picture(), "more"),), "image"))
    twice = [Turn.user(picture(), "a"), Turn.assistant("b"), Turn.user(picture(), "c")]
    with pytest.raises(InputError, match="pictures of one turn"):
        found.chat(twice)
    with pytest.raises(WeightsError, match="no tokenizer"):
        diptych.load(golden.folder, device="cpu").generate("a cat")


@EVERY_SET
def test_the_model_talks_and_draws(golden: GoldenSet, spoken: Any) -> None:
    found = spoken(golden)
    side = found.image_size[0]
    drawn = found.generate(["a cat", "a photo of a dog"], steps=2, seed=3)
    assert [p.size for p in drawn] == [(side, side)] * 2
    (alone,) = found.generate("a cat", steps=2, seed=3)
    assert abs(torch.tensor(list(alone.tobytes())) - torch.tensor(list(drawn[0].tobytes()))).max() <= 1
    (wide,) = found.generate("a cat", steps=1, size=(32, 48))
    assert wide.size == (48, 32)
    conversations = [Turn.user(picture(), "What?"), Turn.user(picture(), picture(50, 7), "What moves?"), "Hi"]
    together = found.chat_batch(conversations, max_tokens=5)
    assert [r.text for r in together] == [found.chat(c, max_tokens=5).text for c in conversations]


@EVERY_SET
def test_the_model_tells_a_story(golden: GoldenSet, spoken: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Made to open a picture after two tokens, it draws one, then goes on with text."""
    found = spoken(golden)
    marks, text = found.dialogue.marks, found.dialogue.text

    def opens(options: Any) -> Any:
        writer = text(options)
        draw, calls = writer.objective.draw, [0]

        def forced(parts: Any, canvas: Any, step: Any, guide: Any, draws: Any) -> Any:
            drawn = draw(parts, canvas, step, guide, draws)
            calls[0] += 1
            return drawn._replace(values=torch.full_like(drawn.values, marks.opening)) if calls[0] == 2 else drawn

        writer.objective.draw = forced
        return writer

    monkeypatch.setattr(found.dialogue, "text", opens)
    monkeypatch.setattr("diptych.models.model.MAX_IMAGES", 2)
    reply = found.chat("Tell", want="any", max_tokens=4, steps=1)
    assert [type(p) for p in reply.parts].count(Image) == 2


@EVERY_SET
def test_a_videos_frames_are_one_picture(golden: GoldenSet, spoken: Any) -> None:
    found = spoken(golden)
    (_, video, _) = found.dialogue.render(Request.of(Turn.user(picture(), picture(30), "What moves?")))
    assert isinstance(video, Traced) and video.pixels.shape[:2] == (2, 3)
    (row,) = found.network.read([[Ids([1]), video, Ids([2, 3])]])
    assert sum(len(segment.x) for segment in row) == 1 + 1 + 2 * 14 * 14 + 2


@EVERY_SET
def test_in_half_precision(golden: GoldenSet, tmp_path: Path) -> None:
    copied(golden, tmp_path)
    letters(golden).save(str(tmp_path / "tokenizer.json"))
    found = diptych.load(tmp_path, device="cpu", dtype="bfloat16")
    assert found.generate("a cat", steps=1)[0].size == found.image_size
    assert found.chat_batch([Turn.user(picture(), picture(30), "What?")], max_tokens=2)


@EVERY_SET
def test_every_parameter_learns(golden: GoldenSet) -> None:
    """But for the autoencoder, which is given."""
    net: Any = model(golden).network
    dialogue: Any = model(golden).dialogue
    grid = dialogue.grid(Options())
    slots = torch.randn(2, grid[0] * grid[1], net.draw.channels, generator=torch.Generator().manual_seed(0))
    rows = [
        [Ids(dialogue.drawn([4])), Learn("image", slots[0], grid)],
        [Ids([1]), Made(slots[1], grid, 1.0), Learn("text", torch.tensor([2, 3, 4]))],
    ]
    learning = {name: p.requires_grad_() for name, p in net.named_parameters() if not name.startswith("tokenizer.")}
    alone = losses(net, dialogue.lessons(), rows, Draws(range(2)))
    together = losses(net, dialogue.lessons(), rows, Draws(range(2)), width=200)
    for name in alone:
        torch.testing.assert_close(alone[name], together[name])
    sum(alone.values(), torch.zeros(())).backward()
    assert not [name for name, p in learning.items() if p.grad is None or not p.grad.isfinite().all()]
    net.requires_grad_(False)
    net.zero_grad()

"""BAGEL as it is published: names and shapes at the real size, weights there and back, prompts, and real strings."""

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image as Pillow
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

import diptych
from diptych.errors import InputError, WeightsError
from diptych.models import bagel
from diptych.models.bagel import MARKS, THINK_THEN_ANSWER, THINK_THEN_DRAW, Bagel
from diptych.models.family import Options
from diptych.models.model import Model
from diptych.models.network import Ids, Piece, Seen, Traced
from diptych.tokenizers.text import TextTokenizer
from diptych.types import Image, Request, Turn
from diptych.weights.files import Checkpoint, export
from tests.parity.bagel import SETS, loaded
from tests.parity.sets import GoldenSet

EVERY_SET = pytest.mark.parametrize("golden", SETS, ids=lambda golden: golden.name)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Callable[[GoldenSet], Model]:
    return cache(lambda golden: loaded(golden, tmp_path_factory.mktemp("bagel")))


# --- names and weights ---------------------------------------------------------------------------------------


def fitting(shapes: dict[str, list[int]]) -> dict[str, Any]:
    """The config that belongs to these shapes; what it leaves out is the family's to know."""
    block, vit = "language_model.model.layers.0.", "vit_model.vision_model."
    (head,) = shapes[f"{block}self_attn.q_norm.weight"]
    vocab, width = shapes["language_model.model.embed_tokens.weight"]
    places, seen = shapes[f"{vit}embeddings.position_embedding.weight"]
    patch = int((shapes[f"{vit}embeddings.patch_embedding.weight"][1] / 3) ** 0.5)
    llm = {
        "hidden_size": width,
        "intermediate_size": shapes[f"{block}mlp.gate_proj.weight"][0],
        "num_hidden_layers": layers(shapes, "language_model.model.layers."),
        "num_attention_heads": shapes[f"{block}self_attn.q_proj.weight"][0] // head,
        "num_key_value_heads": shapes[f"{block}self_attn.k_proj.weight"][0] // head,
        "vocab_size": vocab,
        "rope_theta": 1e6,
        "rms_norm_eps": 1e-6,
        "tie_word_embeddings": True,
    }
    eyes = {
        "hidden_size": seen,
        "intermediate_size": shapes[f"{vit}encoder.layers.0.mlp.fc1.weight"][0],
        "num_hidden_layers": layers(shapes, f"{vit}encoder.layers.") + 1,
        "num_attention_heads": 16,
        "image_size": int(places**0.5) * patch,
        "patch_size": patch,
    }
    return {"model_type": "bagel", "llm_config": llm, "vit_config": eyes, "vae_config": {"z_channels": 16}}


def layers(shapes: dict[str, list[int]], stem: str) -> int:
    return len({name.removeprefix(stem).split(".")[0] for name in shapes if name.startswith(stem)})


@EVERY_SET
def test_every_published_tensor_is_claimed_once(golden: GoldenSet) -> None:
    shapes = {name: shape for keys in golden.full_keys.values() for name, shape in keys}
    assert len(shapes) == sum(map(len, golden.full_keys.values()))
    config = Bagel.completed(fitting(shapes), shapes)
    assert Bagel.recognises(config, golden.folder)
    with torch.device("meta"):
        network = Bagel.build(config)
    Bagel.layout(config).check(shapes, {n: t.shape for n, t in network.state_dict().items()})
    assert network.eyes["places"].side == config["vit_max_num_patch_per_side"]


@EVERY_SET
def test_weights_there_and_back(golden: GoldenSet, model: Callable[[GoldenSet], Model], tmp_path: Path) -> None:
    found = model(golden)
    files = [golden.folder / name for name in Bagel.weights]
    theirs = Checkpoint(files)
    layout = Bagel.layout(Bagel.completed(golden.config, theirs.shapes))
    again = Checkpoint(export(found.network, layout, list(theirs), tmp_path))
    assert set(again) == set(theirs) and all(torch.equal(again[name], theirs[name]) for name in theirs)
    for name in ("config.json", "tokenizer.json"):
        (tmp_path / name).symlink_to(found.folder / name)
    half = diptych.load(tmp_path, device="cpu", dtype="bfloat16")  # from the one file that was written
    (picture,) = half.edit(painted(1, 40, 50), "5 6", steps=1, size=(32, 32))
    assert picture.size == (32, 32) and half.chat((picture, "5"), max_tokens=2).text


@EVERY_SET
def test_tables_that_fine_tuning_leaves_out_are_computed(golden: GoldenSet) -> None:
    theirs = Checkpoint([golden.folder / name for name in Bagel.weights])
    left = {name: shape for name, shape in theirs.shapes.items() if "pos_embed" not in name}
    config = Bagel.completed(golden.config, left)
    with torch.device("meta"):
        network = Bagel.build(config)
    Bagel.layout(config).check(left, {n: t.shape for n, t in network.state_dict().items()})
    torch.testing.assert_close(network.draw.table.table, theirs["latent_pos_embed.pos_embed"])
    torch.testing.assert_close(network.eyes["places"].table, theirs["vit_pos_embed.pos_embed"])


@EVERY_SET
def test_without_a_tokenizer_only_pictures_and_strings_are_refused(golden: GoldenSet) -> None:
    found = diptych.load(golden.folder, device="cpu", dtype="float32")
    assert found.logits([[Ids([1, 2, 3])]]).shape[1] == 3
    for ask in (lambda: found.chat("1 2"), lambda: found.generate("1 2")):
        with pytest.raises(WeightsError, match=r"tokenizer\.json"):
            ask()
    with pytest.raises(WeightsError, match=r"tokenizer\.json"):
        found.logits([[Seen(torch.zeros(3, 28, 28))]])


# --- prompts -------------------------------------------------------------------------------------------------


def bytes_only() -> TextTokenizer:
    """Bytes and the four marks: any string there and back."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    made = Tokenizer(models.BPE({letter: i for i, letter in enumerate(letters)}, []))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)  # type: ignore[assignment]
    made.decoder = decoders.ByteLevel()  # type: ignore[assignment]
    made.add_special_tokens(list(MARKS))
    return TextTokenizer(made)


def written(tokenizer: TextTokenizer, pieces: list[Piece], noise: bool = False) -> str:
    """The prompt as the set writes it, pictures as runs between their marks."""
    runs: dict[type, str] = {Seen: "VIT_TOKENS", Traced: "VAE_TOKENS"}
    texts = [
        tokenizer.decode(piece.ids, specials=True)
        if isinstance(piece, Ids)
        else f"{MARKS[2]}{{{runs[type(piece)]}}}{MARKS[3]}"
        for piece in pieces
    ]
    return "".join(texts) + (f"{MARKS[2]}{{NOISE_TOKENS}}{MARKS[3]}" if noise else "")


@EVERY_SET
def test_prompts(golden: GoldenSet, model: Callable[[GoldenSet], Model]) -> None:
    dialogue: Any = model(golden).dialogue
    tokenizer, prompts = bytes_only(), golden.prompts
    assert tuple(prompts["special_tokens"].values()) == MARKS
    system = prompts["think_system_prompts"]
    assert (system["VLM_THINK_SYSTEM_PROMPT"], system["GEN_THINK_SYSTEM_PROMPT"]) == (
        THINK_THEN_ANSWER,
        THINK_THEN_DRAW,
    )
    picture, checked = Image(Pillow.new("RGB", (40, 50), "red")), 0

    def check(request: Request, expected: dict[str, Any], *branches: str, think: str = "") -> None:
        nonlocal checked
        said = [Ids([*tokenizer.encode(think), tokenizer.special(MARKS[1])])] if think else []
        for branch in branches:
            official = "full" if branch == "full" and "full" in expected else BRANCHES[branch]
            ours = written(tokenizer, dialogue.render(request, said, branch), request.want == "image")
            assert ours == expected[official]
            checked += 1

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dialogue, "tokenizer", tokenizer)
        patch.setattr(dialogue, "begin", tokenizer.special(MARKS[0]))
        patch.setattr(dialogue, "ending", tokenizer.special(MARKS[1]))
        question = prompts["understanding"]["question"]
        asked = Request((Turn.user(picture, question),))
        check(asked, prompts["understanding"], "full")
        check(dialogue.thinking(asked), prompts["understanding_think"], "full")
        first, *texts = prompts["multi_turn_chat"]["input_list"]
        assert first == "<image>"
        turns = Turn.user(picture, texts[0]), Turn.assistant(texts[1]), Turn.user(texts[2])
        check(Request(turns), prompts["multi_turn_chat"], "full")
        check(Request((Turn.user(picture, picture, question),)), prompts["multi_image"], "full")
        for kind, given, prompt in (("text_to_image", (), "prompt"), ("editing", (picture,), "instruction")):
            text = prompts[kind][prompt] if kind == "text_to_image" else prompts["editing"]["instruction"]
            request = Request((Turn.user(*given, text),), "image")
            check(request, prompts[kind], *BRANCHES)
            thinking = dialogue.thinking(request)
            check(thinking, prompts[f"{kind}_think"], *BRANCHES, think="{THINK_TEXT}")
            opened = dialogue.render(Request(thinking.turns, "any"))
            assert written(tokenizer, opened) == prompts[f"{kind}_think"]["plan_generation"]
    assert checked == 16


BRANCHES = {"full": "cond", "no_text": "text_uncond", "no_image": "img_uncond"}


# --- strings -------------------------------------------------------------------------------------------------


def painted(seed: int, width: int, height: int) -> Pillow.Image:
    return Pillow.fromarray(np.random.default_rng(seed).integers(0, 255, (height, width, 3), dtype=np.uint8))


@EVERY_SET
def test_strings_in_a_batch_are_those_alone(golden: GoldenSet, model: Callable[[GoldenSet], Model]) -> None:
    found, pictures = model(golden), [painted(1, 45, 70), painted(2, 60, 33)]
    two = found.generate(["5 6 7", "8"], steps=2, size=(48, 32))
    assert [p.size for p in two] == [(32, 48)] * 2
    apart = [found.generate(prompt, steps=2, size=(48, 32))[0] for prompt in ("5 6 7", "8")]
    assert [near(a, b) for a, b in zip(two, apart, strict=True)] == [True, True]
    assert not near(*two)
    edited = found.edit(pictures, ["5 6", "7 8 9"], steps=2, size=(32, 48))
    alone = [found.edit(p, t, steps=2, size=(32, 48))[0] for p, t in zip(pictures, ["5 6", "7 8 9"], strict=True)]
    assert [near(a, b) for a, b in zip(edited, alone, strict=True)] == [True, True]
    (both,) = found.edit(pictures, "5 6", steps=2, size=(32, 48), image_guidance=1.0)
    assert both.size == (48, 32) and not near(both, edited[0])
    replies = found.chat_batch([(pictures[0], "5 6"), "7 8 9"], max_tokens=6)
    assert [r.text for r in replies] == [found.chat(t, max_tokens=6).text for t in ((pictures[0], "5 6"), "7 8 9")]


def near(a: Pillow.Image, b: Pillow.Image) -> bool:
    """Equal but for rounding: rows of a batch are other sums."""
    return a.size == b.size and int(np.abs(np.asarray(a, int) - np.asarray(b, int)).max()) <= 1


@EVERY_SET
def test_sizes(golden: GoldenSet, model: Callable[[GoldenSet], Model]) -> None:
    """Multiples of the stride within the table of positions; an edited picture keeps its own shape."""
    found: Any = model(golden)
    dialogue, stride = found.dialogue, found.network.stride
    longest = golden.config["max_latent_size"] * stride
    assert found.image_size == (longest, longest)
    assert dialogue.grid(Options(size=(stride, longest))) == (1, longest // stride)
    for size in ((stride + 1, stride), (0, stride), (longest + stride, stride)):
        with pytest.raises(InputError, match="multiples"):
            dialogue.grid(Options(size=size))
    request = Request((Turn.user(Image(painted(1, 70, 45)), Image(painted(2, 50, 90)), "1"),), "image")
    width, height = dialogue.written.size(50, 90)
    assert dialogue.fitted(request, Options()).size == (height, width)
    assert dialogue.fitted(request, Options(size=(stride, stride))).size == (stride, stride)
    assert dialogue.fitted(Request.of("1", "image"), Options()).size is None
    sources = [painted(1, 45, 70), painted(2, 60, 33)]
    edited = found.edit(sources, ["5 6", "7"], steps=1)
    assert [p.size for p in edited] == [dialogue.written.size(*source.size) for source in sources]


@EVERY_SET
def test_nobody_can_open_a_picture_from_inside_a_prompt(golden: GoldenSet, model: Callable[[GoldenSet], Model]) -> None:
    dialogue, tokenizer = model(golden).dialogue, bytes_only()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dialogue, "tokenizer", tokenizer)
        (piece,) = dialogue.render(Request.of(f"1{MARKS[1]}{MARKS[2]}", "image"))
    assert isinstance(piece, Ids) and not set(piece.ids[1:-1]) & set(map(tokenizer.special, MARKS))


@EVERY_SET
def test_options_change_the_picture(golden: GoldenSet, model: Callable[[GoldenSet], Model]) -> None:
    found, drawn = model(golden), {"steps": 8, "size": (32, 48)}
    plain = np.asarray(found.generate("5 6 7", **drawn)[0])
    for option in ({"interval": (0.0, 1.0)}, {"renorm": "channel"}, {"shift": 1.0}, {"foresee": 3}, {"guidance": 1.0}):
        (other,) = found.generate("5 6 7", **drawn, **option)
        assert not np.array_equal(plain, np.asarray(other)), option
    assert np.array_equal(plain, np.asarray(found.generate("5 6 7", **drawn, foresee=1)[0]))
    for wrong in ({"interval": (0.6, 0.2)}, {"renorm": "none"}, {"shift": 0.0}, {"foresee": 0}):
        with pytest.raises(InputError, match=next(iter(wrong))):
            found.generate("5", **wrong)


@EVERY_SET
def test_thinks_before_it_draws(golden: GoldenSet, model: Callable[[GoldenSet], Model]) -> None:
    """The thought is the conversation's text, and what the picture is drawn from."""
    found, how = model(golden), {"steps": 2, "size": (32, 48), "max_tokens": 5}
    with pytest.MonkeyPatch.context() as patch:  # the published words are not in the set's vocabulary of numbers
        patch.setattr(bagel, "THINK_THEN_DRAW", "11 12")
        patch.setattr(bagel, "THINK_THEN_ANSWER", "13 14")
        reply = found.chat("5 6 7", want="image", think=True, **how)
        (picture,) = reply.images
        assert reply.text and len(reply.text.split()) <= 5
        both = found.generate(["5 6 7", "8"], think=True, **how)
        assert near(both[0], picture) and not near(picture, found.generate("5 6 7", **how)[0])
        asked = Request((Turn.system("11 12"), Turn.user("5 6 7")), "any")
        assert reply.text == found.chat(asked.turns, max_tokens=5).text
        edited = found.edit(painted(1, 45, 70), "5 6", think=True, **how)
        assert not near(edited[0], found.edit(painted(1, 45, 70), "5 6", **how)[0])
        assert (
            found.chat("5", think=True, max_tokens=5).text
            == found.chat([Turn.system("13 14"), Turn.user("5")], max_tokens=5).text
        )


@EVERY_SET
def test_progress_counts_to_the_end(golden: GoldenSet, model: Callable[[GoldenSet], Model]) -> None:
    told = list[tuple[int, int]]()
    model(golden).generate(["5 6 7", "8"], steps=4, size=(32, 48), progress=lambda *how: told.append(how))
    slots = told[0][1] // 2
    assert told == [(slots * 2 * visit // 4, slots * 2) for visit in (1, 2, 3, 4)]


@EVERY_SET
def test_branches_follow_the_guidance(golden: GoldenSet, model: Callable[[GoldenSet], Model]) -> None:
    dialogue = model(golden).dialogue
    draw, edit = Request.of("1", "image"), Request((Turn.user(Image(painted(1, 40, 40)), "1"),), "image")
    assert dialogue.branches(draw, Options()) == ("full", "no_text")
    assert dialogue.branches(edit, Options()) == ("full", "no_text", "no_image")
    assert dialogue.branches(edit, Options(image_guidance=1.0)) == ("full", "no_text")
    assert dialogue.branches(edit, Options(guidance=1.0)) == ("full",)


def test_config_without_sizes_is_refused(tmp_path: Path) -> None:
    for golden in SETS[:1]:
        for name in Bagel.weights:
            (tmp_path / name).symlink_to(golden.folder.resolve() / name)
        config = {key: value for key, value in golden.config.items() if key != "llm_config"}
        (tmp_path / "config.json").write_text(json.dumps(config))
        with pytest.raises(WeightsError, match="llm_config"):
            diptych.load(tmp_path, device="cpu")

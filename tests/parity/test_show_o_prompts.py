"""Show-o: every published tensor is claimed, every published prompt is rendered, and strings lead to replies."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image as Pillow
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

import diptych
from diptych.backbone.transformer import Backbone, BackboneConfig
from diptych.encoders.preprocess import Crop, Preprocess
from diptych.errors import InputError, WeightsError
from diptych.models.companions import Found
from diptych.models.family import Options
from diptych.models.model import Model
from diptych.models.network import Ids, Piece, Seen
from diptych.models.show_o import ShowO, ShowODialogue, ShowONetwork, Vocabulary
from diptych.tokenizers.lookup_free import magvitv2
from diptych.types import Image, Request, Turn
from tests.parity.sets import GoldenSet, sets_of
from tests.parity.test_show_o import spoken

CODES = [golden for golden in sets_of("show_o") if not golden.config["w_clip_vit"]]
CLIP = [golden for golden in sets_of("show_o") if golden.config["w_clip_vit"]]

# --- names and strings ---------------------------------------------------------------------------------------


def published(golden: GoldenSet, shapes: dict[str, list[int]], clip: bool) -> dict[str, Any]:
    """The config that tensors of these shapes come with."""
    vocab, width = shapes["showo.model.embed_tokens.weight"]
    heads = width // shapes["showo.model.layers.0.self_attn.q_layernorm.weight"][0]
    llm = {
        "hidden_size": width,
        "num_attention_heads": heads,
        "num_hidden_layers": 1 + max(int(name.split(".")[3]) for name in shapes if ".layers." in name),
        "intermediate_size": shapes["showo.model.layers.0.mlp.fc1.weight"][0],
    }
    name = golden.config["llm_model_path"]
    beside = {name: Found(Path(), llm), "magvitv2": Found(Path(), {}), "clip": Found(Path(), {})}
    sizes = {key: value for key, value in golden.config.items() if key != "mm_projector"}
    return sizes | {"vocab_size": vocab, "w_clip_vit": clip, "companions": beside}


@pytest.mark.parametrize("golden", CODES, ids=lambda golden: golden.name)
def test_every_published_tensor_is_claimed(golden: GoldenSet) -> None:
    entries = [value for value in golden.full_keys.values() if isinstance(value, list)]
    assert entries
    for keys in entries:
        shapes = dict(keys)
        config = published(golden, shapes, any(name.startswith("mm_projector") for name in shapes))
        with torch.device("meta"):
            network = ShowO.build(config)
        own = {
            name: tensor.shape
            for name, tensor in network.state_dict().items()
            if name.startswith(("backbone.", "eyes.project."))
        }
        claims = ShowO.layout(config).check(shapes, own)
        assert len(claims) == len(keys)


END = 256  # of the bytes' vocabulary


def in_bytes(golden: GoldenSet, folder: Path, clip: bool) -> ShowODialogue:
    """Prompts over single bytes, of which every text can be made; the network has no weights."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    made = Tokenizer(models.BPE({letter: i for i, letter in enumerate(letters)}, []))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)  # type: ignore[assignment]
    made.decoder = decoders.ByteLevel()  # type: ignore[assignment]
    made.add_special_tokens(["<|endoftext|>"])
    made.save(str(folder / "tokenizer.json"))
    config = golden.config | {"llm_vocab_size": END + 1, "vocab_size": END + 12 + golden.config["codebook_size"]}
    config.pop("mask_token_id")
    with torch.device("meta"):
        tokenizer = magvitv2({})
        backbone = Backbone(BackboneConfig(8, 1, 1, 1, 8, config["vocab_size"]))
    network = ShowONetwork(backbone, tokenizer, Vocabulary.of(config).first)
    return ShowODialogue(folder, config, network, Preprocess((Crop(8),)) if clip else None)


def skeleton(dialogue: ShowODialogue, pieces: list[Piece]) -> list[str]:
    """Marks by name, runs of text and pictures as placeholders."""
    names = {i: name for name, i in dialogue.specials.items()} | {END: "end"}
    found: list[str] = []
    for piece in pieces:
        spelt = [names.get(i, "text") for i in piece.ids] if isinstance(piece, Ids) else ["picture"]
        for name in spelt:
            found += [] if name == "text" and found[-1:] == ["text"] else [name]
    return found


def officially(sequence: str) -> list[str]:
    """The same of a sequence as prompts.json writes it; the begin and the end of text are one token."""
    sequence = re.sub(r"\[PAD\]\*\S+ ", "", sequence)
    sequence = re.sub(r"\{[^}]*(codes|features|ids)[^}]*\}", "picture", sequence)
    sequence = re.sub(r"\{[^}]*\}", "text", sequence)
    return ["end" if name in ("<|sot|>", "<|eot|>") else name for name in sequence.split()]


def words_of(dialogue: ShowODialogue, pieces: list[Piece]) -> str:
    marks = set(dialogue.specials.values())
    ids = [i for piece in pieces if isinstance(piece, Ids) for i in piece.ids if i not in marks]
    return dialogue.tokenizer.decode(ids, specials=True)


PICTURE = Image(Pillow.new("RGB", (9, 7), (200, 30, 40)))


@pytest.mark.parametrize("clip", [False, True])
@pytest.mark.parametrize("golden", CODES, ids=lambda golden: golden.name)
def test_prompts_to_understand(golden: GoldenSet, clip: bool, tmp_path: Path) -> None:
    dialogue = in_bytes(golden, tmp_path, clip)
    official = golden.prompts["understanding_w_clip_vit" if clip else "understanding_vq"]
    pieces = dialogue.render(Request((Turn.user(PICTURE, official["question"]),)))
    assert skeleton(dialogue, pieces) == officially(official["sequence"])
    before = official["system_prompt"] if clip else "<|endoftext|>"
    assert words_of(dialogue, pieces) == before + official["text"]


@pytest.mark.parametrize("clip", [False, True])
@pytest.mark.parametrize("golden", CODES, ids=lambda golden: golden.name)
def test_prompts_of_several_turns(golden: GoldenSet, clip: bool, tmp_path: Path) -> None:
    dialogue, official = in_bytes(golden, tmp_path, clip), golden.prompts["multi_turn_chat"]
    for kind in ("inference", "training"):
        turns = []
        for one in re.findall(r"USER: (.*?) ASSISTANT:(?: (.*?)<\|endoftext\|>)?", official[kind]):
            turns += [Turn.user(one[0])] + ([Turn.assistant(one[1])] if one[1] else [])
        turns[0] = Turn.user(PICTURE, *turns[0].parts)
        assert (
            words_of(dialogue, dialogue.render(Request(tuple(turns)))[-1:]).removeprefix("<|endoftext|>")
            == (official[kind])
        )


@pytest.mark.parametrize("golden", CODES, ids=lambda golden: golden.name)
def test_prompts_to_draw(golden: GoldenSet, tmp_path: Path) -> None:
    dialogue = in_bytes(golden, tmp_path, clip=False)
    port: Any = dialogue.image(Options()).port
    marks = Ids([*port.before]), Seen(torch.empty(0)), Ids([*port.after])
    for name, branch in (("generation", "full"), ("unconditional", "no_text")):
        official = golden.prompts[name]
        pieces = dialogue.render(Request.of(official["prompt"] or "anything", "image"), branch=branch)
        sequence = re.sub(r"\{num_vq_tokens mask ids\}", "{image ids}", official["sequence"])
        assert skeleton(dialogue, [*pieces, *marks]) == officially(sequence)
        assert words_of(dialogue, pieces) == f"<|endoftext|>{official['text']}<|endoftext|>"


@pytest.mark.parametrize("golden", CODES, ids=lambda golden: golden.name)
def test_a_prompt_that_is_too_long_keeps_its_end(golden: GoldenSet, tmp_path: Path) -> None:
    dialogue = in_bytes(golden, tmp_path, clip=False)
    (piece,) = dialogue.render(Request.of("x" * 200, "image"))
    assert isinstance(piece, Ids)
    assert len(piece.ids) == 129 and piece.ids[-1] == END and piece.ids[-2] < END


@pytest.mark.parametrize("golden", CODES, ids=lambda golden: golden.name)
def test_special_ids(golden: GoldenSet) -> None:
    official = golden.prompts["real_special_tokens"]["ids"]
    first, last, mask = (official[name] for name in ("first image code", "last image code", "mask"))
    sizes = {"llm_vocab_size": official["[PAD] / <|pad|>"], "vocab_size": mask + 1, "codebook_size": last - first + 1}
    vocabulary = Vocabulary.of(sizes)
    assert (vocabulary.first, vocabulary.mask) == (first, mask)
    assert {k: v for k, v in vocabulary.specials.items() if k != "[PAD]"} == {
        k: v for k, v in official.items() if k in vocabulary.specials
    }


# --- replies -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return diptych.load(spoken(CODES[0], tmp_path_factory.mktemp("show_o")), device="cpu")


def test_drawing(model: Model) -> None:
    """A picture depends on its prompt and seed, not on its neighbours."""
    first, second = model.generate("3 17 88", n=2, seed=4, steps=3)
    again, other = model.generate(["3 17 88", "5 9"], seed=5, steps=3)
    assert first.size == model.image_size[::-1]
    assert second.tobytes() == again.tobytes()
    assert len({picture.tobytes() for picture in (first, second, other)}) == 3


def test_drawing_without_guidance_or_chance(model: Model) -> None:
    first, second = (model.generate("3 17", seed=seed, guidance=0, temperature=0, steps=2)[0] for seed in (0, 1))
    assert first.tobytes() == second.tobytes()


def test_painting_over(model: Model) -> None:
    """What the mask leaves black keeps its codes."""
    side = model.image_size[0]
    picture = Pillow.effect_mandelbrot((side, side), (-2, -1.5, 1, 1.5), 50).convert("RGB")
    mask = Pillow.new("L", (side, side))
    mask.paste(255, (0, 0, side // 2, side))
    (new,) = model.edit(picture, "3 17", mask=mask, steps=2)
    assert new.size == picture.size and new.tobytes() != picture.tobytes()


def test_answering(model: Model) -> None:
    turns = [Turn.user(PICTURE, "1 2 3")]
    reply = model.chat(turns, max_tokens=4)
    (same, other) = model.chat_batch([turns, [Turn.user("4 5")]], max_tokens=4)
    assert reply.text == same.text
    assert isinstance(other.text, str)
    assert "".join(part.text for part in model.chat(turns, max_tokens=4, stream=True)).strip() == reply.text


def test_one_picture_a_conversation(model: Model) -> None:
    with pytest.raises(InputError, match="one picture a conversation, not 2"):
        model.chat([Turn.user(PICTURE, PICTURE, "1")])


def test_pictures_of_another_size(model: Model) -> None:
    with pytest.raises(InputError, match="leave size out"):
        model.generate("1 2", size=(8, 8))


@pytest.mark.parametrize("golden", [*CODES, *CLIP], ids=lambda golden: golden.name)
def test_a_folder_without_a_tokenizer_loads_and_refuses_strings(golden: GoldenSet) -> None:
    found = diptych.load(golden.folder, device="cpu")
    with pytest.raises(WeightsError, match=r"holds no tokenizer\.json"):
        found.generate("a cat")
    with pytest.raises(WeightsError, match=r"holds no tokenizer\.json"):
        found.chat("What is this?")


def changed(folder: Path, **keys: Any) -> Path:
    """The set's folder, its config with other values; None: without that key."""
    source = spoken(CODES[0], folder)
    config = CODES[0].config | keys
    (source / "config.json").unlink()
    (source / "config.json").write_text(json.dumps({k: v for k, v in config.items() if v is not None}))
    return source


def test_a_config_that_lacks_a_size(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"config\.json lacks 'llm_vocab_size'"):
        diptych.load(changed(tmp_path, llm_vocab_size=None), device="cpu")


def test_what_the_official_class_has_by_default(tmp_path: Path) -> None:
    found = diptych.load(changed(tmp_path, num_vq_tokens=None, w_clip_vit=None), device="cpu")
    assert found.image_size == (256, 256)


def test_a_missing_companion_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    folder = changed(tmp_path)
    (folder / "magvitv2").unlink()
    with pytest.raises(WeightsError, match=r"needs showlab/magvitv2, .*looked for it at .*magvitv2.* download"):
        diptych.load(folder, device="cpu")

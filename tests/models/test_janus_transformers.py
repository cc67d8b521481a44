"""Janus as transformers stores it: the numbers of transformers' own model, and of the official layout.

Random weights, tiny sizes. transformers' code is the other side of every comparison, so that a wrong name, a missed
transposition or a default read wrongly shows in an output.
"""

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from PIL import Image as Pillow
from torch import Tensor

import diptych
from diptych.canvas import Draws
from diptych.encoders.preprocess import to_uint8
from diptych.errors import WeightsError
from diptych.models.family import Options
from diptych.models.janus import Janus
from diptych.models.janus_converted import JanusConverted, official
from diptych.models.model import Model
from diptych.models.network import Ids, Made, Seen
from diptych.samplers.conversation import cut, draw, say, write
from diptych.types import Image, Request, Turn
from diptych.weights.files import Checkpoint, export
from tests.models.folders import GOLDEN, edit_json, edit_weights
from tests.parity.sets import close

SPECIALS = {
    "image_token": "<image_placeholder>",
    "boi_token": "<begin_of_image>",
    "eoi_token": "<end_of_image>",
    "bos_token": "<｜begin▁of▁sentence｜>",
    "eos_token": "<｜end▁of▁sentence｜>",
    "pad_token": "<｜▁pad▁｜>",
}
PICTURE = Pillow.fromarray(GOLDEN.cases["preprocess1"].inputs["image"].numpy())


@cache
def ids() -> dict[str, int]:
    added = GOLDEN.json("tokenizer.json")["added_tokens"]
    by_name = {token["content"]: token["id"] for token in added}
    return {role: by_name[name] for role, name in SPECIALS.items()}


def config(tied: bool) -> Any:
    return transformers.JanusConfig(
        text_config=transformers.LlamaConfig(
            vocab_size=432,
            hidden_size=64,
            intermediate_size=112,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            bos_token_id=ids()["bos_token"],
            eos_token_id=ids()["eos_token"],
            pad_token_id=ids()["pad_token"],
        ),
        vision_config=transformers.JanusVisionConfig(
            hidden_size=48,
            num_hidden_layers=2,
            num_attention_heads=4,
            image_size=32,
            patch_size=8,
            mlp_ratio=3.0,
            depth=3,
            projection_dim=64,
            num_image_tokens=16,
        ),
        vq_config=transformers.JanusVQVAEConfig(
            embed_dim=8,
            num_embeddings=64,
            latent_channels=24,
            base_channels=32,
            channel_multiplier=[1, 2, 2],
            num_res_blocks=1,
            projection_dim=64,
            image_token_embed_dim=64,
        ),
        image_token_id=ids()["image_token"],
        tie_word_embeddings=tied,
    )


def randomised(network: Any) -> Any:
    """Weights large enough that every part shows in the outputs."""
    generator = torch.Generator().manual_seed(0)
    for parameter in network.parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        norms = (parameter.data == 1).float()  # fresh norms are one
        parameter.data.copy_(noise / parameter[0].numel() ** 0.5 if parameter.ndim > 1 else norms + noise / 10)
    return network.eval()


@dataclass(frozen=True)
class Pair:
    """One folder, as loaded here and by transformers."""

    folder: Path
    ours: Model
    theirs: Any


def saved(folder: Path, tied: bool) -> Any:
    """A folder as transformers writes it."""
    network = randomised(transformers.JanusForConditionalGeneration(config(tied)))
    network.generation_config.generation_kwargs = {"boi_token_id": ids()["boi_token"]}
    network.save_pretrained(folder)
    processor = {"use_default_system_prompt": True, "num_image_tokens": 16, "processor_class": "JanusProcessor"}
    pictures = {"size": {"height": 32, "width": 32}, "image_mean": [0.5] * 3, "image_std": [0.5] * 3, "min_size": 14}
    (folder / "processor_config.json").write_text(json.dumps(processor | {"image_processor": pictures}))
    (folder / "tokenizer.json").write_bytes((GOLDEN.folder / "tokenizer.json").read_bytes())
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "TokenizersBackend"} | SPECIALS))
    return network


@pytest.fixture(scope="module", params=[False, True], ids=["untied", "tied"])
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    folder = tmp_path_factory.mktemp("converted")
    theirs = saved(folder, request.param)
    ours = diptych.load(folder, device="cpu", dtype="float32")
    assert ours.network.backbone.config.tied is request.param
    return Pair(folder, ours, theirs)


def placeholders(pieces: list[Any]) -> Tensor:
    """Our pieces as transformers is given them: a placeholder id for each image token."""
    spelled = (piece.ids if isinstance(piece, Ids) else [ids()["image_token"]] * 16 for piece in pieces)
    return torch.tensor([[index for own in spelled for index in own]])


def asked(pair: Pair) -> tuple[list[Any], dict[str, Tensor]]:
    """A question about a picture: our pieces, transformers' inputs."""
    pieces = pair.ours.dialogue.render(Request((Turn.user(Image(PICTURE), "What is shown?"),)))
    spelled = placeholders(pieces)
    pixels = torch.stack([piece.pixels for piece in pieces if isinstance(piece, Seen)])
    return pieces, {"input_ids": spelled, "attention_mask": torch.ones_like(spelled), "pixel_values": pixels}


# --- the numbers of transformers -----------------------------------------------------------------------------


@torch.inference_mode()
def test_understanding(pair: Pair) -> None:
    pieces, inputs = asked(pair)
    close(pair.ours.logits([pieces]), pair.theirs(**inputs).logits, name="logits")


@torch.inference_mode()
def test_greedy_text(pair: Pair) -> None:
    pieces, inputs = asked(pair)
    written = pair.theirs.generate(**inputs, do_sample=False, max_new_tokens=12)[0, inputs["input_ids"].shape[1] :]
    dialogue, network = pair.ours.dialogue, pair.ours.network
    *_, (_, canvas) = write(say(network.backbone, network.read([pieces])), dialogue.text(Options()), 12, Draws([0]))
    assert cut(canvas.value[0], dialogue.stops)[0] == cut(written, dialogue.stops)[0]
    assert len(set(written.tolist())) > 3, "too dull a text to tell anything"


@torch.inference_mode()
def test_image_logits(pair: Pair) -> None:
    (piece,) = pair.ours.dialogue.render(Request.of("a red circle", "image"))
    codes = torch.randint(64, (1, 16), generator=torch.Generator().manual_seed(1))
    words = pair.theirs.get_input_embeddings()(torch.tensor([piece[0]]))
    slots = pair.theirs.prepare_embeddings_for_image_generation(codes)
    close(pair.ours.network.draw.tokens(codes), slots, name="slots")
    hidden = pair.theirs.model.language_model(inputs_embeds=torch.cat([words, slots], 1)).last_hidden_state
    official_logits = pair.theirs.model.generation_head(hidden)
    context = say(pair.ours.network.backbone, pair.ours.network.read([[piece]]))
    assert context.last_hidden is not None
    close(pair.ours.network.draw.head(context.last_hidden, None)[:, -1], official_logits[:, words.shape[1] - 1])
    context = say(pair.ours.network.backbone, pair.ours.network.read([[piece, Made(codes[0], (4, 4))]]))
    assert context.last_hidden is not None
    close(pair.ours.network.draw.head(context.last_hidden, None)[:, -1], official_logits[:, -1], name="logits")


@torch.inference_mode()
def test_greedy_pictures(pair: Pair) -> None:
    """The whole loop with guidance, two prompts in one batch here, one by one there."""
    dialogue, network = pair.ours.dialogue, pair.ours.network
    requests = [Request.of(prompt, "image") for prompt in ("a red circle", "two blue squares and a hat")]
    options = Options(guidance=3.0, temperature=0.0)
    rows = [dialogue.render(r, (), branch) for branch in dialogue.branches(requests[0], options) for r in requests]
    assert dialogue.grid(options) == (4, 4)
    canvas = draw(say(network.backbone, network.read(rows)), dialogue.image(options), (4, 4), 2, Draws([0, 0]))
    for row, codes in zip(rows, canvas.value, strict=False):
        prompt = placeholders(row)
        theirs = pair.theirs.generate(
            prompt,
            attention_mask=torch.ones_like(prompt),
            generation_mode="image",
            do_sample=False,
            guidance_scale=3.0,
        )
        assert theirs[0].tolist() == codes.tolist()
        assert len(set(codes.tolist())) > 3, "too dull a picture to tell anything"
    pictures = pair.theirs.decode_image_tokens(canvas.value)
    close(network.decode(canvas.value, (4, 4)), pictures.permute(0, 3, 1, 2), name="pixels")
    ours = pair.ours.generate("a red circle", guidance=3.0, temperature=0.0)[0]
    assert ours.size == (16, 16) == pair.ours.image_size
    shown = to_uint8(pictures[:1].permute(0, 3, 1, 2), "trunc")[0].int()
    assert (torch.from_numpy(np.array(ours)).int() - shown).abs().max() <= 1


@torch.inference_mode()
def test_features_of_the_tokenizer(pair: Pair) -> None:
    """What is quantised, before the codebook."""
    pixels = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(2)) * 2 - 1
    theirs = pair.theirs.model.vqmodel
    close(pair.ours.network.tokenizer.latent(pixels), theirs.quant_conv(theirs.encoder(pixels)), name="latent")


def test_prompts(pair: Pair) -> None:
    """The strings that transformers' template of Janus-Pro gives."""
    pieces, _ = asked(pair)
    shown = "".join(pair.ours.dialogue.tokenizer.decode(p[0], specials=True) for p in pieces if isinstance(p, Ids))
    system = transformers.models.janus.processing_janus.DEFAULT_SYSTEM_PROMPT
    begin, end = SPECIALS["boi_token"], SPECIALS["eoi_token"]
    said = f"{system}<|User|>: {begin}{end}\nWhat is shown?\n\n<|Assistant|>:"
    assert shown == SPECIALS["bos_token"] + said


# --- the official layout of the same weights -----------------------------------------------------------------


@torch.inference_mode()
def test_the_official_layout_gives_the_same(pair: Pair, tmp_path: Path) -> None:
    facts = official(json.loads((pair.folder / "config.json").read_text()) | {"tie_word_embeddings": False})
    (tmp_path / "config.json").write_text(json.dumps(facts | {"model_type": "multi_modality"}))
    (tmp_path / "tokenizer.json").write_bytes((pair.folder / "tokenizer.json").read_bytes())
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(SPECIALS | {"add_bos_token": True}))
    for name in ("preprocessor_config.json", "processor_config.json"):
        (tmp_path / name).write_bytes((GOLDEN.folder / name).read_bytes())
    layout, state = Janus.layout(facts), pair.ours.network.state_dict()
    export(pair.ours.network, layout, layout.published(state), tmp_path)
    ours = diptych.load(tmp_path, device="cpu", dtype="float32")
    assert ours.image_size == pair.ours.image_size
    assert ours.network.state_dict().keys() == state.keys()
    assert all(torch.equal(tensor, state[name]) for name, tensor in ours.network.state_dict().items())
    question = Request((Turn.user(Image(PICTURE), "What is shown?"),))
    close(ours.logits([ours.dialogue.render(question)]), pair.ours.logits([pair.ours.dialogue.render(question)]), 0.0)
    options: dict[str, Any] = {"seed": 3, "guidance": 2.0}
    assert ours.generate("a hat", **options)[0].tobytes() == pair.ours.generate("a hat", **options)[0].tobytes()


def test_load_then_export_is_the_identity(pair: Pair, tmp_path: Path) -> None:
    theirs = Checkpoint(pair.folder)
    layout = JanusConverted.layout(json.loads((pair.folder / "config.json").read_text()))
    export(pair.ours.network, layout, list(theirs), tmp_path)
    again = Checkpoint(tmp_path)
    assert again.keys() == theirs.keys()
    assert all(torch.equal(again[name], theirs[name]) for name in theirs)


@pytest.mark.parametrize("name", ["deepseek-ai/Janus-Pro-1B", "deepseek-ai/Janus-Pro-7B"])
def test_transformers_names_are_claimed_once(name: str) -> None:
    """At the real sizes, without weights: every tensor of transformers' model, of the shapes of ours."""
    facts = GOLDEN.full_keys[name]["config"]
    language = {key: value for key, value in facts["language_config"].items() if key != "torch_dtype"}
    width = facts["aligner_config"]["params"]["n_embed"]
    stated = transformers.JanusConfig(
        text_config=transformers.LlamaConfig(**language),
        vision_config=transformers.JanusVisionConfig(projection_dim=width),
        vq_config=transformers.JanusVQVAEConfig(projection_dim=width, image_token_embed_dim=width),
        tie_word_embeddings=False,
    )
    with torch.device("meta"):
        theirs = transformers.JanusForConditionalGeneration(stated).state_dict()
        ours = JanusConverted.build(stated.to_dict()).state_dict()
        from_official = Janus.build(facts).state_dict()
    shapes = {key: tensor.shape for key, tensor in ours.items()}
    claims = JanusConverted.layout(stated.to_dict()).check({key: t.shape for key, t in theirs.items()}, shapes)
    assert len(claims) == len(theirs) and all(claim.rule for claim in claims)
    assert shapes == {key: tensor.shape for key, tensor in from_official.items()}


# --- what files may say --------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    saved(tmp_path, tied=False)
    return tmp_path


def test_files_of_transformers_4(folder: Path) -> None:
    """Pictures in a file of their own, the rotary base beside the rest, nothing said of the head, defaults left out."""
    before = diptych.load(folder, device="cpu", dtype="float32")

    def older(config: dict[str, Any]) -> None:
        del config["tie_word_embeddings"], config["text_config"]["rope_parameters"], config["text_config"]["head_dim"]
        config["text_config"] |= {"rope_theta": 10000.0, "rope_scaling": None}
        for name in ("layer_norm_eps", "num_channels", "use_qk_norm", "hidden_act"):
            del config["vision_config"][name]
        del config["vq_config"]["num_patches"], config["vq_config"]["embed_dim"]

    edit_json(folder / "config.json", older)
    processor = json.loads((folder / "processor_config.json").read_text())
    (folder / "preprocessor_config.json").write_text(json.dumps(processor.pop("image_processor")))
    (folder / "processor_config.json").write_text(json.dumps(processor))
    after = diptych.load(folder, device="cpu", dtype="float32")
    assert after.network.backbone.config.theta == before.network.backbone.config.theta
    question = Request((Turn.user(Image(PICTURE), "What?"),))
    close(after.logits([after.dialogue.render(question)]), before.logits([before.dialogue.render(question)]), 0.0)


def test_a_stated_head_must_be_there(folder: Path) -> None:
    edit_weights(folder, lambda tensors: tensors.pop("lm_head.weight"))
    with pytest.raises(WeightsError, match=r"without a tensor in the checkpoint: backbone\.head\.weight"):
        diptych.load(folder)


def test_the_rotary_base_is_read(folder: Path) -> None:
    edit_json(folder / "config.json", lambda c: c["text_config"]["rope_parameters"].update(rope_theta=5e5))
    assert diptych.load(folder, device="cpu").network.backbone.config.theta == 5e5


@pytest.mark.parametrize(
    ("part", "change", "named"),
    [
        ("text_config", {"hidden_act": "gelu"}, "hidden_act is 'gelu'"),
        ("text_config", {"rope_parameters": {"rope_type": "yarn", "rope_theta": 1e4}}, "rope_type is 'yarn'"),
        ("text_config", {"rope_parameters": None, "rope_scaling": {"type": "linear"}}, "rope_type is 'linear'"),
        ("vision_config", {"use_qk_norm": True}, "use_qk_norm is True"),
        ("vision_config", {"layer_norm_eps": 1e-5}, "layer_norm_eps is 1e-05"),
        ("vq_config", {"double_latent": True}, "double_latent is True"),
    ],
)
def test_what_the_network_does_not_do_is_refused(folder: Path, part: str, change: dict[str, Any], named: str) -> None:
    edit_json(folder / "config.json", lambda config: config[part].update(change))
    with pytest.raises(WeightsError, match=rf"config\.json: {part}\.{named}, but Janus models that load here have"):
        diptych.load(folder)


def test_no_system_prompt_where_the_processor_has_none(folder: Path) -> None:
    edit_json(folder / "processor_config.json", lambda settings: settings.update(use_default_system_prompt=False))
    dialogue = diptych.load(folder, device="cpu").dialogue
    (piece,) = dialogue.render(Request.of("hello"))
    assert dialogue.tokenizer.decode(piece[0][1:], specials=True) == "<|User|>: hello\n\n<|Assistant|>:"

"""Muddit as it is published: names and shapes at real sizes, weights there and back, strings."""

from typing import Any

import pytest
import torch

from diptych.models.muddit import NEGATIVE, QUESTION, Muddit
from diptych.models.network import Ids
from diptych.models.registry import read_config
from diptych.types import Request
from diptych.weights.files import Checkpoint
from tests.parity.sets import GoldenSet
from tests.parity.test_muddit import SETS, dialogue, network

Shapes = dict[str, tuple[int, ...]]
EVERY_SET = pytest.mark.parametrize("golden", SETS, ids=lambda golden: golden.name)


def count(shapes: Shapes, stem: str) -> int:
    return len({name.removeprefix(stem).split(".")[0] for name in shapes if name.startswith(stem)})


def transformer(shapes: Shapes) -> dict[str, Any]:
    """The config that fits these shapes, as are the two below."""
    vocab, width = shapes["embed.embeddings.weight"]
    (head,) = shapes["transformer_blocks.0.attn.norm_q.weight"]
    return {
        "num_attention_heads": width // head,
        "attention_head_dim": head,
        "num_layers": count(shapes, "transformer_blocks."),
        "num_single_layers": count(shapes, "single_transformer_blocks."),
        "axes_dims_rope": [head // 8, head * 7 // 16, head * 7 // 16],
        "vocab_size": vocab,
        "codebook_size": shapes["mlm_layer.conv2.weight"][0],
        "tokenizer_vocab_size": shapes["text_decoder.1.weight"][0],
        "pooled_projection_dim": shapes["text_projection.weight"][0],
        "downsample": "down_block.downsample.conv.weight" in shapes,
        "upsample": "up_block.upsample.conv.weight" in shapes,
    }


def vqvae(shapes: Shapes) -> dict[str, Any]:
    codes, latent = shapes["quantize.embedding.weight"]
    levels = range(count(shapes, "encoder.down_blocks."))
    return {
        "block_out_channels": [shapes[f"encoder.down_blocks.{i}.resnets.0.conv1.weight"][0] for i in levels],
        "layers_per_block": count(shapes, "encoder.down_blocks.0.resnets."),
        "latent_channels": latent,
        "in_channels": 3,
        "num_vq_embeddings": codes,
        "mid_block_add_attention": False,
    }


def text_encoder(shapes: Shapes) -> dict[str, Any]:
    vocab, width = shapes["text_model.embeddings.token_embedding.weight"]
    return {
        "vocab_size": vocab,
        "hidden_size": width,
        "max_position_embeddings": shapes["text_model.embeddings.position_embedding.weight"][0],
        "intermediate_size": shapes["text_model.encoder.layers.0.mlp.fc1.weight"][0],
        "num_hidden_layers": count(shapes, "text_model.encoder.layers."),
        "num_attention_heads": 16,
        "projection_dim": shapes["text_projection.weight"][0],
        "hidden_act": "gelu",
        "eos_token_id": 2,
    }


@EVERY_SET
def test_every_tensor_is_known(golden: GoldenSet) -> None:
    """All three parts at their real sizes; the mask token is published beside them, as a bare tensor."""
    parts = [{name: tuple(shape) for name, shape in keys} for keys in golden.full_keys.values()]
    shapes = {name: shape for part in parts for name, shape in part.items()}
    assert len(shapes) == sum(map(len, parts))
    shapes["mask_token_embedding"] = shapes["text_model.embeddings.token_embedding.weight"][1:]
    config = {part.__name__: part(shapes) for part in (transformer, vqvae, text_encoder)}
    with torch.device("meta"):
        ours = Muddit.build(config).state_dict()
    claims = Muddit.layout(config).check(shapes, {name: tensor.shape for name, tensor in ours.items()})
    assert len(claims) == len(shapes) and all(claim.rule for claim in claims)


@EVERY_SET
def test_weights_are_written_back(golden: GoldenSet) -> None:
    """From official names to ours and back, bit for bit."""
    theirs = Checkpoint([file for pattern in Muddit.weights for file in sorted(golden.folder.glob(pattern))])
    written = Muddit.layout(read_config(golden.folder)).write(network(golden).state_dict(), theirs)
    assert written.keys() == set(theirs)
    assert all(torch.equal(written[name], theirs[name]) for name in theirs)


@EVERY_SET
def test_prompts(golden: GoldenSet) -> None:
    """The published strings, and how a prompt and a question are spelt in ids."""
    strings, talk = golden.prompts, dialogue(golden)
    assert strings["negative_prompt (script default)"] == NEGATIVE
    assert strings["captioning (script default question)"] == QUESTION
    bos, eos = talk.tokenizer.bos, talk.tokenizer.eos
    for name in ("text_to_image", "understanding_question", "negative_prompt (pipeline default)"):
        words = talk.tokenizer.encode(strings[name], frame=False)[: talk.length - 2]
        assert talk.prompt(strings[name]) == [bos, *words, *[eos] * (talk.length - 1 - len(words))]
    (piece,) = talk.render(Request.of("a cat", "image"), branch="no_text")
    assert isinstance(piece, Ids) and piece.ids == talk.prompt(NEGATIVE)
    question = strings["understanding_question"]
    value, known = talk.given(Request.of(question))
    assert value[known].tolist() == [bos, *talk.tokenizer.encode(question, frame=False)]
    assert talk.network.mask_word == talk.tokenizer.tokenizer.get_vocab_size()

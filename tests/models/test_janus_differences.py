"""Where transformers departs from the official code of Janus, and the numbers here are the official ones.

Seen in transformers 5.24.0. Each test shows the golden number met here and missed there, and beside it that everything
else agrees, so that the difference is what it is said to be. A newer transformers that fails one of these has been put
right; its test may then go.
"""

from functools import cache
from typing import Any

import pytest
import torch
import torch.nn.functional as F
import transformers
from PIL import Image as Pillow
from torch import Tensor, nn

import diptych
from diptych.models.janus_converted import JanusConverted
from diptych.models.model import Model
from diptych.weights.layout import Layout
from tests.models.folders import GOLDEN
from tests.models.their_janus import their_config
from tests.parity.sets import close

CONFIG = GOLDEN.config
VISION, VQ = (CONFIG[f"{part}_config"] for part in ("vision", "gen_vision"))


@cache
def ours() -> Model:
    return diptych.load(GOLDEN.folder, device="cpu", dtype="float32")


def config(**stated: Any) -> Any:
    """The golden sizes. The image head has no width of its own in JanusConfig; `theirs` sees to it."""
    placeholder = next(t["id"] for t in GOLDEN.json("tokenizer.json")["added_tokens"] if "image_pl" in t["content"])
    return their_config(CONFIG, tokens=16, image_token_id=placeholder, **stated)


def theirs(stated: Any) -> Any:
    """transformers' model with the golden weights, the image head of a width of its own put in by hand."""
    network = transformers.JanusForConditionalGeneration(stated)
    head, (inner, width) = network.model.generation_head, ours().network.draw.out[0].weight.shape
    head.proj_out, head.vision_head = nn.Linear(width, inner), nn.Linear(inner, VQ["params"]["image_token_size"])
    layout: Layout = JanusConverted.layout(stated.to_dict())
    network.load_state_dict(layout.write(ours().network.state_dict(), network.state_dict()))
    return network.eval()


@cache
def untied() -> Any:
    return theirs(config(tie_word_embeddings=False))


def understood(network: Any) -> Tensor:
    case = GOLDEN.cases["und_single"].inputs
    return network(input_ids=case["input_ids"], pixel_values=case["pixel_values"].flatten(0, 1)).logits


@torch.inference_mode()
def test_codes_of_pictures_without_normalisation() -> None:
    """transformers 5.24.0 compares raw features with the raw codebook; the official code compares directions.

    The same features with both sides normalised give the official codes, so that is all there is to it. The way back,
    from codes to pixels, does normalise and agrees.
    """
    case, vq = GOLDEN.cases["vq_encode"], untied().model.vqmodel
    pixels, codes = case.inputs["pixels"], case.outputs["codes"].flatten()
    assert torch.equal(ours().network.encode(pixels).flatten(), codes)
    found = vq.encode(pixels).image_tokens
    assert found.shape == codes.shape
    assert (found != codes).float().mean() > 0.2
    features = vq.quant_conv(vq.encoder(pixels)).movedim(1, -1).flatten(0, -2)
    directions = F.normalize(features, dim=-1) @ F.normalize(vq.quantize.embedding.weight, dim=-1).T
    assert torch.equal(directions.argmax(-1), codes)


@torch.inference_mode()
def test_pixels_of_codes_agree() -> None:
    case, vq = GOLDEN.cases["vq_decode"], untied().model.vqmodel
    codes = case.inputs["codes"]
    vq.quantize.quant_state_dims = codes.shape[1:]  # its grid is made for the vision encoder's patches
    close(vq.decode(codes.flatten(1)), case.outputs["pixels"], name="transformers")
    close(ours().network.decode(codes.flatten(1), codes.shape[1:]), case.outputs["pixels"], name="ours")


@torch.inference_mode()
def test_a_config_silent_about_the_head_ties_it() -> None:
    """transformers 5.24.0 defaults to `tie_word_embeddings=True`; every published Janus has a head of its own.

    A model built from a config that does not speak of it, as transformers 4 wrote them, has one tensor for both, and
    filled with official weights it answers with the wrong one. Told otherwise it gives the official logits.
    """
    golden = GOLDEN.cases["und_single"].outputs["logits"]
    close(understood(untied()), golden, name="transformers, told")
    silent = theirs(config())
    assert silent.lm_head.weight is silent.model.language_model.embed_tokens.weight
    with pytest.raises(AssertionError, match="logits: largest difference"):
        close(understood(silent), golden, name="logits")
    backbone = ours().network.backbone
    assert not backbone.config.tied and not torch.equal(backbone.head.weight, backbone.embed.weight)


def test_silent_configs_follow_the_tensors_here() -> None:
    silent = {name: value for name, value in config().to_dict().items() if name != "tie_word_embeddings"}
    shapes = {"lm_head.weight": (1, 1)}
    assert JanusConverted.completed(silent, shapes)["tie_word_embeddings"] is False
    assert JanusConverted.completed(silent, {})["tie_word_embeddings"] is True
    assert JanusConverted.completed(silent | {"tie_word_embeddings": False}, {})["tie_word_embeddings"] is False


def prepared(name: str) -> tuple[Tensor, Tensor, Tensor]:
    """Pixels as transformers, as this library, as the official code prepares them."""
    case = GOLDEN.cases[name]
    image = Pillow.fromarray(case.inputs["image"].numpy())
    kind = getattr(transformers, "JanusImageProcessorPil", None) or transformers.JanusImageProcessor
    half, side = [0.5] * 3, VISION["params"]["image_size"]
    processor = kind(image_mean=half, image_std=half, size={"height": side, "width": side}, min_size=14)
    pixels = torch.as_tensor(processor(images=image, return_tensors="pt")["pixel_values"][0])
    return pixels, ours().dialogue.preprocess(image), case.outputs["pixel_values"]  # type: ignore[attr-defined]


def test_sizes_of_pictures_are_rounded() -> None:
    """transformers 5.24.0 rounds the shorter side, the official code cuts it: 37 x 50 becomes 24 x 32, not 23 x 32."""
    theirs_, ours_, golden = prepared("preprocess1")
    close(ours_, golden, name="ours")
    assert rows_of_picture(golden) == 23 and rows_of_picture(theirs_) == 24
    with pytest.raises(AssertionError, match="pixels: largest difference"):
        close(theirs_, golden, name="pixels")


@pytest.mark.parametrize("name", ["preprocess0", "preprocess3"])
def test_other_pictures_agree(name: str) -> None:
    """A square, and a strip at the least height: nothing to round."""
    theirs_, ours_, golden = prepared(name)
    close(ours_, golden, name="ours")
    close(theirs_, golden, name="transformers")


def rows_of_picture(pixels: Tensor) -> int:
    """Rows that are not all of the margin's colour."""
    margin = pixels[:, :1, :1]
    return int((pixels != margin).any(0).any(-1).sum())

"""CLIP's vision tower from its published files."""

import pytest
import torch
from PIL import Image as Pillow

from diptych.encoders.clip_vision import clip_preprocess, clip_vision
from diptych.encoders.preprocess import Crop
from diptych.encoders.vit import ViT
from diptych.errors import WeightsError
from diptych.models import layouts

# What openai/clip-vit-large-patch14-336 states under vision_config, beside transformers' own defaults.
LARGE = {
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "image_size": 336,
    "patch_size": 14,
}


def test_a_whole_clips_config_and_its_towers_are_one() -> None:
    config = clip_vision({"text_config": {}, "vision_config": LARGE})
    assert config == clip_vision(LARGE)
    assert (config.grid**2, config.blocks_run, config.activation, config.eps) == (576, 23, "quick-gelu", 1e-5)


def test_an_unknown_activation() -> None:
    with pytest.raises(WeightsError, match="'swish' is unknown; known: quick_gelu"):
        clip_vision(LARGE | {"hidden_act": "swish"})


def test_the_text_tower_is_knowingly_left() -> None:
    small = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2}
    with torch.device("meta"):
        encoder = ViT(clip_vision(small | {"image_size": 4, "patch_size": 2}))
    ours = {name: tensor.shape for name, tensor in encoder.state_dict().items()}
    names = layouts.CLIP_VISION.published(ours)
    shapes = {claim.theirs: list(ours[claim.ours[0]]) for claim in layouts.CLIP_VISION.claims(names)}
    shapes["vision_model.embeddings.class_embedding"] = [8]
    shapes["vision_model.embeddings.position_embedding.weight"] = [5, 8]
    rest = {"text_model.final_layer_norm.weight": [8], "logit_scale": [], "text_projection.weight": [4, 8]}
    dropped = {"vision_model.embeddings.position_ids": [1, 5], "vision_model.post_layernorm.bias": [8]}
    layouts.CLIP_VISION.check(shapes | rest | dropped, ours)


@pytest.mark.parametrize("size", [336, {"shortest_edge": 336}, {"height": 336, "width": 336}])
def test_sizes_as_versions_of_transformers_write_them(size: object) -> None:
    prepare = clip_preprocess({"size": size, "crop_size": size})
    assert prepare(Pillow.new("RGB", (400, 350))).shape == (3, 336, 336)


def test_a_square_of_another_size_than_the_shorter_side() -> None:
    with pytest.raises(WeightsError, match="size 256 and crop_size 224 differ"):
        clip_preprocess({"size": 256, "crop_size": 224})


def test_an_odd_margin_is_cut_down_by_transformers_and_rounded_by_torchvision() -> None:
    picture = Pillow.new("RGB", (7, 4))  # three pixels too many: 1.5 on each side
    picture.putpixel((1, 0), (255, 0, 0))
    left = [Crop(4, Pillow.Resampling.NEAREST, rounds=rounds)(picture).getpixel((0, 0)) for rounds in (True, False)]
    assert left == [(0, 0, 0), (255, 0, 0)]

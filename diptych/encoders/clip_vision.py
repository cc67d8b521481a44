"""CLIP's vision tower (arXiv 2103.00020) as LLaVA and many unified models read with it, from its published files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from PIL import Image as Pillow

from diptych.encoders.preprocess import CLIP_MEAN, CLIP_STD, Crop, Preprocess
from diptych.encoders.vit import Activation, ViTConfig
from diptych.errors import WeightsError

# What transformers' CLIPVisionConfig takes a key for that config.json leaves out.
DEFAULTS = {
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "image_size": 224,
    "patch_size": 32,
    "hidden_act": "quick_gelu",
    "layer_norm_eps": 1e-5,
}
ACTIVATIONS: dict[str, Activation] = {
    "quick_gelu": "quick-gelu",
    "gelu": "gelu",
    "gelu_new": "gelu-tanh",
    "gelu_pytorch_tanh": "gelu-tanh",
}


def clip_vision(config: Mapping[str, Any], select: int = -2) -> ViTConfig:
    """From a CLIP's config.json or its vision tower's. `select`: the hidden state that is read, without the class
    token and before the last norm; LLaVA takes the last but one."""
    c = DEFAULTS | dict(config.get("vision_config", config))
    if c["hidden_act"] not in ACTIVATIONS:
        raise WeightsError(f"CLIP's activation {c['hidden_act']!r} is unknown; known: {', '.join(ACTIVATIONS)}")
    return ViTConfig(
        image_size=c["image_size"],
        patch=c["patch_size"],
        width=c["hidden_size"],
        depth=c["num_hidden_layers"],
        heads=c["num_attention_heads"],
        hidden=c["intermediate_size"],
        activation=ACTIVATIONS[c["hidden_act"]],
        eps=c["layer_norm_eps"],
        class_token=True,
        norm_in=True,
        norm_out=False,
        patch_bias=False,
        select=select,
    )


def clip_preprocess(settings: Mapping[str, Any]) -> Preprocess:
    """From preprocessor_config.json: the shorter side to `size`, the middle square, mean and deviation.

    Raises WeightsError where the square is not as large as the shorter side, which no published CLIP has.
    """
    size, cut = _side(settings.get("size", 224)), _side(settings.get("crop_size", 224))
    if size != cut:
        raise WeightsError(f"preprocessor_config.json: size {size} and crop_size {cut} differ; state one for both")
    resample = Pillow.Resampling(settings.get("resample", Pillow.Resampling.BICUBIC))
    mean, std = settings.get("image_mean", CLIP_MEAN), settings.get("image_std", CLIP_STD)
    return Preprocess((Crop(size, resample, rounds=False),), tuple(mean), tuple(std))


def _side(size: Any) -> int:
    """A number, or a table by `shortest_edge` or `height`, as versions of transformers have written it."""
    return int(size.get("shortest_edge") or size["height"]) if isinstance(size, Mapping) else int(size)

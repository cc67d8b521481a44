"""Image tokenizers by the `type` that a config states under `vq_model`, as Show-o's and MMaDA's training configs do.

`{"type": ..., "vq_model_name": ...}` names a tokenizer that is published apart, and so a companion of the model;
`{"type": ..., "params": {...}}` one whose sizes stand in the model's own config and whose tensors stand in its own
files, as `vq_model.<published name>`. A config that states nothing is one of showlab/magvitv2.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any, NamedTuple

from diptych.errors import WeightsError
from diptych.models import layouts
from diptych.models.companions import Companion
from diptych.tokenizers.codes import VisualTokenizer, vq_tokenizer
from diptych.tokenizers.conv import ConvConfig, compvis
from diptych.tokenizers.lookup_free import magvitv2, magvitv2_levels
from diptych.weights.layout import Layout

INSIDE = "vq_model"
PUBLISHED = {"type": "magvitv2", "vq_model_name": "showlab/magvitv2"}
VQ16 = {"ch": 128, "ch_mult": [1, 1, 2, 2, 4], "num_res_blocks": 2, "z_channels": 256, "num_groups": 32}


class Kind(NamedTuple):
    """From the tokenizer's own config: the module, and the published names of its tensors."""

    build: Callable[[dict[str, Any]], VisualTokenizer]
    layout: Callable[[dict[str, Any]], Layout]


def vq16(params: Mapping[str, Any]) -> VisualTokenizer:
    """VQ-16 of LlamaGen from a config in Janus' terms, `gen_vision_config.params`; what it leaves out is published.

    `decoder_ch_mult`, where the decoder has other multipliers; `codebook_l2_norm`: whether entries are of unit length.
    """
    p = {**VQ16, **params}

    def halves(multipliers: Sequence[int]) -> tuple[ConvConfig, ConvConfig]:
        numbers = p["ch"], tuple(multipliers), p["num_res_blocks"], p["z_channels"]
        return compvis(*numbers, attention=(len(multipliers) - 1,), groups=p["num_groups"])

    encoder, _ = halves(p["ch_mult"])
    _, decoder = halves(p.get("decoder_ch_mult", p["ch_mult"]))
    normalise = p.get("codebook_l2_norm", True)
    return vq_tokenizer(encoder, decoder, p["image_token_size"], p["n_embed"], normalise=normalise)


KINDS = {
    "magvitv2": Kind(magvitv2, lambda config: layouts.magvitv2(magvitv2_levels(config))),
    "VQ-16": Kind(vq16, lambda config: layouts.LLAMAGEN_VQ),
}


def companion(config: Mapping[str, Any]) -> Companion:
    """The tokenizer as what the model needs beside its own. Raises WeightsError for a type that is unknown here, and
    where it is said neither what it is called nor how large it is."""
    stated = _stated(config)
    if "params" in stated:
        return Companion(INSIDE, INSIDE, weights=False, published=stated["params"])
    if not isinstance(name := stated.get("vq_model_name"), str) or not PurePosixPath(name).name.strip("."):
        raise WeightsError(f"vq_model in config.json needs vq_model_name or, for type {stated['type']!r}, params")
    return Companion(PurePosixPath(name).name, name)


def build(config: Mapping[str, Any]) -> VisualTokenizer:
    """The tokenizer of a config whose companions have been found."""
    return _kind(config).build(_own(config))


def layout(config: Mapping[str, Any], ours: str) -> Layout:
    """Its published names in the model's layout -> its parameters under the prefix `ours`."""
    found = companion(config)
    return _kind(config).layout(_own(config)).under(found.name + ("/" if found.weights else "."), ours)


def _stated(config: Mapping[str, Any]) -> dict[str, Any]:
    stated = config.get("vq_model", PUBLISHED)
    if not isinstance(stated, dict) or stated.get("type") not in KINDS:
        raise WeightsError(f"vq_model in config.json must state a type of {', '.join(KINDS)}, not {stated!r}")
    return stated


def _kind(config: Mapping[str, Any]) -> Kind:
    return KINDS[_stated(config)["type"]]


def _own(config: Mapping[str, Any]) -> dict[str, Any]:
    return config["companions"][companion(config).name].config

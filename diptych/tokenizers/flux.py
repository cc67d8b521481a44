"""The KL autoencoder of FLUX (black-forest-labs/flux, src/flux/modules/autoencoder.py), from the terms of its code."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from diptych.tokenizers.conv import compvis
from diptych.tokenizers.latents import LatentTokenizer, kl_tokenizer

PUBLISHED = {
    "ch": 128,
    "ch_mult": [1, 2, 4, 4],
    "num_res_blocks": 2,
    "z_channels": 16,
    "num_groups": 32,
    "scale_factor": 0.3611,
    "shift_factor": 0.1159,
}


def flux_tokenizer(config: Mapping[str, Any]) -> LatentTokenizer:
    """config: what differs from the published autoencoder. Its encoder gives mean and log variance, with no 1x1
    convolution behind it, nor one before the decoder. `num_groups` of the norms is ours: by the published 32,
    each channel of a narrow one would be a group of its own, and lose its mean."""
    c = PUBLISHED | dict(config)
    sizes = c["ch"], tuple(c["ch_mult"]), c["num_res_blocks"], c["z_channels"]
    halves = compvis(*sizes, double=True, groups=c["num_groups"])
    return kl_tokenizer(*halves, scale=c["scale_factor"], shift=c["shift_factor"], pointwise_convs=False)

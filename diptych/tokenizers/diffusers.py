"""Image tokenizers as diffusers' configs describe them."""

from __future__ import annotations

from typing import Any

from diptych.tokenizers.codes import VisualTokenizer, vq_tokenizer
from diptych.tokenizers.conv import ConvConfig, Level
from diptych.tokenizers.latents import LatentTokenizer, kl_tokenizer


def halves(config: dict[str, Any], double: bool = False) -> tuple[ConvConfig, ConvConfig]:
    """Encoder and decoder of a diffusers autoencoder without attention in its levels."""
    widths, blocks = config["block_out_channels"], config["layers_per_block"]

    def half(count: int, double: bool = False) -> ConvConfig:
        return ConvConfig(
            levels=tuple(Level(width, count) for width in widths),
            stem=widths[0],
            latent=config["latent_channels"],
            pixels=config["in_channels"],
            double=double,
            middle_attention=config.get("mid_block_add_attention", True),
            groups=config.get("norm_num_groups", 32),
        )

    return half(blocks, double), half(blocks + 1)


def vqmodel(config: dict[str, Any]) -> VisualTokenizer:
    """diffusers' VQModel: the nearest entry of a codebook that is not normalised. Its pixels are whatever range it was
    trained on; here nothing is shifted."""
    width = config.get("vq_embed_dim") or config["latent_channels"]
    return vq_tokenizer(*halves(config), config["num_vq_embeddings"], width, normalise=False)


def autoencoder_kl(config: dict[str, Any]) -> LatentTokenizer:
    """diffusers' AutoencoderKL: SD, SDXL, SD3, FLUX. Latents are (z - shift_factor) * scaling_factor."""
    return kl_tokenizer(
        *halves(config, double=True),
        scale=config["scaling_factor"],
        shift=config.get("shift_factor") or 0.0,
        pointwise_convs=config.get("use_quant_conv", True),
        upcast=config.get("force_upcast", True),
    )

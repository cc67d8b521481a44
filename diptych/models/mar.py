"""MAR's parts (LTH14/mar), which Harmon took over: their sizes, from a config, and their published tensor names."""

from __future__ import annotations

from typing import Any

from diptych.encoders.masked_autoencoder import AutoencoderConfig
from diptych.encoders.vit import ViTConfig
from diptych.models import layouts
from diptych.tokenizers.conv import compvis
from diptych.tokenizers.latents import LatentTokenizer, kl_tokenizer
from diptych.weights.layout import DROP, Layout

# Sizes that the official code looks up by name or has written down; a config may state its own beside the name.
SIZES = ("embed_dim", "depth", "num_heads")  # of encoder and decoder
MAR = {"mar_base": (768, 12, 12), "mar_large": (1024, 16, 16), "mar_huge": (1280, 20, 16)}
DEFAULTS = {  # of the official class
    "img_size": 256,
    "vae_stride": 16,
    "patch_size": 1,
    "vae_embed_dim": 16,
    "mask_ratio_min": 0.7,
    "buffer_size": 64,
    "diffloss_d": 3,
    "diffloss_w": 1024,
    "num_sampling_steps": "100",
    "diffusion_batch_mul": 4,
    "mlp_ratio": 4,
}
KL16 = {"embed_dim": 16, "ch": 128, "ch_mult": [1, 1, 2, 2, 4], "num_groups": 32}
KL16_SIDE, KL16_ATTENTION = 256, 16  # pixels it was made for, places of the levels with attention
SCALE = 0.2325

AUTOENCODER_NAMES = (  # models/mar.py: encoders/masked_autoencoder.py
    Layout(
        {
            "class_emb.weight": DROP,  # of labels, of which Harmon has none
            "fake_latent": "buffer",
            "mask_token": "unknown",
            "z_proj.*": "latent.*",
            "z_proj_ln.*": "latent_norm.*",
            "encoder_pos_embed_learned": "encoder_position",
            "decoder_pos_embed_learned": "decoder_position",
            "diffusion_pos_embed_learned": "out_position",
            "encoder_norm.*": "encoder_norm.*",
            "decoder_embed.*": "bridge.*",
            "decoder_norm.*": "decoder_norm.*",
        }
    )
    | layouts.TIMM_VIT.only("blocks.").under("encoder_", "encoder_")
    | layouts.TIMM_VIT.only("blocks.").under("decoder_", "decoder_")
)

DIFFUSION_HEAD_NAMES = Layout(  # models/diffloss.py, its network: objectives/diffusion_head.py
    {
        "input_proj.*": "into.*",
        "time_embed.mlp.#.*": "time.#.*",
        "cond_embed.*": "condition.*",
        "res_blocks.#.in_ln.*": "blocks.#.norm.*",
        "res_blocks.#.mlp.#.*": "blocks.#.mlp.#.*",
        "res_blocks.#.adaLN_modulation.1.*": "blocks.#.modulation.*",
        "final_layer.adaLN_modulation.1.*": "modulation.*",
        "final_layer.linear.*": "out.*",
    }
)


def kl16_names(levels: int) -> Layout:
    """models/vae.py: tokenizers/latents.py."""
    return layouts.compvis(levels) | Layout({f"{name}.*": f"{name}.*" for name in ("quant_conv", "post_quant_conv")})


def autoencoder(config: dict[str, Any]) -> AutoencoderConfig:
    """From the arguments of the official class, those it looks up by `type` among them."""
    side = config["img_size"] // config["vae_stride"] // config["patch_size"]

    def vit(part: str) -> ViTConfig:
        named = dict(zip(SIZES, MAR.get(config.get("type", ""), ()), strict=False))
        width, depth, heads = (config.get(f"{part}_{name}") or named[name] for name in SIZES)
        return ViTConfig(
            image_size=side, patch=1, width=width, depth=depth, heads=heads, hidden=int(width * config["mlp_ratio"])
        )

    return AutoencoderConfig(
        channels=config["vae_embed_dim"] * config["patch_size"] ** 2,
        side=side,
        buffer=config["buffer_size"],
        encoder=vit("encoder"),
        decoder=vit("decoder"),
    )


def kl16(config: dict[str, Any]) -> LatentTokenizer:
    """MAR's autoencoder: attention in one level of the encoder and in both middles."""
    levels = range(len(config["ch_mult"]))
    attention = tuple(i for i in levels if KL16_SIDE >> i == KL16_ATTENTION)
    halves = compvis(
        config["ch"], tuple(config["ch_mult"]), 2, config["embed_dim"], attention=attention, decoder_attention=(),
        double=True, groups=config["num_groups"],
    )  # fmt: skip
    return kl_tokenizer(*halves, scale=SCALE)

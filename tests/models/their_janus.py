"""Janus' official config in transformers' terms, for tests and benchmarks that hold the two beside each other."""

from typing import Any

import transformers

GROUPS = 32  # of transformers' VQ model, whatever its width
UNSPOKEN = ("model_type", "torch_dtype", "tie_word_embeddings")  # of language_config; said elsewhere, or not at all


def their_config(official: dict[str, Any], tokens: int, text: dict[str, int] | None = None, **stated: Any) -> Any:
    """The sizes of an official config.json as a JanusConfig.

    tokens: of a picture; text: more settings of the language model; stated: of the whole. The image head has no width
    of its own there, a vision encoder no convolutional stem, and a VQ model at least as many channels as groups.
    """
    language = {name: value for name, value in official["language_config"].items() if name not in UNSPOKEN}
    vision, vq, head, aligner = (
        official[f"{part}_config"]["params"] for part in ("vision", "gen_vision", "gen_head", "aligner")
    )
    return transformers.JanusConfig(
        text_config=transformers.LlamaConfig(**language, **(text or {})),
        vision_config=transformers.JanusVisionConfig(
            hidden_size=vision["width"],
            num_hidden_layers=vision["layers"],
            num_attention_heads=vision["heads"],
            image_size=vision["image_size"],
            patch_size=vision["patch_size"],
            mlp_ratio=vision["mlp_ratio"],
            projection_dim=aligner["n_embed"],
            num_image_tokens=tokens,
        ),
        vq_config=transformers.JanusVQVAEConfig(
            embed_dim=vq["n_embed"],
            num_embeddings=head["image_token_size"],
            latent_channels=vq["z_channels"],
            base_channels=max(GROUPS, vq["ch"]),
            channel_multiplier=vq["ch_mult"],
            num_res_blocks=vq["num_res_blocks"],
            projection_dim=aligner["n_embed"],
            image_token_embed_dim=head["n_embed"],
        ),
        **stated,
    )

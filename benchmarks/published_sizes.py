"""The published sizes of the families that `benchmarks.published` times, and where each number stands.

Configs are in the official layout, shortened to what the family reads. Sizes are those of the published checkpoints'
tensors, as listed for the tests in `tests/parity`, which hold them against ours name by name. Numbers of visits are not
here: they are the families' own defaults. Transfusion is missing: nobody has published weights or a config of it.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from benchmarks.tokenizers import AMUSED, SDXL
from diptych.models.bagel import MARKS
from diptych.models.show_o2 import VAE
from diptych.tokenizers.wan import PUBLISHED as WAN

Path = tuple[str, ...]


class Published(NamedTuple):
    """stacks: where the config says how deep the language model is, which is what is extrapolated; all else stands at
    its full depth. shapes: published tensors whose shapes complete the config. companions, in the config, are bare
    configs. marks: special tokens that the dialogue asks its tokenizer for. files: what else it reads in its folder.
    answer: tokens of an answer by the official default (source); small: (height, width) for a quick look, where the
    family draws in other sizes."""

    title: str
    kind: str
    checkpoint: str
    config: dict[str, Any]
    stacks: tuple[Path, ...]
    answer: int
    source: str
    shapes: dict[str, list[int]] = {}
    marks: tuple[str, ...] = ()
    files: dict[str, dict[str, Any]] = {}
    small: tuple[int, int] | None = None


QWEN_1_5B = {  # Qwen2.5-1.5B-Instruct
    "hidden_size": 1536,
    "intermediate_size": 8960,
    "num_hidden_layers": 28,
    "num_attention_heads": 12,
    "num_key_value_heads": 2,
    "vocab_size": 151936,
    "rope_theta": 1e6,
    "rms_norm_eps": 1e-6,
    "tie_word_embeddings": True,
}
SHOW_O = {
    "llm_vocab_size": 50295,
    "vocab_size": 58498,
    "codebook_size": 8192,
    "num_vq_tokens": 256,
    "companions": {
        "phi-1_5": {
            "hidden_size": 2048,
            "intermediate_size": 8192,
            "num_hidden_layers": 24,
            "num_attention_heads": 32,
        },
        "magvitv2": {},  # sizes are the class's own
    },
}
MMADA = {
    "d_model": 4096,
    "n_layers": 32,
    "n_heads": 32,
    "mlp_hidden_size": 12288,
    "vocab_size": 134656,
    "rope_theta": 5e5,
    "rms_norm_eps": 1e-5,
    "weight_tying": False,
    "codebook_size": 8192,
    "num_vq_tokens": 1024,
    "mask_token_id": 126336,
    "companions": {"magvitv2": {}},
}
UNIDISC = {
    "config": {
        "model": {"hidden_size": 2048, "n_blocks": 24, "n_heads": 16, "downscale_ratio": 16, "linear_factor": 2},
        "trainer": {"interleaved": True},
        "sampling": {"predictor": "maskgit"},
        "eval": {},
        "data": {"resolution": 256, "block_size": 128},  # the latter without effect where texts are interleaved
    },
    "vocab_size": 48385,
    "mask_index": 32000,
    "companions": {
        "vq": {
            "codebook_size": 16384,
            "codebook_embed_dim": 8,
            "z_channels": 256,
            "codebook_l2_norm": True,
            "encoder_ch_mult": [1, 1, 2, 2, 4],
            "decoder_ch_mult": [1, 1, 2, 2, 4],
        }
    },
}
MUDDIT = {
    "transformer": {
        "num_attention_heads": 8,
        "attention_head_dim": 128,
        "num_layers": 14,
        "num_single_layers": 28,
        "axes_dims_rope": [16, 56, 56],
        "vocab_size": 8256,
        "codebook_size": 8192,
        "tokenizer_vocab_size": 49408,
        "pooled_projection_dim": 1024,
        "downsample": True,
        "upsample": True,
    },
    "text_encoder": {  # CLIP ViT-H's
        "vocab_size": 49408,
        "hidden_size": 1024,
        "intermediate_size": 4096,
        "num_hidden_layers": 24,
        "num_attention_heads": 16,
        "max_position_embeddings": 77,
        "projection_dim": 1024,
        "hidden_act": "gelu",
        "eos_token_id": 2,
    },
    "vqvae": AMUSED,
}
JANUSFLOW = {
    "language_config": {
        "hidden_size": 2048,
        "intermediate_size": 5632,
        "num_hidden_layers": 24,
        "num_attention_heads": 16,
        "num_key_value_heads": 16,
        "vocab_size": 102400,
    },
    "vision_und_enc_config": {"params": {"image_size": 384, "select_layer": -1}},
    "vision_gen_enc_config": {"params": {"input_channels": 4, "stride": 2, "kernel_size": 2}},
    "vision_gen_dec_config": {"params": {"out_channels": 4, "upsamples": 1}},
    "companions": {"sdxl-vae": SDXL},
}
JANUSFLOW_FILES = {
    "preprocessor_config.json": {"image_size": 384, "image_mean": [0.5] * 3, "image_std": [0.5] * 3, "min_size": 14},
    "processor_config.json": {},
    "tokenizer_config.json": {"bos_token": "<｜begin▁of▁sentence｜>"},
}
DEEPSEEK = ("begin▁of▁sentence", "end▁of▁sentence", "▁pad▁")
BAGEL = {
    "llm_config": QWEN_1_5B
    | {
        "hidden_size": 3584,
        "intermediate_size": 18944,
        "num_attention_heads": 28,
        "num_key_value_heads": 4,
        "vocab_size": 152064,
    },
    "vit_config": {
        "hidden_size": 1152,
        "intermediate_size": 4304,
        "num_hidden_layers": 27,
        "num_attention_heads": 16,
        "image_size": 980,
        "patch_size": 14,
    },
}
SHOW_O2 = {
    "hidden_size": 1536,
    "image_latent_dim": 16,
    "image_latent_height": 27,
    "image_latent_width": 27,
    "patch_size": 2,
    "clip_latent_dim": 1152,
    "num_diffusion_layers": 10,
    "add_time_embeds": True,
    "add_qk_norm": True,
    "llm_model_path": "Qwen/Qwen2.5-1.5B-Instruct",
    "clip_pretrained_model_path": "google/siglip-so400m-patch14-384",
    "companions": {
        "Qwen2.5-1.5B-Instruct": QWEN_1_5B,
        "siglip-so400m-patch14-384": {
            "vision_config": {"num_hidden_layers": 27, "num_attention_heads": 16, "intermediate_size": 4304}
        },
        VAE.name: WAN,
    },
}
SHOW_O2_SHAPES = {
    "position_embedding.weight": [729, 1152],
    "encoder.conv1.weight": [],
    "showo.model.embed_tokens.weight": [151669, 1536],
    "showo.lm_head.weight": [151669, 1536],
}
HARMON = {
    "llm": QWEN_1_5B | {"eos_token_id": 151645},
    "mar": {"type": "mar_huge", "diffloss_d": 12, "diffloss_w": 1536},
}

FAMILIES = (
    Published(
        "Show-o, 256 pixels", "show_o", "showlab/show-o", SHOW_O, (("companions", "phi-1_5", "num_hidden_layers"),),
        100, "README.md, max_new_tokens", marks=("<|endoftext|>",),
    ),
    Published(
        "MMaDA-8B, 512 pixels", "mmada", "Gen-Verse/MMaDA-8B-Base", MMADA, (("n_layers",),), 512, "app.py",
    ),
    Published(
        "UniDisc 1.4B, 256 pixels", "unidisc", "aswerdlow/unidisc_interleaved", UNIDISC,
        (("config", "model", "n_blocks"),), 1024, "demo, max_tokens",
    ),
    Published(
        "Muddit 1B, 512 pixels", "muddit", "MeissonFlow/Muddit", MUDDIT,
        (("transformer", "num_layers"), ("transformer", "num_single_layers")), 77, "CLIP's length",
        shapes={"mask_token_embedding": [1, 1024]}, small=(256, 256),
    ),
    Published(
        "JanusFlow-1.3B, 384 pixels", "janusflow", "deepseek-ai/JanusFlow-1.3B", JANUSFLOW,
        (("language_config", "num_hidden_layers"),), 512, "demo/app_janusflow.py, max_new_tokens",
        marks=(*(f"<｜{name}｜>" for name in DEEPSEEK), "<begin_of_image>", "<end_of_image>"), files=JANUSFLOW_FILES,
    ),
    Published(
        "BAGEL-7B-MoT, 1024 pixels", "bagel", "ByteDance-Seed/BAGEL-7B-MoT", BAGEL,
        (("llm_config", "num_hidden_layers"),), 1000, "inferencer.py, max_think_token_n", marks=MARKS,
        shapes={"latent_pos_embed.pos_embed": [4096, 3584], "vit_pos_embed.pos_embed": [4900, 3584]}, small=(256, 256),
    ),
    Published(
        "Show-o2-1.5B, 432 pixels", "show_o2", "showlab/show-o2-1.5B", SHOW_O2,
        (("companions", "Qwen2.5-1.5B-Instruct", "num_hidden_layers"),), 300, "inference_mmu.py, max_new_tokens",
        shapes=SHOW_O2_SHAPES, marks=MARKS,
    ),
    Published(
        "Harmon-1.5B, 512 pixels", "harmon", "wusize/Harmon-1_5B", HARMON, (("llm", "num_hidden_layers"),),
        1024, "scripts/image2text.py, max_new_tokens", marks=MARKS[:2],
    ),
)  # fmt: skip

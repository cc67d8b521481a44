"""Published tensor names of parts that many families share, mapped to ours."""

from __future__ import annotations

from diptych.weights.layout import DROP, Layout, Rule, cut, unsqueezed

LLAMA = Layout(  # transformers' Llama, Qwen2, Qwen3: backbone/transformer.py
    {
        "model.embed_tokens.*": "embed.*",
        "model.layers.#.input_layernorm.*": "blocks.#.norm_attn.*",
        "model.layers.#.self_attn.q_proj.*": "blocks.#.q.*",
        "model.layers.#.self_attn.k_proj.*": "blocks.#.k.*",
        "model.layers.#.self_attn.v_proj.*": "blocks.#.v.*",
        "model.layers.#.self_attn.o_proj.*": "blocks.#.out.*",
        "model.layers.#.self_attn.q_norm.*": "blocks.#.norm_q.*",
        "model.layers.#.self_attn.k_norm.*": "blocks.#.norm_k.*",
        "model.layers.#.post_attention_layernorm.*": "blocks.#.norm_mlp.*",
        "model.layers.#.mlp.gate_proj.*": "blocks.#.gate.*",
        "model.layers.#.mlp.up_proj.*": "blocks.#.up.*",
        "model.layers.#.mlp.down_proj.*": "blocks.#.down.*",
        "model.norm.*": "norm.*",
        "lm_head.*": "head.*",
    }
)

PHI = Layout(  # transformers' Phi: one norm before attention and MLP, which stand side by side
    {
        "model.embed_tokens.*": "embed.*",
        "model.layers.#.input_layernorm.*": "blocks.#.norm_attn.*",
        "model.layers.#.self_attn.q_proj.*": "blocks.#.q.*",
        "model.layers.#.self_attn.k_proj.*": "blocks.#.k.*",
        "model.layers.#.self_attn.v_proj.*": "blocks.#.v.*",
        "model.layers.#.self_attn.dense.*": "blocks.#.out.*",
        "model.layers.#.self_attn.q_layernorm.*": "blocks.#.norm_q.*",
        "model.layers.#.self_attn.k_layernorm.*": "blocks.#.norm_k.*",
        "model.layers.#.mlp.fc1.*": "blocks.#.up.*",
        "model.layers.#.mlp.fc2.*": "blocks.#.down.*",
        "model.final_layernorm.*": "norm.*",
        "lm_head.*": "head.*",
    }
)

LLADA = Layout(  # LLaDA's llama blocks (OLMo's names), with an output head of its own: backbone/transformer.py
    {
        "wte.*": "embed.*",
        "blocks.#.attn_norm.*": "blocks.#.norm_attn.*",
        "blocks.#.q_proj.*": "blocks.#.q.*",
        "blocks.#.k_proj.*": "blocks.#.k.*",
        "blocks.#.v_proj.*": "blocks.#.v.*",
        "blocks.#.attn_out.*": "blocks.#.out.*",
        "blocks.#.ff_norm.*": "blocks.#.norm_mlp.*",
        "blocks.#.ff_proj.*": "blocks.#.gate.*",
        "blocks.#.up_proj.*": "blocks.#.up.*",
        "blocks.#.ff_out.*": "blocks.#.down.*",
        "ln_f.*": "norm.*",
        "ff_out.*": "head.*",
    }
)

SIGLIP = Layout(  # transformers' SigLIP: encoders/vit.py
    {
        "embeddings.patch_embedding.*": "patch.*",
        "embeddings.position_embedding.weight": unsqueezed("position"),
        "encoder.layers.#.layer_norm1.*": "blocks.#.norm1.*",
        "encoder.layers.#.self_attn.q_proj.*": "blocks.#.q.*",
        "encoder.layers.#.self_attn.k_proj.*": "blocks.#.k.*",
        "encoder.layers.#.self_attn.v_proj.*": "blocks.#.v.*",
        "encoder.layers.#.self_attn.out_proj.*": "blocks.#.out.*",
        "encoder.layers.#.layer_norm2.*": "blocks.#.norm2.*",
        "encoder.layers.#.mlp.fc1.*": "blocks.#.fc1.*",
        "encoder.layers.#.mlp.fc2.*": "blocks.#.fc2.*",
        "post_layernorm.*": "norm.*",
    }
)


def navit(patch: int, channels: int = 3) -> Layout:
    """SigLIP in BAGEL's checkpoints, where patches enter a linear layer, channel fastest: encoders/navit.py."""
    wide = Rule(
        ("patch.weight",),
        lambda t: [t.unflatten(1, (patch, patch, channels)).permute(0, 3, 1, 2)],
        lambda p: p[0].permute(0, 2, 3, 1).flatten(1),
    )
    others = {name: rule for name, rule in SIGLIP.rules.items() if name != "embeddings.patch_embedding.*"}
    return Layout(
        {**others, "embeddings.patch_embedding.weight": wide, "embeddings.patch_embedding.bias": "patch.bias"}
    )


CLIP_VISION = (  # transformers' CLIP or its vision tower, read before the last norm: encoders/clip_vision.py
    (
        SIGLIP.only("encoder.")
        | Layout(
            {
                "embeddings.class_embedding": Rule(("class_token",), lambda t: [t[None, None]], lambda p: p[0][0, 0]),
                "embeddings.patch_embedding.weight": "patch.weight",
                "embeddings.position_embedding.weight": unsqueezed("position"),
                "embeddings.position_ids": DROP,
                "pre_layrnorm.*": "norm_in.*",  # published with this name
                "post_layernorm.*": DROP,
            }
        )
    ).under("vision_model.", "")
    | Layout(
        {
            "text_model.*": DROP,
            "text_projection.weight": DROP,
            "visual_projection.weight": DROP,
            "logit_scale": DROP,
        }
    )
)

TIMM_VIT = Layout(  # the same ViT in timm's names; its pooling head is never used
    {
        "patch_embed.proj.*": "patch.*",
        "pos_embed": "position",
        "blocks.#.norm1.*": "blocks.#.norm1.*",
        "blocks.#.attn.qkv.*": cut("blocks.#.q.*", "blocks.#.k.*", "blocks.#.v.*"),
        "blocks.#.attn.proj.*": "blocks.#.out.*",
        "blocks.#.norm2.*": "blocks.#.norm2.*",
        "blocks.#.mlp.fc1.*": "blocks.#.fc1.*",
        "blocks.#.mlp.fc2.*": "blocks.#.fc2.*",
        "norm.*": "norm.*",
        "attn_pool.*": DROP,
    }
)

MIDDLE = {
    "mid.0.*": "middle.block1.*",
    "mid.1.norm.*": "middle.attention.norm.*",
    "mid.1.q.*": "middle.attention.q.*",
    "mid.1.k.*": "middle.attention.k.*",
    "mid.1.v.*": "middle.attention.v.*",
    "mid.1.proj_out.*": "middle.attention.out.*",
    "mid.2.*": "middle.block2.*",
    "conv_in.*": "conv_in.*",
    "conv_out.*": "conv_out.*",
    "norm_out.*": "norm_out.*",
}
LEVELS = {
    **{f"conv_blocks.#.res.#.{n}.*": f"levels.#.blocks.#.{n}.*" for n in ("norm1", "conv1", "norm2", "conv2")},
    "conv_blocks.#.res.#.nin_shortcut.*": "levels.#.blocks.#.shortcut.*",
    **{f"conv_blocks.#.attn.#.{n}.*": f"levels.#.attention.#.{n}.*" for n in ("norm", "q", "k", "v")},
    "conv_blocks.#.attn.#.proj_out.*": "levels.#.attention.#.out.*",
}
LLAMAGEN_VQ = (  # VQ-16 of LlamaGen and Janus: tokenizers/conv.py; its decoder counts levels from the coarsest, as ours
    Layout({**MIDDLE, **LEVELS, "conv_blocks.#.downsample.conv.*": "levels.#.resample.conv.*"}).under(
        "encoder.", "encoder."
    )
    | Layout({**MIDDLE, **LEVELS, "conv_blocks.#.upsample.conv.*": "levels.#.resample.conv.*"}).under(
        "decoder.", "decoder."
    )
    | Layout(
        {
            "quant_conv.*": "quant_conv.*",
            "post_quant_conv.*": "post_quant_conv.*",
            "quantize.embedding.weight": "quantiser.codebook",
            "quantize.codebook_used": DROP,
        }
    )
)


def compvis(levels: int) -> Layout:
    """Encoder and decoder under the names of CompVis' code (taming-transformers, latent-diffusion): tokenizers/conv.py.

    Its decoder counts levels from the finest, ours in the order in which they are applied.
    """

    def level(theirs: str, ours: int | str, resample: str) -> dict[str, str]:
        block, attention = f"levels.{ours}.blocks.#", f"levels.{ours}.attention.#"
        return {
            **{f"{theirs}.block.#.{n}.*": f"{block}.{n}.*" for n in ("norm1", "conv1", "norm2", "conv2")},
            f"{theirs}.block.#.nin_shortcut.*": f"{block}.shortcut.*",
            **{f"{theirs}.attn.#.{n}.*": f"{attention}.{n}.*" for n in ("norm", "q", "k", "v")},
            f"{theirs}.attn.#.proj_out.*": f"{attention}.out.*",
            f"{theirs}.{resample}.conv.*": f"levels.{ours}.resample.conv.*",
        }

    ends = {
        **{f"mid.attn_1.{n}.*": f"middle.attention.{n}.*" for n in ("norm", "q", "k", "v")},
        "mid.attn_1.proj_out.*": "middle.attention.out.*",
        **{f"mid.block_{i}.*": f"middle.block{i}.*" for i in (1, 2)},
        **{f"{n}.*": f"{n}.*" for n in ("conv_in", "norm_out", "conv_out")},
    }
    up: dict[str, str] = {}
    for i in range(levels):
        up |= level(f"up.{i}", levels - 1 - i, "upsample")
    encoder, decoder = Layout({**level("down.#", "#", "downsample"), **ends}), Layout({**up, **ends})
    return encoder.under("encoder.", "encoder.") | decoder.under("decoder.", "decoder.")


def magvitv2(levels: int) -> Layout:
    """MAGVIT-v2 in showlab/magvitv2: tokenizers/lookup_free.py. Its tables of bits are computed."""
    inside = {"encoder.quant_conv.*": "quant_conv.*", "decoder.post_quant_conv.*": "post_quant_conv.*"}
    return compvis(levels) | Layout({**inside, "quantize.embedding": DROP, "quantize.power_vals": DROP})

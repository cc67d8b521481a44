"""Published tensor names of diffusers pipelines' parts, mapped to ours."""

from __future__ import annotations

from diptych.weights.layout import DROP, Layout, Rule

CLIP_TEXT = Layout(  # transformers' CLIPTextModelWithProjection: encoders/clip_text.py
    {
        "text_model.embeddings.token_embedding.weight": "table.weight",
        "text_model.embeddings.position_embedding.weight": "position",
        "text_model.embeddings.position_ids": DROP,
        "text_model.encoder.layers.#.layer_norm1.*": "blocks.#.norm1.*",
        **{f"text_model.encoder.layers.#.self_attn.{n}_proj.*": f"blocks.#.{n}.*" for n in ("q", "k", "v", "out")},
        "text_model.encoder.layers.#.layer_norm2.*": "blocks.#.norm2.*",
        **{f"text_model.encoder.layers.#.mlp.{n}.*": f"blocks.#.{n}.*" for n in ("fc1", "fc2")},
        "text_model.final_layer_norm.*": "norm.*",
        "text_projection.weight": "project.weight",
    }
)


def _half(side: str, sampler: str) -> Layout:
    """Encoder or decoder; both number their levels in the order in which they are applied, as ours do."""
    block = f"{side}_blocks.#.resnets.#"
    return Layout(
        {
            **{f"{block}.{n}.*": f"levels.#.blocks.#.{n}.*" for n in ("norm1", "conv1", "norm2", "conv2")},
            f"{block}.conv_shortcut.*": "levels.#.blocks.#.shortcut.*",
            f"{side}_blocks.#.{sampler}.0.conv.*": "levels.#.resample.conv.*",
            "mid_block.resnets.0.*": "middle.block1.*",
            "mid_block.resnets.1.*": "middle.block2.*",
            "conv_norm_out.*": "norm_out.*",
            **{f"{n}.*": f"{n}.*" for n in ("conv_in", "conv_out")},
        }
    )


POINTWISE = {f"{n}.*": f"{n}.*" for n in ("quant_conv", "post_quant_conv")}
VQMODEL = (  # diffusers' VQModel without attention: tokenizers/diffusers.py
    _half("down", "downsamplers").under("encoder.", "encoder.")
    | _half("up", "upsamplers").under("decoder.", "decoder.")
    | Layout(
        {
            **POINTWISE,
            "quantize.embedding.weight": "quantiser.codebook",
        }
    )
)


def _pointwise(ours: str) -> Rule:
    """A linear layer that is our 1x1 convolution."""
    return Rule((ours,), lambda t: [t[..., None, None]], lambda p: p[0].flatten(1))


def _middle() -> Layout:
    """The attention between an autoencoder's two middle blocks; older files have its second names."""
    theirs, ours = "mid_block.attentions.0.", "middle.attention."
    rules: dict[str, str | Rule] = {f"{theirs}group_norm.*": f"{ours}norm.*"}
    names = {"q": "to_q query", "k": "to_k key", "v": "to_v value", "out": "to_out.0 proj_attn"}
    for part, found in names.items():
        for name in found.split():
            rules[f"{theirs}{name}.weight"] = _pointwise(f"{ours}{part}.weight")
            rules[f"{theirs}{name}.bias"] = f"{ours}{part}.bias"
    return Layout(rules)


AUTOENCODER_KL = (  # diffusers' AutoencoderKL: tokenizers/diffusers.py
    (_half("down", "downsamplers") | _middle()).under("encoder.", "encoder.")
    | (_half("up", "upsamplers") | _middle()).under("decoder.", "decoder.")
    | Layout(POINTWISE)
)


def _streams(theirs: dict[str, str]) -> dict[str, str]:
    """Their name of a text layer and of an image layer -> ours."""
    rules = {}
    for ours, names in theirs.items():
        for stream, name in enumerate(names.split()):
            rules[f"transformer_blocks.#.{name}.*"] = f"doubles.#.{ours}.experts.{stream}.*"
    return rules


FLUX = Layout(  # the blocks of diffusers' Flux, as Meissonic and Muddit have them too: backbone/mmdit.py
    {
        "transformer_blocks.#.norm1_context.linear.*": "doubles.#.modulate.0.*",
        "transformer_blocks.#.norm1.linear.*": "doubles.#.modulate.1.*",
        **_streams(
            {
                "attention.q": "attn.add_q_proj attn.to_q",
                "attention.k": "attn.add_k_proj attn.to_k",
                "attention.v": "attn.add_v_proj attn.to_v",
                "attention.norm_q": "attn.norm_added_q attn.norm_q",
                "attention.norm_k": "attn.norm_added_k attn.norm_k",
                "out": "attn.to_add_out attn.to_out.0",
                "up": "ff_context.net.0.proj ff.net.0.proj",
                "down": "ff_context.net.2 ff.net.2",
            }
        ),
        "single_transformer_blocks.#.norm.linear.*": "singles.#.modulate.*",
        **{f"single_transformer_blocks.#.attn.to_{n}.*": f"singles.#.attention.{n}.*" for n in "qkv"},
        **{f"single_transformer_blocks.#.attn.{n}.*": f"singles.#.attention.{n}.*" for n in ("norm_q", "norm_k")},
        "single_transformer_blocks.#.proj_mlp.*": "singles.#.up.*",
        "single_transformer_blocks.#.proj_out.*": "singles.#.out.*",
    }
)

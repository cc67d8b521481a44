"""Published tensor names of Show-o2 (show-o2/models/modeling_showo2_qwen2_5.py) and its autoencoder, mapped to ours."""

from __future__ import annotations

from diptych.models import layouts
from diptych.models.layouts_wan import WAN
from diptych.weights.layout import Layout


def _renamed(layout: Layout, theirs: str, place: str) -> Layout:
    """The blocks of a layout, published behind another prefix."""
    return Layout({name.replace(theirs, place, 1): rule for name, rule in layout.only(theirs).rules.items()})


NAMES = (
    layouts.LLAMA.under("showo.", "backbone.")
    | WAN.under("", "tokenizer.")
    | _renamed(layouts.LLAMA, "model.layers.", "diffusion_head_a.").under("", "backbone.flow.")
    | _renamed(layouts.SIGLIP, "encoder.layers.", "und_trans.layers.").under("", "paths.")
    | Layout(
        {
            "diffusion_head_a.#.adaLN_modulation.1.*": "backbone.flow.blocks.#.modulate.*",
            "diffusion_head_b.norm_final.*": "draw.norm.*",
            "diffusion_head_b.adaLN_modulation.1.*": "draw.modulate.*",
            "diffusion_head_b.linear.*": "draw.out.*",
            "diff_proj.#.*": "backbone.flow.into.#.*",
            "time_embed.mlp.#.*": "time.#.*",
            "time_embed_proj.*": "time_in.*",
            "image_embedder_und.proj.*": "paths.meaning_in.*",
            "image_embedder_gen.proj.*": "paths.look.*",
            "position_embedding.weight": "paths.position",
            "fusion_proj.#.*": "paths.fuse.#.*",
        }
    )
)

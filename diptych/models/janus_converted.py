"""Janus and Janus-Pro as transformers stores them (`JanusForConditionalGeneration`, deepseek-community/Janus-Pro-1B).

The same network and the same way of talking as `janus.py` under other names: config and processor files are read as
the official ones they were made from, and tensors have a layout of their own. transformers' models/janus/
{configuration,modeling,processing}_janus.py and convert_janus_weights_to_hf.py.

Where transformers computes other numbers than the official code (codes of pictures without L2 normalisation, sizes of
pictures rounded instead of cut), the official numbers are computed here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from diptych.errors import WeightsError
from diptych.models import layouts
from diptych.models.family import Family
from diptych.models.janus import Janus, JanusDialogue, JanusNetwork
from diptych.models.network import Network
from diptych.models.registry import read_json
from diptych.weights.layout import Layout

Table = dict[str, Any]

# What JanusConfig's classes fill in: older files hold only what differs from it. text_config is LlamaConfig's, which
# `janus.llama` knows.
VISION: Table = {
    "hidden_size": 1024,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "image_size": 384,
    "patch_size": 16,
    "mlp_ratio": 4.0,
    "projection_dim": 2048,
    "depth": 2,
}
VQ: Table = {
    "embed_dim": 8,
    "num_embeddings": 16384,
    "latent_channels": 256,
    "base_channels": 128,
    "channel_multiplier": (1, 1, 2, 2, 4),
    "num_res_blocks": 2,
    "projection_dim": 2048,
    "num_hidden_layers": 2,
    "image_token_embed_dim": 2048,
}
# What a config may state but the network does not vary.
FIXED: dict[str, Table] = {
    "text_config": {"hidden_act": "silu", "attention_bias": False, "mlp_bias": False},
    "vision_config": {
        "hidden_act": "gelu",
        "layer_norm_eps": 1e-6,
        "attention_bias": True,
        "use_qk_norm": False,
        "num_channels": 3,
    },
    "vq_config": {"hidden_act": "gelu", "double_latent": False, "in_channels": 3, "out_channels": 3},
}
# Parts of names that differ from the official ones.
LANGUAGE = {"model.": "model.language_model."}
SIGHT = {".out_proj.": ".projection_layer."}
CODEC = {
    "encoder.conv_blocks.": "encoder.down.",
    "decoder.conv_blocks.": "decoder.up.",
    ".res.": ".block.",
    ".mid.0.": ".mid.block_1.",
    ".mid.1.": ".mid.attn_1.",
    ".mid.2.": ".mid.block_2.",
}


def official(config: Table) -> Table:
    """The official config.json that a converted one stands for.

    Raises WeightsError for settings under which transformers would build another network.
    """
    text = config.get("text_config", {})
    vision, vq = VISION | config.get("vision_config", {}), VQ | config.get("vq_config", {})
    for part, fixed in FIXED.items():
        for name, value in fixed.items():
            _must(f"{part}.{name}", config.get(part, {}).get(name, value), value)
    side = vision["image_size"] // vision["patch_size"] * 2 ** (len(vq["channel_multiplier"]) - 1)
    return {
        "language_config": _language(text, config.get("tie_word_embeddings", False)),
        "vision_config": {"params": _sight(vision)},
        "aligner_config": {"params": _projector(vision["depth"], vision["hidden_size"], vision["projection_dim"])},
        "gen_vision_config": {"params": _codec(vq) | {"image_size": side}},
        "gen_aligner_config": {"params": _projector(vq["num_hidden_layers"], vq["embed_dim"], vq["projection_dim"])},
        "gen_head_config": {
            "params": {
                "n_embed": vq["image_token_embed_dim"],
                "image_token_embed": vq["projection_dim"],
                "image_token_size": vq["num_embeddings"],
            }
        },
    }


def _must(name: str, stated: Any, value: Any) -> None:
    if stated != value:
        raise WeightsError(f"config.json: {name} is {stated!r}, but Janus models that load here have {value!r}")


def _language(text: Table, tied: bool) -> Table:
    """transformers 5 keeps the rotary base under `rope_parameters`, 4 beside the rest."""
    rope = text.get("rope_parameters") or text.get("rope_scaling") or {}
    _must("text_config.rope_type", rope.get("rope_type") or rope.get("type") or "default", "default")
    theta = rope.get("rope_theta") or text.get("rope_theta")
    return text | {"tie_word_embeddings": tied} | ({"rope_theta": theta} if theta else {})


def _sight(vision: Table) -> Table:
    return {
        "image_size": vision["image_size"],
        "patch_size": vision["patch_size"],
        "width": vision["hidden_size"],
        "layers": vision["num_hidden_layers"],
        "heads": vision["num_attention_heads"],
        "mlp_ratio": vision["mlp_ratio"],
    }


def _projector(depth: int, width: int, out: int) -> Table:
    return {"depth": depth, "input_dim": width, "n_embed": out}


def _codec(vq: Table) -> Table:
    return {
        "image_token_size": vq["num_embeddings"],
        "n_embed": vq["embed_dim"],
        "ch": vq["base_channels"],
        "ch_mult": vq["channel_multiplier"],
        "num_res_blocks": vq["num_res_blocks"],
        "z_channels": vq["latent_channels"],
    }


class JanusConverted(Family):
    name = "janus-transformers"
    checkpoints = ("deepseek-community/Janus-Pro-1B", "deepseek-community/Janus-Pro-7B")

    @classmethod
    def recognises(cls, config: Table, folder: Path) -> bool:
        return config.get("model_type") == "janus"

    @classmethod
    def completed(cls, config: Table, shapes: Mapping[str, Sequence[int]]) -> Table:
        """Whether the head is tied is for the tensors to say.

        JanusConfig's default is True, yet published Janus models have a head of their own, and configs that
        transformers 4 wrote do not speak of it.
        """
        tied = config.get("tie_word_embeddings", True) and "lm_head.weight" not in shapes
        return config | {"tie_word_embeddings": tied}

    @classmethod
    def build(cls, config: Table) -> JanusNetwork:
        return Janus.build(official(config))

    @classmethod
    def layout(cls, config: Table) -> Layout:
        known = official(config)
        return (
            _respelled(layouts.LLAMA, LANGUAGE).under("", "backbone.")
            | _respelled(layouts.SIGLIP, SIGHT).under("model.vision_model.", "eyes.encoder.")
            | _respelled(layouts.LLAMAGEN_VQ, CODEC).under("model.vqmodel.", "tokenizer.")
            | _layers(known["aligner_config"]["params"]["depth"]).under("model.aligner.", "eyes.project.")
            | _layers(known["gen_aligner_config"]["params"]["depth"]).under("model.generation_aligner.", "draw.into.")
            | Layout(
                {
                    "model.generation_embeddings.weight": "draw.table.weight",
                    "model.generation_head.proj_out.*": "draw.out.0.*",
                    "model.generation_head.vision_head.*": "draw.out.2.*",
                }
            )
        )

    @classmethod
    def dialogue(cls, folder: Path, config: Table, network: Network) -> JanusDialogue:
        assert isinstance(network, JanusNetwork)
        return JanusDialogue(folder, official(config), network, _pictures(folder), _settings(folder))


def _respelled(layout: Layout, spellings: Mapping[str, str]) -> Layout:
    """The same rules, published names spelled otherwise."""
    rules = {}
    for name, rule in layout.rules.items():
        for old, new in spellings.items():
            name = name.replace(old, new)
        rules[name] = rule
    return Layout(rules)


def _layers(depth: int) -> Layout:
    """Linear layers of a projector: the first is called fc1, the others are counted; ours count activations too."""
    return Layout({"fc1.*": "0.*"} | {f"hidden_layers.{i - 1}.*": f"{2 * i}.*" for i in range(1, depth)})


def _pictures(folder: Path) -> Table:
    """How pictures are prepared: a file of its own in transformers 4, inside the processor's in 5."""
    stated = read_json(folder / "processor_config.json").get("image_processor")
    stated = stated or read_json(folder / "preprocessor_config.json")
    size = stated["size"]
    return {
        "image_size": size["height"] if isinstance(size, Mapping) else size,
        "image_mean": stated["image_mean"],
        "image_std": stated["image_std"],
        "min_size": stated.get("min_size", 14),
    }


def _settings(folder: Path) -> Table:
    """convert_janus_weights_to_hf.py writes the template of Janus-Pro for every model."""
    spoken = read_json(folder / "processor_config.json").get("use_default_system_prompt", True)
    return {"sft_format": "deepseek"} | ({} if spoken else {"system_prompt": ""})

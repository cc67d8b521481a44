"""Phi-1.5 as a backbone, from the keys of transformers' config."""

from __future__ import annotations

from typing import Any

from diptych.backbone.transformer import BackboneConfig


def phi(config: dict[str, Any], vocab: int) -> BackboneConfig:
    """Phi-1.5 as Show-o made it anew: with norms on queries and keys, whatever the config says, and a larger table."""
    return BackboneConfig(
        width=config["hidden_size"],
        depth=config["num_hidden_layers"],
        heads=config["num_attention_heads"],
        kv_heads=config.get("num_key_value_heads") or config["num_attention_heads"],
        hidden=config["intermediate_size"],
        vocab=vocab,
        bias="all",
        norm="layer",
        norm_qk=True,
        mlp="gelu-tanh",
        parallel=True,
        rotary=config.get("partial_rotary_factor", 0.5),
        theta=config.get("rope_theta", 10000.0),
        eps=config.get("layer_norm_eps", 1e-5),
        head_bias=True,
    )

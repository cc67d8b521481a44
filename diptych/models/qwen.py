"""Qwen2 and Qwen2.5 as backbones, from the keys of transformers' config; families change what they changed."""

from __future__ import annotations

from typing import Any

from diptych.backbone.transformer import BackboneConfig


def qwen2(config: dict[str, Any]) -> BackboneConfig:
    """config: of a `Qwen2ForCausalLM`. What it leaves out is transformers' own default."""
    return BackboneConfig(
        width=config["hidden_size"],
        depth=config["num_hidden_layers"],
        heads=config["num_attention_heads"],
        kv_heads=config["num_key_value_heads"],
        hidden=config["intermediate_size"],
        vocab=config["vocab_size"],
        bias="qkv",
        theta=config.get("rope_theta", 10000.0),
        eps=config.get("rms_norm_eps", 1e-6),
        tied=config.get("tie_word_embeddings", False),
    )

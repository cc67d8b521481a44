"""Which image tokenizer a config states, and where its tensors stand."""

from pathlib import Path
from typing import Any

import pytest

from diptych.errors import WeightsError
from diptych.models import vq_models
from diptych.models.companions import Found, find
from diptych.models.show_o import drawing

PARAMS = {"image_token_size": 16, "n_embed": 4, "ch": 4, "ch_mult": [1, 2], "z_channels": 4, "num_groups": 2}


def told(config: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    return config | {"companions": {vq_models.companion(config).name: Found(Path(), own)}}


def test_a_config_that_states_nothing_is_of_the_published_tokenizer() -> None:
    companion = vq_models.companion({})
    assert (companion.name, companion.hub, companion.weights) == ("magvitv2", "showlab/magvitv2", True)
    layout = vq_models.layout(told({}, {}), "tokenizer.")
    assert layout.published(["tokenizer.quant_conv.weight"]) == ["magvitv2/encoder.quant_conv.weight"]


def test_one_that_is_published_apart() -> None:
    stated = {"vq_model": {"type": "VQ-16", "vq_model_name": "somebody/their-vq"}}
    companion = vq_models.companion(stated)
    assert (companion.name, companion.hub, companion.weights) == ("their-vq", "somebody/their-vq", True)
    config = told(stated, PARAMS)
    assert vq_models.build(config).factor == 2
    assert vq_models.layout(config, "t.").published(["t.quantiser.codebook"]) == ["their-vq/quantize.embedding.weight"]


def test_one_in_the_models_own_file() -> None:
    config: dict[str, Any] = {"vq_model": {"type": "VQ-16", "params": PARAMS}}
    config["companions"] = find((vq_models.companion(config),), Path("nowhere"))
    tokenizer, layout = vq_models.build(config), vq_models.layout(config, "t.")
    names = layout.published(f"t.{name}" for name in tokenizer.state_dict())
    assert names and all(name.startswith("vq_model.") for name in names)
    assert not vq_models.companion(config).weights


@pytest.mark.parametrize(
    ("stated", "error"),
    [
        ({"type": "VQ-17"}, "magvitv2, VQ-16, not .*VQ-17"),
        ("magvitv2", "must state a type"),
        ({"type": "VQ-16"}, "needs vq_model_name or, for type 'VQ-16', params"),
        ({"type": "magvitv2", "vq_model_name": ".."}, "needs vq_model_name"),
    ],
)
def test_mistakes_are_named(stated: Any, error: str) -> None:
    with pytest.raises(WeightsError, match=error):
        vq_models.companion({"vq_model": stated})


def test_show_os_own_defaults() -> None:
    stated = {"diptych": {"defaults": {"guidance": 0.5, "steps": 8}}}
    assert drawing(64, stated) == (0.5, 8, 1.0) and drawing(512, {}).steps == 50
    with pytest.raises(WeightsError, match="guidance, steps, temperature, not 'scale'"):
        drawing(64, {"diptych": {"defaults": {"scale": 1}}})
    for wrong in ({"steps": 0}, {"guidance": "much"}):
        with pytest.raises(WeightsError, match="diptych.defaults in config.json: "):
            drawing(64, {"diptych": {"defaults": wrong}})

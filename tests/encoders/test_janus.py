"""Vision encoder, projector and preprocessing against the official numbers of Janus."""

import json
import os
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor

from diptych.encoders.preprocess import janus_preprocess
from diptych.encoders.project import mlp
from diptych.encoders.vit import ViT, ViTConfig


def parity() -> Path:
    root = Path(__file__).parents[2]
    places = [os.environ.get("DIPTYCH_PARITY"), root / "../shared/parity", root / "tests/fixtures/parity"]
    return next(Path(p) for p in places if p and (Path(p) / "janus").exists()) / "janus"


CASES = load_file(parity() / "cases.safetensors")
PREPROCESS = sorted({name.split(".")[0] for name in CASES if name.startswith("preprocess")})


@pytest.fixture(scope="module")
def weights() -> dict[str, Tensor]:
    return load_file(parity() / "model.safetensors")


@pytest.fixture(scope="module")
def config() -> dict:
    return json.loads((parity() / "config.json").read_text())


def under(weights: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in weights.items() if name.startswith(prefix)}


def tower(config: dict, weights: dict[str, Tensor]) -> ViT:
    params = config["vision_config"]["params"]
    vit = ViT(
        ViTConfig(
            image_size=params["image_size"],
            patch=params["patch_size"],
            width=params["width"],
            depth=params["layers"],
            heads=params["heads"],
            hidden=int(params["width"] * params["mlp_ratio"]),
        )
    )
    ours = {}
    for name, tensor in under(weights, "vision_model.vision_tower.").items():
        if name.startswith("attn_pool"):
            continue
        name = name.replace("patch_embed.proj", "patch").replace("pos_embed", "position")
        name = name.replace("attn.proj", "out").replace("mlp.", "")
        if "attn.qkv" in name:
            parts = zip("qkv", tensor.chunk(3), strict=True)
            ours |= {name.replace("attn.qkv", letter): part for letter, part in parts}
        else:
            ours[name] = tensor
    vit.load_state_dict(ours)
    return vit


def close(found: Tensor, expected: Tensor) -> bool:
    return bool((found - expected).abs().max() <= 1e-4 * expected.abs().max())


@torch.no_grad()
def test_vision(config, weights):
    features = tower(config, weights)(CASES["vision.in.pixel_values"])
    assert close(features, CASES["vision.out.features"])
    params = config["aligner_config"]["params"]
    aligner = mlp(params["input_dim"], *[params["n_embed"]] * params["depth"])
    aligner.load_state_dict(under(weights, "aligner.layers."))
    assert close(aligner(features), CASES["vision.out.aligned"])


@pytest.mark.parametrize("case", PREPROCESS)
def test_preprocess(case, config):
    image = Image.fromarray(CASES[f"{case}.in.image"].numpy())
    found = janus_preprocess(config["vision_config"]["params"]["image_size"])(image)
    assert close(found, CASES[f"{case}.out.pixel_values"])

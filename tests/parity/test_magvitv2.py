"""MAGVIT-v2's image tokenizer against the official code's numbers, case by case."""

import math
from functools import cache

import pytest
import torch
from PIL import Image as Pillow
from torch import Tensor

from diptych.encoders.preprocess import Crop, Preprocess, to_uint8
from diptych.models import layouts
from diptych.tokenizers.codes import VisualTokenizer
from diptych.tokenizers.lookup_free import magvitv2
from diptych.weights.files import Checkpoint, load_into
from tests.parity.sets import Case, GoldenSet, close, sets

SETS = [g for g in sets() if (g.folder / "config.json").is_file() and g.config.get("_class_name") == "MAGVITv2"]
CASES = [pytest.param(golden, name, id=f"{golden.name}-{name}") for golden in SETS for name in golden.cases]


@cache
def tokenizer(golden: GoldenSet) -> VisualTokenizer:
    with torch.device("meta"):
        built = magvitv2(golden.config)
    load_into(built, layouts.magvitv2(len(built.encoder.levels)), Checkpoint(golden.folder))
    return built.requires_grad_(False)


def flat(codes: Tensor) -> Tensor:
    return codes.flatten(1)


def encode(golden: GoldenSet, case: Case) -> None:
    pixels, expected = case.inputs["pixels"], case.outputs
    rebuilt, found = tokenizer(golden)(pixels)
    close(found.z, expected["hidden"], name="hidden")
    close(found.quant, expected["quantized"], name="quantized")
    close(flat(found.codes), expected["codes"], name="codes")
    close(flat(tokenizer(golden).encode(pixels)), expected["codes"], name="codes")
    close(found.losses["commitment"], expected["quantizer_loss"], name="quantizer_loss")
    close(found.losses["entropy"], expected["entropy_loss"], name="entropy_loss")
    assert rebuilt.shape == pixels.shape


def decode(golden: GoldenSet, case: Case) -> None:
    codes = case.inputs["codes"]
    side = math.isqrt(codes.shape[1])
    height, width = case.inputs.get("shape", torch.tensor([side, side])).tolist()
    grid = codes.view(-1, height, width)
    if "codebook_entry" in case.outputs:
        close(tokenizer(golden).quantiser.decode(grid), case.outputs["codebook_entry"], name="codebook_entry")
    close(tokenizer(golden).decode(grid), case.outputs["pixels"], name="pixels")


def reconstruct(golden: GoldenSet, case: Case) -> None:
    pixels = tokenizer(golden).reconstruct(golden.cases["encode"].inputs["pixels"])
    close(pixels, case.outputs["pixels"], name="pixels")
    assert (to_uint8(pixels, "trunc").int() - case.outputs["image_u8"].int()).abs().max() <= 1


def preprocess(golden: GoldenSet, case: Case) -> None:
    expected = case.outputs["pixels"]
    prepare = Preprocess((Crop(expected.shape[-1]),))
    pixels = prepare(Pillow.fromarray(case.inputs["image_u8"].numpy()))
    close(pixels, expected, name="pixels")
    close(flat(tokenizer(golden).encode(pixels[None])), case.outputs["codes"], name="codes")


CHECKS = {"encode": encode, "decode": decode, "reconstruct": reconstruct, "preprocess": preprocess}


@torch.inference_mode()
@pytest.mark.parametrize(("golden", "name"), CASES)
def test_case(golden: GoldenSet, name: str) -> None:
    check = next((check for prefix, check in CHECKS.items() if name.startswith(prefix)), None)
    assert check is not None, f"no check is written for case {name}"
    check(golden, golden.cases[name])


@pytest.mark.parametrize("golden", SETS, ids=lambda golden: golden.name)
def test_every_published_tensor_is_claimed(golden: GoldenSet) -> None:
    """At the official sizes, which the official config leaves out."""
    (keys,) = (entry for entry in golden.full_keys.values() if isinstance(entry, list))
    with torch.device("meta"):
        built = magvitv2({"_class_name": "MAGVITv2"})
    ours = {name: tensor.shape for name, tensor in built.state_dict().items()}
    layouts.magvitv2(len(built.encoder.levels)).check(dict(keys), ours)


def test_sets_are_there() -> None:
    assert SETS, "no MAGVIT-v2 set was found; tests/fixtures/parity must hold one"

"""The VQ tokenizer against the official numbers of Janus' VQ-16, and its promises."""

import json
import os
import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from diptych.errors import InputError
from diptych.tokenizers.codes import VQ, VisualTokenizer, vq_tokenizer
from diptych.tokenizers.conv import compvis

RULES = {
    r"quantize\.embedding\.weight": "quantiser.codebook",
    r"conv_blocks\.(\d+)\.res\.": r"levels.\1.blocks.",
    r"conv_blocks\.(\d+)\.attn\.": r"levels.\1.attention.",
    r"conv_blocks\.(\d+)\.(?:down|up)sample\.": r"levels.\1.resample.",
    r"\.mid\.0\.": ".middle.block1.",
    r"\.mid\.1\.": ".middle.attention.",
    r"\.mid\.2\.": ".middle.block2.",
    r"nin_shortcut": "shortcut",
    r"proj_out": "out",
}


def parity() -> Path:
    root = Path(__file__).parents[2]
    places = [os.environ.get("DIPTYCH_PARITY"), root / "../shared/parity", root / "tests/fixtures/parity"]
    return next(Path(p) for p in places if p and (Path(p) / "janus").exists()) / "janus"


@pytest.fixture(scope="module")
def cases() -> dict[str, Tensor]:
    return load_file(parity() / "cases.safetensors")


@pytest.fixture(scope="module")
def tokenizer() -> VisualTokenizer:
    params = json.loads((parity() / "config.json").read_text())["gen_vision_config"]["params"]
    multipliers = tuple(params["ch_mult"])
    encoder, decoder = compvis(
        params["ch"],
        multipliers,
        params["num_res_blocks"],
        params["z_channels"],
        attention=(len(multipliers) - 1,),
    )
    built = vq_tokenizer(encoder, decoder, params["image_token_size"], params["n_embed"])
    weights = {}
    for name, tensor in load_file(parity() / "model.safetensors").items():
        head, _, name = name.partition(".")
        if head == "gen_vision_model" and not name.endswith("codebook_used"):
            for official, ours in RULES.items():
                name = re.sub(official, ours, name)
            weights[name] = tensor
    built.load_state_dict(weights)
    return built


def close(found: Tensor, expected: Tensor) -> bool:
    return bool((found - expected).abs().max() <= 1e-4 * expected.abs().max())


@torch.no_grad()
def test_encode_is_the_official_one(tokenizer, cases):
    pixels = cases["vq_encode.in.pixels"]
    found = tokenizer.quantise(pixels)
    # the official z is the latent before it is normalised
    assert close(found.z, torch.nn.functional.normalize(cases["vq_encode.out.z"], dim=1))
    assert close(found.quant, cases["vq_encode.out.quant"])
    assert torch.equal(found.codes, cases["vq_encode.out.codes"].view_as(found.codes))
    assert torch.equal(tokenizer.encode(pixels), found.codes)
    assert close(tokenizer.reconstruct(pixels), cases["vq_encode.out.reconstruction"])


@torch.no_grad()
def test_decode_is_the_official_one(tokenizer, cases):
    assert close(tokenizer.decode(cases["vq_decode.in.codes"]), cases["vq_decode.out.pixels"])


def test_training_losses_are_the_official_ones(tokenizer, cases):
    _, quantised = tokenizer(cases["vq_train.in.pixels"])
    assert close(quantised.losses["codebook"], cases["vq_train.out.vq_loss"])
    assert close(quantised.losses["commitment"], cases["vq_train.out.commit_loss"])


def test_training_reaches_every_parameter(tokenizer, cases):
    pixels = cases["vq_train.in.pixels"]
    rebuilt, quantised = tokenizer(pixels)
    ((rebuilt - pixels).square().mean() + sum(quantised.losses.values())).backward()
    assert [name for name, p in tokenizer.named_parameters() if p.grad is None] == []
    assert tokenizer.encoder.conv_in.weight.grad.abs().max() > 0
    tokenizer.zero_grad()


def test_straight_through_passes_the_decoders_gradient_unchanged():
    vq = VQ(8, 4, normalise=False)
    z = torch.randn(2, 4, 3, 3, requires_grad=True)
    slope = torch.randn(2, 4, 3, 3)
    (vq.quantise(z).quant * slope).sum().backward()
    assert torch.equal(z.grad, slope)


@pytest.mark.parametrize("normalise", [True, False])
def test_the_code_is_the_nearest_entry(normalise):
    vq = VQ(32, 4, normalise=normalise)
    vq.codebook.data.normal_()
    z = torch.randn(2, 4, 3, 5)
    places = z.permute(0, 2, 3, 1).reshape(-1, 4)
    entries = vq.codebook
    if normalise:
        places, entries = places / places.norm(dim=1, keepdim=True), entries / entries.norm(dim=1, keepdim=True)
    expected = (places[:, None] - entries[None]).norm(dim=2).argmin(1).view(2, 3, 5)
    assert torch.equal(vq.encode(z), expected)
    assert torch.equal(vq.encode(vq.decode(expected)), expected)


def test_comparing_in_parts_changes_nothing(monkeypatch):
    vq = VQ(16, 4)
    z = torch.randn(2, 4, 5, 5)
    whole = vq.encode(z)
    monkeypatch.setattr("diptych.tokenizers.codes.DISTANCES_AT_ONCE", 16 * 7)
    assert torch.equal(vq.encode(z), whole)


@torch.no_grad()
def test_a_picture_does_not_depend_on_its_neighbours(tokenizer):
    pixels = torch.rand(3, 3, 8, 12) * 2 - 1
    assert torch.equal(tokenizer.encode(pixels)[1:2], tokenizer.encode(pixels[1:2]))


def test_sizes_that_do_not_divide_are_refused(tokenizer):
    with pytest.raises(InputError, match="multiples of 2"):
        tokenizer.encode(torch.zeros(1, 3, 9, 8))


def test_codes_must_be_integers(tokenizer):
    with pytest.raises(InputError, match="integers"):
        tokenizer.decode(torch.zeros(1, 2, 2))


@torch.no_grad()
def test_half_precision_weights_work(tokenizer):
    import copy

    half = copy.deepcopy(tokenizer).to(torch.bfloat16)
    pixels = torch.rand(1, 3, 8, 8) * 2 - 1
    assert half.decode(half.encode(pixels)).dtype == torch.bfloat16

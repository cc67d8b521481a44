"""What the KL autoencoder promises; its numbers are compared where a family uses it."""

import pytest
import torch

from diptych.errors import InputError
from diptych.models.layouts_diffusers import AUTOENCODER_KL
from diptych.tokenizers.conv import compvis
from diptych.tokenizers.diffusers import autoencoder_kl
from diptych.tokenizers.latents import LatentTokenizer, kl_tokenizer

CONFIG = {
    "block_out_channels": [8, 16],
    "layers_per_block": 1,
    "latent_channels": 4,
    "in_channels": 3,
    "norm_num_groups": 4,
    "scaling_factor": 0.5,
    "shift_factor": 0.25,
}


@pytest.fixture(scope="module")
def vae() -> LatentTokenizer:
    torch.manual_seed(0)
    return autoencoder_kl(CONFIG).requires_grad_(False)


def test_latents_are_shifted_then_scaled_and_back(vae: LatentTokenizer) -> None:
    pixels = torch.rand(2, 3, 6, 4) * 2 - 1
    latents = vae.encode(pixels)
    assert latents.shape == (2, 4, 3, 2) and vae.factor == 2
    torch.testing.assert_close(latents, (vae.moments(pixels).mean - 0.25) * 0.5)
    plain = vae.decoder(vae.post_quant_conv(vae.moments(pixels).mean))
    torch.testing.assert_close(vae.decode(latents), plain)


def test_noise_makes_a_sample(vae: LatentTokenizer) -> None:
    pixels, noise = torch.zeros(1, 3, 4, 4), torch.ones(1, 4, 2, 2)
    mean, logvar = vae.moments(pixels)
    torch.testing.assert_close(vae.encode(pixels, noise), (mean + (logvar / 2).exp() - 0.25) * 0.5)
    with pytest.raises(InputError, match="shape"):
        vae.encode(pixels, noise[:, :1])


def test_variance_is_kept_in_range(vae: LatentTokenizer) -> None:
    with torch.no_grad():
        vae.quant_conv.bias[4:] = torch.tensor([-1e3, 1e3, 0.0, 0.0])  # type: ignore[index]
        logvar = vae.moments(torch.zeros(1, 3, 4, 4)).logvar
        vae.quant_conv.bias.zero_()  # type: ignore[operator]
    assert logvar[0, 0].unique().tolist() == [-30] and logvar[0, 1].unique().tolist() == [20]


def test_without_pointwise_convolutions() -> None:
    names = [name for name, _ in autoencoder_kl(CONFIG | {"use_quant_conv": False}).named_parameters()]
    assert names and not any("quant_conv" in name for name in names)


def test_sums_that_overflow_in_float16_are_made_in_float32() -> None:
    torch.manual_seed(0)
    for upcast, dtype in ((True, torch.float32), (False, torch.float16)):
        vae = autoencoder_kl(CONFIG | {"force_upcast": upcast}).half().requires_grad_(False)
        latents = vae.encode(torch.zeros(1, 3, 4, 4, dtype=torch.float16))
        assert vae.decode(latents).dtype == latents.dtype == dtype
    vae = autoencoder_kl(CONFIG).bfloat16().requires_grad_(False)
    assert vae.decode(torch.zeros(1, 4, 2, 2)).dtype == torch.bfloat16


def test_a_kl_autoencoder_needs_a_double_encoder() -> None:
    with pytest.raises(InputError, match="double"):
        kl_tokenizer(*compvis(8, (1,), 1, 4, groups=4), scale=1.0)


@pytest.mark.parametrize("names", [("to_q", "to_k", "to_v", "to_out.0"), ("query", "key", "value", "proj_attn")])
def test_old_and_new_names_of_attention(vae: LatentTokenizer, names: tuple[str, ...]) -> None:
    ours = vae.state_dict()
    theirs = [f"decoder.mid_block.attentions.0.{name}.{part}" for name in names for part in ("weight", "bias")]
    shapes = {name: (16, 16) if name.endswith("weight") else (16,) for name in theirs}
    read = AUTOENCODER_KL.read({name: torch.zeros(shape) for name, shape in shapes.items()})
    assert len(read) == 8 and all(tensor.shape == ours[name].shape for name, tensor in read.items())

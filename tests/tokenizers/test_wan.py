"""Wan's causal autoencoder, tiny and with random weights; its published numbers are checked with Show-o2's."""

import pytest
import torch
from torch import Tensor

from diptych.errors import InputError
from diptych.tokenizers.wan import PUBLISHED, WanConfig, WanTokenizer


@pytest.fixture(scope="module")
def tokenizer() -> WanTokenizer:
    torch.manual_seed(0)
    return WanTokenizer(WanConfig.of(PUBLISHED | {"dim": 4})).eval().requires_grad_(False)


def video(*shape: int) -> Tensor:
    return torch.rand(1, 3, *shape, generator=torch.Generator().manual_seed(1)) * 2 - 1


def test_sizes(tokenizer: WanTokenizer) -> None:
    latents = tokenizer.encode(video(9, 16, 24))
    assert latents.shape == (1, 16, 3, 2, 3)
    assert tokenizer.decode(latents).shape == (1, 3, 9, 16, 24)
    assert (tokenizer.factor, tokenizer.pace) == (8, 4)


def test_frames_know_nothing_of_later_ones(tokenizer: WanTokenizer) -> None:
    """The first frame alone is an image; five frames are the beginning of nine. Both ways."""
    pixels = video(9, 16, 16)
    latents = tokenizer.encode(pixels)
    decoded = tokenizer.decode(latents)
    for frames, made in ((1, 1), (5, 2)):
        assert torch.allclose(tokenizer.encode(pixels[:, :, :frames]), latents[:, :, :made], atol=1e-5)
        assert torch.allclose(tokenizer.decode(latents[:, :, :made]), decoded[:, :, :frames], atol=1e-5)


def test_noise_is_in_the_encoders_own_units(tokenizer: WanTokenizer) -> None:
    pixels = video(1, 8, 8)
    mean, logvar = tokenizer.moments(pixels)
    assert torch.equal(tokenizer.encode(pixels), mean)
    assert torch.allclose(tokenizer.encode(pixels, torch.ones_like(mean)) - mean, (logvar / 2).exp(), atol=1e-5)


@pytest.mark.parametrize("shape", [(2, 8, 8), (1, 12, 8), (5, 8, 12)])
def test_sizes_that_cannot_be_encoded(tokenizer: WanTokenizer, shape: tuple[int, int, int]) -> None:
    with pytest.raises(InputError, match=r"1 or 1 \+ 4 k frames"):
        tokenizer.encode(video(*shape))


def test_noise_of_another_shape(tokenizer: WanTokenizer) -> None:
    with pytest.raises(InputError, match="noise for these pixels"):
        tokenizer.encode(video(1, 8, 8), torch.zeros(1, 16, 1, 2, 1))


def test_attention_that_was_never_published() -> None:
    with pytest.raises(ValueError, match="outside the middle"):
        WanConfig.of(PUBLISHED | {"attn_scales": [1.0]})

"""The shallow U-ViT's sizes and what passes by the transformer."""

from dataclasses import replace

import pytest
import torch

from diptych.backbone.uvit import ResponseNorm, UViTConfig, UViTIn, UViTOut

CONFIG = UViTConfig(
    channels=4, width=8, answer=6, time=10, kernel=2, stride=2, padding=0, doublings=1, blocks_in=1, blocks_out=1
)


def there_and_back(config: UViTConfig, side: int = 8) -> torch.Size:
    entered = UViTIn(config)(torch.randn(2, 4, side, side), torch.randn(2, config.width))
    answer = torch.randn(2, config.answer, *entered.features.shape[2:])
    return UViTOut(config)(answer, entered).shape


@pytest.mark.parametrize(
    "config",
    [
        CONFIG,
        replace(CONFIG, kernel=4, padding=1),
        replace(CONFIG, kernel=3, padding=1, blocks_in=0, blocks_out=0),
        replace(CONFIG, kernel=4, stride=4, doublings=2, bias_in=False, bias_out=False),
    ],
    ids=["plain", "overlapping patches", "without blocks", "twice doubled"],
)
def test_velocities_are_as_large_as_latents(config: UViTConfig) -> None:
    assert there_and_back(config) == (2, 4, 8, 8)


def test_channels_compete_over_the_map() -> None:
    norm = ResponseNorm(2)
    with torch.no_grad():
        norm.weight.fill_(1.0)
        norm.bias.fill_(0.5)
    x = torch.tensor([3.0, 1.0]).expand(1, 2, 2, 2)  # norms 6 and 2, mean 4
    torch.testing.assert_close(norm(x)[0, 0, 0], torch.tensor([3 * 2.5 + 0.5, 1 * 1.5 + 0.5]))


def test_what_entered_passes_by() -> None:
    enter, leave = UViTIn(CONFIG), UViTOut(CONFIG)
    latents, times = torch.randn(2, 4, 8, 8), torch.randn(2, CONFIG.width)
    entered, answer = enter(latents, times), torch.randn(2, CONFIG.answer, 4, 4)
    found = leave(answer, entered)
    assert not torch.allclose(leave(answer, entered._replace(features=entered.features + 1)), found)
    assert not torch.allclose(leave(answer, entered._replace(time=entered.time + 1)), found)
    found.sum().backward()
    unused = [n for n, p in [*enter.named_parameters(), *leave.named_parameters()] if p.grad is None]
    assert unused == []

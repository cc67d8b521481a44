"""Muon against torch's own, which multiplies in bfloat16."""

import torch
from torch import nn

from diptych.training.muon import Muon, orthogonal


def stepped(optimizer: torch.optim.Optimizer, parameters: list[nn.Parameter], steps: int) -> None:
    rng = torch.Generator().manual_seed(1)
    for _ in range(steps):
        for parameter in parameters:
            parameter.grad = torch.randn(parameter.shape, generator=rng)
        optimizer.step()


def made(*shapes: tuple[int, int]) -> list[nn.Parameter]:
    rng = torch.Generator().manual_seed(0)
    return [nn.Parameter(torch.randn(shape, generator=rng)) for shape in shapes]


def test_moves_as_torchs_does_up_to_its_rounding() -> None:
    shapes = (24, 16), (24, 16), (16, 40)
    ours, theirs = made(*shapes), made(*shapes)
    stepped(Muon(ours, 0.02, 0.1), ours, 5)
    stepped(torch.optim.Muon(theirs, 0.02, 0.1, adjust_lr_fn="match_rms_adamw"), theirs, 5)
    for own, other, begun in zip(ours, theirs, made(*shapes), strict=True):
        assert (own - other).norm() < 0.02 * (own - begun).norm()


def test_every_direction_moves_alike_however_small_the_gradient() -> None:
    values = torch.linalg.svdvals(orthogonal(torch.randn(2, 12, 30, generator=torch.Generator().manual_seed(3)) * 1e-5))
    assert values.min() > 0.6 and values.max() < 1.3


def test_what_has_no_gradient_stays() -> None:
    first, second = made((8, 8), (8, 8))
    before = second.detach().clone()
    first.grad = torch.ones(8, 8)
    Muon([first, second], 0.1, 0.1).step()
    assert torch.equal(second, before)

"""Muon: momentum whose matrices are made orthogonal before they move the weights (Jordan et al. 2024).

torch's own multiplies in bfloat16 wherever it runs; on CPUs without that type a step then takes longer than forward and
backward together. This one keeps the gradient's own type, and matrices of one shape go through one product.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn

STEPS = 5
QUINTIC = (3.4445, -4.7750, 2.0315)  # as published: singular values end between about 0.7 and 1.2
MOMENTUM = 0.95
MATCHED = 0.2  # an update's root mean square, as AdamW's usually are (arXiv 2502.16982)


class Muon(torch.optim.Optimizer):
    """For matrices inside a network: Nesterov momentum, decoupled weight decay, the learning rates of AdamW."""

    def __init__(self, parameters: Iterable[nn.Parameter], lr: float, weight_decay: float) -> None:
        super().__init__(list(parameters), {"lr": lr, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for shape, members in _by_shape(group["params"]).items():
                updates = orthogonal(torch.stack([self._momentum(p) for p in members]))
                size = group["lr"] * MATCHED * math.sqrt(max(shape))
                for parameter, update in zip(members, updates, strict=True):
                    parameter.mul_(1 - group["lr"] * group["weight_decay"]).sub_(update, alpha=size)

    def _momentum(self, parameter: nn.Parameter) -> Tensor:
        """The running mean of gradients, looked one step ahead."""
        state, grad = self.state[parameter], parameter.grad
        assert grad is not None
        if not state:
            state["momentum_buffer"] = torch.zeros_like(grad)
        buffer = state["momentum_buffer"].lerp_(grad, 1 - MOMENTUM)
        return grad.lerp(buffer, MOMENTUM)


def orthogonal(matrices: Tensor) -> Tensor:
    """[n, rows, columns] -> the same with all singular values near one, by five Newton-Schulz iterations."""
    a, b, c = QUINTIC
    tall = matrices.shape[-2] > matrices.shape[-1]
    x = matrices.mT if tall else matrices
    x = x / x.norm(dim=(-2, -1), keepdim=True).clamp_min(1e-7)
    for _ in range(STEPS):
        square = x @ x.mT
        x = a * x + (b * square + c * square @ square) @ x
    return x.mT if tall else x


def _by_shape(parameters: list[nn.Parameter]) -> dict[torch.Size, list[nn.Parameter]]:
    """Those that have a gradient."""
    found: dict[torch.Size, list[nn.Parameter]] = {}
    for parameter in parameters:
        if parameter.grad is not None:
            found.setdefault(parameter.shape, []).append(parameter)
    return found

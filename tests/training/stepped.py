"""A few steps on one batch: what tests of trainings begin with."""

from typing import Any

import torch


def losses_of(task: Any, steps: int = 4) -> list[dict[str, float]]:
    """The losses before each step. What is left has gradients from the last one."""
    task.module.train()
    optimizer = torch.optim.AdamW([p for p in task.module.parameters() if p.requires_grad], 1e-2)
    seen = []
    for _ in range(steps):
        optimizer.zero_grad()
        found = task.losses(task.batch(0))
        found["loss"].backward()
        optimizer.step()
        seen.append({name: float(loss.detach()) for name, loss in found.items()})
    return seen

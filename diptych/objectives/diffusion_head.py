"""A small network that draws one latent by diffusion, given a condition (MAR, arXiv 2406.11838; Harmon).

Official code: LTH14/mar, models/diffloss.py. n latents, c channels of a latent, C width of a condition.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from diptych.canvas import Draws
from diptych.objectives.ddpm import TIMES, Diffusion, thinned
from diptych.objectives.flow import waves

WAVES = 256  # width of the time's waves


def _mlp(width_in: int, width_out: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width_in, width_out), nn.SiLU(), nn.Linear(width_out, width_out))


class Modulated(nn.Module):
    """A residual MLP whose norm is shifted and scaled, and whose answer is weighed, by what it is told."""

    def __init__(self, width: int):
        super().__init__()
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.mlp = _mlp(width, width)
        self.modulation = nn.Linear(width, 3 * width)

    def forward(self, x: Tensor, told: Tensor) -> Tensor:
        shift, scale, gate = self.modulation(told).chunk(3, -1)
        return x + gate * self.mlp(self.norm(x) * (1 + scale) + shift)


class DiffusionHead(nn.Module):
    """x [n, c] at a time, and its condition [n, C] -> the noise in it and the range of its variance, [n, c] each."""

    def __init__(self, channels: int, condition: int, width: int, depth: int):
        super().__init__()
        self.channels, self.width = channels, width
        self.into = nn.Linear(channels, width)
        self.time = _mlp(WAVES, width)
        self.condition = nn.Linear(condition, width)
        self.blocks = nn.ModuleList(Modulated(width) for _ in range(depth))
        self.modulation = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, 2 * channels)

    def forward(self, x: Tensor, time: Tensor, condition: Tensor) -> tuple[Tensor, Tensor]:
        """time: one for all, or one a latent, in 0..999."""
        return self.predict(x, time, self.condition(condition.to(self.dtype)))

    def predict(self, x: Tensor, time: Tensor, condition: Tensor) -> tuple[Tensor, Tensor]:
        """`forward` where the condition [n, width] is embedded already: it is the same at every time."""
        told = F.silu(self.time(waves(time, WAVES).to(self.dtype)) + condition)
        h = self.into(x.to(self.dtype))
        for block in self.blocks:
            h = block(h, told)
        shift, scale = self.modulation(told).chunk(2, -1)
        noise, range_ = self.out(F.layer_norm(h, h.shape[-1:], eps=1e-6) * (1 + scale) + shift).float().chunk(2, -1)
        return noise, range_

    @property
    def dtype(self) -> torch.dtype:
        return self.into.weight.dtype


@dataclass(frozen=True)
class Denoising:
    """How latents are drawn through a head, and learned (a `Denoiser` for objectives/denoise.py).

    spacing: the times that are visited, as `ddpm.thinned` reads it; temperature: the share of the noise that is added
    between them; repeats: at how many times each latent is learned for one condition.
    """

    head: DiffusionHead
    spacing: str = "100"
    temperature: float = 1.0
    repeats: int = 4

    def sample(self, condition: Tensor, guide: Callable[[Tensor], Tensor], rows: list[int], draws: Draws) -> Tensor:
        """condition [G, n, C] -> [n, c]. The foretold noise is guided; the variance is that of the first branch."""
        branches, n, _ = condition.shape
        if not n:
            return torch.zeros(0, self.head.channels, device=condition.device)
        diffusion, embedded = thinned(self.spacing), self.head.condition(condition.to(self.head.dtype)).flatten(0, 1)
        x = self._noise(rows, draws, embedded)
        for k in reversed(range(len(diffusion.times))):
            time = torch.tensor([diffusion.times[k]], device=x.device)
            noise, range_ = self.head.predict(x.repeat(branches, 1), time, embedded)
            back = diffusion.back(x, guide(noise.unflatten(0, (branches, n))), range_[:n], k)
            fresh = self._noise(rows, draws, embedded)  # in the last step, too, as published, though nothing is added
            x = back.mean + (back.log_variance / 2).exp() * fresh * self.temperature if k else back.mean
        return x

    def loss(self, target: Tensor, condition: Tensor, rows: list[int], draws: Draws) -> Tensor:
        """The mean over latents, times and noises of the noise's squared error and the bound that teaches the variance.

        target [n, c], condition [n, C]. Draws for each latent its times, then its noises."""
        squared, bound = self.terms(target, condition, rows, draws)
        return (squared + bound).mean()

    def terms(self, target: Tensor, condition: Tensor, rows: list[int], draws: Draws) -> tuple[Tensor, Tensor]:
        """Squared error (mean over channels) and bound (bits a channel) of each time of each latent, [n * repeats]."""
        diffusion: Diffusion = thinned("")
        k = (draws.uniform(rows, self.repeats).flatten() * TIMES).long().clamp(max=TIMES - 1)
        noise = draws.normal(rows, self.repeats, self.head.channels).flatten(0, 1).to(target.device)
        clean = target.float().repeat_interleave(self.repeats, 0)
        x = diffusion.noised(clean, noise, k)
        embedded = self.head.condition(condition.to(self.head.dtype)).repeat_interleave(self.repeats, 0)
        found, range_ = self.head.predict(x, k.to(x.device), embedded)
        back = diffusion.back(x, found.detach(), range_, k)  # the bound teaches the variance alone
        return (noise - found).square().mean(1), diffusion.bound(clean, x, k, back)

    def _noise(self, rows: list[int], draws: Draws, like: Tensor) -> Tensor:
        return draws.normal(rows, self.head.channels).to(like.device)

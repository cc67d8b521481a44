"""Denoising diffusion with a learned variance, over all of its times or a thinned set of them.

DDPM (arXiv 2006.11239) with the cosine schedule, the learned range of variances and the thinned times of Improved DDPM
(2102.09672), as MAR and Harmon take it from openai/guided-diffusion (gaussian_diffusion.py, respace.py).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from diptych.errors import InputError

TIMES = 1000  # of the diffusion that is learned
BYTE = 1 / 255  # half the width of a bin in which data are counted, of [-1, 1] in 256


class Back(NamedTuple):
    """The distribution of the latent one time earlier, Float[n, c] each; `clean` is what it would be at the end."""

    clean: Tensor
    mean: Tensor
    log_variance: Tensor


class Diffusion:
    """The arithmetic of diffusion at ascending `times` of 0..999; index k means times[k].

    Tables are kept in float64 and used in float32.
    """

    def __init__(self, times: Sequence[int] = range(TIMES)):
        self.times = tuple(times)
        now = _signal()[list(times)]
        before = torch.cat([now.new_ones(1), now[:-1]])
        self.betas = beta = 1 - now / before
        variance = beta * (1 - before) / (1 - now)
        self._tables = {
            "signal": now.sqrt(),
            "noise": (1 - now).sqrt(),
            "clean_of_x": (1 / now).sqrt(),
            "clean_of_noise": (1 / now - 1).sqrt(),
            "mean_of_clean": beta * before.sqrt() / (1 - now),
            "mean_of_x": (1 - before) * (1 - beta).sqrt() / (1 - now),
            "most": beta.log(),
            "least": torch.cat([variance[1:2], variance[1:]]).log(),  # at k = 0 the variance would be 0
        }

    def noised(self, clean: Tensor, noise: Tensor, k: Tensor) -> Tensor:
        """Data [n, c] with noise of Int[n] indices."""
        return self._at("signal", k, clean) * clean + self._at("noise", k, clean) * noise

    def back(self, x: Tensor, noise: Tensor, range_: Tensor, k: int | Tensor) -> Back:
        """x [n, c] at index k, the noise foretold in it, and where in [-1, 1] between its bounds the log variance lies.
        Nothing is clipped."""
        clean = self._at("clean_of_x", k, x) * x - self._at("clean_of_noise", k, x) * noise
        mean = self._at("mean_of_clean", k, x) * clean + self._at("mean_of_x", k, x) * x
        share = (range_ + 1) / 2
        return Back(clean, mean, share * self._at("most", k, x) + (1 - share) * self._at("least", k, x))

    def bound(self, clean: Tensor, x: Tensor, k: Tensor, back: Back) -> Tensor:
        """The variational bound's term for each of n latents, in bits a channel: the divergence of `back` from what is
        true, given the data; at index 0 the data's likelihood."""
        mean = self._at("mean_of_clean", k, x) * clean + self._at("mean_of_x", k, x) * x
        least = self._at("least", k, x)
        apart = (mean - back.mean).square() * (-back.log_variance).exp()
        divergence = (back.log_variance - least - 1 + (least - back.log_variance).exp() + apart) / 2
        each = torch.where((k == 0).to(x.device)[:, None], -_log_likelihood(clean, back), divergence)
        return each.mean(1) / math.log(2)

    def _at(self, name: str, k: int | Tensor, like: Tensor) -> Tensor | float:
        table = self._tables[name]
        return table[k].item() if isinstance(k, int) else table[k.cpu()].float()[:, None].to(like.device)


def _signal() -> Tensor:
    """Float64[1000]: the share of the data's variance that is left at each time, by the cosine schedule."""

    def left(share: float) -> float:
        return math.cos((share + 0.008) / 1.008 * math.pi / 2) ** 2

    betas = [min(1 - left((i + 1) / TIMES) / left(i / TIMES), 0.999) for i in range(TIMES)]
    return (1 - torch.tensor(betas, dtype=torch.float64)).cumprod(0)


def _log_likelihood(clean: Tensor, back: Back) -> Tensor:
    """Log of the probability of the 1/255 around each channel of the data, whose ends reach to infinity."""
    narrow = (-back.log_variance / 2).exp()

    def below(edge: Tensor) -> Tensor:  # the normal distribution function, by a curve
        z = narrow * (edge - back.mean)
        return (1 + torch.tanh(math.sqrt(2 / math.pi) * (z + 0.044715 * z**3))) / 2

    upper, lower = below(clean + BYTE), below(clean - BYTE)
    inside = torch.where(clean > 0.999, 1 - lower, upper - lower)
    return torch.where(clean < -0.999, upper, inside).clamp(min=1e-12).log()


@lru_cache
def thinned(spacing: str) -> Diffusion:
    """The diffusion at a part of the 1000 times, as published configs spell it: "" all of them, "100" so many evenly
    from first to last, "10,20" so many of each equal section, "ddim8" every so many, 8 in all.

    Raises InputError for another spelling.
    """
    if not spacing:
        return Diffusion()
    wrong = InputError(f'diffusion steps of {spacing!r} are not understood; use a number such as "100", or "ddim50"')
    count = spacing.removeprefix("ddim")
    if not all(part.strip().isdigit() and 0 < int(part) <= TIMES for part in count.split(",")):
        raise wrong
    if count == spacing:
        return Diffusion(_sections([int(part) for part in count.split(",")]))
    every = next((s for s in range(1, TIMES) if count.isdigit() and len(range(0, TIMES, s)) == int(count)), None)
    if every is None:
        raise wrong
    return Diffusion(range(0, TIMES, every))


def _sections(counts: Sequence[int]) -> list[int]:
    times, begin = list[int](), 0
    for i, count in enumerate(counts):
        size = TIMES // len(counts) + (i < TIMES % len(counts))
        if count > size:
            raise InputError(f"{count} diffusion steps cannot be had from a section of {size} times; use fewer")
        stride = 1.0 if count == 1 else (size - 1) / (count - 1)
        place = 0.0
        for _ in range(count):
            times.append(begin + round(place))
            place += stride  # added up as published: products would round otherwise
        begin += size
    return times

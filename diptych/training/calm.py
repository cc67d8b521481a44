"""One code for each colour of empty canvas, after a tokenizer was trained.

A trained codebook spells the same flat background with many neighbouring entries, and a model that draws must then
learn which; that is chance, not content. Here each background gets one entry, its latents' mean; entries that serve
mostly flat places are moved next to busy ones, where they describe objects.
"""

from __future__ import annotations

from random import Random

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from diptych.data.worlds.emoji.mosaics import scene
from diptych.data.worlds.emoji.render import render
from diptych.data.worlds.emoji.rules import BACKGROUNDS
from diptych.data.worlds.emoji.sampling import Sampler
from diptych.tokenizers.codes import VQ, VisualTokenizer

SHARE = 0.5  # an entry that serves flat places in more than this share of its uses is moved
SPREAD = 0.15  # how far from a busy entry, on the unit sphere


@torch.no_grad()
def calmed(
    tokenizer: VisualTokenizer, pictures: int = 1200, size: int = 64, rounds: int = 3, seed: str = "merge"
) -> int:
    """Change a tokenizer's codebook in place; returns how many entries were moved. Encoder and decoder stay."""
    rng, sampler = Random(seed), Sampler("train")
    scenes = [scene(rng, sampler, 0.8) for _ in range(pictures)]
    images = np.stack([render(s, size) for s in scenes])
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2)
    z = torch.cat([tokenizer.quantise(part.float() / 127.5 - 1).z for part in pixels.split(64)])
    side = size // tokenizer.factor
    flat = np.stack([_flat(image, s.bg, side) for image, s in zip(images, scenes, strict=True)])
    backgrounds = np.array([list(BACKGROUNDS).index(s.bg) for s in scenes])
    main: dict[int, int] = {}
    moved: set[int] = set()
    for number in range(rounds):
        codes = tokenizer.quantiser.encode(z).numpy()
        _settle(tokenizer.quantiser, z, flat, backgrounds, main)
        moved |= _idle(codes, flat, set(main.values()), len(tokenizer.quantiser.codebook))
        _move(tokenizer.quantiser, codes, flat, moved, set(main.values()), number)
    return len(moved)


def _flat(image: np.ndarray, background: str, side: int) -> np.ndarray:
    """Bool[side, side]: places where the image shows the background and nothing else."""
    bare = (image == np.array(BACKGROUNDS[background])).all(-1)
    return bare.reshape(side, len(image) // side, side, -1).all((1, 3))


def _settle(vq: VQ, z: Tensor, flat: np.ndarray, backgrounds: np.ndarray, main: dict[int, int]) -> None:
    """Each background's entry: the one nearest to the mean latent of its flat places, moved onto that mean."""
    for background in range(len(BACKGROUNDS)):
        if background not in main:
            here = torch.from_numpy(flat & (backgrounds == background)[:, None, None])
            mean = F.normalize(z.movedim(1, -1)[here].mean(0), dim=0)
            main[background] = int(vq.encode(mean[None, :, None, None]).item())
            vq.codebook.data[main[background]] = mean


def _idle(codes: np.ndarray, flat: np.ndarray, main: set[int], size: int) -> set[int]:
    uses, flat_uses = np.bincount(codes.ravel(), minlength=size), np.bincount(codes[flat], minlength=size)
    return {k for k in range(size) if flat_uses[k] > SHARE * max(uses[k], 1) and uses[k] > 0 and k not in main}


def _move(vq: VQ, codes: np.ndarray, flat: np.ndarray, moved: set[int], main: set[int], seed: int) -> None:
    """Beside the entries that objects use most."""
    busy = np.bincount(codes[~flat], minlength=len(vq.codebook))
    targets = [k for k in np.argsort(-busy) if k not in moved and k not in main][: max(1, len(moved))]
    generator = torch.Generator().manual_seed(seed)
    for k, target in zip(sorted(moved), targets * 10, strict=False):
        near = F.normalize(vq.codebook.data[target], dim=0)
        vq.codebook.data[k] = F.normalize(near + SPREAD * torch.randn(len(near), generator=generator), dim=0)

"""Visual tokenizers at their published sizes beside diffusers' classes with the same weights: encoding and decoding.

The peers are diffusers' `AutoencoderKL` (SDXL's sizes) and `VQModel` (Amused's and Muddit's), in their best memory
format here. The floor is left out: convolutions' products depend on the kernel that is chosen.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor

from benchmarks.harness import Amounts, Ceilings, Result, measured
from diptych.models.layouts_diffusers import AUTOENCODER_KL, VQMODEL
from diptych.tokenizers.diffusers import autoencoder_kl, vqmodel

SIDE = 256
SDXL = {
    "in_channels": 3,
    "out_channels": 3,
    "block_out_channels": (128, 256, 512, 512),
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "layers_per_block": 2,
    "latent_channels": 4,
    "scaling_factor": 0.13025,
}
AMUSED = {
    "in_channels": 3,
    "out_channels": 3,
    "block_out_channels": (128, 256, 256, 512, 768),
    "down_block_types": ("DownEncoderBlock2D",) * 5,
    "up_block_types": ("UpDecoderBlock2D",) * 5,
    "layers_per_block": 2,
    "latent_channels": 64,
    "num_vq_embeddings": 8192,
    "mid_block_add_attention": False,
    "lookup_from_codebook": True,
    "force_upcast": True,
}


def pair(kind: str) -> tuple[Any, Any]:
    """Ours and diffusers', one set of weights."""
    import diffusers

    torch.manual_seed(0)
    if kind == "KL":
        theirs, ours, layout = diffusers.AutoencoderKL(**SDXL), autoencoder_kl(SDXL), AUTOENCODER_KL
    else:
        theirs, ours, layout = diffusers.VQModel(**AMUSED), vqmodel(AMUSED), VQMODEL
    ours.load_state_dict(layout.read(theirs.state_dict()))
    return ours.eval().requires_grad_(False), theirs.eval().requires_grad_(False)


@torch.inference_mode()
def encoded(side: Any, pixels: Tensor, kind: str, peer: bool) -> Tensor:
    if not peer:
        return side.encode(pixels)
    found = side.encode(pixels)
    if kind == "KL":
        return found.latent_dist.mode() * SDXL["scaling_factor"]
    return side.quantize(found.latents)[2][2].view(len(pixels), -1)


@torch.inference_mode()
def decoded(side: Any, slots: Tensor, kind: str, peer: bool) -> Tensor:
    if not peer:
        return side.decode(slots)
    if kind == "KL":
        return side.decode(slots / SDXL["scaling_factor"]).sample
    return side.decode(slots, force_not_quantize=True, shape=(len(slots), *slots.shape[1:], 64)).sample


def run(limits: Ceilings, amounts: Amounts) -> list[Result]:
    results, side = [], SIDE // 4 if amounts.quick else SIDE
    for kind, name in (("KL", "SDXL's KL autoencoder"), ("VQ", "VQModel of Amused and Muddit")):
        ours, theirs = pair(kind)
        pixels = torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(0)) * 2 - 1
        slots = encoded(ours, pixels, kind, False)
        same = float((slots.flatten() - encoded(theirs, pixels, kind, True).flatten()).abs().max())
        for what, job, given in (("encoding", encoded, pixels), ("decoding", decoded, slots)):
            sides = partial(job, ours, given, kind, False), partial(job, theirs, given, kind, True)
            note = f"float32, {side} pixels; slots differ from theirs by {same:.0e} at most"
            results.append(measured(f"{name}, {what}", "pictures", 1, *sides, amounts.repeats, None, note))
    return results

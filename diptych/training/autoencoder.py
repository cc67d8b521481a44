"""Train a KL autoencoder of FLUX' shape on pictures of the emoji world: latents for models that write by flow.

No discriminator, as in `diptych.training.visual`. What it leaves has latents of unit spread: their scale is folded into
the last convolution of the encoder and the first of the decoder, so a config needs neither scale nor shift.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from diptych.encoders.preprocess import to_uint8
from diptych.models.layouts import compvis
from diptych.storage import replacing
from diptych.tokenizers.flux import PUBLISHED, flux_tokenizer
from diptych.tokenizers.latents import LatentTokenizer
from diptych.training.loop import Result
from diptych.training.pictures import Pictures, TokenizerTask, begun, encoded, held_out, psnr, sheet, signed
from diptych.training.recipes import fields
from diptych.weights.layout import Layout

UNSCALED = {"scale_factor": 1.0, "shift_factor": 0.0}


@dataclass(frozen=True)
class Losses:
    """Weights of the losses: on pixels as in `diptych.training.visual`, `features` on what the teacher sees, and `kl`,
    the mean over latents of their distance from a standard normal."""

    absolute: float = 1.0
    squared: float = 2.0
    edges: float = 0.5
    hue: float = 0.0
    features: float = 0.0
    kl: float = 1e-3


class Learner(nn.Module):
    def __init__(self, tokenizer: LatentTokenizer) -> None:
        super().__init__()
        self.tokenizer = tokenizer


class AutoencoderTask(TokenizerTask):
    """A `diptych.training.task.Task`, with reports. params: what differs from FLUX' published autoencoder."""

    def __post_init__(self) -> None:
        super().__post_init__()
        tokenizer = flux_tokenizer(self.params | UNSCALED)
        if self.start is not None:
            tokenizer.load_state_dict(names(self.params).read(load_file(self.start)))
        self.module = Learner(tokenizer)

    def losses(self, batch: Pictures) -> dict[str, Tensor]:
        tokenizer = self.module.tokenizer
        pixels = signed(batch.pixels).to(tokenizer.decoder.conv_in.weight.device)
        both = encoded(lambda x: torch.cat(tokenizer.moments(x), 1), tokenizer.factor, batch, pixels.device)
        mean, logvar = both.float().chunk(2, dim=1)
        rebuilt = tokenizer.decode(mean + torch.exp(0.5 * logvar) * torch.randn_like(mean)).float()
        losses = self.rebuilding(rebuilt, pixels)
        losses["kl"] = 0.5 * (mean.square() + logvar.exp() - 1 - logvar).mean()
        return {"loss": self.weighed(losses), **losses}

    def report(self, step: int, module_ema: nn.Module, folder: Path) -> dict[str, float]:
        """Held-out pictures through the averaged weights; leaves a sheet of pictures and their reconstructions."""
        assert isinstance(module_ema, Learner)
        pixels = held_out(256, self.data.size)
        latents, rebuilt = through(module_ema.tokenizer, pixels)
        sheet(pixels, rebuilt, folder / f"step_{step:06d}.png")
        return {"psnr": psnr(rebuilt, pixels), "spread": latents.std().item()}


def task(recipe: dict[str, Any]) -> AutoencoderTask:
    """The task of a recipe: tables `model` (the terms of FLUX' code: ch, ch_mult, num_res_blocks, z_channels), `data`,
    `losses`. `start`: an `ae.safetensors` to go on from; `teacher`: the folder of a trained encoder."""
    fields(recipe.get("model", {}), PUBLISHED.keys() - UNSCALED.keys(), "[model]")
    return AutoencoderTask(**begun(recipe, Losses))


def finish(task: AutoencoderTask, result: Result, out: Path) -> None:
    """Leaves `ae.safetensors` with the averaged weights under FLUX' names, and `ae.json` with their sizes."""
    assert isinstance(result.module, Learner)
    tokenizer = result.module.tokenizer
    even(tokenizer, held_out(256, task.data.size))
    theirs = names(task.params)
    published = theirs.write(tokenizer.state_dict(), theirs.published(tokenizer.state_dict()))
    with replacing(out / "ae.safetensors") as draft:
        save_file({name: tensor.contiguous() for name, tensor in published.items()}, draft)
    with replacing(out / "ae.json") as draft:
        draft.write_text(json.dumps(task.params | UNSCALED, indent=2) + "\n", "utf-8")


def names(params: dict[str, Any]) -> Layout:
    """FLUX' names of an autoencoder's tensors, and ours."""
    return compvis(len((PUBLISHED | params)["ch_mult"]))


@torch.no_grad()
def even(tokenizer: LatentTokenizer, pixels: Tensor) -> None:
    """Give the latents of these pictures a spread of 1 by the convolutions on both sides of them."""
    spread = through(tokenizer, pixels)[0].std()
    out, into = tokenizer.encoder.conv_out, tokenizer.decoder.conv_in
    half = out.weight.shape[0] // 2
    out.weight[:half] /= spread
    assert out.bias is not None
    out.bias[:half] /= spread
    out.bias[half:] -= 2 * math.log(float(spread))
    into.weight *= spread


@torch.no_grad()
def through(tokenizer: LatentTokenizer, pixels: Tensor) -> tuple[Tensor, Tensor]:
    """UInt8[B, 3, H, W] -> the means of its latents, and what they are decoded to, UInt8."""
    device = tokenizer.decoder.conv_in.weight.device
    parts = [tokenizer.encode(signed(part).to(device)) for part in pixels.split(32)]
    rebuilt = [to_uint8(tokenizer.decode(part), "round").permute(0, 3, 1, 2).cpu() for part in parts]
    return torch.cat(parts).float(), torch.cat(rebuilt)

"""Train a VQ tokenizer of the VQ-16 shape on pictures of the emoji world.

There is no discriminator: the world's pictures are flat colours and crisp edges, which absolute, squared and edge
differences hold better than they hold photographs. What must be recognised, a frozen encoder can ask for.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from diptych.data.worlds.emoji.render import render
from diptych.data.worlds.emoji.rules import BACKGROUNDS, STYLES
from diptych.data.worlds.emoji.scene import Scene
from diptych.encoders.preprocess import to_uint8
from diptych.errors import TrainingError
from diptych.models.layouts import LLAMAGEN_VQ
from diptych.models.vq_models import vq16
from diptych.storage import replacing
from diptych.tokenizers.codes import VQ, VisualTokenizer
from diptych.training.calm import calmed
from diptych.training.loop import Result
from diptych.training.pictures import Pictures, TokenizerTask, begun, encoded, held_out, psnr, sheet, signed
from diptych.weights.layout import Layout

PREFIX = "gen_vision_model."  # of the tokenizer's tensors in a Janus checkpoint


@dataclass(frozen=True)
class Losses:
    """Weights of the losses, and how the codebook is kept alive.

    `absolute`, `squared`, `edges` compare pixels; `features` compares what the teacher sees (0 without a teacher);
    `calm` draws places of one flat colour to one entry, so that empty canvas is written with one code per colour.
    For the first `continuous` steps nothing is quantised; then the codebook is filled with latents of one batch. Until
    step `restart_until` an entry that no place has chosen for `patience` steps becomes a latent of the current batch.
    """

    absolute: float = 1.0
    squared: float = 2.0
    edges: float = 0.5
    hue: float = 0.0
    features: float = 0.0
    calm: float = 0.0
    quantiser: float = 1.0
    continuous: int = 200
    patience: int = 100
    restart_until: int = 2000


class Learner(nn.Module):
    """The tokenizer and how long each entry of its codebook has waited to be chosen, in steps."""

    idle: Tensor

    def __init__(self, tokenizer: VisualTokenizer) -> None:
        super().__init__()
        self.tokenizer = tokenizer
        self.register_buffer("idle", torch.zeros(len(tokenizer.quantiser.codebook), dtype=torch.int64))


class VisualTask(TokenizerTask):
    """A `diptych.training.task.Task`, with reports. params: gen_vision_config.params of a Janus config."""

    def __post_init__(self) -> None:
        super().__post_init__()
        tokenizer = vq16(self.params)
        if self.start is not None:
            tokenizer.load_state_dict(LLAMAGEN_VQ.under(PREFIX, "").read(load_file(self.start)))
        self.module = Learner(tokenizer)

    def losses(self, batch: Pictures) -> dict[str, Tensor]:
        tokenizer, weights = self.module.tokenizer, self.weights
        pixels = signed(batch.pixels).to(tokenizer.quantiser.codebook.device)
        latent = encoded(tokenizer.latent, tokenizer.factor, batch, pixels.device)
        if quantised := batch.step >= weights.continuous:
            self.revive(latent.detach(), batch.step)
        found = tokenizer.quantiser.quantise(latent)
        rebuilt = tokenizer.rebuild(found.quant if quantised else found.z).float()
        losses = self.rebuilding(rebuilt, pixels)
        if quantised:
            losses["calm"] = calm(found.z, batch.pixels, tokenizer.quantiser)
        loss = self.weighed(losses)
        if quantised:
            loss = loss + weights.quantiser * torch.stack([*found.losses.values()]).sum()
            losses |= found.losses
        return {"loss": loss, **losses, "dead": (self.module.idle > weights.patience).float().mean()}

    @torch.no_grad()
    def revive(self, latent: Tensor, step: int) -> None:
        """Counts how long entries have been idle, and gives those that waited too long a new place."""
        first, idle = 0 < self.weights.continuous == step, self.module.idle
        found = self.module.tokenizer.quantiser.quantise(latent)
        idle += 1
        idle[found.codes.flatten()] = 0
        if step >= self.weights.restart_until:
            return
        dead = torch.ones_like(idle, dtype=torch.bool) if first else idle > self.weights.patience
        chosen = spread(found.z, found.codes, int(dead.sum()), step)
        where = dead.nonzero().flatten()[: len(chosen)]
        self.module.tokenizer.quantiser.codebook[where] = chosen
        idle[where] = 0

    def report(self, step: int, module_ema: nn.Module, folder: Path) -> dict[str, float]:
        """Held-out pictures through the averaged weights; leaves a sheet of pictures and their reconstructions."""
        assert isinstance(module_ema, Learner)
        pixels = held_out(256, self.data.size)
        values, rebuilt = measure(module_ema.tokenizer, pixels)
        values["flat_codes"] = flat_codes(module_ema.tokenizer, self.data.size)
        sheet(pixels, rebuilt, folder / f"step_{step:06d}.png")
        return values


def task(recipe: dict[str, Any]) -> VisualTask:
    """The task of a recipe: tables `model` (gen_vision_config.params of a Janus config), `data`, `losses`.

    `start`: a `vq.safetensors` to go on from; `teacher`: the folder of a trained encoder for the loss `features`.
    """
    if "model" not in recipe:
        raise TrainingError(
            "a recipe for a visual tokenizer needs a table [model], as gen_vision_config.params of Janus"
        )
    return VisualTask(**begun(recipe, Losses))


def finish(task: VisualTask, result: Result, out: Path) -> None:
    """Leaves `vq.safetensors` with the averaged weights under Janus' names, and `vq.json` with their sizes.

    A tokenizer that was trained to be calm on empty canvas ends with one code for each of its colours.
    """
    assert isinstance(result.module, Learner)
    if task.weights.calm:
        calmed(result.module.tokenizer)
    config = {"cls": "VQ-16", "model_type": "gen_vision", "params": task.params}
    with replacing(out / "vq.safetensors") as draft:
        save_file(published(result.module.tokenizer), draft)
    with replacing(out / "vq.json") as draft:
        draft.write_text(json.dumps(config, indent=2) + "\n", "utf-8")


def published(tokenizer: VisualTokenizer) -> dict[str, Tensor]:
    """A tokenizer's tensors under the names they have in a Janus checkpoint."""
    names = Layout({rule.ours[0]: PREFIX + theirs for theirs, rule in LLAMAGEN_VQ.rules.items() if rule is not None})
    return {name: tensor.contiguous() for name, tensor in names.read(tokenizer.state_dict()).items()}


def calm(z: Tensor, pixels: Tensor, quantiser: VQ) -> Tensor:
    """How far places of one flat colour are from the entry nearest to their mean: 1 - cosine, mean over such places.

    z Float[B, C, h, w] of unit length, pixels UInt8[B, 3, H, W].
    """
    side = pixels.shape[-1] // z.shape[-1]
    blocks = F.pixel_unshuffle(pixels.float(), side).unflatten(1, (3, -1)).movedim((1, 2), (3, 4)).flatten(0, 2)
    flat = (blocks.amax(2) == blocks.amin(2)).all(1)
    if not flat.any():
        return z.sum() * 0.0
    places = z.movedim(1, -1).flatten(0, -2)[flat.to(z.device)]
    _, color = blocks[flat, :, 0].unique(dim=0, return_inverse=True)
    color = color.to(z.device)
    with torch.no_grad():
        sums = places.new_zeros(int(color.max()) + 1, places.shape[1]).index_add(0, color, places)
        targets = quantiser.decode(quantiser.encode(sums[..., None, None]))[..., 0, 0]
    return (1 - (places * targets[color]).sum(1)).mean()


def spread(z: Tensor, codes: Tensor, count: int, seed: int) -> Tensor:
    """Up to `count` different places' latents [n, C], rare codes first: each code in use has the same chance."""
    places, flat = z.movedim(1, -1).flatten(0, -2), codes.flatten()
    odds = 1.0 / torch.bincount(flat)[flat].float()
    count = min(count, len(places))
    if not count:
        return places[:0]
    rng = torch.Generator().manual_seed(seed)
    return places[torch.multinomial(odds.cpu(), count, generator=rng).to(places.device)]


@torch.no_grad()
def measure(tokenizer: VisualTokenizer, pixels: Tensor) -> tuple[dict[str, float], Tensor]:
    """PSNR in dB (mean over pictures), codes in use and the perplexity of their use; and the reconstructions, UInt8."""
    device = tokenizer.quantiser.codebook.device
    codes = [tokenizer.encode(signed(part).to(device)) for part in pixels.split(32)]
    rebuilt = torch.cat([to_uint8(tokenizer.decode(part), "round").permute(0, 3, 1, 2).cpu() for part in codes])
    share = torch.bincount(torch.cat(codes).flatten()).float()
    share = share[share > 0] / share.sum()
    entropy = -(share * share.log()).sum().item()
    return {"psnr": psnr(rebuilt, pixels), "codes_used": float(len(share)), "perplexity": math.exp(entropy)}, rebuilt


@torch.no_grad()
def flat_codes(tokenizer: VisualTokenizer, size: int) -> float:
    """Different codes an empty canvas is written with, averaged over the backgrounds; 1 is best."""
    shown = [render(Scene(STYLES[0], name, ()), size) for name in BACKGROUNDS]
    pixels = signed(torch.from_numpy(np.stack(shown)).permute(0, 3, 1, 2))
    codes = tokenizer.encode(pixels.to(tokenizer.quantiser.codebook.device))
    return sum(len(row.unique()) for row in codes) / len(codes)

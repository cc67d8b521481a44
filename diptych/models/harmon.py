"""Harmon (arXiv 2503.21979): one MAR encoder reads pictures and shows those being written; Qwen2.5 thinks in between.

A picture is a grid of latents, written some at a time in random order: a diffusion head draws each from what MAR's
decoder says of its place. Official code: wusize/Harmon, src/models/{harmon,harmon_dev}.py, src/models/mar,
scripts/{image2text,text2image}.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from PIL import Image as Pillow
from torch import Tensor, nn

from diptych.backbone.transformer import Backbone
from diptych.canvas import Canvas, Port, Step, Writer, selected
from diptych.encoders.masked_autoencoder import MaskedAutoencoder
from diptych.encoders.preprocess import Preprocess, Square
from diptych.errors import InputError
from diptych.models import layouts, mar
from diptych.models.family import Dialogue, Family, Options
from diptych.models.network import Ids, Made, Network, Piece, Seen
from diptych.models.ports import Words
from diptych.models.qwen import qwen2
from diptych.models.registry import read_json
from diptych.objectives.denoise import Denoised
from diptych.objectives.diffusion_head import Denoising, DiffusionHead
from diptych.objectives.tokens import Token, argmax, sample
from diptych.samplers.guidance import alone, cfg
from diptych.samplers.schedules import cosine64, raster, reveal
from diptych.tokenizers.absent import text_tokenizer
from diptych.tokenizers.latents import LatentTokenizer
from diptych.types import Image, Request, Turn
from diptych.weights.layout import Layout


class Mark(str):
    """A special token that the template puts there."""


START, END = Mark("<|im_start|>"), Mark("<|im_end|>")
GUIDANCE, VISITS, LARGER = 3.0, 64, 2  # scripts/text2image.py; pictures of 512 where the tables are made for 256
READING = 0.1  # harmon_dev.py, grad_scale: how much of their gradient reading texts sends into MAR's encoder
PENALTY = 1.1  # repetition_penalty of Qwen2.5's generation_config.json


class LatentSlots(Port):
    """Tokens: the known slots, then MAR's buffer, so that their number grows from visit to visit. What the backbone
    answers is added to what the encoder said of the slots; the decoder goes on from there."""

    def __init__(self, autoencoder: MaskedAutoencoder, into: nn.Module, out: nn.Module):
        super().__init__()
        self.autoencoder, self.into, self.out = autoencoder, into, out

    def tokens(self, latents: Tensor, known: Tensor, grid: tuple[int, ...]) -> tuple[Tensor, Tensor]:
        """Latents [B, N, C] of which `known` Bool[B, N] -> tokens [B, n, D], and what the encoder said."""
        encoded = self.autoencoder.encode(latents, known, grid)
        return self.autoencoder.buffer_last(self.into(encoded), known), encoded

    def embed(self, canvas: Canvas, step: Step) -> tuple[Tensor, Any]:
        tokens, encoded = self.tokens(canvas.value, canvas.known, canvas.grid)
        return tokens, (encoded, canvas.known, canvas.grid)

    def joined(self, hidden: Tensor, encoded: Tensor, known: Tensor) -> Tensor:
        """Answers of the backbone and the encoder's output, [R, n, D] and [R, n, E] -> [R, n, E]."""
        return encoded + self.out(self.autoencoder.buffer_first(hidden, known))

    def head(self, hidden: Tensor, memo: Any, where: Tensor | None = None) -> Tensor:
        encoded, known, grid = memo
        return selected(self.autoencoder.decode(self.joined(hidden, encoded, known), known, grid), where)


class HarmonNetwork(Network):
    """draw: MAR with the ways into and out of the backbone. denoiser: the diffusion head. tokenizer: KL-16.

    patch: latents of KL-16 along each side that are one slot."""

    def __init__(
        self, backbone: Backbone, draw: LatentSlots, denoiser: DiffusionHead, tokenizer: LatentTokenizer, patch: int
    ):
        super().__init__()
        self.backbone, self.draw, self.denoiser, self.tokenizer = backbone, draw, denoiser, tokenizer
        self.patch = patch

    @property
    def factor(self) -> int:
        """Pixels per slot along each side."""
        return self.tokenizer.factor * self.patch

    def see(self, pictures: list[Tensor]) -> list[Tensor]:
        if len({picture.shape for picture in pictures}) > 1:
            return [tokens for picture in pictures for tokens in self.see([picture])]
        pixels = torch.stack(pictures).to(self.device, self.dtype)
        tokens = self._tokens(self.encode(pixels), tuple(side // self.factor for side in pixels.shape[-2:]))
        if tokens.requires_grad:
            tokens.register_hook(lambda gradient: gradient * READING)
        return list(tokens)

    def recall(self, made: list[Made]) -> list[Tensor]:
        return [self._tokens(m.slots[None].to(self.device), m.grid)[0] for m in made]

    def _tokens(self, slots: Tensor, grid: tuple[int, ...]) -> Tensor:
        known = torch.ones(slots.shape[:2], dtype=torch.bool, device=slots.device)
        return self.draw.tokens(slots, known, grid)[0]

    def decode(self, slots: Tensor, grid: tuple[int, ...]) -> Tensor:
        return self.tokenizer.decode(F.pixel_shuffle(slots.transpose(1, 2).unflatten(2, grid), self.patch))

    def encode(self, pixels: Tensor) -> Tensor:
        """Pixels [B, 3, H, W] in [-1, 1] -> the slots that would write them, Float[B, N, C], row by row."""
        return F.pixel_unshuffle(self.tokenizer.encode(pixels), self.patch).flatten(2).transpose(1, 2)


def two_layers(width_in: int, width: int, width_out: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width_in, width), nn.SiLU(), nn.Linear(width, width_out))


class HarmonDialogue(Dialogue):
    """Qwen2.5's turns without a system prompt; a picture stands on a line of its own before the question."""

    can = frozenset({"chat", "generate", "inpaint"})

    def __init__(self, folder: Path, config: dict[str, Any], network: HarmonNetwork, settings: dict[str, Any]):
        """folder: the tokenizer's; settings: generation_config.json, as far as there is one."""
        self.network, self.tokenizer = network, text_tokenizer(folder)
        named = self.tokenizer.eos
        self.ending = config["llm"]["eos_token_id"] if named is None else named
        self.stops = frozenset({self.ending})
        self.penalty = settings.get("repetition_penalty", PENALTY)
        self.spacing, self.repeats = config["mar"]["num_sampling_steps"], config["mar"]["diffusion_batch_mul"]
        self.least = config["mar"]["mask_ratio_min"]
        side = LARGER * config["mar"]["img_size"]
        self.image_size = (side, side)
        self.preprocess = Preprocess((Square(side),))

    def render(self, request: Request, said: Sequence[Piece] = (), branch: str = "full") -> list[Piece]:
        if request.want != "image":
            return [*self._turns(request.turns), *said]
        if any(turn.images for turn in request.turns):
            raise InputError("this model draws from words alone; to change a part of a picture give edit a mask")
        prompt = f"Generate an image: {request.turns[-1].text}" if branch == "full" else "Generate an image."
        return self._turns([Turn.user(prompt)])

    def _turns(self, turns: Sequence[Turn]) -> list[Piece]:
        """The template's marks, strings and pictures, and the opened reply; a picture ends its line."""
        parts: list[str | Image] = []
        for turn in turns:
            said = [x for part in turn.parts for x in ((part, "\n") if isinstance(part, Image) else (part.text,))]
            parts += [START, f"{turn.role}\n", *said, END, "\n"]
        return self._pieces([*parts, START, "assistant\n"])

    def _pieces(self, parts: Sequence[str | Image]) -> list[Piece]:
        """Text between marks is encoded as one string, as published; a mark that a person wrote is text."""
        pieces, ids = list[Piece](), list[int]()
        for kind, group in groupby(parts, key=type):
            for part in ["".join(map(str, group))] if kind is str else group:
                if isinstance(part, Image):
                    pieces += [Ids(ids), Seen(self.preprocess(part.pixels))]
                    ids = []
                else:
                    ids += [self.tokenizer.special(part)] if isinstance(part, Mark) else self._encode(part)
        return [*pieces, Ids(ids)]

    def _encode(self, text: str) -> list[int]:
        return self.tokenizer.encode(text, frame=False, specials=False) if text else []

    def text(self, options: Options) -> Writer:
        pick = argmax if not options.temperature else sample(options.temperature, options.top_k, options.top_p)
        stops = torch.tensor(sorted(self.stops))

        def ended(canvas: Canvas, step: Step) -> Tensor:
            return torch.isin(canvas.value[:, step.index], stops.to(canvas.value.device))

        return Writer(Words(self.network.backbone, lag=1), Token(pick, self.penalty), raster, alone, stop=ended)

    def image(self, options: Options) -> Writer:
        """steps: visits to the canvas; how often each latent is denoised is for the config to say."""
        temperature = 1.0 if options.temperature is None else options.temperature
        denoiser = Denoising(self.network.denoiser, self.spacing, temperature, self.repeats)
        objective = Denoised(denoiser, self.network.denoiser.channels, "random", self.least)
        guidance, schedule = self._guidance(options), reveal(options.steps or VISITS, cosine64)
        guide = alone if guidance == 1 else cfg(guidance)
        return Writer(self.network.draw, objective, schedule, guide, "random")

    def branches(self, request: Request, options: Options) -> tuple[str, ...]:
        return ("full",) if self._guidance(options) == 1 else ("full", "no_text")

    def grid(self, options: Options) -> tuple[int, ...]:
        size, factor = options.size or self.image_size, self.network.factor
        if min(size) < factor or any(side % factor for side in size):
            raise InputError(
                f"this model writes pictures whose sides are multiples of {factor}, not {size}; round them"
            )
        return tuple(side // factor for side in size)

    def source(self, image: Pillow.Image) -> Tensor:
        return self.preprocess(image)

    def pictures(self, pixels: Tensor) -> list[Pillow.Image]:
        """Rounded to the nearest of 256 values, halves up."""
        whole = (127.5 * pixels.float() + 128).clamp(0, 255).to(torch.uint8).movedim(1, -1)
        return [Pillow.fromarray(p) for p in whole.cpu().numpy()]

    def _guidance(self, options: Options) -> float:
        return GUIDANCE if options.guidance is None else options.guidance


class Harmon(Family):
    name = "harmon"
    checkpoints = ("wusize/Harmon-0_5B", "wusize/Harmon-1_5B")

    @classmethod
    def recognises(cls, config: dict[str, Any], folder: Path) -> bool:
        return config.get("model_type") == "harmon"

    @classmethod
    def completed(cls, config: dict[str, Any], shapes: Mapping[str, Sequence[int]]) -> dict[str, Any]:
        return config | {"mar": mar.DEFAULTS | config.get("mar", {}), "vae": mar.KL16 | config.get("vae", {})}

    @classmethod
    def build(cls, config: dict[str, Any]) -> HarmonNetwork:
        c, backbone, tokenizer = config["mar"], Backbone(qwen2(config["llm"])), mar.kl16(config["vae"])
        autoencoder = MaskedAutoencoder(mar.autoencoder(c))
        width, encoded = backbone.config.width, autoencoder.config.encoder.width
        denoiser = DiffusionHead(
            autoencoder.config.channels, autoencoder.config.decoder.width, c["diffloss_w"], c["diffloss_d"]
        )
        draw = LatentSlots(autoencoder, two_layers(encoded, width, width), two_layers(width, width, encoded))
        return HarmonNetwork(backbone, draw, denoiser, tokenizer, c["patch_size"])

    @classmethod
    def layout(cls, config: dict[str, Any]) -> Layout:
        return (
            layouts.LLAMA.under("llm.", "backbone.")
            | mar.AUTOENCODER_NAMES.under("mar.", "draw.autoencoder.")
            | mar.DIFFUSION_HEAD_NAMES.under("mar.diffloss.net.", "denoiser.")
            | mar.kl16_names(len(config["vae"]["ch_mult"])).under("vae.", "tokenizer.")
            | Layout({"proj_in.#.*": "draw.into.#.*", "proj_out.#.*": "draw.out.#.*"})
        )

    @classmethod
    def dialogue(cls, folder: Path, config: dict[str, Any], network: Network) -> HarmonDialogue:
        assert isinstance(network, HarmonNetwork)
        stated = folder / "generation_config.json"
        return HarmonDialogue(folder, config, network, read_json(stated) if stated.is_file() else {})

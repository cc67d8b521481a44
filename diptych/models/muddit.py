"""Muddit (arXiv 2505.23606): masked diffusion of text and images by one MM-DiT, grown out of Meissonic.

Official code: M-E-AGI-Lab/Muddit, src/{transformer,scheduler,pipeline}.py, train/{train_unified,instruction_tuning}.py.
A model folder is a diffusers pipeline. Text and image are two streams of one visit: whichever is written is the canvas,
the other is context. CLIP's text tower reads the text, anew in every visit where it is the text that is written.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from PIL import Image as Pillow
from torch import Tensor, nn

from diptych.backbone.codegrid import CodesIn, CodesOut
from diptych.backbone.mmdit import CONDITION, IMAGE, TEXT, MMDiT, MMDiTConfig, two_layers
from diptych.backbone.packing import Segment
from diptych.backbone.transformer import RMSNorm
from diptych.canvas import Given, Schedule, Writer
from diptych.encoders.clip_text import CLIPText, clip_text
from diptych.encoders.preprocess import Preprocess, to_uint8
from diptych.errors import InputError, WeightsError
from diptych.models.family import Dialogue, Family, Options
from diptych.models.layouts_diffusers import CLIP_TEXT, FLUX, VQMODEL
from diptych.models.network import Ids, Made, Network, Piece, Seen
from diptych.models.streams import PictureStream, WordStream, looking
from diptych.objectives.flow import waves
from diptych.objectives.timed import Timed
from diptych.objectives.tokens import argmax, race
from diptych.samplers.annealed import annealed
from diptych.samplers.guidance import alone, cfg
from diptych.tokenizers.clip_bpe import clip_tokenizer
from diptych.tokenizers.codes import VisualTokenizer
from diptych.tokenizers.diffusers import vqmodel
from diptych.types import Request
from diptych.weights.layout import Layout, Rule

WAVES = 256  # sinusoids of a time, and of each of the five numbers below
SCORE = 6.0  # the aesthetic score that is asked for
CLOCK = 1000.0  # a time in [0, 1] is embedded as a thousand times as much
SIZE, STEPS, TEXT_STEPS, GUIDANCE, HEAT = 512, 64, 32, 9.0, 2.0  # inference_{t2i,i2t}.py
QUESTION = "Please describe this image."
NEGATIVE = (
    "worst quality, low quality, low res, blurry, distortion, watermark, logo, signature, text, jpeg artifacts, "
    "signature, sketch, duplicate, ugly, identifying mark"
)


class MudditNetwork(Network):
    """`TwoStreams` of an MM-DiT. text: CLIP's tower. tokenizer: VQ, of pixels in [0, 1]. time, pooled, sizes: what
    modulates the backbone."""

    def __init__(self, backbone: MMDiT, text: CLIPText, tokenizer: VisualTokenizer, config: dict[str, Any]):
        super().__init__()
        self.backbone: Any = backbone
        self.text, self.tokenizer = text, tokenizer
        width, codes, c = backbone.config.width, config["codebook_size"], text.config
        self.mask, self.mask_word, self.scale = config["vocab_size"] - 1, c.vocab, 2 if config["downsample"] else 1
        self.text_span = looking(expert=(CONDITION, *[TEXT] * c.length))
        self.time = two_layers(WAVES, width)
        self.pooled = nn.Linear(c.projection, width, bias=False)
        self.sizes = nn.Linear(5 * WAVES, width, bias=False)
        self.words_in = nn.Sequential(nn.Linear(c.width, width), RMSNorm(width, eps=1e-6))
        self.words_out = nn.Linear(width, config["tokenizer_vocab_size"], bias=False)
        self.picture_in = CodesIn(width, config["downsample"])
        self.picture_out = CodesOut(width, codes, config["upsample"])

    def words(self, ids: Tensor) -> Tensor:
        states = self.text(ids)
        return torch.cat([self.pooled(states.pooled)[:, None], self.words_in(states.hidden)], 1)

    def picture(self, codes: Tensor) -> Tensor:
        return self.picture_in(self.backbone.embed(codes))

    def opening(self, time: Tensor, sizes: Tensor) -> Tensor:
        share = self.sizes(waves(sizes.flatten(), WAVES).view(len(sizes), -1).to(self.dtype))
        return torch.stack([share, self.time(waves(CLOCK * time, WAVES).to(self.dtype))], 1)

    def read(self, rows: Sequence[Sequence[Piece]]) -> list[list[Segment]]:
        def placed(piece: Piece, segment: Segment) -> Segment:
            if isinstance(piece, Ids):
                return segment
            height, width = piece.grid if isinstance(piece, Made) else self.grid(piece.pixels)
            return segment._replace(span=looking(expert=IMAGE, grid=self.tokens((height, width))))

        return [list(map(placed, row, found)) for row, found in zip(rows, super().read(rows), strict=True)]

    def word_logits(self, hidden: Tensor) -> Tensor:
        return self.words_out(F.layer_norm(hidden, hidden.shape[-1:], eps=1e-6))

    def code_logits(self, hidden: Tensor, grid: tuple[int, int], where: Tensor | None) -> Tensor:
        return self.picture_out(hidden, grid, where)

    def tokens(self, grid: tuple[int, int]) -> tuple[int, int]:
        return grid[0] // self.scale, grid[1] // self.scale

    def grid(self, pixels: Tensor) -> tuple[int, int]:
        return pixels.shape[-2] // self.tokenizer.factor, pixels.shape[-1] // self.tokenizer.factor

    def _texts(self, texts: list[list[int]]) -> list[Tensor]:
        return list(self.words(torch.tensor(texts, device=self.device))) if texts else []

    def see(self, pictures: list[Tensor]) -> list[Tensor]:
        return [self.picture(self.encode(p[None]).view(1, *self.grid(p)))[0] for p in pictures]

    def recall(self, made: list[Made]) -> list[Tensor]:
        return [self.picture(m.slots.to(self.device).view(1, *m.grid))[0] for m in made]

    def decode(self, slots: Tensor, grid: tuple[int, ...]) -> Tensor:
        return self.tokenizer.decode(slots.view(-1, *grid)) * 2 - 1

    def encode(self, pixels: Tensor) -> Tensor:
        """Pixels [B, 3, H, W] in [-1, 1] -> codes Int[B, N], row by row."""
        return self.tokenizer.encode((pixels.to(self.device, self.dtype) + 1) / 2).flatten(1)


class MudditDialogue(Dialogue):
    """Plain strings: a prompt, or a picture and a question about it. There is no template."""

    can = frozenset({"chat", "generate", "inpaint"})
    stops: frozenset[int] = frozenset()  # a text fills its canvas; special tokens in it are skipped
    image_size = (SIZE, SIZE)
    rewrites = True

    def __init__(self, folder: Path, network: MudditNetwork):
        self.network, self.tokenizer = network, clip_tokenizer(folder / "tokenizer")
        assert self.tokenizer.eos is not None
        self.ending, self.length = self.tokenizer.eos, network.text.config.length

    def render(self, request: Request, said: Sequence[Piece] = (), branch: str = "full") -> list[Piece]:
        """A picture's prompt, padded to the text's whole length; "no_text" has the published negative prompt. Of a
        question only the picture: the question itself is `given` on the canvas."""
        if request.want == "image":
            return [Ids(self.prompt(NEGATIVE if branch == "no_text" else _asked(request)))]
        images = request.turns[-1].images
        if len(images) != 1 or len(request.turns) != 1:
            raise InputError("this model answers one question about one picture: say one turn that holds one picture")
        return [Seen(self.source(images[0]))]

    def prompt(self, text: str) -> list[int]:
        """A text of the prompt's length: cut, or padded with what ends it."""
        ids = self.tokenizer.encode(text, specials=False)[:-1][: self.length - 1]
        return ids + [self.ending] * (self.length - len(ids))

    def given(self, request: Request) -> Given:
        """What stands on a text canvas beforehand: the question, and nothing that ends it."""
        ids = self.tokenizer.encode(_asked(request) or QUESTION, specials=False)[:-1]
        if len(ids) >= self.length:
            raise InputError(f"the question has {len(ids)} tokens and leaves no room to answer in {self.length}")
        value = torch.full((self.length,), self.ending)
        value[: len(ids)] = torch.tensor(ids)
        return Given(value, torch.arange(self.length) < len(ids))

    def spell(self, ids: Sequence[int]) -> str:
        """Written ids as a reply: a word that follows itself is said once, and what follows the last period not."""
        words = self.tokenizer.decode(ids).split()
        text = " ".join(word for i, word in enumerate(words) if not i or word != words[i - 1])
        return text[: text.rfind(".") + 1] or text

    def source(self, image: Pillow.Image) -> Tensor:
        """Stretched to the model's size whatever its shape was."""
        height, width = self.image_size
        return Preprocess((lambda i: i.resize((width, height), Pillow.Resampling.BILINEAR),))(image)

    def text(self, options: Options) -> Writer:
        """The reply is what the last visit finds likeliest everywhere, not what was drawn on the way."""
        port = WordStream(self.network, self.sizes(*self.image_size))
        objective = Timed(race(top_k=options.top_k), closing=argmax, clock=CLOCK, least=Timed.WEIGHED)
        return Writer(port, objective, self._schedule(options, TEXT_STEPS), alone, order="surest")

    def image(self, options: Options) -> Writer:
        guidance, size = self._guidance(options), options.size or self.image_size
        port = PictureStream(self.network, self.sizes(*size), self.grid(options))
        objective = Timed(race(top_k=options.top_k), clock=CLOCK)
        guide = alone if guidance <= 1 else cfg(guidance)
        return Writer(port, objective, self._schedule(options, STEPS), guide, order="surest")

    def branches(self, request: Request, options: Options) -> tuple[str, ...]:
        return ("full",) if self._guidance(options) <= 1 else ("full", "no_text")

    def grid(self, options: Options) -> tuple[int, int]:
        height, width = options.size or self.image_size
        step = self.network.tokenizer.factor * self.network.scale
        if min(height, width) < step or height % step or width % step:
            raise InputError(f"this model writes pictures whose sides are multiples of {step}, not {height}x{width}")
        return height // self.network.tokenizer.factor, width // self.network.tokenizer.factor

    def pictures(self, pixels: Tensor) -> list[Pillow.Image]:
        return [Pillow.fromarray(p) for p in to_uint8(pixels, "round").cpu().numpy()]

    @staticmethod
    def sizes(height: int, width: int) -> Tensor:
        """The five numbers a picture is conditioned on: it was not cut out of anything, and is beautiful."""
        return torch.tensor([width, height, 0.0, 0.0, SCORE])

    def _schedule(self, options: Options, steps: int) -> Schedule:
        return annealed(options.steps or steps, HEAT if options.temperature is None else options.temperature)

    def _guidance(self, options: Options) -> float:
        return GUIDANCE if options.guidance is None else options.guidance


def _asked(request: Request) -> str:
    """What the last turn says."""
    return request.turns[-1].text.strip()


class Muddit(Family):
    name = "muddit"
    checkpoints = ("MeissonFlow/Muddit",)
    weights = ("transformer/*.safetensors", "vqvae/*.safetensors", "text_encoder/*.safetensors")

    @classmethod
    def recognises(cls, config: dict[str, Any], folder: Path) -> bool:
        part = config.get("transformer")
        return isinstance(part, dict) and part.get("_class_name") == "SymmetricTransformer2DModel"

    @classmethod
    def completed(cls, config: dict[str, Any], shapes: Mapping[str, Sequence[int]]) -> dict[str, Any]:
        """Nothing is missing but, as published, the mask token: it comes pickled."""
        if not shapes.keys() & MASK_TOKEN.keys():
            raise WeightsError(
                "transformer/ holds no mask_token_embedding.safetensors; it is published as a pickle, convert it once "
                "with: diptych convert <the model's folder>/transformer"
            )
        return config

    @classmethod
    def build(cls, config: dict[str, Any]) -> MudditNetwork:
        c = config["transformer"]
        width = c["num_attention_heads"] * c["attention_head_dim"]
        backbone = MMDiT(
            MMDiTConfig(
                width=width,
                heads=c["num_attention_heads"],
                double=c["num_layers"],
                single=c["num_single_layers"],
                axes=tuple(c["axes_dims_rope"]),
                vocab=c["vocab_size"],
                hidden=4 * width,
            )
        )
        return MudditNetwork(
            backbone, CLIPText(clip_text(config["text_encoder"], mask=True)), vqmodel(config["vqvae"]), c
        )

    @classmethod
    def layout(cls, config: dict[str, Any]) -> Layout:
        return (
            FLUX.under("", "backbone.")
            | CLIP_TEXT.under("", "text.")
            | VQMODEL.under("", "tokenizer.")
            | Layout({**ENDS, **MASK_TOKEN, "cond_embed.linear_1.weight": _condition(config)})
        )

    @classmethod
    def dialogue(cls, folder: Path, config: dict[str, Any], network: Network) -> MudditDialogue:
        assert isinstance(network, MudditNetwork)
        return MudditDialogue(folder, network)


def _condition(config: dict[str, Any]) -> Rule:
    """One layer over pooled text and sizes laid end to end; ours are two."""
    parts = [config["transformer"]["pooled_projection_dim"], 5 * WAVES]
    return Rule(("pooled.weight", "sizes.weight"), lambda t: t.split(parts, 1), lambda p: torch.cat(list(p), 1))


def _pointwise(ours: str) -> Rule:
    """A 1x1 convolution that is our linear layer."""
    return Rule((ours,), lambda t: [t.flatten(1)], lambda p: p[0][..., None, None])


MASK_TOKEN = {"mask_token_embedding": "text.mask", "weight": "text.mask"}  # a bare tensor; its name when converted
ENDS = {
    **{f"time_text_embed.timestep_embedder.linear_{i + 1}.*": f"time.{2 * i}.*" for i in range(2)},
    **{f"time_text_embed.text_embedder.linear_{i + 1}.*": f"backbone.condition.mix.{2 * i}.*" for i in range(2)},
    "cond_embed.linear_2.weight": "backbone.condition.shared.weight",
    "context_embedder.*": "words_in.0.*",
    "encoder_proj_layer_norm.*": "words_in.1.*",
    "text_decoder.1.*": "words_out.*",
    "embed.embeddings.weight": "backbone.embed.weight",
    "embed.layer_norm.*": "picture_in.norm.*",
    "embed.conv.weight": _pointwise("picture_in.conv.weight"),
    "down_block.downsample.norm.*": "picture_in.norm_down.*",
    "down_block.downsample.conv.*": "picture_in.down.*",
    "project_to_hidden_norm.*": "picture_in.norm_out.*",
    "project_to_hidden.*": "picture_in.out.*",
    "project_from_hidden_norm.*": "picture_out.norm.*",
    "project_from_hidden.*": "picture_out.into.*",
    "up_block.upsample.norm.*": "picture_out.norm_up.*",
    "up_block.upsample.conv.*": "picture_out.up.*",
    "mlm_layer.conv1.weight": _pointwise("picture_out.conv.weight"),
    "mlm_layer.layer_norm.*": "picture_out.norm_out.*",
    "mlm_layer.conv2.weight": _pointwise("picture_out.out.weight"),
}

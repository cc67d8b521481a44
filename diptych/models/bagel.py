"""BAGEL (arXiv 2505.14683): a mixture of transformers reads with SigLIP, draws and edits by flow matching over FLUX' VAE.

Official code: ByteDance-Seed/Bagel, inferencer.py, modeling/bagel/{bagel,qwen2_navit,siglip_navit}.py,
modeling/autoencoder.py and data/{transforms,dataset_base}.py.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from PIL import Image as Pillow
from torch import Tensor, nn

from diptych.backbone.packing import Span
from diptych.backbone.transformer import Backbone, BackboneConfig
from diptych.canvas import Canvas, Step, Writer
from diptych.encoders.grids import GridTable
from diptych.encoders.native import Native
from diptych.encoders.navit import NaViT, by_shape
from diptych.encoders.preprocess import normalise, to_uint8
from diptych.encoders.project import mlp
from diptych.encoders.vit import ViTConfig
from diptych.errors import InputError
from diptych.models import layouts
from diptych.models.family import Dialogue, Family, Options
from diptych.models.latents import Latents, patched, picture, unpatched
from diptych.models.network import Ids, Made, Network, Piece, Seen, Traced
from diptych.models.ports import Words
from diptych.objectives.flow import Flow, logit_normal
from diptych.objectives.tokens import Token, argmax, sample
from diptych.samplers.guidance import Renorm, Within, alone, cfg_text_image
from diptych.samplers.schedules import euler, raster
from diptych.tokenizers.absent import text_tokenizer
from diptych.tokenizers.conv import compvis
from diptych.tokenizers.latents import LatentTokenizer, kl_tokenizer
from diptych.types import Image, Request, Text, Turn
from diptych.weights.layout import Layout, mot

FLUX = {"ch": 128, "ch_mult": [1, 2, 4, 4], "num_res_blocks": 2, "z_channels": 16} | {
    "scale_factor": 0.3611,
    "shift_factor": 0.1159,
}  # load_ae: the published config leaves them out
DEFAULTS = {"latent_patch_size": 2, "connector_act": "gelu_pytorch_tanh", "interpolate_pos": False} | {
    "max_latent_size": 64,
    "vit_max_num_patch_per_side": 70,
    "timestep_shift": 1.0,
}  # app.py and BagelConfig
ACTS = {"gelu_pytorch_tanh": partial(nn.GELU, "tanh"), "gelu": nn.GELU}
TABLES = {"max_latent_size": "latent_pos_embed.pos_embed", "vit_max_num_patch_per_side": "vit_pos_embed.pos_embed"}
MARKS = ("<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>")
SMALLEST_SEEN = 224  # app.py: the shorter side of what the vision transformer sees, in pixels
# System turns that let the model think in <think> </think> before it answers or draws.
THINK_THEN_ANSWER = (
    "You should first think about the reasoning process in the mind and then provide the user with the answer. \n"
    "The reasoning process is enclosed within <think> </think> tags, i.e. <think> reasoning process here </think> "
    "answer here"
)
THINK_THEN_DRAW = (
    "You should first think about the planning process in the mind and then generate the image. \n"
    "The planning process is enclosed within <think> </think> tags, i.e. <think> planning process here </think> "
    "image here"
)


class Guided(NamedTuple):
    """Defaults of the official commands (inference.ipynb, app.py)."""

    text: float
    image: float
    interval: tuple[float, float]
    renorm: Renorm


DRAWING = Guided(4.0, 1.0, (0.4, 1.0), "global")
EDITING = Guided(4.0, 2.0, (0.0, 1.0), "text_channel")
STEPS, SHIFT = 49, 3.0  # 50 points in time


class BagelNetwork(Network):
    """eyes: SigLIP-NaViT, connector and the table of where patches are. draw: the port of latents, `patch` x `patch` of
    them a token. tokenizer: FLUX' VAE."""

    def __init__(
        self,
        backbone: Backbone,
        eyes: nn.ModuleDict,
        draw: Latents,
        tokenizer: LatentTokenizer,
        patch: int,
        shift: float,
    ):
        """shift: of the times at which pictures are learned."""
        super().__init__()
        self.backbone, self.eyes, self.draw, self.tokenizer = backbone, eyes, draw, tokenizer
        self.patch, self.shift = patch, shift

    @property
    def stride(self) -> int:
        """Pixels a token along each side of a picture that is written."""
        return self.patch * self.tokenizer.factor

    @property
    def channels(self) -> int:
        """Numbers of one latent."""
        return self.draw.out.out_features // self.patch**2

    def see(self, pictures: list[Tensor]) -> list[Tensor]:
        encoder = self.eyes["encoder"]

        def seen(numbers: list[int], pixels: Tensor) -> Tensor:
            height, width = (side // encoder.config.patch for side in pixels.shape[-2:])
            features = self.eyes["project"](encoder(pixels.to(self.device, self.dtype)))
            return self.draw.marked(features + self.eyes["places"](height, width).to(features.dtype))

        return by_shape(pictures, seen)

    def trace(self, pictures: list[Traced]) -> list[Made]:
        def latents(numbers: list[int], pixels: Tensor) -> Tensor:
            noise = [pictures[i].noise for i in numbers]
            drawn = [n for n in noise if n is not None]
            return self.encode(pixels.to(self.device), torch.stack(drawn).to(self.device) if drawn else None)

        grids = [tuple(side // self.stride for side in p.pixels.shape[-2:]) for p in pictures]
        return [Made(*pair) for pair in zip(by_shape([p.pixels for p in pictures], latents), grids, strict=True)]

    def encode(self, pixels: Tensor, noise: Tensor | None = None) -> Tensor:
        """Pixels [B, 3, H, W] in [-1, 1] -> slots [B, N, C]; noise [B, c, h, w] for a sample of the VAE's."""
        return patched(self.tokenizer.encode(pixels, noise), self.patch)

    def recall(self, made: list[Made]) -> list[Tensor]:
        clean = torch.zeros(1, device=self.device)
        return [self.draw.marked(self.draw.tokens(m.slots[None].to(self.device), clean, m.grid)[0]) for m in made]

    def placed(self, piece: Piece, n: int) -> Span:
        return Span("full", still=True) if isinstance(piece, Seen) else picture(n)

    def decode(self, slots: Tensor, grid: tuple[int, ...]) -> Tensor:
        return self.tokenizer.decode(unpatched(slots, grid, self.patch))


class BagelDialogue(Dialogue):
    """Every text and every picture is a segment of its own between two marks; there are no roles."""

    can = frozenset({"chat", "generate", "edit"})

    def __init__(self, folder: Path, config: dict[str, Any], network: BagelNetwork):
        self.network, self.tokenizer = network, text_tokenizer(folder)
        if (folder / "tokenizer.json").is_file():
            self.marked(*map(self.tokenizer.special, MARKS))
        longest = config["max_latent_size"] * network.stride
        self.written = Native(longest, longest // 2, network.stride)
        patch, side = config["vit_config"]["patch_size"], config["vit_max_num_patch_per_side"]
        self.seen = Native(side * patch, min(SMALLEST_SEEN, side * patch), patch)
        self.image_size = (longest, longest)
        self.longest = longest

    def marked(self, begin: int, end: int, *around: int) -> None:
        """The ids of MARKS."""
        self.begin, self.ending, self.stops = begin, end, frozenset({end})
        self.network.draw.marks = around[0], around[1]

    def render(self, request: Request, said: Sequence[Piece] = (), branch: str = "full") -> list[Piece]:
        """Segments in the order given, then the opened reply where text is to come or has come (`said`).

        To draw, pictures are read twice: as the latents that would write them, then by SigLIP. "no_text" ends before
        the last text, unless a picture follows it; "no_image" holds texts alone. Thoughts stand in "full" only.
        """
        parts = [part for turn in request.turns for part in turn.parts if not isinstance(part, Text) or part.text]
        if branch == "no_image":
            parts = [part for part in parts if isinstance(part, Text)]
        if branch == "no_text" and parts and isinstance(parts[-1], Text):
            parts = parts[:-1]
        draws, pieces = request.want != "text", list[Piece]()
        for number, part in enumerate(parts):
            pieces += [self._text(part.text)] if isinstance(part, Text) else self._picture(part, draws, number)
        if branch == "full" and (request.want != "image" or said):
            pieces += [Ids([self._begin()]), *said]
        return pieces

    def thinking(self, request: Request) -> Request:
        """The same request, to be thought about first."""
        system = THINK_THEN_ANSWER if request.want == "text" else THINK_THEN_DRAW
        return Request((Turn.system(system), *request.turns), request.want)

    def _text(self, text: str) -> Ids:
        return self.segment(self.tokenizer.encode(text, frame=False, specials=False))

    def segment(self, ids: Sequence[int]) -> Ids:
        """A text of `ids` between its marks."""
        return Ids([self._begin(), *ids, self.ending])

    def _begin(self) -> int:
        return self.tokenizer.special(MARKS[0]) if self.network.draw.marks is None else self.begin

    def _picture(self, part: Image, draws: bool, number: int) -> list[Piece]:
        """Resized for writing first, even where it is only seen, as published. The VAE samples; its noise is the
        picture's number's, so that all branches and all repetitions read the same."""
        resized = self.written(part.pixels)
        seen = Seen(normalise(self.seen(resized)))
        if not draws:
            return [seen]
        generator = torch.Generator().manual_seed(number)
        width, height = (side // self.network.tokenizer.factor for side in resized.size)
        channels = self.network.channels
        return [Traced(normalise(resized), torch.randn(channels, height, width, generator=generator)), seen]

    def text(self, options: Options) -> Writer:
        pick = argmax if not options.temperature else sample(options.temperature, options.top_k, options.top_p)
        stops = torch.tensor(sorted(self.stops))

        def ended(canvas: Canvas, step: Step) -> Tensor:
            return torch.isin(canvas.value[:, step.index], stops.to(canvas.value.device))

        return Writer(Words(self.network.backbone, lag=1), Token(pick), raster, alone, stop=ended)

    def image(self, options: Options) -> Writer:
        """Two branches are guided as drawings, three as editings."""
        guides = {2: self._guide(DRAWING, options, image=False), 3: self._guide(EDITING, options)}

        def guide(parts: Tensor, canvas: Canvas, step: Step) -> Tensor:
            return parts[0] if len(parts) == 1 else guides[len(parts)](parts, canvas, step)

        def needs(step: Step, branches: int) -> int:
            return branches if branches == 1 else guides[branches].needs(step, branches)

        flow = Flow(self.network.draw.out.out_features, times=logit_normal(self.network.shift))
        return Writer(self.network.draw, flow, euler(options.steps or STEPS, SHIFT), guide, needs=needs)

    def _guide(self, published: Guided, options: Options, image: bool = True) -> Within:
        text, by_image = _given(options.guidance, published.text), _given(options.image_guidance, published.image)
        return Within(cfg_text_image(text, by_image if image else 1.0, published.renorm), *published.interval)

    def branches(self, request: Request, options: Options) -> tuple[str, ...]:
        """With a text guidance of at most 1 there is no other either, as published."""
        published = EDITING if any(turn.images for turn in request.turns) else DRAWING
        if _given(options.guidance, published.text) <= 1:
            return ("full",)
        by_image = _given(options.image_guidance, published.image) > 1
        return ("full", "no_text", "no_image") if by_image else ("full", "no_text")

    def grid(self, options: Options) -> tuple[int, ...]:
        height, width = options.size or self.image_size
        stride = self.network.stride
        if height % stride or width % stride or not 0 < min(height, width) <= max(height, width) <= self.longest:
            raise InputError(
                f"this model cannot write {width}x{height} pictures; make both sides multiples of {stride}, "
                f"up to {self.longest}"
            )
        return height // stride, width // stride

    def fitted(self, request: Request, options: Options) -> Options:
        """An edited picture has the size of the last that was given, as resized, unless another is asked for."""
        pictures = [image for turn in request.turns for image in turn.images]
        if options.size is not None or not pictures:
            return options
        width, height = self.written.size(*pictures[-1].size)
        return replace(options, size=(height, width))

    def pictures(self, pixels: Tensor) -> list[Pillow.Image]:
        return [Pillow.fromarray(p) for p in to_uint8(pixels, "trunc").cpu().numpy()]


def _given(value: float | None, published: float) -> float:
    return published if value is None else value


class Bagel(Family):
    name = "bagel"
    checkpoints = ("ByteDance-Seed/BAGEL-7B-MoT",)
    weights = ("ema.safetensors", "ae.safetensors")

    @classmethod
    def recognises(cls, config: dict[str, Any], folder: Path) -> bool:
        return config.get("model_type") == "bagel"

    @classmethod
    def completed(cls, config: dict[str, Any], shapes: Mapping[str, Sequence[int]]) -> dict[str, Any]:
        """Tables of positions are as large as the checkpoint's; where fine-tuning has left them out they are computed."""
        sides = {key: math.isqrt(shapes[name][0]) for key, name in TABLES.items() if name in shapes}
        vae = FLUX | config.get("vae_config", {})
        return DEFAULTS | config | sides | {"vae_config": vae, "tables": all(n in shapes for n in TABLES.values())}

    @classmethod
    def build(cls, config: dict[str, Any]) -> BagelNetwork:
        llm, vit, patch = config["llm_config"], config["vit_config"], config["latent_patch_size"]
        width, stored, stretched = llm["hidden_size"], config["tables"], config["interpolate_pos"]
        side = config["vit_max_num_patch_per_side"]
        backbone, tokenizer = Backbone(qwen2(llm)), vae(config["vae_config"])
        eyes = {
            "encoder": NaViT(siglip(vit), side, stretched),
            "project": mlp(vit["hidden_size"], width, width, act=ACTS[config["connector_act"]]),
            "places": GridTable(side, width, stored, stretched),
        }
        table = GridTable(config["max_latent_size"], width, stored)
        draw = Latents(backbone, patch * patch * config["vae_config"]["z_channels"], table)
        return BagelNetwork(backbone, nn.ModuleDict(eyes), draw, tokenizer, patch, config["timestep_shift"])

    @classmethod
    def layout(cls, config: dict[str, Any]) -> Layout:
        tables = {
            TABLES["max_latent_size"]: "draw.table.table",
            TABLES["vit_max_num_patch_per_side"]: "eyes.places.table",
        }
        return (
            mot(layouts.LLAMA, "_moe_gen").under("language_model.", "backbone.")
            | layouts.navit(config["vit_config"]["patch_size"]).under("vit_model.vision_model.", "eyes.encoder.")
            | layouts.compvis(len(config["vae_config"]["ch_mult"])).under("", "tokenizer.")
            | Layout(
                {
                    "connector.fc1.*": "eyes.project.0.*",
                    "connector.fc2.*": "eyes.project.2.*",
                    "time_embedder.mlp.#.*": "draw.time.#.*",
                    "vae2llm.*": "draw.into.*",
                    "llm2vae.*": "draw.out.*",
                }
                | tables
            )
        )

    @classmethod
    def dialogue(cls, folder: Path, config: dict[str, Any], network: Network) -> BagelDialogue:
        assert isinstance(network, BagelNetwork)
        return BagelDialogue(folder, config, network)


def qwen2(config: dict[str, Any]) -> BackboneConfig:
    """Qwen2 with norms on queries and keys and a head of its own, whatever the config says: the loader insists."""
    return BackboneConfig(
        width=config["hidden_size"],
        depth=config["num_hidden_layers"],
        heads=config["num_attention_heads"],
        kv_heads=config["num_key_value_heads"],
        hidden=config["intermediate_size"],
        vocab=config["vocab_size"],
        experts=2,
        bias="qkv",
        norm_qk=True,
        theta=config["rope_theta"],
        eps=config["rms_norm_eps"],
    )


def siglip(config: dict[str, Any]) -> ViTConfig:
    """The last layer that the config counts is neither published nor run."""
    return ViTConfig(
        image_size=config["image_size"],
        patch=config["patch_size"],
        width=config["hidden_size"],
        depth=config["num_hidden_layers"] - 1,
        heads=config["num_attention_heads"],
        hidden=config["intermediate_size"],
        activation="gelu-tanh",
        eps=config.get("layer_norm_eps", 1e-6),
    )


def vae(config: dict[str, Any]) -> LatentTokenizer:
    numbers = config["ch"], tuple(config["ch_mult"]), config["num_res_blocks"], config["z_channels"]
    scale, shift = config["scale_factor"], config["shift_factor"]
    return kl_tokenizer(*compvis(*numbers, double=True), scale=scale, shift=shift, pointwise_convs=False)

"""BAGEL (arXiv 2505.14683): a mixture of transformers; SigLIP reads, flow matching over FLUX' VAE draws and edits.

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

from diptych.backbone.foreseen import Foresight
from diptych.backbone.transformer import Backbone, BackboneConfig
from diptych.canvas import Canvas, Step, Writer
from diptych.encoders.grids import GridTable
from diptych.encoders.native import Native
from diptych.encoders.navit import NaViT
from diptych.encoders.preprocess import normalise, to_uint8
from diptych.encoders.project import mlp
from diptych.encoders.vit import ViTConfig
from diptych.errors import InputError
from diptych.models import layouts
from diptych.models.family import Dialogue, Family, Options, stated
from diptych.models.latent_network import SeenAndWritten
from diptych.models.latents import Latents
from diptych.models.network import Ids, Network, Piece, Seen, Traced
from diptych.models.ports import Words
from diptych.models.qwen import qwen2
from diptych.objectives.flow import Flow, logit_normal
from diptych.objectives.tokens import Token, argmax, sample
from diptych.samplers.guidance import Renorm, Within, alone, cfg_text_image
from diptych.samplers.schedules import euler, raster
from diptych.samplers.stopping import last
from diptych.tokenizers.absent import text_tokenizer
from diptych.tokenizers.flux import PUBLISHED, flux_tokenizer
from diptych.types import Image, Request, Text, Turn
from diptych.weights.layout import Layout, mot

DEFAULTS = {  # app.py and BagelConfig
    "latent_patch_size": 2,
    "max_latent_size": 64,
    "vit_max_num_patch_per_side": 70,
    "connector_act": "gelu_pytorch_tanh",
    "interpolate_pos": False,
    "timestep_shift": 1.0,
}
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
STATED = ("guidance", "image_guidance", "renorm", "steps", "shift")  # options that a config may settle


class BagelDialogue(Dialogue):
    """Every text and every picture is a segment of its own between two marks; there are no roles."""

    can = frozenset({"chat", "generate", "edit"})
    stops: frozenset[int] = frozenset()  # the tokenizer's to say

    def __init__(self, folder: Path, config: dict[str, Any], network: SeenAndWritten):
        self.network, self.tokenizer = network, text_tokenizer(folder)
        if (folder / "tokenizer.json").is_file():
            self.marked(*map(self.tokenizer.special, MARKS))
        longest = config["max_latent_size"] * network.stride
        self.written = Native(longest, longest // 2, network.stride)
        patch, side = config["vit_config"]["patch_size"], config["vit_max_num_patch_per_side"]
        self.seen = Native(side * patch, min(SMALLEST_SEEN, side * patch), patch)
        self.image_size = (longest, longest)
        self.defaults = stated(config, STATED)
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
        return Writer(Words(self.network.backbone, lag=1), Token(pick), raster, alone, stop=last(self.stops))

    def image(self, options: Options) -> Writer:
        """Two branches are guided as drawings, three as editings."""
        options = self._settled(options)
        guides = {2: self._guide(DRAWING, options, image=False), 3: self._guide(EDITING, options)}

        def guide(parts: Tensor, canvas: Canvas, step: Step) -> Tensor:
            return parts[0] if len(parts) == 1 else guides[len(parts)](parts, canvas, step)

        def needs(step: Step, branches: int) -> int:
            return branches if branches == 1 else guides[branches].needs(step, branches)

        flow = Flow(self.network.draw.out.out_features, times=logit_normal(self.network.shift))
        schedule = euler(options.steps or STEPS, _given(options.shift, SHIFT))
        foresight = Foresight(options.foresee) if options.foresee else None
        return Writer(self.network.draw, flow, schedule, guide, needs=needs, foresight=foresight)

    def _settled(self, options: Options) -> Options:
        """What is left open, as the config states it."""
        return replace(options, **{k: v for k, v in self.defaults.items() if getattr(options, k) is None})

    def _guide(self, published: Guided, options: Options, image: bool = True) -> Within:
        text, by_image = _given(options.guidance, published.text), _given(options.image_guidance, published.image)
        guide = cfg_text_image(text, by_image if image else 1.0, options.renorm or published.renorm)
        return Within(guide, *(options.interval or published.interval))

    def branches(self, request: Request, options: Options) -> tuple[str, ...]:
        """With a text guidance of at most 1 there is no other either, as published."""
        options = self._settled(options)
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
        """Tables of positions are as large as published; those that fine-tuning has left out are computed."""
        sides = {key: math.isqrt(shapes[name][0]) for key, name in TABLES.items() if name in shapes}
        vae = PUBLISHED | config.get("vae_config", {})
        return DEFAULTS | config | sides | {"vae_config": vae, "tables": all(n in shapes for n in TABLES.values())}

    @classmethod
    def build(cls, config: dict[str, Any]) -> SeenAndWritten:
        llm, vit, patch = config["llm_config"], config["vit_config"], config["latent_patch_size"]
        width, stored, stretched = llm["hidden_size"], config["tables"], config["interpolate_pos"]
        side = config["vit_max_num_patch_per_side"]
        backbone, tokenizer = Backbone(expert_qwen2(llm)), flux_tokenizer(config["vae_config"])
        eyes = {
            "encoder": NaViT(siglip(vit), side, stretched),
            "project": mlp(vit["hidden_size"], width, width, act=ACTS[config["connector_act"]]),
            "places": GridTable(side, width, stored, stretched),
        }
        table = GridTable(config["max_latent_size"], width, stored)
        draw = Latents(backbone, patch * patch * config["vae_config"]["z_channels"], table)
        return SeenAndWritten(backbone, nn.ModuleDict(eyes), draw, tokenizer, patch, config["timestep_shift"])

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
        assert isinstance(network, SeenAndWritten)
        return BagelDialogue(folder, config, network)


def expert_qwen2(config: dict[str, Any]) -> BackboneConfig:
    """Two copies, norms on queries and keys, a head of its own, whatever the config says: the loader insists."""
    return replace(qwen2(config), experts=2, norm_qk=True, tied=False)


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

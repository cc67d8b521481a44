"""Show-o2 (arXiv 2506.15564): Qwen2.5 writes text, and a flow head on top of it latents of Wan 2.1's autoencoder.

Pictures are read from the same latents, along two paths. Official code: showlab/Show-o, show-o2/,
models/{modeling_showo2_qwen2_5,omni_attention}.py, inference_{mmu,mmu_vid,t2i,mixed_modality}.py and transport/.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import torch
from PIL import Image as Pillow
from torch import Tensor

from diptych.backbone.flow_head import FlowHeadConfig, WithFlowHead
from diptych.backbone.transformer import BackboneConfig
from diptych.canvas import Canvas, Step, Writer
from diptych.encoders.dual_path import DualPath
from diptych.encoders.preprocess import Crop, Fit, Preprocess, to_uint8
from diptych.encoders.vit import ViTConfig
from diptych.errors import InputError, WeightsError
from diptych.models.companions import Companion
from diptych.models.family import Dialogue, Family, Options
from diptych.models.layouts_show_o2 import NAMES
from diptych.models.network import Ids, Made, Network, Piece, Traced
from diptych.models.ports import Words
from diptych.models.qwen import qwen2
from diptych.models.show_o2_network import CLEAN, ShowO2Network
from diptych.objectives.flow import Flow, logit_normal
from diptych.objectives.tokens import Token, argmax, sample
from diptych.samplers.guidance import alone, cfg
from diptych.samplers.schedules import euler, raster
from diptych.tokenizers.absent import text_tokenizer
from diptych.tokenizers.wan import PUBLISHED, WanConfig, WanTokenizer
from diptych.types import Request, Turn
from diptych.weights.layout import Layout

VAE = Companion("wan", "Wan-AI/Wan2.1-T2V-14B", weights=False, file="vae_config.json", published=PUBLISHED)
FLOW_HEAD = {  # hard-coded in the official class
    "hidden_size": 2048,
    "head_dim": 64,
    "intermediate_size": 8192,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
}
SYSTEM = "You are a helpful assistant."
GUIDANCE, STEPS, SHIFT = 7.5, 49, 3.0  # README.md: 50 points in time; configs: time_shifting_factor
ROOM = 290, 251  # ids of a prompt that are kept: configs: max_seq_length, at 432 and at more pixels


MARKS = ("<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>")


class Marks(NamedTuple):
    """The ids of MARKS, which stand around texts and around pictures."""

    begin: int
    end: int
    opening: int
    closing: int


class ShowO2Dialogue(Dialogue):
    """Qwen's template for talk about pictures; bare prompts where pictures are drawn."""

    can = frozenset({"chat", "generate", "interleave"})

    def __init__(self, folder: Path, config: dict[str, Any], network: ShowO2Network):
        self.network, self.tokenizer = network, text_tokenizer(folder)
        self.marks: Marks | None = None
        if (folder / "tokenizer.json").is_file():
            self._marks()
        height, width = (config[f"image_latent_{side}"] * network.stride for side in ("height", "width"))
        self.image_size = (height, width)
        side = math.isqrt(len(network.paths.position)) * network.stride
        self.preprocess, self.frames = Preprocess((Crop(side),)), Preprocess((Fit(side),))
        self.room = ROOM[config["image_latent_height"] * config["image_latent_width"] > len(network.paths.position)]

    def marked(self, marks: Marks) -> Marks:
        self.marks, self.ending = marks, marks.end
        self.stops, self.opening = frozenset({marks.end, marks.opening}), marks.opening
        self.closing = (marks.closing,)
        return marks

    def render(self, request: Request, said: Sequence[Piece] = (), branch: str = "full") -> list[Piece]:
        """Without text ("no_text") there is neither a prompt nor what was written before. Pictures that stand before a
        picture are clean."""
        if branch == "no_text":
            return [Ids(self.drawn([]))]
        if request.want == "text":
            return [*self._talk(request.turns), *said]
        if any(turn.images for turn in request.turns):
            raise InputError("this model draws from text alone; ask for the picture in words")
        ids = self._encode(request.turns[-1].text)
        if request.want == "image":
            return [Ids(self.drawn(ids))]
        return self.told(ids, said)

    def drawn(self, ids: list[int]) -> list[int]:
        """What stands before a picture for a prompt of `ids`."""
        marks = self._marks()
        return [marks.begin, *ids[: self.room], marks.opening]

    def told(self, ids: list[int], said: Sequence[Piece]) -> list[Piece]:
        """A story begun with `ids` and what was said of it so far."""
        marks = self._marks()
        draws = bool(said) and isinstance(said[-1], Ids) and said[-1].ids[-1:] == [marks.opening]
        past = [p._replace(time=CLEAN) if draws and isinstance(p, Made) else p for p in said]
        return [Ids([marks.begin, *ids]), *past]

    def asked(self, ids: list[int], picture: Piece, question: list[int]) -> list[Piece]:
        """`ids`, then a picture between its marks and what is said about it."""
        marks = self._marks()
        return [Ids([*ids, marks.opening]), picture, Ids([marks.closing, *question])]

    def _talk(self, turns: Sequence[Turn]) -> list[Piece]:
        """A single question stands as inference has it, several turns as the model was tuned on them."""
        marks, spoken = self._marks(), [turn for turn in turns if turn.role != "system"]
        given = "\n\n".join(turn.text for turn in turns if turn.role == "system")
        ids, before = [marks.begin, *self._encode(f"system\n{given or SYSTEM}"), marks.end], list[Piece]()
        for turn in spoken:
            if turn.role == "assistant":
                ids += [*self._encode(turn.text), marks.end]
                continue
            ids += self._role("user")
            line = "\n" if turn.images and len(spoken) > 1 else ""
            question = [*self._encode(line + turn.text), *([marks.end] if len(spoken) > 1 else [])]
            if turn.images:
                if before:
                    raise InputError(
                        "this model reads the pictures of one turn; ask about each in its own conversation"
                    )
                *before, last = self.asked(ids, self._picture(turn.images), [])
                ids = last.ids  # type: ignore[union-attr]
            ids += [*question, *self._role("assistant")]
        return [*before, Ids(ids)]

    def _picture(self, images: Sequence[Pillow.Image]) -> Traced:
        """Several pictures of one turn are frames of a video. The VAE samples, as published; its noise is always the
        same, so that an answer depends on the picture alone."""
        frames = torch.stack([self.preprocess(images[0])] if len(images) == 1 else [self.frames(i) for i in images])
        sides = [side // self.network.tokenizer.factor for side in frames.shape[-2:]]
        shape = (len(frames), self.network.draw.channels, *sides)
        noise = torch.randn(shape, generator=torch.Generator().manual_seed(0))
        return Traced(frames, noise) if len(images) > 1 else Traced(frames[0], noise[0])

    def _role(self, name: str) -> list[int]:
        return [*self._encode("\n"), self._marks().begin, *self._encode(f"{name}\n")]

    def _encode(self, text: str) -> list[int]:
        return self.tokenizer.encode(text, frame=False, specials=False) if text else []

    def _marks(self) -> Marks:
        """Without a tokenizer to name them WeightsError says what is missing."""
        return self.marks or self.marked(Marks(*map(self.tokenizer.special, MARKS)))

    def text(self, options: Options) -> Writer:
        pick = argmax if not options.temperature else sample(options.temperature, options.top_k, options.top_p)
        stops = torch.tensor(sorted(self.stops))

        def ended(canvas: Canvas, step: Step) -> Tensor:
            return torch.isin(canvas.value[:, step.index], stops.to(canvas.value.device))

        return Writer(Words(self.network.backbone, lag=1), Token(pick), raster, alone, stop=ended)

    def image(self, options: Options) -> Writer:
        schedule = euler(options.steps or STEPS, options.shift or SHIFT, ascending=True)
        tokens = math.prod(self.grid(options)) // self.network.paths.patch**2 + 1
        times = logit_normal(math.exp(0.5 + 0.65 * (tokens - 256) / (4096 - 256)), ascending=True)
        flow = Flow(self.network.draw.channels, ascending=True, times=times)
        guide = cfg(self._guidance(options)) if self._guided(options) else alone
        return Writer(self.network.draw, flow, schedule, guide)

    def branches(self, request: Request, options: Options) -> tuple[str, ...]:
        return ("full", "no_text") if self._guided(options) else ("full",)

    def grid(self, options: Options) -> tuple[int, ...]:
        height, width = options.size or self.image_size
        stride, factor = self.network.stride, self.network.tokenizer.factor
        if min(height, width) < stride or height % stride or width % stride:
            raise InputError(f"this model writes pictures whose sides are multiples of {stride}, not {height}x{width}")
        return height // factor, width // factor

    def pictures(self, pixels: Tensor) -> list[Pillow.Image]:
        return [Pillow.fromarray(p) for p in to_uint8(pixels, "trunc").cpu().numpy()]

    def _guided(self, options: Options) -> bool:
        """At 0 there is no guidance, as published, and at 1 none that does anything."""
        return self._guidance(options) not in (0, 1)

    def _guidance(self, options: Options) -> float:
        return GUIDANCE if options.guidance is None else options.guidance


class ShowO2(Family):
    name = "show_o2"
    checkpoints = (
        "showlab/show-o2-1.5B",
        "showlab/show-o2-1.5B-HQ",
        "showlab/show-o2-7B",
        "showlab/show-o2-1.5B-w-video-und",
        "showlab/show-o2-7B-w-video-und",
    )
    weights = ("*model*.safetensors", "Wan2.1_VAE.safetensors")

    @classmethod
    def recognises(cls, config: dict[str, Any], folder: Path) -> bool:
        return config.get("_class_name") == "Showo2Qwen2_5"

    @classmethod
    def companions(cls, config: dict[str, Any]) -> tuple[Companion, ...]:
        """The language model it began as, SigLIP (of both the config; of the first the tokenizer), and the VAE."""
        return llm(config), siglip(config), VAE

    @classmethod
    def completed(cls, config: dict[str, Any], shapes: Mapping[str, Sequence[int]]) -> dict[str, Any]:
        """The table of positions is as large as the checkpoint's, and so is the vocabulary; the head may be tied."""
        needed = {"position_embedding.weight": "pytorch_model.bin", "encoder.conv1.weight": "Wan2.1_VAE.pth"}
        if missing := [file for name, file in needed.items() if name not in shapes]:
            remedy = "put that file, as published, into the model's folder and run: diptych convert <the folder>"
            raise WeightsError(f"the weights of {missing[0]} are not there; {remedy}")
        return config | {
            "places": shapes["position_embedding.weight"][0],
            "llm_vocab_size": shapes["showo.model.embed_tokens.weight"][0],
            "tied": "showo.lm_head.weight" not in shapes,
            "diffusion_head_config": FLOW_HEAD | config.get("diffusion_head_config", {}),
        }

    @classmethod
    def build(cls, config: dict[str, Any]) -> ShowO2Network:
        if not config["add_time_embeds"]:
            raise ValueError("every published Show-o2 has a time before each picture")
        beside = {made.name: config["companions"][made.name].config for made in cls.companions(config)}
        qwen, eyes = beside[llm(config).name], beside[siglip(config).name]["vision_config"]
        backbone = WithFlowHead(enlarged_qwen2(qwen, config), FlowHeadConfig(flow_head(config)))
        vit = ViTConfig(
            image_size=math.isqrt(config["places"]) * config["patch_size"],
            patch=config["patch_size"],
            width=config["clip_latent_dim"],
            depth=eyes["num_hidden_layers"] - 1,  # the last is taken away
            heads=eyes["num_attention_heads"],
            hidden=eyes["intermediate_size"],
            activation="gelu-tanh",
        )
        paths = DualPath(vit, config["image_latent_dim"], config["hidden_size"], config["places"])
        return ShowO2Network(backbone, paths, WanTokenizer(WanConfig.of(beside[VAE.name])))

    @classmethod
    def layout(cls, config: dict[str, Any]) -> Layout:
        return NAMES

    @classmethod
    def dialogue(cls, folder: Path, config: dict[str, Any], network: Network) -> ShowO2Dialogue:
        assert isinstance(network, ShowO2Network)
        return ShowO2Dialogue(config["companions"][llm(config).name].folder, config, network)


def llm(config: dict[str, Any]) -> Companion:
    hub = config["llm_model_path"]
    return Companion(PurePosixPath(hub).name, hub, weights=False, file="llm_config.json")


def siglip(config: dict[str, Any]) -> Companion:
    hub = config["clip_pretrained_model_path"]
    return Companion(PurePosixPath(hub).name, hub, weights=False, file="siglip_config.json")


def enlarged_qwen2(qwen: dict[str, Any], config: dict[str, Any]) -> BackboneConfig:
    """With a vocabulary of its own, and a head of its own wherever the checkpoint has one."""
    return replace(qwen2(qwen | {"vocab_size": config["llm_vocab_size"]}), tied=config["tied"])


def flow_head(config: dict[str, Any]) -> BackboneConfig:
    sizes = config["diffusion_head_config"]
    return BackboneConfig(
        width=sizes["hidden_size"],
        depth=config["num_diffusion_layers"],
        heads=sizes["num_attention_heads"],
        kv_heads=sizes["num_key_value_heads"],
        hidden=sizes["intermediate_size"],
        head_width=sizes["head_dim"],
        vocab=0,
        norm_qk=config["add_qk_norm"],
        theta=500000.0,
        eps=1e-5,
    )

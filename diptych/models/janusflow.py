"""JanusFlow (arXiv 2411.07975): one Llama writes text and, by rectified flow, the latents of SDXL's autoencoder.

SigLIP reads pictures; a shallow U-ViT stands around the Llama where pictures are written. Official code:
deepseek-ai/Janus, janus/janusflow/models/{modeling_vlm,uvit,processing_vlm}.py and demo/app_janusflow.py.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from diptych.backbone.packing import Span
from diptych.backbone.transformer import Backbone, RMSNorm
from diptych.backbone.uvit import Entered, UViTConfig, UViTIn, UViTOut
from diptych.canvas import Canvas, Port, Step, Writer
from diptych.encoders.vit import ViT
from diptych.errors import InputError
from diptych.models import layouts
from diptych.models.companions import Companion
from diptych.models.deepseek import OLD_ROLES, DeepSeekDialogue, llama, siglip
from diptych.models.family import Family, Options
from diptych.models.layouts_diffusers import AUTOENCODER_KL
from diptych.models.network import Ids, Made, Network, Piece
from diptych.models.registry import read_json
from diptych.objectives.flow import Flow, logit_normal, waves
from diptych.samplers.guidance import alone, cfg
from diptych.samplers.schedules import euler
from diptych.tokenizers.diffusers import autoencoder_kl
from diptych.tokenizers.latents import LatentTokenizer
from diptych.types import Request
from diptych.weights.layout import Layout

VAE = Companion("sdxl-vae", "stabilityai/sdxl-vae")
CLOCK = 1000.0  # a time in [0, 1] is embedded as a thousand times as much
STEPS, GUIDANCE = 30, 2.0  # demo/app_janusflow.py, README.md
# What the official classes take for a key that config.json leaves out.
COMMON = {"block_out_channels": (768,), "layers_in_middle": 2, "hidden_size": 2048, "norm_eps": 1e-6, "use_bias": True}
INTO = COMMON | {"input_channels": 3, "stride": 4, "kernel_size": 7, "padding": None, "use_mid_block": True}
OUT = COMMON | {"in_channels": 768, "out_channels": 3, "upsamples": 2, "use_mid_block": True}


class Latents(Port):
    """Slots are latents of a picture. Fed are the embedded time and a token for each patch of them, all causal; out
    come velocities."""

    def __init__(self, c: UViTConfig, width: int, eps: float):
        super().__init__()
        self.enter, self.into = UViTIn(c), nn.Linear(c.width, width)
        self.norm, self.out, self.leave = RMSNorm(width, eps=eps), nn.Linear(width, c.answer), UViTOut(c)

    def embed(self, canvas: Canvas, step: Step) -> tuple[Tensor, Entered]:
        latents = canvas.value.to(self.into.weight.dtype).transpose(1, 2).unflatten(2, canvas.grid)
        time = CLOCK * torch.as_tensor(step.time, device=latents.device).expand(len(latents))
        entered = self.enter(latents, waves(time, self.into.in_features).to(latents.dtype))
        tokens = self.into(entered.features.flatten(2).transpose(1, 2))
        return torch.cat([entered.time[:, None], tokens], 1), entered

    def head(self, hidden: Tensor, memo: Entered, where: Tensor | None = None) -> Tensor:
        answer = self.out(self.norm(hidden[:, 1:])).transpose(1, 2).unflatten(2, memo.features.shape[2:])
        velocity = self.leave(answer, memo).flatten(2).transpose(1, 2)
        return velocity if where is None else velocity[where]


class JanusFlowNetwork(Network):
    """encoder, project: SigLIP and the layer behind it; begin: what stands before a picture that is read, in place of
    the begin mark's own embedding. draw: the U-ViT. tokenizer: of latents."""

    def __init__(self, backbone: Backbone, encoder: ViT, draw: Latents, tokenizer: LatentTokenizer):
        super().__init__()
        self.backbone, self.encoder, self.draw, self.tokenizer = backbone, encoder, draw, tokenizer
        self.project = nn.Linear(encoder.config.width, backbone.config.width)
        self.begin = nn.Parameter(torch.zeros(1, backbone.config.width))

    def see(self, pictures: list[Tensor]) -> list[Tensor]:
        pixels = torch.stack(pictures).to(self.device, self.dtype)
        return [torch.cat([self.begin, tokens]) for tokens in self.project(self.encoder(pixels))]

    def recall(self, made: list[Made]) -> list[Tensor]:
        """A picture the model wrote is read like any other."""
        return [self.see(list(self.decode(m.slots[None].to(self.device), m.grid).clamp(-1, 1)))[0] for m in made]

    def decode(self, slots: Tensor, grid: tuple[int, ...]) -> Tensor:
        return self.tokenizer.decode(slots.transpose(1, 2).unflatten(2, grid))

    def encode(self, pixels: Tensor) -> Tensor:
        """Pixels [B, 3, H, W] in [-1, 1] -> latents Float[B, N, C], row by row, the mean of what they may be."""
        return self.tokenizer.encode(pixels).flatten(2).transpose(1, 2)


class JanusFlowDialogue(DeepSeekDialogue):
    """DeepSeek's template with the plain roles of the official commands; the README's demo draws 384 x 384 pixels."""

    can = frozenset({"chat", "generate"})

    def __init__(self, folder: Path, config: dict[str, Any], network: JanusFlowNetwork):
        pictures, settings = (read_json(folder / f"{name}_config.json") for name in ("preprocessor", "processor"))
        super().__init__(folder, network, pictures, settings, OLD_ROLES)
        self.network = network
        # hard-coded in the official commands: a picture is written by as many tokens as it is read by
        side = network.encoder.config.grid * _uvit(config).stride
        self.latents = (side, side)
        self.image_size = (side * network.tokenizer.factor, side * network.tokenizer.factor)

    def render(self, request: Request, said: Sequence[Piece] = (), branch: str = "full") -> list[Piece]:
        """The conversation and the opened reply. Before a picture there is no begin mark: the time takes its place.
        Without text ("no_text") only BOS is left, as far from the picture as it was."""
        if request.want != "image":
            return self.begun(request.turns, self.system, said)
        if any(turn.images for turn in request.turns):
            raise InputError("this model draws from text alone; ask for the picture in words")
        (prompt,) = self.begun(request.turns, "")
        assert isinstance(prompt, Ids)
        return [prompt if branch == "full" else Ids(prompt.ids[:1], Span(advance=len(prompt.ids)))]

    def shown(self, image: Any) -> list[Piece]:
        """A picture brings what stands before it along."""
        return super().shown(image)[1:]

    def image(self, options: Options) -> Writer:
        guidance = self._guidance(options)
        steps = euler(options.steps or STEPS, ascending=True)
        return Writer(self.network.draw, self._flow(), steps, alone if guidance == 1 else cfg(guidance))

    def _flow(self) -> Flow:
        return Flow(self.network.draw.enter.patch.in_channels, ascending=True, times=logit_normal())

    def branches(self, request: Request, options: Options) -> tuple[str, ...]:
        return ("full",) if self._guidance(options) == 1 else ("full", "no_text")

    def grid(self, options: Options) -> tuple[int, ...]:
        if options.size not in (None, self.image_size):
            height, width = self.image_size
            raise InputError(f"this model writes {width}x{height} pictures only; leave size out")
        return self.latents

    def _guidance(self, options: Options) -> float:
        return GUIDANCE if options.guidance is None else options.guidance


def _uvit(config: dict[str, Any]) -> UViTConfig:
    into = INTO | config["vision_gen_enc_config"]["params"]
    out = OUT | config["vision_gen_dec_config"]["params"]
    kernel, stride, padding = into["kernel_size"], into["stride"], into["padding"]
    return UViTConfig(
        channels=into["input_channels"],
        width=into["block_out_channels"][-1],
        answer=out["in_channels"],
        time=into["hidden_size"],
        kernel=kernel,
        stride=stride,
        padding=math.ceil(kernel - stride) if padding is None else padding,
        doublings=out["upsamples"],
        blocks_in=into["layers_in_middle"] if into["use_mid_block"] else 0,
        blocks_out=out["layers_in_middle"] if out["use_mid_block"] else 0,
        bias_in=into["use_bias"],
        bias_out=out["use_bias"],
        eps_in=into["norm_eps"],
        eps_out=out["norm_eps"],
    )


BLOCKS = {
    "mid_block.res_blocks.#.depthwise.*": "blocks.#.depthwise.*",
    "mid_block.res_blocks.#.norm.*": "blocks.#.norm.*",
    "mid_block.res_blocks.#.channelwise_linear_1.*": "blocks.#.up.*",
    "mid_block.res_blocks.#.channelwise_norm.*": "blocks.#.norm_up.*",
    "mid_block.res_blocks.#.channelwise_linear_2.*": "blocks.#.down.*",
    "mid_block.res_blocks.#.cond_embeds_mapper.*": "blocks.#.modulate.*",
}
UVIT = (
    Layout(
        {
            **BLOCKS,
            "time_embed.linear_1.*": "time.0.*",
            "time_embed.linear_2.*": "time.2.*",
            "in_conv.*": "patch.*",
        }
    ).under("vision_gen_enc_model.", "draw.enter.")
    | Layout(
        {
            **BLOCKS,
            "input_norm.*": "norm.*",
            "out_convs.#.norm.*": "doublings.#.norm.*",
            "out_convs.#.unpatch_conv.*": "doublings.#.conv.*",
        }
    ).under("vision_gen_dec_model.", "draw.leave.")
    | Layout(
        {
            "vision_gen_enc_aligner.*": "draw.into.*",
            "vision_gen_dec_aligner_norm.*": "draw.norm.*",
            "vision_gen_dec_aligner.*": "draw.out.*",
        }
    )
)


class JanusFlow(Family):
    name = "janusflow"
    checkpoints = ("deepseek-ai/JanusFlow-1.3B",)

    @classmethod
    def recognises(cls, config: dict[str, Any], folder: Path) -> bool:
        return config.get("model_type") == "multi_modality" and "vision_gen_enc_config" in config

    @classmethod
    def companions(cls, config: dict[str, Any]) -> tuple[Companion, ...]:
        return (VAE,)

    @classmethod
    def build(cls, config: dict[str, Any]) -> JanusFlowNetwork:
        backbone = Backbone(llama(config["language_config"]))
        draw = Latents(_uvit(config), backbone.config.width, backbone.config.eps)
        encoder = ViT(siglip(config["vision_und_enc_config"]["params"]))
        return JanusFlowNetwork(backbone, encoder, draw, autoencoder_kl(config["companions"][VAE.name].config))

    @classmethod
    def layout(cls, config: dict[str, Any]) -> Layout:
        return (
            layouts.LLAMA.under("language_model.", "backbone.")
            | layouts.TIMM_VIT.under("vision_und_enc_model.vision_tower.", "encoder.")
            | Layout({"vision_und_enc_aligner.*": "project.*", "beg_of_und_embed": "begin"})
            | UVIT
            | AUTOENCODER_KL.under(f"{VAE.name}/", "tokenizer.")
        )

    @classmethod
    def dialogue(cls, folder: Path, config: dict[str, Any], network: Network) -> JanusFlowDialogue:
        assert isinstance(network, JanusFlowNetwork)
        return JanusFlowDialogue(folder, config, network)

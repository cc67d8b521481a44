"""Janus and Janus-Pro (arXiv 2410.13848, 2501.17811): SigLIP reads, a VQ tokenizer writes, one Llama thinks.

Official code: deepseek-ai/Janus, janus/models/{modeling_vlm,processing_vlm,image_processing_vlm,vq_model}.py and
generation_inference.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import torch
from PIL import Image as Pillow
from torch import Tensor, nn

from diptych.backbone.transformer import Backbone, BackboneConfig
from diptych.canvas import Canvas, Step, Writer
from diptych.encoders.preprocess import janus_preprocess, to_uint8
from diptych.encoders.project import mlp
from diptych.encoders.vit import ViT, ViTConfig
from diptych.errors import InputError
from diptych.models import layouts
from diptych.models.family import Dialogue, Family, Options
from diptych.models.network import Ids, Made, Network, Piece, Seen
from diptych.models.ports import Codes, Words
from diptych.models.registry import read_json
from diptych.objectives.tokens import Token, argmax, sample
from diptych.samplers.guidance import alone, cfg
from diptych.samplers.schedules import raster
from diptych.tokenizers.codes import VisualTokenizer, vq_tokenizer
from diptych.tokenizers.conv import compvis
from diptych.tokenizers.text import TextTokenizer
from diptych.types import Image, Request, Text, Turn
from diptych.weights.layout import Layout

# Sizes the official code looks up by name; a config may state its own beside the name.
SIGLIP_L16 = {"patch_size": 16, "width": 1024, "layers": 24, "heads": 16, "mlp_ratio": 4}
VQ16 = {"ch": 128, "ch_mult": [1, 1, 2, 2, 4], "num_res_blocks": 2, "z_channels": 256, "num_groups": 32}
# Keys that language_config leaves to transformers' LlamaConfig.
LLAMA = {
    "hidden_size": 4096,
    "intermediate_size": 11008,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "vocab_size": 32000,
    "rms_norm_eps": 1e-6,
    "rope_theta": 10000.0,
}
SYSTEM = (
    "You are a helpful language and vision assistant. You are able to understand the visual content that the user "
    "provides, and assist the user with a variety of tasks using natural language."
)


class Mark(str):
    """A special token that the template puts there."""


ROLES: dict[str, str] = {"user": Mark("<|User|>"), "assistant": Mark("<|Assistant|>")}
OLD_ROLES = {"user": "User", "assistant": "Assistant"}  # deepseek_old: plain words
GUIDANCE = 5.0  # generation_inference.py: cfg_weight


class JanusNetwork(Network):
    """see: SigLIP and aligner. draw: code table, aligner and head. tokenizer: VQ-16."""

    def __init__(self, backbone: Backbone, see: nn.ModuleDict, draw: Codes, tokenizer: VisualTokenizer):
        super().__init__()
        self.backbone, self.eyes, self.draw, self.tokenizer = backbone, see, draw, tokenizer

    def see(self, pictures: list[Tensor]) -> list[Tensor]:
        pixels = torch.stack(pictures).to(self.device, self.dtype)
        return list(self.eyes["project"](self.eyes["encoder"](pixels)))

    def recall(self, made: list[Made]) -> list[Tensor]:
        codes = torch.cat([m.slots for m in made]).to(self.device)
        return list(self.draw.tokens(codes).split([len(m.slots) for m in made]))

    def decode(self, slots: Tensor, grid: tuple[int, ...]) -> Tensor:
        return self.tokenizer.decode(slots.view(-1, *grid))

    def encode(self, pixels: Tensor) -> Tensor:
        """Pixels [B, 3, H, W] in [-1, 1] -> the codes that would write them, Int[B, N], row by row."""
        return self.tokenizer.encode(pixels).flatten(1)


def llama(config: dict[str, Any]) -> BackboneConfig:
    c = LLAMA | config
    return BackboneConfig(
        width=c["hidden_size"],
        depth=c["num_hidden_layers"],
        heads=c["num_attention_heads"],
        kv_heads=c.get("num_key_value_heads") or c["num_attention_heads"],
        hidden=c["intermediate_size"],
        vocab=c["vocab_size"],
        head_width=c.get("head_dim"),
        theta=c["rope_theta"],
        eps=c["rms_norm_eps"],
        tied=c.get("tie_word_embeddings", False),
    )


def siglip(params: dict[str, Any]) -> ViTConfig:
    """CLIPVisionTower: `select_layer` <= 0 counts blocks from the end, and those behind it are not even built."""
    p = SIGLIP_L16 | params
    layers, select = p["layers"], p.get("select_layer", -1)
    return ViTConfig(
        image_size=p["image_size"],
        patch=p["patch_size"],
        width=p["width"],
        depth=min(layers, layers + select + 1) if select <= 0 else select,
        heads=p["heads"],
        hidden=int(p["width"] * p["mlp_ratio"]),
        stem=tuple(p.get("stem", ())),  # of the built-in models; published ones have none
    )


def vq16(params: dict[str, Any]) -> VisualTokenizer:
    p = VQ16 | params
    deepest = len(p["ch_mult"]) - 1
    numbers = p["ch"], tuple(p["ch_mult"]), p["num_res_blocks"], p["z_channels"]
    halves = compvis(*numbers, attention=(deepest,), groups=p["num_groups"])
    return vq_tokenizer(*halves, p["image_token_size"], p["n_embed"])


class JanusDialogue(Dialogue):
    """The `deepseek` and `deepseek_old` templates; pictures as the official processor makes them."""

    can = frozenset({"chat", "generate"})

    def __init__(
        self,
        folder: Path,
        config: dict[str, Any],
        network: JanusNetwork,
        pictures: dict[str, Any],
        settings: dict[str, Any],
    ):
        """folder: the tokenizer's; pictures, settings: preprocessor_config and processor_config in official terms."""
        # every prompt begins with BOS, whatever a tokenizer config that was saved anew has lost
        self.network, self.tokenizer = network, TextTokenizer(folder, {"add_bos_token": True})
        self.preprocess = janus_preprocess(
            pictures["image_size"], tuple(pictures["image_mean"]), tuple(pictures["image_std"]), pictures["min_size"]
        )
        old = settings.get("sft_format") == "deepseek_old"
        self.roles = OLD_ROLES if old else ROLES
        self.system = settings.get("system_prompt", SYSTEM)
        self.begin, self.end, self.pad, self.eos = (
            self.tokenizer.special(name)
            for name in ("<begin_of_image>", "<end_of_image>", "<｜▁pad▁｜>", "<｜end▁of▁sentence｜>")
        )
        self.ending = self.eos
        self.stops, self.opening, self.closing = frozenset({self.eos, self.begin}), self.begin, (self.end,)
        self.can = frozenset(config.get("diptych", {}).get("can", self.can))
        self.defaults = config.get("diptych", {}).get("defaults", {})
        read, written = (config[f"{part}_config"]["params"].get("image_size") for part in ("vision", "gen_vision"))
        side = written or read  # official configs know one size for both
        self.image_size = (side, side)

    def render(self, request: Request, said: Sequence[Piece] = (), branch: str = "full") -> list[Piece]:
        """Messages as `role: content`, then the opened reply; before a picture its begin mark.

        Without text ("no_text") every id but the first and the last is the pad id, which stays visible; pictures stay.
        """
        draws = request.want == "image"
        parts = self._parts(request.turns, "" if draws else self.system)
        pieces: list[Piece] = [Ids(self.tokenizer.encode("")), *self._pieces(parts), *said]
        opened = bool(said) and isinstance(said[-1], Ids) and said[-1].ids[-1:] == [self.begin]
        pieces = _merged([*pieces, Ids([self.begin])] if draws and not opened else pieces)
        return pieces if branch == "full" else self._without_text(pieces)

    def _parts(self, turns: Sequence[Turn], system: str) -> list[str | Image]:
        """Marks, strings and pictures in the order of the official template."""
        given = [turn.text for turn in turns if turn.role == "system"]
        system = "\n\n".join(given) if given else system
        parts: list[str | Image] = [system + "\n\n"] if system else []
        for turn in turns:
            if turn.role != "system":
                parts += [self.roles[turn.role], ": ", *_content(turn)]
                parts.append("\n\n" if turn.role == "user" else Mark("<｜end▁of▁sentence｜>"))
        return [*parts, self.roles["assistant"], ":"]

    def _pieces(self, parts: Sequence[str | Image]) -> list[Piece]:
        """A special token's name is parsed only where the template put it, never in what a person wrote."""
        pieces: list[Piece] = []
        for kind, group in groupby(parts, key=type):
            if kind is str:
                text = "".join(str(part) for part in group)
                pieces.append(Ids(self.tokenizer.encode(text, frame=False, specials=False)))
                continue
            for part in group:
                if isinstance(part, Image):
                    pieces += [Ids([self.begin]), Seen(self.preprocess(part.pixels)), Ids([self.end])]
                else:
                    pieces.append(Ids([self.tokenizer.special(str(part))]))
        return pieces

    def _without_text(self, pieces: list[Piece]) -> list[Piece]:
        last = max(i for i, piece in enumerate(pieces) if isinstance(piece, Ids))
        out: list[Piece] = []
        for i, piece in enumerate(pieces):
            if isinstance(piece, Ids):
                ids = [self.pad] * len(piece.ids)
                ids[:1] = piece.ids[:1] if i == 0 else ids[:1]
                ids[-1:] = piece.ids[-1:] if i == last else ids[-1:]
                piece = Ids(ids)
            out.append(piece)
        return out

    def text(self, options: Options) -> Writer:
        pick = argmax if not options.temperature else sample(options.temperature, options.top_k, options.top_p)
        stops = torch.tensor(sorted(self.stops))

        def ended(canvas: Canvas, step: Step) -> Tensor:
            return torch.isin(canvas.value[:, step.index], stops.to(canvas.value.device))

        return Writer(Words(self.network.backbone, lag=1), Token(pick), raster, alone, stop=ended)

    def image(self, options: Options) -> Writer:
        temperature = self._default("temperature", options.temperature, 1.0)
        pick = sample(temperature, options.top_k, options.top_p) if temperature else argmax
        guidance = self._guidance(options)
        return Writer(self.network.draw, Token(pick), raster, alone if guidance == 1 else cfg(guidance))

    def branches(self, request: Request, options: Options) -> tuple[str, ...]:
        return ("full",) if self._guidance(options) == 1 else ("full", "no_text")

    def grid(self, options: Options) -> tuple[int, ...]:
        if options.size not in (None, self.image_size):
            height, width = self.image_size
            raise InputError(f"this model writes {width}x{height} pictures only; leave size out")
        factor = self.network.tokenizer.factor
        return self.image_size[0] // factor, self.image_size[1] // factor

    def pictures(self, pixels: Tensor) -> list[Pillow.Image]:
        return [Pillow.fromarray(p) for p in to_uint8(pixels, "trunc").cpu().numpy()]

    def _guidance(self, options: Options) -> float:
        return self._default("guidance", options.guidance, GUIDANCE)

    def _default(self, name: str, given: float | None, published: float) -> float:
        return self.defaults.get(name, published) if given is None else given


def _content(turn: Turn) -> list[str | Image]:
    """The turn's parts, stripped at both ends; a picture stands on a line of its own unless the text says otherwise."""
    parts: list[str | Image] = []
    for part in turn.parts:
        new = part.text if isinstance(part, Text) else part
        if parts and isinstance(parts[-1], str) != isinstance(new, str):
            before, after = parts[-1], new
            spaced = isinstance(before, str) and before[-1:].isspace() or isinstance(after, str) and after[:1].isspace()
            parts += [] if spaced else ["\n"]
        parts.append(new)
    if parts and isinstance(parts[0], str):
        parts[0] = parts[0].lstrip()
    if parts and isinstance(parts[-1], str):
        parts[-1] = parts[-1].rstrip()
    return parts


def _merged(pieces: Sequence[Piece]) -> list[Piece]:
    """Neighbouring ids as one piece."""
    out: list[Piece] = []
    for piece in pieces:
        if isinstance(piece, Ids) and out and isinstance(out[-1], Ids):
            out[-1] = Ids([*out[-1].ids, *piece.ids])
        else:
            out.append(piece)
    return out


class Janus(Family):
    name = "janus"
    checkpoints = ("deepseek-ai/Janus-1.3B", "deepseek-ai/Janus-Pro-1B", "deepseek-ai/Janus-Pro-7B")

    @classmethod
    def recognises(cls, config: dict[str, Any], folder: Path) -> bool:
        """FUDOKI publishes Janus' very config; it is told by the embedding tables beside it."""
        ours = config.get("model_type") == "multi_modality" and "gen_vision_config" in config
        return ours and not any(folder.glob("*_embedding.*"))

    @classmethod
    def build(cls, config: dict[str, Any]) -> JanusNetwork:
        def params(part: str) -> dict[str, Any]:
            return config[f"{part}_config"]["params"]

        backbone = Backbone(llama(config["language_config"]))
        align, draw_in, head = params("aligner"), params("gen_aligner"), params("gen_head")
        encoder = ViT(siglip(params("vision")))
        project = mlp(align["input_dim"], *[align["n_embed"]] * align["depth"])
        table = nn.Embedding(head["image_token_size"], draw_in["input_dim"])
        into = mlp(draw_in["input_dim"], *[draw_in["n_embed"]] * draw_in["depth"])
        out = mlp(head["n_embed"], head["image_token_embed"], head["image_token_size"])
        see = nn.ModuleDict({"encoder": encoder, "project": project})
        return JanusNetwork(backbone, see, Codes(table, into, out), vq16(params("gen_vision")))

    @classmethod
    def layout(cls, config: dict[str, Any]) -> Layout:
        return (
            layouts.LLAMA.under("language_model.", "backbone.")
            | layouts.TIMM_VIT.under("vision_model.vision_tower.", "eyes.encoder.")
            | layouts.LLAMAGEN_VQ.under("gen_vision_model.", "tokenizer.")
            | Layout(
                {
                    "aligner.layers.#.*": "eyes.project.#.*",
                    "gen_embed.weight": "draw.table.weight",
                    "gen_aligner.layers.#.*": "draw.into.#.*",
                    "gen_head.output_mlp_projector.*": "draw.out.0.*",
                    "gen_head.vision_head.*": "draw.out.2.*",
                }
            )
        )

    @classmethod
    def dialogue(cls, folder: Path, config: dict[str, Any], network: Network) -> JanusDialogue:
        assert isinstance(network, JanusNetwork)
        pictures, settings = (read_json(folder / f"{name}_config.json") for name in ("preprocessor", "processor"))
        return JanusDialogue(folder, config, network, pictures, settings)

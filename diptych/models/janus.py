"""Janus and Janus-Pro (arXiv 2410.13848, 2501.17811): SigLIP reads, a VQ tokenizer writes, one Llama thinks.

Official code: deepseek-ai/Janus, janus/models/{modeling_vlm,processing_vlm,image_processing_vlm,vq_model}.py and
generation_inference.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from diptych.backbone.transformer import Backbone, Linear
from diptych.canvas import Writer
from diptych.encoders.project import mlp
from diptych.encoders.vit import ViT
from diptych.errors import InputError
from diptych.models import layouts
from diptych.models.deepseek import OLD_ROLES, ROLES, DeepSeekDialogue, llama, siglip
from diptych.models.family import Family, Options, stated
from diptych.models.network import Ids, Made, Network, Piece
from diptych.models.ports import Codes
from diptych.models.registry import read_json
from diptych.models.vq_models import vq16
from diptych.objectives.tokens import Token, argmax, sample
from diptych.samplers.guidance import alone, cfg
from diptych.samplers.schedules import raster
from diptych.tokenizers.codes import VisualTokenizer
from diptych.types import Request
from diptych.weights.layout import Layout

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


class JanusDialogue(DeepSeekDialogue):
    """Pictures are written where the model opens one, or on request."""

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
        old = settings.get("sft_format") == "deepseek_old"
        super().__init__(folder, network, pictures, settings, OLD_ROLES if old else ROLES)
        self.network = network
        self.stops, self.opening, self.closing = frozenset({self.eos, self.begin}), self.begin, (self.end,)
        self.can = frozenset(config.get("diptych", {}).get("can", self.can))
        self.defaults = stated(config, ("guidance", "temperature"))
        read, written = (config[f"{part}_config"]["params"].get("image_size") for part in ("vision", "gen_vision"))
        side = written or read  # official configs know one size for both
        self.image_size = (side, side)

    def render(self, request: Request, said: Sequence[Piece] = (), branch: str = "full") -> list[Piece]:
        """The conversation and the opened reply; before a picture its begin mark.

        Without text ("no_text") every id but the first and the last is the pad id, which stays visible; pictures stay.
        """
        draws = request.want == "image"
        opened = bool(said) and isinstance(said[-1], Ids) and said[-1].ids[-1:] == [self.begin]
        said = [*said, Ids([self.begin])] if draws and not opened else said
        pieces = self.begun(request.turns, "" if draws else self.system, said)
        return pieces if branch == "full" else self._without_text(pieces)

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

    def _guidance(self, options: Options) -> float:
        return self._default("guidance", options.guidance, GUIDANCE)

    def _default(self, name: str, given: float | None, published: float) -> float:
        return self.defaults.get(name, published) if given is None else given


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
        out = mlp(head["n_embed"], head["image_token_embed"], head["image_token_size"], of=Linear)
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

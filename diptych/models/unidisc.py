"""UniDisc (arXiv 2503.20853): one masked-diffusion transformer writes text and images, each anywhere in the sequence.

Two published layouts: text of a fixed length with one image behind it, and interleaved conversations. Official code:
alexanderswerdlow/unidisc, models/dit.py, model.py, model_eval.py and demo/inference.py; its image tokenizer is
LlamaGen's VQ-16 (FoundationVision/LlamaGen).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image as Pillow
from torch import Tensor

from diptych.backbone.packing import Span
from diptych.backbone.transformer import Backbone, BackboneConfig
from diptych.canvas import Schedule, Writer
from diptych.encoders.area import AreaCrop
from diptych.encoders.preprocess import to_uint8
from diptych.errors import InputError
from diptych.models import layouts
from diptych.models.companions import Companion
from diptych.models.family import Dialogue, Family, Options
from diptych.models.joint import Joint, JointNetwork, Run
from diptych.models.network import Ids, Made, Network, Piece, Seen
from diptych.objectives.absorbing import (
    MOST,
    Absorbing,
    Ancestral,
    cover_later_runs,
    cover_one_kind,
    gumbel_race,
    nucleus_race,
    surest_in_time,
)
from diptych.objectives.tokens import Pick, any_slot, argmax, race
from diptych.samplers.absorbing import ancestral, counted, even
from diptych.samplers.guidance import alone, cfg_rising
from diptych.tokenizers.absent import text_tokenizer
from diptych.tokenizers.codes import VisualTokenizer, vq_tokenizer
from diptych.tokenizers.conv import compvis
from diptych.types import Image, Request, Turn
from diptych.weights.layout import Layout, cut

VQ = Companion("vq", "peizesun/llamagen_t2i")
VQ16 = {"ch": 128, "num_res_blocks": 2}  # hard-coded in the official class
PAD, BOS, EOS = 0, 1, 2  # of Llama 2's tokenizer
IMAGE = 811  # a word of Llama 2's vocabulary that official code gives the name <image>
STRETCH = {256: 1.0, 1024: 2.0, 2304: 3.0, 4096: 4.0}  # by number of codes: sizes that interleaved models know
COUNTS = 16  # images that are told apart in one conversation
BEHIND = Span("all", tail=True)
SYSTEM = "You are a highly intelligent multimodal AI with the ability to analyze and generate images."
GUIDANCE, STEPS, HEAT, TOP_P, TEMPERATURE = 3.5, 35, 4.5, 0.95, 0.9  # demo/api_data_defs.py


@dataclass(frozen=True)
class Lesson:
    """How a model was trained: weights of text and of images, softmin-SNR, how often whole parts are hidden, and the
    most that text may weigh against images."""

    text: float = 1.0
    image: float = 1.0
    snr: float | None = None
    whole: float = 0.0
    ratio: float | None = None
    antithetic: bool = True

    @classmethod
    def of(cls, trainer: dict[str, Any]) -> Lesson:
        bounded = trainer.get("set_max_txt_loss_ratio")
        return cls(
            text=trainer["text_loss_weight"],
            image=trainer["img_loss_weight"],
            snr=trainer.get("softmin_snr"),
            whole=trainer.get("mask_entire_modality") or 0.0,
            ratio=float(bounded) if bounded else None,
            antithetic=trainer.get("antithetic_sampling", True),
        )


class UniDiscDialogue(Dialogue):
    """`<s> system </s><s> text </s><s><image> codes </s>` where conversations are interleaved; else one text, padded
    to its fixed length with tokens that everyone sees, and its image. Without guidance every given token is hidden."""

    can = frozenset({"chat", "generate", "inpaint"})
    ending, stops = EOS, frozenset({EOS})

    def __init__(self, folder: Path, config: dict[str, Any], network: JointNetwork):
        self.network, self.tokenizer = network, text_tokenizer(folder)
        stated = config["config"]
        self.interleaved, self.length = stated["trainer"]["interleaved"], stated["data"]["block_size"]
        self.lesson = Lesson.of(stated["trainer"])
        self.predictor, self.heat = stated["sampling"]["predictor"], stated["eval"].get("maskgit_r_temp", HEAT)
        side = stated["data"]["resolution"] // stated["model"]["downscale_ratio"] * network.tokenizer.factor
        self.image_size = (side, side)
        self.source = AreaCrop(side)  # type: ignore[method-assign]
        self.mask, self.vocab = network.mask, network.backbone.config.vocab

    # --- what is said ---

    def render(self, request: Request, said: Sequence[Piece] = (), branch: str = "full") -> list[Piece]:
        parts = self._interleaved(request) if self.interleaved else self._paired(request)
        return [*(parts if branch == "full" else map(self.hidden, parts)), *said]

    def hidden(self, piece: Piece) -> Piece:
        """A piece of which nothing is known."""
        if isinstance(piece, Ids):
            return piece._replace(ids=[self.mask] * len(piece.ids))
        grid = self.network.size(piece)
        return Made(torch.full((math.prod(grid),), -1), grid)

    def _interleaved(self, request: Request) -> list[Piece]:
        """What is written stands before all pictures; a picture that is written is the last of its sample."""
        pictures, asked = _pictures(request), [*self._system(request.turns), *_merged(request.turns)]
        ids = [i for text in asked for i in (BOS, *self.blanks(text), EOS)]
        if request.want == "image":
            _without(pictures)
            return [Ids([*ids, BOS, self._image]), Ids([EOS], BEHIND)]
        seen = [Seen(self.source(picture.pixels)) for picture in pictures]
        end = [Ids([EOS], BEHIND)] if seen else []
        return [Ids([*ids, BOS]), *seen, *end]

    def _paired(self, request: Request) -> list[Piece]:
        """To draw, a text and its padding; to describe a picture, how its description begins."""
        pictures, text = _pictures(request), " ".join(_merged(request.turns))
        if request.want == "image":
            _without(pictures)
            ids = [BOS, *self.blanks(text)[: self.length - 2], EOS]
            return [Ids([*ids, *[PAD] * (self.length - len(ids))])]
        if len(pictures) != 1:
            raise InputError("this model describes one picture, in words that may be begun; give exactly one picture")
        begun = [BOS, *(self.blanks(text) if text else [])]
        if len(begun) >= self.length:
            raise InputError(f"this model's texts have {self.length} tokens; begin with fewer than {len(begun)}")
        return [Ids(begun), Seen(self.source(pictures[0].pixels))]

    def blanks(self, text: str) -> list[int]:
        """The ids of a text."""
        return self.tokenizer.encode(text, frame=False, specials=False)

    @property
    def _image(self) -> int:
        known = self.tokenizer.tokenizer.token_to_id("<image>")
        return IMAGE if known is None else known

    @staticmethod
    def _system(turns: Sequence[Turn]) -> list[str]:
        return [" ".join(turn.text for turn in turns if turn.role == "system") or SYSTEM]

    # --- what is written ---

    def text(self, options: Options) -> Writer:
        """A text that the model has a fixed length for is written up to that."""
        room = None if self.interleaved else self.length - 1
        port = Joint(self.network, [Run()], 0, self.mask, room=room)
        return self._writer(port, options, alone, room, weights=(self.lesson.text,))

    def image(self, options: Options) -> Writer:
        return self._image_writer(options, self._guidance(options))

    def _image_writer(self, options: Options, guidance: float) -> Writer:
        port = Joint(self.network, [Run(grid=self.grid(options))], self.mask + 1, self.vocab, blind=guidance > 0)
        return self._writer(port, options, cfg_rising(guidance) if guidance else alone, weights=(self.lesson.image,))

    def lessons(self) -> dict[str, Writer]:
        return {"text": self.text(Options()), "image": self._image_writer(Options(), 0.0)}

    def joint(self, runs: Sequence[Run], options: Options | None = None, guided: bool = True) -> Writer:
        """Text and images on one canvas, whose slots hold ids of the whole vocabulary: joint inpainting, and training.
        Guided, it has two branches, which see the canvas with and without what was given on it."""
        options = options or Options()
        guidance = self._guidance(options) if guided else 0.0
        port = Joint(self.network, runs, 0, self.vocab, blind=guidance > 0)
        kinds = port.kinds(sum(port.lengths(0)))
        cover = cover_later_runs if self.interleaved else cover_one_kind
        lesson = self.lesson
        return self._writer(
            port,
            options,
            cfg_rising(guidance) if guidance else alone,
            kinds=kinds,
            weights=(lesson.text, lesson.image),
            cover=cover(kinds, lesson.whole),
            ratio=lesson.ratio,
        )

    def _writer(
        self, port: Joint, options: Options, guide: Callable, room: int | None = None, **training: Any
    ) -> Writer:
        training |= {"snr": self.lesson.snr, "antithetic": self.lesson.antithetic}
        objective, schedule = _sampler(self._predictor(options), options, self.heat, room, training)
        return Writer(port, objective, schedule, guide, "surest", lazy=self.predictor == "ddpm_cache")

    def _predictor(self, options: Options) -> str:
        """Greedy and nucleus sampling are MaskGIT's."""
        if options.temperature == 0:
            return "maskgit"
        return "maskgit_nucleus" if options.top_p < 1 else self.predictor

    def branches(self, request: Request, options: Options) -> tuple[str, ...]:
        return ("full", "nothing") if self._guidance(options) else ("full",)

    def grid(self, options: Options) -> tuple[int, ...]:
        factor = self.network.tokenizer.factor
        size = options.size or self.image_size
        grid = tuple(side // factor for side in size)
        if size != self.image_size and not (self.interleaved and size[0] == size[1] and math.prod(grid) in STRETCH):
            sides = [math.isqrt(n) * factor for n in STRETCH] if self.interleaved else [self.image_size[0]]
            raise InputError(f"this model writes square pictures with sides of {', '.join(map(str, sides))} pixels")
        return grid

    def pictures(self, pixels: Tensor) -> list[Pillow.Image]:
        return [Pillow.fromarray(p) for p in to_uint8(pixels, "trunc").cpu().numpy()]

    @staticmethod
    def _guidance(options: Options) -> float:
        return GUIDANCE if options.guidance is None else options.guidance


def _sampler(
    name: str, options: Options, heat: float, room: int | None, training: dict[str, Any]
) -> tuple[Absorbing, Schedule]:
    """`sampling.predictor` of the config."""
    steps = options.steps or STEPS
    if name.startswith("ddpm"):
        return Ancestral(1.0 if name == "ddpm_cache" else MOST, **training), ancestral(steps, room)
    if name == "first_hitting":
        return Absorbing(gumbel_race, any_slot, **training), counted(steps, even, room)
    if name not in ("maskgit", "maskgit_nucleus"):
        raise InputError(f"the config names an unknown sampler, {name!r}; use maskgit")
    cold = options.temperature == 0
    pick: Pick = argmax if cold else race(options.temperature or 1.0, options.top_k)
    if name == "maskgit_nucleus":
        top_p = options.top_p if options.top_p < 1 else TOP_P
        pick = nucleus_race(top_p, options.temperature or TEMPERATURE)
    return Absorbing(pick, surest_in_time(0.0 if cold else heat), **training), counted(steps, room=room)


def _pictures(request: Request) -> list[Image]:
    return [part for turn in request.turns for part in turn.parts if isinstance(part, Image)]


def _without(pictures: Sequence[Image]) -> None:
    if pictures:
        raise InputError("this model draws from text alone; to change a part of a picture give edit a mask")


def _merged(turns: Sequence[Turn]) -> list[str]:
    """What is said, neighbouring turns of one side as one."""
    texts: list[tuple[str, str]] = []
    for turn in turns:
        if turn.role == "system" or not turn.text.strip():
            continue
        if texts and texts[-1][0] == turn.role:
            texts[-1] = (turn.role, f"{texts[-1][1]} {turn.text}")
        else:
            texts.append((turn.role, turn.text))
    return [text for _, text in texts]


def vq16(params: dict[str, Any]) -> VisualTokenizer:
    p = VQ16 | params
    encoder, _ = _halves(p, p["encoder_ch_mult"])
    _, decoder = _halves(p, p["decoder_ch_mult"])
    return vq_tokenizer(
        encoder, decoder, p["codebook_size"], p["codebook_embed_dim"], normalise=p.get("codebook_l2_norm", True)
    )


def _halves(p: dict[str, Any], multipliers: list[int]):
    deepest = len(multipliers) - 1
    return compvis(p["ch"], tuple(multipliers), p["num_res_blocks"], p["z_channels"], attention=(deepest,))


class UniDisc(Family):
    name = "unidisc"
    checkpoints = ("aswerdlow/unidisc_interleaved",)

    @classmethod
    def recognises(cls, config: dict[str, Any], folder: Path) -> bool:
        stated = config.get("config")
        return isinstance(stated, dict) and stated.get("diffusion") == "absorbing_state" and "mask_index" in config

    @classmethod
    def companions(cls, config: dict[str, Any]) -> tuple[Companion, ...]:
        return (VQ,)

    @classmethod
    def build(cls, config: dict[str, Any]) -> JointNetwork:
        model = config["config"]["model"]
        width, interleaved = model["hidden_size"], config["config"]["trainer"]["interleaved"]
        backbone = BackboneConfig(
            width=width,
            depth=model["n_blocks"],
            heads=model["n_heads"],
            kv_heads=model["n_heads"],
            hidden=4 * width,
            vocab=config["vocab_size"],
            bias="mlp",
            norm_qk_whole=True,
            sandwich=True,
            mlp="gelu-tanh",
            head_bias=True,
        )
        factor = float(model["linear_factor"])
        return JointNetwork(
            Backbone(backbone),
            vq16(config["companions"][VQ.name].config),
            config["mask_index"],
            stretch=STRETCH.get if interleaved else lambda codes: factor,
            counts=COUNTS if interleaved else 0,
            apart=not interleaved,
        )

    @classmethod
    def layout(cls, config: dict[str, Any]) -> Layout:
        own = Layout({})
        for wrapped in ("", "module.", "_orig_mod.", "_orig_module."):  # what training wrapped around the model
            own |= DIT.under(wrapped, "")
        return own | layouts.LLAMAGEN_VQ.under("vq/", "tokenizer.")

    @classmethod
    def dialogue(cls, folder: Path, config: dict[str, Any], network: Network) -> UniDiscDialogue:
        assert isinstance(network, JointNetwork)
        return UniDiscDialogue(folder, config, network)


DIT = Layout(
    {
        "vocab_embed.embedding": "backbone.embed.weight",
        "modality_embed.embedding": "kinds",
        "img_count_embedding": "counts",
        "blocks.#.norm1.*": "backbone.blocks.#.norm_attn.*",
        "blocks.#.attention.attn_qkv.*": cut(*(f"backbone.blocks.#.{part}.*" for part in "qkv")),
        "blocks.#.attention.q_norm.*": "backbone.blocks.#.norm_q.*",
        "blocks.#.attention.k_norm.*": "backbone.blocks.#.norm_k.*",
        "blocks.#.attention.attn_out.*": "backbone.blocks.#.out.*",
        "blocks.#.pre_residual_norm.*": "backbone.blocks.#.norm_attn_out.*",
        "blocks.#.norm2.*": "backbone.blocks.#.norm_mlp.*",
        "blocks.#.mlp.0.*": "backbone.blocks.#.up.*",
        "blocks.#.mlp.2.*": "backbone.blocks.#.down.*",
        "blocks.#.post_ff_norm.*": "backbone.blocks.#.norm_mlp_out.*",
        "output_layer.norm_final.*": "backbone.norm.*",
        "output_layer.linear.*": "backbone.head.*",
    }
)

"""UniDisc (arXiv 2503.20853): one masked-diffusion transformer writes text and images, each anywhere in the sequence.

Two published layouts: text of a fixed length with one image behind it, and interleaved conversations. Official code:
alexanderswerdlow/unidisc, models/dit.py, model.py, model_eval.py and demo/inference.py; its image tokenizer is
LlamaGen's VQ-16 (FoundationVision/LlamaGen).
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image as Pillow
from torch import Tensor

from diptych.backbone.packing import Span
from diptych.backbone.transformer import Backbone, BackboneConfig
from diptych.canvas import Given, Writer
from diptych.encoders.area import AreaCrop
from diptych.encoders.preprocess import to_uint8
from diptych.errors import InputError
from diptych.models import layouts
from diptych.models.absorbed import HEAT, Lesson, Sampling
from diptych.models.companions import Companion
from diptych.models.family import Dialogue, Family, Options
from diptych.models.joint import Joint, JointNetwork, Run, Sheet
from diptych.models.network import Ids, Made, Network, Piece, Seen
from diptych.models.vq_models import vq16
from diptych.tokenizers.absent import Absent, text_tokenizer
from diptych.types import Image, Request, Turn
from diptych.weights.layout import Layout, cut

VQ = Companion("vq", "peizesun/llamagen_t2i")
VQ_TERMS = {"codebook_size": "image_token_size", "codebook_embed_dim": "n_embed", "encoder_ch_mult": "ch_mult"}
PAD, BOS, EOS = 0, 1, 2  # of Llama 2's tokenizer
IMAGE = 811  # a word of Llama 2's vocabulary that official code gives the name <image>
STRETCH = {256: 1.0, 1024: 2.0, 2304: 3.0, 4096: 4.0}  # by number of codes: sizes that interleaved models know
COUNTS = 16  # images that are told apart in one conversation
BEHIND = Span("all", tail=True)
SYSTEM = "You are a highly intelligent multimodal AI with the ability to analyze and generate images."
GUIDANCE = 3.5  # demo/api_data_defs.py
BLANK = re.compile(r"<m(\d*)>")  # an open token of a text that is begun, or so many


class UniDiscDialogue(Dialogue):
    """`<s> system </s><s> text </s><s><image> codes </s>` where conversations are interleaved; else one text, padded
    to its fixed length with tokens that everyone sees, and its image. Without guidance every given token is hidden."""

    can = frozenset({"chat", "generate", "inpaint", "infill"})
    ending, stops = EOS, frozenset({EOS})

    def __init__(self, folder: Path, config: dict[str, Any], network: JointNetwork):
        self.network, self.tokenizer = network, text_tokenizer(folder)
        stated = config["config"]
        self.interleaved, self.length = stated["trainer"]["interleaved"], stated["data"]["block_size"]
        self.lesson = Lesson.of(stated["trainer"])
        self.sampling = Sampling(stated["sampling"]["predictor"], stated["eval"].get("maskgit_r_temp", HEAT))
        side = stated["data"]["resolution"] // stated["model"]["downscale_ratio"] * network.tokenizer.factor
        self.image_size = (side, side)
        self.source = AreaCrop(side)  # type: ignore[method-assign]
        self.mask, self.vocab = network.mask, network.backbone.config.vocab

    def render(self, request: Request, said: Sequence[Piece] = (), branch: str = "full") -> list[Piece]:
        """What is to be written stands behind these pieces, before those that have a tail's span."""
        parts = self._interleaved(request) if self.interleaved else self._paired(request)
        return [*(parts if branch == "full" else map(self.hidden, parts)), *said]

    def hidden(self, piece: Piece) -> Piece:
        """A piece of which nothing is known."""
        if isinstance(piece, Ids):
            return piece._replace(ids=[self.mask] * len(piece.ids))
        grid = self.network.size(piece)
        return Made(torch.full((math.prod(grid),), -1), grid)

    def _interleaved(self, request: Request) -> list[Piece]:
        """Pictures stand behind the answer, whose last slots close it and open them; a picture that is written is the
        last of its sample."""
        pictures, ids = _pictures(request), self._said(request.turns)
        if request.want == "image":
            _without(pictures)
            return [Ids([*ids, BOS, self._image]), Ids([EOS], BEHIND)]
        seen = [Seen(self.source(picture.pixels)) for picture in pictures]
        return [Ids([*ids, BOS]), *seen, *([Ids([EOS], BEHIND)] if seen else [])]

    def _said(self, turns: Sequence[Turn], open_: bool = False) -> list[int]:
        system = " ".join(turn.text for turn in turns if turn.role == "system") or SYSTEM
        return [BOS, *self._encode(system), EOS, *self._turns(turns, open_)]

    def _turns(self, turns: Sequence[Turn], open_: bool) -> list[int]:
        return [i for text in _merged(turns) for i in (BOS, *self._encode(text, open_), EOS)]

    def _paired(self, request: Request) -> list[Piece]:
        """To draw, a text and its padding; to describe a picture, how its description begins."""
        pictures, text = _pictures(request), " ".join(_merged(request.turns))
        if request.want == "image":
            _without(pictures)
            return [Ids(self._padded(self._encode(text)))]
        if len(pictures) != 1:
            raise InputError("this model describes one picture, in words that may be begun; give exactly one picture")
        begun = [BOS, *self._encode(text)]
        if len(begun) >= self.length:
            raise InputError(f"this model's texts have {self.length} tokens; begin with fewer than {len(begun)}")
        return [Ids(begun), Seen(self.source(pictures[0].pixels))]

    def sheet(self, request: Request, anew: Tensor | None = None) -> Sheet:
        """A text with `<m>` for each open token, or `<m3>` for three, and a picture after it, as one canvas that
        `joint` fills (official infilling). anew: Bool[N], the picture's slots that are open too."""
        if len(pictures := _pictures(request)) != 1:
            raise InputError("text is filled in beside exactly one picture; give one")
        pixels = self.source(pictures[0].pixels)[None].to(self.network.device, self.network.dtype)
        codes = self.network.encode(pixels)[0] + self.mask + 1
        codes = codes if anew is None else codes.masked_fill(anew.to(codes.device), self.mask)
        if self.interleaved:
            said = self._said(request.turns, open_=True)
            text = slice(len(said) - len(self._turns(request.turns, True)) + 1, len(said) - 1)
            before, after = [*said, BOS, self._image], [EOS]
        else:
            ids = self._encode(" ".join(_merged(request.turns)), open_=True)
            before, after, text = self._padded(ids), [], slice(1, min(len(ids), self.length - 2) + 1)
        value = torch.cat([codes.new_tensor(before), codes, codes.new_tensor(after)])
        known, picture = value != self.mask, slice(len(before), len(before) + len(codes))
        if known.all():
            raise InputError("nothing is left open: write <m> in the text where a token is missing, or give a mask")
        runs = [Run(len(before)), Run(grid=self.grid(Options())), *([Run(1)] if after else [])]
        return Sheet(runs, Given(value, known), text, picture)

    def _padded(self, ids: list[int]) -> list[int]:
        """A text in its fixed length; too long a one is cut before its end mark."""
        whole = [BOS, *ids[: self.length - 2], EOS]
        return whole + [PAD] * (self.length - len(whole))

    def _encode(self, text: str, open_: bool = False) -> list[int]:
        """The ids of a text; with `open_` the mask for what is open in it."""
        ids = []
        for i, piece in enumerate(BLANK.split(text) if open_ else [text]):  # text, count, text, ...
            if i % 2:
                ids += [self.mask] * int(piece or 1)
            elif piece:
                ids += self.tokenizer.encode(piece, frame=False, specials=False)
        return ids

    @property
    def _image(self) -> int:
        """The id before an image's codes; only a tokenizer that is there can name it otherwise."""
        known = None if isinstance(self.tokenizer, Absent) else self.tokenizer.tokenizer.token_to_id("<image>")
        return IMAGE if known is None else known

    def text(self, options: Options) -> Writer:
        """A text that the model has a fixed length for is written up to that."""
        guidance, room = self._guidance(options), None if self.interleaved else self.length - 1
        port = Joint(self.network, [Run()], 0, self.mask, room=room, blind=guidance > 0)
        return self.sampling.writer(port, options, guidance, room, **self.lesson.one(self.lesson.text))

    def image(self, options: Options) -> Writer:
        guidance, runs = self._guidance(options), [Run(grid=self.grid(options))]
        port = Joint(self.network, runs, self.mask + 1, self.vocab, blind=guidance > 0)
        return self.sampling.writer(port, options, guidance, **self.lesson.one(self.lesson.image))

    def joint(self, runs: Sequence[Run], options: Options) -> Writer:
        """Text and images on one canvas, whose slots hold ids of the whole vocabulary: joint inpainting, and training.
        Guided, it has two branches, which see the canvas with and without what was given on it."""
        guidance = self._guidance(options)
        port = Joint(self.network, runs, 0, self.vocab, blind=guidance > 0)
        kinds = port.kinds(sum(port.lengths(0)))
        return self.sampling.writer(port, options, guidance, **self.lesson.both(kinds, self.interleaved))

    def lessons(self) -> dict[str, Writer]:
        plain = Options(guidance=0.0)
        return {"text": self.text(plain), "image": self.image(plain)}

    def branches(self, request: Request, options: Options) -> tuple[str, ...]:
        return ("full", "nothing") if self._guidance(options) else ("full",)

    def text_branches(self, options: Options) -> tuple[str, ...]:
        return self.branches(Request.of("text"), options)

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
        theirs: dict[str, Any] = config["companions"][VQ.name].config
        vq = {VQ_TERMS.get(name, name): value for name, value in theirs.items()}
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
            vq16(vq),
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

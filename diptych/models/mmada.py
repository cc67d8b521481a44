"""MMaDA (arXiv 2505.15809): LLaDA-8B, which sees everything, writes texts and MAGVIT-v2 images by masked diffusion.

Official code: Gen-Verse/MMaDA, models/{modeling_mmada,modeling_llada}.py, training/prompting_utils.py, generate.py and
app.py. The image tokenizer is published apart, as showlab/magvitv2.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from PIL import Image as Pillow
from torch import Tensor

from diptych.backbone.packing import Span
from diptych.backbone.transformer import Backbone, BackboneConfig
from diptych.canvas import Writer
from diptych.encoders.preprocess import Crop, Preprocess, to_uint8
from diptych.errors import InputError
from diptych.models import layouts, vq_models
from diptych.models.companions import Companion
from diptych.models.family import Dialogue, Family, Options
from diptych.models.network import Ids, Made, Network, Piece, Seen
from diptych.models.ports import MarkedWords, Words
from diptych.objectives.marked import Marked
from diptych.objectives.tokens import Masked, Pick, Sure, argmax, gumbel64, race, sample, surest64
from diptych.objectives.weighed import Weighed
from diptych.samplers.guidance import alone, cfg
from diptych.samplers.schedules import blocks, cosine, reveal
from diptych.samplers.stopping import answered
from diptych.tokenizers.absent import Absent, text_tokenizer
from diptych.tokenizers.codes import VisualTokenizer
from diptych.tokenizers.text import TextTokenizer
from diptych.types import Request, Text, Turn
from diptych.weights.layout import Layout

ALL = Span("all")
# What the published models are; a config that says otherwise is of another model.
FIXED: dict[str, Any] = {"block_type": "llama", "layer_norm_type": "rms", "activation_type": "silu", "rope": True}
FIXED |= dict.fromkeys(("include_bias", "include_qkv_bias", "bias_for_layer_norm", "attention_layer_norm"), False)
FIXED |= dict.fromkeys(("alibi", "input_emb_norm", "scale_logits"), False)
BLOCK, GUIDANCE, STEPS = 128, 3.5, 15  # app.py: text in blocks of 128, two tokens a visit; images
LONGEST = 512  # tokens of a prompt to draw; longer ones are cut, as published
THINK = (
    "You should first think about the reasoning process in the mind and then provide the user with the answer. "
    "The reasoning process is enclosed within <think> </think> tags, i.e. <think> reasoning process here </think> "
    "answer here\n"
)


class Marks(NamedTuple):
    """Ids of the LLaDA tokenizer with special meaning (training/prompting_utils.py, app.py), and where image codes
    begin: behind the last id of the tokenizer, inside the table's unused rows."""

    bos: int = 126080
    eos: int = 126081
    soi: int = 126084
    eoi: int = 126085
    t2i: int = 126088
    mmu: int = 126089
    pad: int = 126093
    start_header: int = 126346
    end_header: int = 126347
    eot: int = 126348
    codes: int = 126349

    @classmethod
    def of(cls, tokenizer: TextTokenizer) -> Marks:
        """As a tokenizer names them. Those it does not name stand at reserved ids: the published one."""
        names = {"bos": "<|startoftext|>", "eos": "<|endoftext|>", "pad": "[iPAD]", "eot": "<|eot_id|>"}
        names |= {name: f"<|{name}|>" for name in ("soi", "eoi", "t2i", "mmu")}
        names |= {name: f"<|{name}_id|>" for name in ("start_header", "end_header")}
        ids = {field: tokenizer.tokenizer.token_to_id(name) for field, name in names.items()}
        length = tokenizer.tokenizer.get_vocab_size(with_added_tokens=True)
        return cls(**{field: i for field, i in ids.items() if i is not None}, codes=length)


class MMaDANetwork(Network):
    """One table and one head for texts and images; image code c is the id low + c."""

    text_span = image_span = ALL

    def __init__(self, backbone: Backbone, tokenizer: VisualTokenizer, mask: int, codebook: int):
        super().__init__()
        self.backbone, self.tokenizer = backbone, tokenizer
        self.mask, self.codebook, self.marks = mask, codebook, Marks()

    def see(self, pictures: list[Tensor]) -> list[Tensor]:
        return list(self._embedded(self.encode(torch.stack(pictures).to(self.device, self.dtype))))

    def recall(self, made: list[Made]) -> list[Tensor]:
        return [self._embedded(own.slots.to(self.device)) for own in made]

    def _embedded(self, codes: Tensor) -> Tensor:
        return self.backbone.embed(codes + self.marks.codes)

    def decode(self, slots: Tensor, grid: tuple[int, ...]) -> Tensor:
        return self.tokenizer.decode(slots.view(-1, *grid))

    def encode(self, pixels: Tensor) -> Tensor:
        """Pixels [B, 3, H, W] in [-1, 1] -> codes Int[B, N], row by row."""
        return self.tokenizer.encode(pixels).flatten(1)

    def words(self) -> Words:
        """The port of texts: the whole vocabulary, image codes and the mask itself among it."""
        return Words(self.backbone, mask=self.mask, span=ALL)

    def codes(self, kind: type[Words] = Words) -> Words:
        """The port of images."""
        low, around = self.marks.codes, ((self.marks.soi,), (self.marks.eoi,))
        end = low + self.codebook
        return kind(self.backbone, low, end, mask=self.mask, before=around[0], after=around[1], span=ALL)


def llada(config: dict[str, Any]) -> BackboneConfig:
    """ModelConfig of configuration_llada.py. Raises ValueError for what no published MMaDA is."""
    other = [name for name, value in FIXED.items() if config.get(name, value) != value]
    if other:
        raise ValueError(f"{other[0]} is {config[other[0]]!r}")
    return BackboneConfig(
        width=config["d_model"],
        depth=config["n_layers"],
        heads=config["n_heads"],
        kv_heads=config.get("n_kv_heads") or (1 if config.get("multi_query_attention") else config["n_heads"]),
        hidden=config.get("mlp_hidden_size") or config["mlp_ratio"] * config["d_model"],
        vocab=config.get("embedding_size") or config["vocab_size"],
        theta=config["rope_theta"],
        eps=config["rms_norm_eps"],
        tied=config["weight_tying"],
    )


class MMaDADialogue(Dialogue):
    """The chat template that generate.py and app.py set, and the task marks of prompting_utils.py."""

    can = frozenset({"chat", "generate", "inpaint"})

    def __init__(self, folder: Path, config: dict[str, Any], network: MMaDANetwork):
        self.network, self.tokenizer, self.longest = network, text_tokenizer(folder), LONGEST
        self.speak(Marks() if isinstance(self.tokenizer, Absent) else Marks.of(self.tokenizer))
        side = math.isqrt(config["num_vq_tokens"])
        self.slots = (side, side)
        factor = network.tokenizer.factor
        self.image_size = (side * factor, side * factor)
        self.preprocess = Preprocess((Crop(side * factor),))

    def speak(self, marks: Marks) -> None:
        """Use these ids."""
        self.marks = self.network.marks = marks
        self.ending, self.stops = marks.eot, frozenset({marks.eos, marks.eot})

    def render(self, request: Request, said: Sequence[Piece] = (), branch: str = "full") -> list[Piece]:
        """The picture first, then all turns; or, to draw, the words alone: no template stands around them."""
        if request.want == "image":
            if any(turn.images for turn in request.turns):
                raise InputError("this model draws from words alone; leave the picture out, or give a mask to paint in")
            text = "\n".join(turn.text for turn in request.turns if turn.role != "assistant")
            return [Ids(self.drawing(self._encoded(text) if branch == "full" else []))]
        pictures = [picture for turn in request.turns for picture in turn.images]
        if len(pictures) > 1:
            raise InputError(f"this model reads one picture a conversation, not {len(pictures)}; ask about each apart")
        seen = [piece for picture in pictures for piece in self.seen(self.preprocess(picture))]
        return [*seen, Ids(self._chat(request.turns)), *said]

    def thinking(self, request: Request) -> Request:
        """The same question behind the published instruction to think (app.py)."""
        if request.want != "text":
            return super().thinking(request)
        *before, last = request.turns
        return Request((*before, replace(last, parts=(Text(THINK), *last.parts))), request.want)

    def seen(self, pixels: Tensor) -> list[Piece]:
        """What stands for a picture before a conversation about it."""
        m = self.marks
        return [Ids([m.mmu, m.soi]), Seen(pixels), Ids([m.eoi])]

    def drawing(self, text: Sequence[int]) -> list[int]:
        """Ids of a prompt -> what stands before the image; from nothing, the unconditional prompt."""
        m = self.marks
        ids = [m.t2i, *([] if text and text[0] == m.bos else [m.bos]), *text, m.eos]
        return ids if len(ids) <= self.longest + 1 else [*ids[: self.longest], m.eos]

    def _chat(self, turns: Sequence[Turn]) -> list[int]:
        ids = [self.marks.bos]
        for turn in turns:
            ids += [*self._header(turn.role), *self._encoded("\n" + turn.text.strip()), self.marks.eot]
        return [*ids, *self._header("assistant"), *self._encoded("\n")]

    def _header(self, role: str) -> list[int]:
        return [self.marks.start_header, *self._encoded(role), self.marks.end_header]

    def _encoded(self, text: str) -> list[int]:
        return self.tokenizer.encode(text, frame=False, specials=False)

    def text(self, options: Options, sure: Sure = surest64) -> Writer:
        """Blocks of 128 tokens, two a visit; greedy unless a temperature is given (mmu_generate)."""
        size = min(BLOCK, options.max_tokens)
        steps = options.steps or -(-options.max_tokens // size) * -(-size // 2)
        objective = Weighed(_pick(options), sure, self.network.mask)
        schedule, stop = blocks(size, steps, options.refresh), answered(self.stops)
        return Writer(self.network.words(), objective, schedule, alone, "surest", stop, focus=True)

    def image(self, options: Options) -> Writer:
        """Temperature is how much chance takes part in what counts as surest; 0 is greedy."""
        heat = 1.0 if options.temperature is None else options.temperature
        pick = race(1.0, options.top_k) if options.top_p == 1 else sample(1.0, options.top_k, options.top_p)
        schedule = reveal(options.steps or STEPS, cosine, heat)
        guide = cfg(1 + self._guidance(options)) if self._guidance(options) else alone
        return Writer(self.network.codes(), Masked(pick if heat else argmax), schedule, guide, "surest", focus=True)

    def lessons(self) -> dict[str, Writer]:
        """How the published code trains: `text` answers, `plain` texts without a prompt (`lm`), and images over the
        whole vocabulary with the marks around them."""
        words, port = self.network.words(), self.network.codes(MarkedWords)
        image = Marked(self.marks.codes, port.before, port.after)
        return {
            "text": self.text(Options()),
            "plain": Writer(words, Weighed(by_row=False), blocks(BLOCK, 1), alone, "surest"),
            "image": Writer(port, image, reveal(1), alone, "surest"),
        }

    def padding(self, count: int) -> Ids:
        """Padding before a prompt that is learned. The published training means to hide it, but adds 1 to the
        attention logits between other tokens instead: the padding is seen, 1 below the rest."""
        return Ids([self.marks.pad] * count, Span("all", bias=-1.0))

    def branches(self, request: Request, options: Options) -> tuple[str, ...]:
        return ("full", "no_text") if self._guidance(options) else ("full",)

    def grid(self, options: Options) -> tuple[int, ...]:
        if options.size not in (None, self.image_size):
            height, width = self.image_size
            raise InputError(f"this model writes {width}x{height} pictures only; leave size out")
        return self.slots

    def pictures(self, pixels: Tensor) -> list[Pillow.Image]:
        return [Pillow.fromarray(p) for p in to_uint8(pixels, "trunc").cpu().numpy()]

    @staticmethod
    def _guidance(options: Options) -> float:
        """In MMaDA's convention, (1 + g) c - g u."""
        return GUIDANCE if options.guidance is None else options.guidance


def _pick(options: Options) -> Pick:
    if not options.temperature:
        return argmax
    if options.top_k or options.top_p < 1:
        return sample(options.temperature, options.top_k, options.top_p)
    return gumbel64(options.temperature)


class MMaDA(Family):
    name = "mmada"
    checkpoints = ("Gen-Verse/MMaDA-8B-Base", "Gen-Verse/MMaDA-8B-MixCoT")

    @classmethod
    def recognises(cls, config: dict[str, Any], folder: Path) -> bool:
        return config.get("model_type") == "mmada" and "d_model" in config

    @classmethod
    def companions(cls, config: dict[str, Any]) -> tuple[Companion, ...]:
        return (vq_models.companion(config),)

    @classmethod
    def build(cls, config: dict[str, Any]) -> MMaDANetwork:
        backbone = Backbone(llada(config))
        return MMaDANetwork(backbone, vq_models.build(config), config["mask_token_id"], config["codebook_size"])

    @classmethod
    def layout(cls, config: dict[str, Any]) -> Layout:
        return layouts.LLADA.under("model.transformer.", "backbone.") | vq_models.layout(config, "tokenizer.")

    @classmethod
    def dialogue(cls, folder: Path, config: dict[str, Any], network: Network) -> MMaDADialogue:
        assert isinstance(network, MMaDANetwork)
        return MMaDADialogue(folder, config, network)

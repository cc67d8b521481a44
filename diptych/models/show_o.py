"""Show-o (arXiv 2408.12528): Phi-1.5 writes text from left to right and images by uncovering masked codes.

Pictures are read as the codes of MAGVIT-v2 (or of what the config states as `vq_model`), or by CLIP in the variants
`w-clip-vit`. Official code: showlab/Show-o, models/{modeling_showo,phi,sampling}.py, training/prompting_utils.py and
inference_{mmu,t2i}.py.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import torch
from PIL import Image as Pillow
from torch import Tensor, nn

from diptych.attention import EVERYONE
from diptych.backbone.packing import Span
from diptych.backbone.transformer import Backbone
from diptych.canvas import Canvas, Step, Writer
from diptych.encoders.clip_vision import clip_preprocess, clip_vision
from diptych.encoders.preprocess import Crop, Preprocess, to_uint8
from diptych.encoders.project import mlp
from diptych.encoders.vit import ViT
from diptych.errors import InputError
from diptych.models import layouts, vq_models
from diptych.models.companions import Companion
from diptych.models.family import Dialogue, Family, Options, stated
from diptych.models.network import Ids, Made, Network, Piece, Seen
from diptych.models.phi import phi
from diptych.models.ports import MarkedWords, Words
from diptych.models.registry import read_json
from diptych.objectives.marked import Marked
from diptych.objectives.tokens import Masked, Token, argmax, sample
from diptych.samplers.guidance import alone, cfg
from diptych.samplers.schedules import raster, reveal
from diptych.tokenizers.absent import text_tokenizer
from diptych.tokenizers.codes import VisualTokenizer
from diptych.types import Image, Request, Turn
from diptych.weights.layout import Layout

LLM = "microsoft/phi-1_5"
CLIP = Companion("clip", "openai/clip-vit-large-patch14-336")
DEFAULTS = {"w_clip_vit": False, "codebook_size": 8192, "num_vq_tokens": 256}  # of the official class
PROJECTOR = {"in_features": 1024, "hidden_features": 2048, "out_features": 2048}  # hard-coded in the official class
# Added behind the text vocabulary, in this order; codes follow, and the mask id is the last of all.
SPECIALS = ("[PAD]", "<|soi|>", "<|eoi|>", "<|sov|>", "<|eov|>", "<|t2i|>", "<|mmu|>", "<|t2v|>", "<|v2v|>", "<|lvg|>")
SYSTEM = (
    "A chat between a curious user and an artificial intelligence assistant. "
    "The assistant gives helpful, detailed, and polite answers to the user's questions."
)
PROMPT = 128  # configs: max_seq_length, how many ids of a prompt to draw are kept
HEARD = Span(audience=EVERYONE)  # seen by all rows, the earlier ones too


class Drawing(NamedTuple):
    """Defaults of the official commands: README.md, inference_t2i.py."""

    guidance: float
    steps: int
    temperature: float = 1.0


SMALL, LARGE = Drawing(1.75, 16), Drawing(5.0, 50)  # 256 and 512 pixels


def drawing(side: int, config: dict[str, Any]) -> Drawing:
    """The defaults of pictures of this side, but for what the config states as `diptych.defaults`."""
    return (SMALL if side <= 256 else LARGE)._replace(**stated(config, Drawing._fields))


class Vocabulary(NamedTuple):
    """Ids by name; codes are `first`..`mask` - 1."""

    specials: dict[str, int]
    first: int
    mask: int

    @classmethod
    def of(cls, config: dict[str, Any]) -> Vocabulary:
        specials = {name: config["llm_vocab_size"] + i for i, name in enumerate(SPECIALS)}
        last = config["vocab_size"] - 1
        return cls(specials, last - config["codebook_size"], config.get("mask_token_id", last))


class ShowONetwork(Network):
    """eyes: CLIP and its projector, None where pictures are read as codes. first: the id of code 0."""

    image_span = Span("full", EVERYONE)

    def __init__(self, backbone: Backbone, tokenizer: VisualTokenizer, first: int, eyes: nn.ModuleDict | None = None):
        super().__init__()
        self.backbone, self.tokenizer, self.first, self.eyes = backbone, tokenizer, first, eyes

    def see(self, pictures: list[Tensor]) -> list[Tensor]:
        pixels = torch.stack(pictures).to(self.device, self.dtype)
        if self.eyes is None:
            return list(self.backbone.embed(self.encode(pixels) + self.first))
        return list(self.eyes["project"](self.eyes["encoder"](pixels)))

    def recall(self, made: list[Made]) -> list[Tensor]:
        return [self.backbone.embed(m.slots.to(self.device) + self.first) for m in made]

    def decode(self, slots: Tensor, grid: tuple[int, ...]) -> Tensor:
        return self.tokenizer.decode(slots.view(-1, *grid))

    def encode(self, pixels: Tensor) -> Tensor:
        """Pixels [B, 3, H, W] in [-1, 1] -> codes Int[B, N], row by row."""
        return self.tokenizer.encode(pixels).flatten(1)


def llm(config: dict[str, Any]) -> Companion:
    """The language model Show-o began as: its config and tokenizer, not its weights. Both may lie in the model's own
    folder, the config then as llm_config.json."""
    stated = PurePosixPath(config.get("llm_model_path") or LLM)
    hub = str(stated) if len(stated.parts) == 2 and not str(stated).startswith((".", "/", "~")) else LLM
    return Companion(stated.name, hub, weights=False, file="llm_config.json")


class ShowODialogue(Dialogue):
    """Prompts of `UniversalPrompting` and of the conversation template `phi1.5`.

    Official rows are padded on the left, and nothing but the padding sees the padding: here rows are without.
    """

    can = frozenset({"chat", "generate", "inpaint"})

    def __init__(self, folder: Path, config: dict[str, Any], network: ShowONetwork, eyes: Preprocess | None):
        """folder: of the text tokenizer; eyes: CLIP's preprocessing, None where pictures are read as codes."""
        self.network, self.tokenizer = network, text_tokenizer(folder)
        self.specials, self.first, self.mask = Vocabulary.of(config)
        self.begin, self.end = self.tokenizer.bos, self.tokenizer.eos
        if self.end is not None:
            self.ending = self.end
        self.stops = frozenset(() if self.end is None else (self.end,))
        side = math.isqrt(config["num_vq_tokens"]) * network.tokenizer.factor
        self.image_size = (side, side)
        self.reads_codes, self.preprocess = eyes is None, eyes or Preprocess((Crop(side),))
        self.published = drawing(side, config)
        self.prompt_ids = PROMPT

    def render(self, request: Request, said: Sequence[Piece] = (), branch: str = "full") -> list[Piece]:
        if request.want == "image":
            return [Ids(self.drawn(self._prompt(request) if branch == "full" else []))]
        return [*self._asked(request.turns), *said]

    def drawn(self, ids: list[int]) -> list[int]:
        """What stands before an image for a prompt of `ids`: too long a prompt is cut before its end mark."""
        begin, end = self._ends()
        whole = [self.specials["<|t2i|>"], begin, *ids, end]
        return whole if len(whole) <= self.prompt_ids + 1 else [*whole[: self.prompt_ids], end]

    def looked(self, picture: Piece, ids: list[int], system: Sequence[int] = ()) -> list[Piece]:
        """A picture and `ids` about it. Of codes the marks too are heard by all; `system` stands before CLIP's."""
        mmu, soi, eoi = (self.specials[name] for name in ("<|mmu|>", "<|soi|>", "<|eoi|>"))
        if self.reads_codes:
            return [Ids([mmu, soi], HEARD), picture, Ids([eoi], HEARD), Ids([self._ends()[0], *ids])]
        return [Ids([mmu, *system, soi]), picture, Ids([eoi, *ids])]

    def _ends(self) -> tuple[int, int]:
        end = self.tokenizer.special("<|endoftext|>") if self.end is None else self.end
        return end if self.begin is None else self.begin, end

    def _prompt(self, request: Request) -> list[int]:
        if any(turn.images for turn in request.turns):
            raise InputError("this model draws from text alone; to change a part of a picture give edit a mask")
        return self._encode(request.turns[-1].text)

    def _asked(self, turns: Sequence[Turn]) -> list[Piece]:
        pictures = [part for turn in turns for part in turn.parts if isinstance(part, Image)]
        if len(pictures) > 1:
            raise InputError(f"this model reads one picture a conversation, not {len(pictures)}; ask about each alone")
        given = "\n\n".join(turn.text for turn in turns if turn.role == "system")
        apart = bool(pictures) and not self.reads_codes  # where system text has a place of its own
        ids = self._spoken([turn for turn in turns if turn.role != "system"], "" if apart or not given else given + " ")
        if not pictures:
            return [Ids([self._ends()[0], *ids])]
        return self.looked(Seen(self.preprocess(pictures[0].pixels)), ids, self._encode(given or SYSTEM))

    def _spoken(self, turns: Sequence[Turn], text: str) -> list[int]:
        """`USER: ... ASSISTANT: ...<|endoftext|>` behind `text`. Before a single question about codes the official
        script has a line break, which the template of several turns has not."""
        rounds = list[list[int]]()
        line = "\n" if self.reads_codes and len(turns) == 1 and turns[0].images else ""
        for turn in turns:
            if turn.role == "user":
                text += f"USER: {line}{turn.text} ASSISTANT:"
            else:
                rounds.append([*self._encode(f"{text} {turn.text}"), self._ends()[1]])
                text = ""
        return [*chain(*rounds), *self._encode(text)]

    def _encode(self, text: str) -> list[int]:
        return self.tokenizer.encode(text, frame=False, specials=False) if text else []

    def text(self, options: Options) -> Writer:
        pick = argmax if not options.temperature else sample(options.temperature, options.top_k, options.top_p)
        stops = torch.tensor(sorted(self.stops))

        def ended(canvas: Canvas, step: Step) -> Tensor:
            return torch.isin(canvas.value[:, step.index], stops.to(canvas.value.device))

        return Writer(Words(self.network.backbone, lag=1), Token(pick), raster, alone, stop=ended)

    def image(self, options: Options) -> Writer:
        """Temperature is the share of chance in which codes stay; 0 draws the likeliest code too."""
        heat = self.published.temperature if options.temperature is None else options.temperature
        pick = sample(1.0, options.top_k, options.top_p) if heat else argmax
        guidance, schedule = self._guidance(options), reveal(options.steps or self.published.steps, heat=heat)
        guide = cfg(1 + guidance) if guidance else alone  # official scale g: (1 + g) c - g u
        return Writer(self._port(Words), Masked(pick), schedule, guide, "surest")

    def lessons(self) -> dict[str, Writer]:
        port = self._port(MarkedWords)
        image = Writer(port, Marked(self.first, port.before, port.after), reveal(1), alone, "surest")
        return {"text": self.text(Options()), "image": image}

    def _port(self, kind: type[Words]) -> Words:
        before, after = ((self.specials[name],) for name in ("<|soi|>", "<|eoi|>"))
        marks = {"mask": self.mask, "before": before, "after": after, "span": Span("full")}
        return kind(self.network.backbone, self.first, self.mask, **marks)

    def branches(self, request: Request, options: Options) -> tuple[str, ...]:
        return ("full", "no_text") if self._guidance(options) else ("full",)

    def grid(self, options: Options) -> tuple[int, ...]:
        if options.size not in (None, self.image_size):
            height, width = self.image_size
            raise InputError(f"this model writes {width}x{height} pictures only; leave size out")
        return tuple(side // self.network.tokenizer.factor for side in self.image_size)

    def pictures(self, pixels: Tensor) -> list[Pillow.Image]:
        return [Pillow.fromarray(p) for p in to_uint8(pixels, "trunc").cpu().numpy()]

    def _guidance(self, options: Options) -> float:
        return self.published.guidance if options.guidance is None else options.guidance


class ShowO(Family):
    name = "show_o"
    checkpoints = (
        "showlab/show-o",
        "showlab/show-o-512x512",
        "showlab/show-o-w-clip-vit",
        "showlab/show-o-w-clip-vit-512x512",
    )

    @classmethod
    def recognises(cls, config: dict[str, Any], folder: Path) -> bool:
        return config.get("_class_name") == "Showo"

    @classmethod
    def companions(cls, config: dict[str, Any]) -> tuple[Companion, ...]:
        return llm(config), vq_models.companion(config), *((CLIP,) if (DEFAULTS | config)["w_clip_vit"] else ())

    @classmethod
    def completed(cls, config: dict[str, Any], shapes: Mapping[str, Sequence[int]]) -> dict[str, Any]:
        return DEFAULTS | config

    @classmethod
    def build(cls, config: dict[str, Any]) -> ShowONetwork:
        beside = config["companions"]
        backbone = Backbone(phi(beside[llm(config).name].config, config["vocab_size"]))
        tokenizer, eyes = vq_models.build(config), None
        if config["w_clip_vit"]:
            sizes = PROJECTOR | config.get("mm_projector", {})
            project = mlp(sizes["in_features"], sizes["hidden_features"], sizes["out_features"])
            eyes = nn.ModuleDict({"encoder": ViT(clip_vision(beside[CLIP.name].config)), "project": project})
        return ShowONetwork(backbone, tokenizer, Vocabulary.of(config).first, eyes)

    @classmethod
    def layout(cls, config: dict[str, Any]) -> Layout:
        layout = layouts.PHI.under("showo.", "backbone.") | vq_models.layout(config, "tokenizer.")
        if not config["w_clip_vit"]:
            return layout
        clip = layouts.CLIP_VISION.under("clip/", "eyes.encoder.")
        return layout | clip | Layout({"mm_projector.#.*": "eyes.project.#.*"})

    @classmethod
    def dialogue(cls, folder: Path, config: dict[str, Any], network: Network) -> ShowODialogue:
        assert isinstance(network, ShowONetwork)
        beside, eyes = config["companions"], None
        if config["w_clip_vit"]:
            eyes = clip_preprocess(read_json(beside[CLIP.name].folder / "preprocessor_config.json"))
        return ShowODialogue(beside[llm(config).name].folder, config, network, eyes)

"""Transfusion (arXiv 2408.11039): one transformer for text and, by flow, latents of any kinds; tokens carry their time.

As lucidrains/transfusion-pytorch has it (transfusion_pytorch/transfusion.py). No weights are published, nor a config
file: config.json holds the constructor's arguments, model.safetensors the state dict. Latents come in and go out as
they are; there is no image tokenizer.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import torch
from PIL import Image as Pillow
from torch import Tensor, nn

from diptych.backbone.adaptive import Adaptive, AdaptiveConfig
from diptych.backbone.packing import Segment
from diptych.canvas import Canvas, Step, Writer
from diptych.errors import InputError
from diptych.models.family import Dialogue, Family, Options
from diptych.models.network import Ids, Made, Network, Piece
from diptych.models.ports import Words
from diptych.models.timed import TOGETHER, Latents, Places
from diptych.objectives.flow import Flow, Midpoint
from diptych.objectives.tokens import Token, argmax, sample
from diptych.samplers.guidance import alone, cfg
from diptych.samplers.schedules import midpoint, raster
from diptych.tokenizers.absent import text_tokenizer
from diptych.types import Request
from diptych.weights.layout import Layout, cut

POINTS, GUIDANCE = 16, 3.0  # modality_steps, cfg_scale
CHARACTERS = 128


class Vocabulary(NamedTuple):
    """Ids behind those of the text: begin and end of all, the null of guidance, begin and end of each kind of latents,
    and what a shape is spelt in."""

    texts: int
    kinds: int

    begin = property(lambda v: v.texts)
    end = property(lambda v: v.texts + 1)
    null = property(lambda v: v.texts + 2)
    shape = property(lambda v: v.texts + 3 + 2 * v.kinds)
    size = property(lambda v: v.shape + 1 + CHARACTERS)

    def opening(self, kind: int) -> int:
        return self.texts + 3 + kind

    def closing(self, kind: int) -> int:
        return self.texts + 3 + self.kinds + kind

    def announced(self, kind: int, grid: Sequence[int]) -> list[int]:
        """What stands before latents: their shape, spelt in characters, and their opening mark."""
        return [self.shape, *(self.shape + 1 + ord(c) for c in ",".join(map(str, grid))), self.opening(kind)]


class Latent(NamedTuple):
    """Latents in a conversation: their kind, slots Float[N, C] row by row, their grid, and their flow time."""

    kind: int
    slots: Tensor
    grid: tuple[int, ...]
    time: float = 1.0


class TransfusionNetwork(Network):
    """kinds: a port for each kind of latents."""

    def __init__(self, backbone: Adaptive, kinds: Sequence[Latents]):
        super().__init__()
        self.backbone: Any = backbone
        self.kinds = nn.ModuleList(kinds)

    def read(self, rows: Sequence[Sequence[Any]]) -> list[list[Segment]]:
        return [[self._segment(piece) for piece in row] for row in rows]

    def _segment(self, piece: Any) -> Segment:
        if isinstance(piece, Ids):
            ids = torch.tensor(piece.ids, dtype=torch.long, device=self.device)
            return Segment(self.backbone.embed(ids), piece.span or self.text_span)
        if isinstance(piece, Made):
            piece = Latent(0, piece.slots, piece.grid)
        if not isinstance(piece, Latent):
            self._refuse()
        slots = piece.slots[None].to(self.device, self.dtype)
        port: Any = self.kinds[piece.kind]
        return Segment(port.tokens(slots, piece.grid, torch.tensor([piece.time]))[0], TOGETHER)

    def see(self, pictures: list[Tensor]) -> list[Tensor]:
        self._refuse()

    def recall(self, made: list[Made]) -> list[Tensor]:
        return [self._segment(m).x for m in made]

    def decode(self, slots: Tensor, grid: tuple[int, ...]) -> Tensor:
        self._refuse()

    def _refuse(self) -> NoReturn:
        raise InputError("this model has no image tokenizer: give and take latents, through its network and writers")


class TransfusionDialogue(Dialogue):
    """There is no template: a text between the marks of begin and end, latents behind their shape."""

    can = frozenset({"chat"})
    image_size = (0, 0)

    def __init__(self, folder: Path, config: dict[str, Any], network: TransfusionNetwork):
        self.network, self.tokenizer = network, text_tokenizer(folder)
        self.names = vocabulary(config)
        self.ending, self.stops = self.names.end, frozenset({self.names.end})
        self.shapes = [s.shape for s in kinds(config)]

    def render(self, request: Request, said: Sequence[Piece] = (), branch: str = "full") -> list[Any]:
        """With the want of a picture, up to the opening mark of the first kind in its usual shape; without text
        ("no_text") every id is null."""
        if any(turn.images for turn in request.turns):
            raise InputError("this model has no image tokenizer and reads no pictures; ask in words")
        text = "\n".join(turn.text for turn in request.turns)
        ids = self.tokenizer.encode(text, frame=False, specials=False)
        if high := [i for i in ids if i >= self.names.texts]:
            raise InputError(f"the tokenizer gives the id {high[0]}, but this model knows {self.names.texts} text ids")
        drawn = self.names.announced(0, self._grid(0)) if request.want == "image" else []
        pieces = [Ids([self.names.begin, *ids, *drawn]), *said]
        return pieces if branch == "full" else self.without_text(pieces)

    def without_text(self, pieces: Sequence[Any]) -> list[Any]:
        return [Ids([self.names.null] * len(p.ids), p.span) if isinstance(p, Ids) else p for p in pieces]

    def text(self, options: Options) -> Writer:
        """Over the whole vocabulary: a model may open latents."""
        pick = argmax if not options.temperature else sample(options.temperature, options.top_k, options.top_p)
        stops = torch.tensor(sorted(self.stops))

        def ended(canvas: Canvas, step: Step) -> Tensor:
            return torch.isin(canvas.value[:, step.index], stops.to(canvas.value.device))

        return Writer(Words(self.network.backbone, lag=1), Token(pick), raster, alone, stop=ended)

    def image(self, options: Options) -> Writer:
        return self.latents(0, options)

    def latents(self, kind: int, options: Options, keep: bool = False) -> Writer:
        """How latents of one kind are written; `steps` counts times, one more than steps. keep: as in `midpoint`."""
        port: Any = self.network.kinds[kind]
        guidance = self._guidance(options)
        schedule = midpoint(options.steps or POINTS, keep)
        objective = Midpoint(port.out.out_features, ascending=True)
        return Writer(port, objective, schedule, alone if guidance == 1 else cfg(guidance))

    def lessons(self) -> dict[str, Writer]:
        """Texts, and each kind of latents as "latents0", "latents1", ..."""
        ports: list[Any] = list(self.network.kinds)
        flows = [Writer(p, Flow(p.out.out_features, ascending=True), midpoint(POINTS), alone) for p in ports]
        return {"text": self.text(Options())} | {f"latents{k}": writer for k, writer in enumerate(flows)}

    def branches(self, request: Request, options: Options) -> tuple[str, ...]:
        return ("full",) if self._guidance(options) == 1 else ("full", "no_text")

    def grid(self, options: Options) -> tuple[int, ...]:
        return options.size or self._grid(0)

    def pictures(self, pixels: Tensor) -> list[Pillow.Image]:
        self.network._refuse()

    def _grid(self, kind: int) -> tuple[int, ...]:
        if (shape := self.shapes[kind]) is None:
            raise InputError(f"config.json states no modality_default_shape for latents {kind}; give a size")
        return shape

    def _guidance(self, options: Options) -> float:
        return GUIDANCE if options.guidance is None else options.guidance


class Kind(NamedTuple):
    """One kind of latents, as config.json has it."""

    channels: int
    first: bool  # channels come first in official arrays
    placed: bool
    shape: tuple[int, ...] | None
    axes: int | None


def kinds(config: dict[str, Any]) -> list[Kind]:
    """Arguments that are not lists hold for every kind."""
    channels = config.get("dim_latent") or config["transformer"]["dim"]
    channels = channels if isinstance(channels, list) else [channels]

    def each(name: str, default: Any, deep: bool = False) -> list[Any]:
        value = config.get(name, default)
        many = isinstance(value, list) and (not deep or not value or not isinstance(value[0], int))
        return list(value) if many else [value] * len(channels)

    shapes = [None if s is None else tuple(s) for s in each("modality_default_shape", None, deep=True)]
    axes = each("modality_num_dim", None)
    axes = [len(s) if a is None and s is not None else a for a, s in zip(axes, shapes, strict=True)]
    parts = channels, each("channel_first_latent", False), each("add_pos_emb", False), shapes, axes
    return [Kind(*row) for row in zip(*parts, strict=True)]


def vocabulary(config: dict[str, Any]) -> Vocabulary:
    return Vocabulary(config["num_text_tokens"], len(kinds(config)))


def adaptive(config: dict[str, Any]) -> AdaptiveConfig:
    t, attention = config["transformer"], config["transformer"].get("attn_kwargs", {})
    laser = attention.get("laser_softclamp_value", 15.0) if t.get("attn_laser", False) else 0.0
    return AdaptiveConfig(
        width=t["dim"],
        depth=t["depth"],
        heads=t.get("heads", 8),
        head=t.get("dim_head", 64),
        hidden=int(t["dim"] * t.get("ff_expansion_factor", 4) * 2 / 3),
        vocab=vocabulary(config).size,
        cap=attention.get("softcap_value", 50.0),
        laser=laser,
        skips=t.get("unet_skips", True),
        gates=attention.get("gate_values", True),
        norm_qk=t.get("qk_rmsnorm", True),
        value_residual=t.get("use_value_residual", False),
    )


def _around(part: int, ours: str) -> dict[str, str]:
    names = {"layernorm_gamma": "gamma", "layerscale": "scale", "to_film.*": "film.*", "to_ada_ln_zero.*": "gate.*"}
    return {f"transformer.layers.#.{part}.{theirs}": f"blocks.#.{ours}.{own}" for theirs, own in names.items()}


ATTENTION, MLP = "transformer.layers.#.1.fn.", "transformer.layers.#.2.fn."
ADAPTIVE = Layout(
    {
        "text_embed.weight": "embed.weight",
        "to_text_logits.weight": "head.weight",
        "rotary_emb.freqs": "frequencies",
        "transformer.to_time_cond.0.weights": "clock.waves",
        "transformer.to_time_cond.1.*": "clock.project.*",
        "transformer.norm.gamma": "norm.gamma",
        "transformer.layers.#.0.weight": "blocks.#.skip.weight",
        **_around(1, "around_attention"),
        **_around(2, "around_mlp"),
        f"{ATTENTION}to_qk.0.weight": cut("blocks.#.attention.q.weight", "blocks.#.attention.k.weight"),
        f"{ATTENTION}to_v.0.weight": "blocks.#.attention.v.weight",
        f"{ATTENTION}to_out.1.weight": "blocks.#.attention.out.weight",
        f"{ATTENTION}to_gates.0.weight": "blocks.#.attention.gates.weight",
        f"{ATTENTION}q_norm.gamma": "blocks.#.attention.norm_q.gamma",
        f"{ATTENTION}k_norm.gamma": "blocks.#.attention.norm_k.gamma",
        f"{ATTENTION}to_learned_value_residual.0.*": "blocks.#.attention.mix.*",
        f"{MLP}net.0.*": "blocks.#.up.*",
        f"{MLP}net.3.*": "blocks.#.down.*",
        "transformer.layers.#.3.norm_keys.gamma": "blocks.#.mean.norm.gamma",
        "transformer.layers.#.3.pseudo_queries": "blocks.#.mean.query",
    }
)


class Transfusion(Family):
    name = "transfusion"

    @classmethod
    def recognises(cls, config: dict[str, Any], folder: Path) -> bool:
        return "num_text_tokens" in config and isinstance(config.get("transformer"), dict)

    @classmethod
    def build(cls, config: dict[str, Any]) -> TransfusionNetwork:
        width = config["transformer"]["dim"]
        clean, least = config.get("model_output_clean", False), config.get("eps", 1e-2)

        def port(kind: Kind) -> Latents:
            into = nn.Identity() if kind.channels == width else nn.Linear(kind.channels, width)
            places = Places(width, kind.axes or 0) if kind.placed else None
            return Latents(into, nn.Linear(width, kind.channels, bias=False), places, clean, least)

        return TransfusionNetwork(Adaptive(adaptive(config)), [port(kind) for kind in kinds(config)])

    @classmethod
    def layout(cls, config: dict[str, Any]) -> Layout:
        rules: dict[str, str] = {"pos_emb_mlp.#.mlps.#.#.*": "kinds.#.places.axes.#.#.*"}
        for k, kind in enumerate(kinds(config)):  # a rearrangement stands before or behind the layer
            into, out = ("1.", "0.") if kind.first else ("", "")
            rules[f"latent_to_model_projs.{k}.{into}*"] = f"kinds.{k}.into.*"
            rules[f"model_to_latent_projs.{k}.{out}weight"] = f"kinds.{k}.out.weight"
        return ADAPTIVE.under("", "backbone.") | Layout(rules)

    @classmethod
    def dialogue(cls, folder: Path, config: dict[str, Any], network: Network) -> TransfusionDialogue:
        assert isinstance(network, TransfusionNetwork)
        return TransfusionDialogue(folder, config, network)

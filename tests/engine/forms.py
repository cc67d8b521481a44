"""Every published way of writing, tiny, over the real engine; and the plainest possible context to compare with."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from diptych.backbone.packing import Sample, Segment, Span, pack
from diptych.backbone.transformer import Backbone, BackboneConfig, LayerNorm, RMSNorm
from diptych.canvas import Canvas, Draws, Port, Writer
from diptych.errors import CapabilityError
from diptych.models.network import Made, Network
from diptych.models.ports import Codes, Words
from diptych.objectives.denoise import Denoised
from diptych.objectives.features import Features
from diptych.objectives.flow import Flow
from diptych.objectives.tokens import InDepth, Masked, Token, gumbel64, sample, surest64, whole
from diptych.samplers.guidance import alone, cfg, cfg_text_image
from diptych.samplers.loop import blank, visits
from diptych.samplers.schedules import blocks, euler, once, raster, reveal, scales
from tests.engine.ports import DepthCodes, Latents, Mar, MaskedCodes, NextLatent, Queries, Scales, UViT

WIDTH, CHANNELS, SIZE, SLOTS, VOCAB = 16, 3, 11, 8, 24
MASK = VOCAB - 1

PLAIN = BackboneConfig(WIDTH, 2, 4, 2, 24, VOCAB)
QWEN = BackboneConfig(WIDTH, 2, 4, 2, 24, VOCAB, bias="qkv", norm_qk=True)
PHI = BackboneConfig(
    WIDTH, 2, 4, 4, 24, VOCAB, bias="all", norm="layer", mlp="gelu-tanh", parallel=True, rotary=0.5, head_bias=True
)
MIXTURE = BackboneConfig(WIDTH, 2, 4, 2, 24, VOCAB, experts=2, bias="qkv", norm_qk=True)


class Form(NamedTuple):
    """One way of writing. port: made for a backbone; writer: made for a port; look: how the prompt looks."""

    config: BackboneConfig
    port: Callable[[Backbone], Port]
    writer: Callable[[Any], Writer]
    branches: int = 2
    grid: tuple[int, ...] = (2, SLOTS // 2)
    look: Any = "causal"


FORMS: dict[str, Form] = {
    "next token": Form(
        PLAIN,
        lambda b: Codes(nn.Embedding(SIZE, 6), nn.Linear(6, WIDTH), nn.Linear(WIDTH, SIZE)),
        lambda p: Writer(p, Token(sample(0.9, top_k=7, top_p=0.9)), raster, cfg(5.0)),
    ),
    "residual codes": Form(
        QWEN,
        lambda b: DepthCodes(WIDTH, SIZE, 3),
        lambda p: Writer(p, InDepth(p.depth, sample()), raster, cfg(2.0)),
    ),
    "next scale": Form(
        PLAIN,
        lambda b: Scales(WIDTH, SIZE, (1, 2, 3)),
        lambda p: Writer(p, Token(sample()), scales(p.sides), cfg(2.0)),
        grid=(14,),
    ),
    "masked codes": Form(
        PHI,
        lambda b: MaskedCodes(WIDTH, SIZE, Span("full")),
        lambda p: Writer(p, Masked(sample()), reveal(5, heat=1.0), cfg(2.0), "surest"),
    ),
    "masked codes between marks": Form(
        PHI,
        lambda b: Words(b, 5, 5 + SIZE, mask=MASK, before=(1,), after=(2, 3), span=Span("full")),
        lambda p: Writer(p, Masked(sample()), reveal(5, heat=1.0), cfg(2.0), "surest"),
    ),
    "masked codes, all see all": Form(
        PLAIN,
        lambda b: MaskedCodes(WIDTH, SIZE, Span("all")),
        lambda p: Writer(p, Masked(sample()), reveal(5), cfg(2.0), "surest"),
        look="all",
    ),
    "masked text in blocks": Form(
        PLAIN,
        lambda b: Words(b, mask=MASK, span=Span("all")),
        lambda p: Writer(p, Masked(gumbel64(0.5), surest64), blocks(4, 4), alone, "surest"),
        branches=1,
        grid=(SLOTS,),
        look="all",
    ),
    "flow in the backbone": Form(
        MIXTURE,
        lambda b: Latents(WIDTH, CHANNELS, SLOTS),
        lambda p: Writer(p, Flow(CHANNELS), euler(4, shift=3.0), cfg_text_image(4.0, 1.5)),
        branches=3,
    ),
    "flow around the backbone": Form(
        PLAIN,
        lambda b: UViT(WIDTH, CHANNELS),
        lambda p: Writer(p, Flow(CHANNELS, ascending=True), euler(4, ascending=True), cfg(2.0)),
    ),
    "masked latents": Form(
        QWEN,
        lambda b: Mar(WIDTH, CHANNELS),
        lambda p: Writer(p, Denoised(p.denoiser, CHANNELS), reveal(4), cfg(3.0), "random"),
    ),
    "masked latents in raster order": Form(
        QWEN,
        lambda b: Mar(WIDTH, CHANNELS),
        lambda p: Writer(p, Denoised(p.denoiser, CHANNELS), reveal(4), cfg(3.0), "raster"),
    ),
    "next latent": Form(
        PLAIN,
        lambda b: NextLatent(WIDTH, CHANNELS),
        lambda p: Writer(p, Denoised(p.denoiser, CHANNELS, "raster"), raster, alone),
        branches=1,
    ),
    "learnable queries": Form(
        PLAIN, lambda b: Queries(WIDTH, SLOTS), lambda p: Writer(p, Features(WIDTH), once, alone), branches=1
    ),
}
FLOWS = ("flow in the backbone", "flow around the backbone", "learnable queries")  # their slots move, all at once


class Toy(Network):
    """What training needs to read text. There are no pictures in its rows, and none come out."""

    def __init__(self, backbone: Backbone, port: Port, look: Any):
        super().__init__()
        self.backbone, self.port, self.text_span = backbone, port, Span(look)

    def see(self, pictures: list[Tensor]) -> list[Tensor]:
        raise CapabilityError("this network has no vision encoder; give it text")

    def recall(self, made: list[Made]) -> list[Tensor]:
        raise CapabilityError("this network does not read what it wrote; give it text")

    def decode(self, slots: Tensor, grid: tuple[int, ...]) -> Tensor:
        raise CapabilityError("this network has no image tokenizer; look at the slots")


@dataclass
class Tiny:
    """A form with weights."""

    form: Form
    network: Toy
    writer: Writer

    def say(self, ids: Sequence[int]) -> Sample:
        if not ids:
            return []
        return [Segment(self.network.backbone.embed(torch.tensor(ids)), self.network.text_span)]

    def rows(self, prompts: Sequence[Sequence[int]]) -> list[Sample]:
        """[branch, sample]; all but the first branch are told one id only."""
        return [self.say(p if branch == 0 else [branch]) for branch in range(self.form.branches) for p in prompts]


def make(name: str, seed: int = 0) -> Tiny:
    """Weights of a size at which every part matters."""
    form = FORMS[name]
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        backbone = Backbone(form.config)
        port = form.port(backbone)
        for parameter in [*backbone.parameters(), *port.parameters()]:
            parameter.data = torch.randn(parameter.shape) * 0.3
        for norm in (m for m in backbone.modules() if isinstance(m, RMSNorm | LayerNorm)):
            norm.weight.data += 1
    return Tiny(form, Toy(backbone, port, form.look), form.writer(port))


class Uncached:
    """What a context must amount to: everything said and the visit, in one forward, by the dense rule."""

    def __init__(self, backbone: Backbone, rows: Sequence[Sample]):
        self.backbone, self.said, self.last_hidden = backbone, [list(row) for row in rows], None
        if any(self.said):
            self.forward([[] for _ in rows], True)

    def forward(self, rows: Sequence[Sample], keep: bool) -> Tensor:
        whole = [[*old, *new] for old, new in zip(self.said, rows, strict=True)]
        packed = pack(whole)
        packed.lowering = None
        hidden = self.backbone(packed)
        if keep:
            self.said, self.last_hidden = whole, hidden
        return hidden

    def ending(self, n: int) -> Tensor:
        assert self.last_hidden is not None
        return self.last_hidden[:, -n:]

    def visit(self, tokens: Tensor, spans: Sequence[tuple[int, Span]], keep: bool) -> Tensor:
        sizes = [n for n, _ in spans]
        rows = [[Segment(t, s) for t, (_, s) in zip(row.split(sizes), spans, strict=True)] for row in tokens]
        return self.forward(rows, keep)[:, -tokens.shape[1] :]


@torch.no_grad()
def written(made: Tiny, prompts: Sequence[Sequence[int]], seeds: Sequence[int], context: Callable) -> Canvas:
    """Fill one canvas a prompt."""
    draws = Draws(seeds)
    canvas = blank(made.writer, len(prompts), made.form.grid, draws, "cpu")
    said = context(made.network.backbone, made.rows(prompts))
    *_, (_, canvas) = visits(said, made.writer, canvas, made.form.branches, draws)
    return canvas


def target(made: Tiny, batch: int, seed: int = 1) -> Tensor:
    """Slots to be learned, [B, N, ...], like those the form writes."""
    generator = torch.Generator().manual_seed(seed)
    blank_ = made.writer.objective.blank(batch, made.form.grid, Draws(range(batch)), "cpu")
    if blank_.is_floating_point():
        return torch.randn(blank_.shape, generator=generator)
    return torch.randint(0, SIZE, blank_.shape, generator=generator)


def canvas(slots: int, known: list[list[int]] | None = None, value: Tensor | None = None) -> Canvas:
    """One row for each list of settled slots."""
    known = [[]] if known is None else known
    settled = torch.zeros(len(known), slots, dtype=torch.bool)
    for row, own in zip(settled, known, strict=True):
        row[own] = True
    found = whole(torch.zeros(settled.shape, dtype=torch.long) if value is None else value, (slots,))
    found.known, found.rank = settled, -torch.arange(slots, dtype=torch.float32).expand(len(known), -1)
    return found

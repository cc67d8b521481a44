"""Pictures by flow matching at JanusFlow's and BAGEL's sizes: some layers, random weights.

The peers are transformers' own stacks (Llama, Qwen2) with scaled-dot-product attention and a cache of the prompt that
is cut back after each step; what stands between latents and stack is ours on both sides. BAGEL's stack has two experts
and norms that Qwen2 lacks, so only JanusFlow's latents can be compared. The floor is the time of the products of a
step's own tokens.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
import transformers
from torch import Tensor
from transformers import DynamicCache

from benchmarks.harness import Amounts, Ceilings, Result, measured
from benchmarks.stacks import seeded, settled, shared
from diptych.backbone.packing import Segment, Span
from diptych.backbone.transformer import Backbone, BackboneConfig
from diptych.backbone.uvit import UViTConfig
from diptych.canvas import Draws, Port, Step, Writer
from diptych.encoders.grids import GridTable
from diptych.models import layouts
from diptych.models.bagel import expert_qwen2
from diptych.models.janusflow import Latents as UViT
from diptych.models.latents import Latents
from diptych.objectives.flow import Flow
from diptych.samplers.conversation import draw, say
from diptych.samplers.guidance import cfg
from diptych.samplers.loop import blank
from diptych.samplers.schedules import euler

PROMPTS = [[1, *range(10, 40)], [1, *range(50, 80)]]  # with and without text, of one length
GUIDANCE = 2.0


def janusflow(layers: int) -> tuple[Backbone, UViT, Any]:
    """JanusFlow-1.3B: 48x48 latents of 4 numbers in patches of 2."""
    sizes = BackboneConfig(2048, layers, 16, 16, 5632, 102400)
    theirs = seeded(
        transformers.LlamaForCausalLM,
        vocab_size=sizes.vocab,
        hidden_size=sizes.width,
        intermediate_size=sizes.hidden,
        num_hidden_layers=layers,
        num_attention_heads=sizes.heads,
        rms_norm_eps=sizes.eps,
    )
    uvit = UViTConfig(
        channels=4,
        width=768,
        answer=768,
        time=2048,
        kernel=2,
        stride=2,
        padding=0,
        doublings=1,
        blocks_in=2,
        blocks_out=2,
    )
    port = UViT(uvit, sizes.width, sizes.eps).eval().requires_grad_(False)
    return shared(theirs, sizes, layouts.LLAMA), port, theirs


def bagel(layers: int) -> tuple[Backbone, Latents, Any]:
    """BAGEL-7B: a picture of 256 pixels is 16x16 tokens of 64 numbers."""
    theirs = seeded(
        transformers.Qwen2ForCausalLM,
        vocab_size=1000,
        hidden_size=3584,
        intermediate_size=18944,
        num_hidden_layers=layers,
        num_attention_heads=28,
        num_key_value_heads=4,
    )
    ours = Backbone(expert_qwen2(theirs.config.to_dict()))
    port = Latents(ours, 64, GridTable(64, 3584)).eval().requires_grad_(False)
    port.marks = (3, 4)
    return settled(ours), port, theirs


def our_picture(backbone: Backbone, port: Port, flow: Flow, grid: tuple[int, int], steps: int) -> Tensor:
    writer = Writer(port, flow, euler(steps, ascending=flow.ascending), cfg(GUIDANCE))
    with torch.inference_mode():
        context = say(backbone, [[Segment(backbone.embed(torch.tensor(ids)), Span())] for ids in PROMPTS])
        return draw(context, writer, grid, 2, Draws([0])).value


@torch.inference_mode()
def their_picture(model: Any, port: Port, flow: Flow, grid: tuple[int, int], steps: int, whole: bool) -> Tensor:
    """whole: the tokens of a picture see each other."""
    cache, prompt = DynamicCache(config=model.config), torch.tensor(PROMPTS)
    model.model(prompt, cache=cache, use_cache=True)
    writer = Writer(port, flow, euler(steps, ascending=flow.ascending), cfg(GUIDANCE))
    draws = Draws([0])
    canvas = blank(writer, 1, grid, draws, "cpu")
    for step in writer.schedule(canvas):
        tokens, memo = port.embed(canvas, step)
        seen = torch.ones(2, 1, tokens.shape[1], prompt.shape[1] + tokens.shape[1], dtype=torch.bool) if whole else None
        hidden = model.model(
            inputs_embeds=tokens.expand(2, -1, -1), attention_mask=seen, cache=cache, use_cache=True
        ).last_hidden_state
        cache.crop(-tokens.shape[1])
        canvas = _moved(port, flow, canvas, hidden, memo, step, draws)
    return canvas.value


def _moved(port: Port, flow: Flow, canvas: Any, hidden: Tensor, memo: Any, step: Step, draws: Draws) -> Any:
    parts = torch.stack([port.head(row[None], memo) for row in hidden])
    canvas.value = flow.draw(parts, canvas, step, cfg(GUIDANCE), draws).values
    return canvas


def run(limits: Ceilings, amounts: Amounts) -> list[Result]:
    steps, layers = (2, 1) if amounts.quick else (4, min(amounts.layers, 4))
    ours, port, theirs = janusflow(layers)
    flow, grid = Flow(4, ascending=True), (48, 48)
    sides = (
        partial(our_picture, ours, port, flow, grid, steps),
        partial(their_picture, theirs, port, flow, grid, steps, False),
    )
    away = float((sides[0]() - sides[1]()).norm() / sides[1]().norm())
    inner = sum(t.numel() for t in ours.blocks.state_dict().values())
    floor = steps * 2 * 2 * 577 * inner / limits.flops
    note = f"{layers} of 24 layers, float32, {steps} of 30 steps; latents differ from theirs by {away:.0e}"
    results = [measured("JanusFlow, a picture with guidance", "steps", steps, *sides, amounts.repeats, floor, note)]
    del ours, theirs, sides
    ours, port, theirs = bagel(1)
    flow, grid, steps = Flow(64), (16, 16), 2
    inner = sum(t.numel() for t in theirs.model.layers.parameters())
    floor = steps * 2 * 2 * 258 * inner / limits.flops
    note = f"1 of 28 layers, float32, 256 pixels, {steps} of 49 steps"
    sides = (
        partial(our_picture, ours, port, flow, grid, steps),
        partial(their_picture, theirs, port, flow, grid, steps, True),
    )
    return [*results, measured("BAGEL, a picture with guidance", "steps", steps, *sides, amounts.repeats, floor, note)]

"""Pictures by masked codes at Show-o's sizes and text in blocks at MMaDA's: some layers, random weights.

The peers are transformers' own stacks (Phi, and Llama, whose blocks LLaDA's are) with scaled-dot-product attention and
the same weights, in a loop that shows them everything in every visit, as the official commands do, but asks their heads
for no more than is read. The floor is the time of the products of a visit's own tokens, the prompt's left out.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
import transformers
from torch import Tensor

from benchmarks.harness import Amounts, Ceilings, Result, measured
from benchmarks.stacks import seeded, shared
from diptych.backbone.packing import Segment, Span
from diptych.backbone.transformer import Backbone, BackboneConfig
from diptych.canvas import Draws, Writer
from diptych.models import layouts
from diptych.models.phi import phi
from diptych.models.ports import Words
from diptych.objectives.tokens import Masked, argmax, sample, surest64
from diptych.samplers.conversation import draw, say, write
from diptych.samplers.guidance import alone, cfg
from diptych.samplers.schedules import blocks, reveal

PROMPTS = [[50256, *range(100, 118)], [50256, *range(200, 218)]]  # with and without text, of one length
VOCAB, FIRST, MASK, BEGIN, END = 58498, 50305, 58497, 50300, 50301  # Show-o's: codes lie between FIRST and MASK
SIDE, GUIDANCE, ALL = 16, 5.0, Span("all")
ASKED, WRITTEN, BLOCK, LLADA_VOCAB, LLADA_MASK = 128, 32, 32, 134656, 126336


def show_o(layers: int) -> tuple[Backbone, Any]:
    theirs = seeded(
        transformers.PhiForCausalLM,
        vocab_size=VOCAB,
        hidden_size=2048,
        intermediate_size=8192,
        num_hidden_layers=layers,
        num_attention_heads=32,
        partial_rotary_factor=0.5,
        qk_layernorm=True,
    )
    return shared(theirs, phi(theirs.config.to_dict(), VOCAB), layouts.PHI), theirs


def our_picture(backbone: Backbone, visits: int, greedy: bool = False) -> Tensor:
    port = Words(backbone, FIRST, MASK, mask=MASK, before=(BEGIN,), after=(END,), span=Span("full"))
    schedule = reveal(visits, heat=0.0 if greedy else 1.0)
    writer = Writer(port, Masked(argmax if greedy else sample()), schedule, cfg(1 + GUIDANCE), "surest")
    with torch.inference_mode():
        context = say(backbone, [[Segment(backbone.embed(torch.tensor(ids)), Span())] for ids in PROMPTS])
        return draw(context, writer, (SIDE, SIDE), 2, Draws([0])).value[0]


@torch.inference_mode()
def their_picture(model: Any, visits: int, greedy: bool = False) -> Tensor:
    """Muse's loop: codes are sampled, the surest stay, with chance in who does."""
    n, start, slots = len(PROMPTS[0]) + SIDE**2 + 2, len(PROMPTS[0]) + 1, SIDE**2
    sees = torch.ones(n, n, dtype=torch.bool).tril()
    sees[start - 1 :, start - 1 :] = True
    codes, open_ = torch.zeros(slots, dtype=torch.long), torch.ones(slots, dtype=torch.bool)
    head, heat = model.lm_head, 0.0 if greedy else 1.0
    for i in range(visits):
        canvas = torch.where(open_, MASK, codes + FIRST)
        rows = torch.stack([torch.cat([torch.tensor([*p, BEGIN]), canvas, torch.tensor([END])]) for p in PROMPTS])
        hidden = model.model(rows, attention_mask=sees.expand(2, 1, n, n), use_cache=False).last_hidden_state
        logits = F.linear(hidden[:, start : start + slots], head.weight[FIRST:MASK], head.bias[FIRST:MASK])
        chances = ((1 + GUIDANCE) * logits[0] - GUIDANCE * logits[1]).softmax(-1)
        drawn = chances.argmax(-1) if greedy else torch.multinomial(chances, 1)[:, 0]
        codes = torch.where(open_, drawn, codes)
        share = (i + 1) / visits
        left = min(int(open_.sum()) - 1, int(slots * torch.cos(torch.tensor(share) * torch.pi / 2))) if share < 1 else 0
        heat *= 1 - share
        noise = -torch.log(-torch.log(torch.rand(slots).clamp(1e-20)).clamp(1e-20))
        sure = chances.gather(1, codes[:, None])[:, 0].log() + heat * noise
        sure = sure.masked_fill(~open_, float("inf"))
        open_ = torch.zeros_like(open_).scatter(0, sure.argsort()[: max(left, int(share < 1))], True)
    return codes


def mmada(layers: int) -> tuple[Backbone, Any]:
    sizes = BackboneConfig(4096, layers, 32, 32, 12288, LLADA_VOCAB, theta=5e5, eps=1e-5)
    theirs = seeded(
        transformers.LlamaForCausalLM,
        vocab_size=sizes.vocab,
        hidden_size=sizes.width,
        intermediate_size=sizes.hidden,
        num_hidden_layers=layers,
        num_attention_heads=sizes.heads,
        rope_theta=sizes.theta,
        rms_norm_eps=sizes.eps,
    )
    return shared(theirs, sizes, layouts.LLAMA), theirs


def our_answer(backbone: Backbone, visits: int) -> Tensor:
    port = Words(backbone, mask=LLADA_MASK, span=ALL)
    writer = Writer(port, Masked(sure=surest64), blocks(BLOCK, visits), alone, "surest", focus=True)
    with torch.inference_mode():
        context = say(backbone, [[Segment(backbone.embed(torch.arange(ASKED)), ALL)]])
        *_, (_, canvas) = write(context, writer, WRITTEN, Draws([0]))
    return canvas.value[0]


@torch.inference_mode()
def their_answer(model: Any, visits: int) -> Tensor:
    """LLaDA's loop over one block: an even share of the open tokens, the surest first."""
    ids = torch.cat([torch.arange(ASKED), torch.full((WRITTEN,), LLADA_MASK)])[None]
    n = ids.shape[1]
    sees = torch.ones(1, 1, n, n, dtype=torch.bool)
    open_ = torch.ones(WRITTEN, dtype=torch.bool)
    for i in range(visits):
        hidden = model.model(ids, attention_mask=sees, use_cache=False).last_hidden_state[0, ASKED:]
        logits = model.lm_head(hidden)
        found = logits.argmax(-1)
        sure = logits.double().softmax(-1).gather(1, found[:, None])[:, 0].masked_fill(~open_, float("-inf"))
        turn = sure.argsort(descending=True, stable=True)[: WRITTEN // visits + (i < WRITTEN % visits)]
        ids[0, ASKED + turn] = found[turn]
        open_[turn] = False
    return ids[0, ASKED:]


def run(limits: Ceilings, amounts: Amounts) -> list[Result]:
    visits, layers = (2, 1) if amounts.quick else (6, min(amounts.layers, 4))
    ours, theirs = show_o(layers)
    same = float((our_picture(ours, 1, True) == their_picture(theirs, 1, True)).float().mean())
    note = f"{layers} of 24 layers, float32, {visits} of 18 visits; codes of a first visit as theirs: {same:.0%}"
    inner = sum(t.numel() for t in ours.blocks.state_dict().values()) + (MASK - FIRST) * 2048
    floor = visits * 2 * inner * 2 * (SIDE**2 + 2) / limits.flops
    sides = partial(our_picture, ours, visits), partial(their_picture, theirs, visits)
    results = [measured("Show-o, a picture with guidance", "visits", visits, *sides, amounts.repeats, floor, note)]
    del ours, theirs
    visits, layers = (2, 1) if amounts.quick else (4, 1)
    ours, theirs = mmada(layers)
    same = float((our_answer(ours, visits) == their_answer(theirs, visits)).float().mean())
    note = f"{layers} of 32 layers, float32, a block of {BLOCK} behind {ASKED} tokens; ids as theirs: {same:.0%}"
    inner = sum(t.numel() for t in ours.blocks.state_dict().values())
    floor = visits * 2 * (inner * (ASKED + WRITTEN) + LLADA_VOCAB * 4096 * WRITTEN / 2) / limits.flops
    sides = partial(our_answer, ours, visits), partial(their_answer, theirs, visits)
    return [*results, measured("MMaDA, text", "visits", visits, *sides, amounts.repeats, floor, note)]

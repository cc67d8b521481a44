"""Workloads at Janus-Pro-1B's sizes, some of its layers, random weights, beside transformers' Llama stack of the same.

The peer of every workload is `JanusForConditionalGeneration.generate` in whichever of float32 and bfloat16 is quicker
for it here; of int8 as well, for transformers has no such path of its own on CPUs.
"""

from __future__ import annotations

from copy import deepcopy
from functools import partial
from typing import Any

import torch
import transformers
from torch import nn

from benchmarks.harness import Amounts, Ceilings, Ours, Result, best_type, compared
from benchmarks.stacks import fitted
from diptych.canvas import Draws, Writer
from diptych.models.janus_converted import JanusConverted
from diptych.models.network import Ids
from diptych.models.ports import Words
from diptych.objectives.tokens import Token, argmax, sample
from diptych.samplers.conversation import draw, say, write
from diptych.samplers.guidance import alone, cfg
from diptych.samplers.schedules import raster

PROMPT, GUIDANCE, BEGIN, PAD = [1, *range(10, 29)], 5.0, 3, 2  # it begins with the begin mark
SIDE = 24  # image codes of a picture a side
LONG = 96  # words of a text: transformers in bfloat16 copies its head once a text, 2 s that a short one would be


def pair(layers: int) -> tuple[Any, Any]:
    """Our network and transformers', one set of weights. The vision encoder and the tokenizer, which take no part, are
    small."""
    config = transformers.JanusConfig(
        tie_word_embeddings=False,
        text_config=transformers.LlamaConfig(
            hidden_size=2048,
            intermediate_size=5632,
            num_hidden_layers=layers,
            num_attention_heads=16,
            num_key_value_heads=16,
            vocab_size=102400,
            max_position_embeddings=16384,
            bos_token_id=1,
            eos_token_id=None,
            pad_token_id=PAD,
        ),
        vision_config=transformers.JanusVisionConfig(
            hidden_size=64, num_hidden_layers=1, num_attention_heads=2, projection_dim=2048, num_image_tokens=SIDE**2
        ),
        vq_config=transformers.JanusVQVAEConfig(
            base_channels=32,
            channel_multiplier=[1, 1],
            num_res_blocks=1,
            projection_dim=2048,
            image_token_embed_dim=2048,
        ),
    )
    torch.manual_seed(0)
    theirs = transformers.JanusForConditionalGeneration(config).eval().requires_grad_(False)
    theirs.generation_config.generation_kwargs = {"boi_token_id": BEGIN}
    stated = config.to_dict()
    ours = JanusConverted.build(stated)
    ours.load_state_dict(JanusConverted.layout(stated).read(theirs.state_dict()))
    return ours.requires_grad_(False).eval(), theirs


def our_image(network: Any, images: int, tokens: int, greedy: bool = False) -> torch.Tensor:
    writer = Writer(network.draw, Token(argmax if greedy else sample()), raster, cfg(GUIDANCE))
    branches = [[*PROMPT, BEGIN], [PROMPT[0], *[PAD] * (len(PROMPT) - 1), BEGIN]]
    with torch.inference_mode():
        rows = network.read([[Ids(ids)] for ids in branches for _ in range(images)])
        return draw(say(network.backbone, rows, tokens), writer, (tokens, 1), 2, Draws(range(images))).value


def their_image(network: Any, images: int, tokens: int, greedy: bool = False) -> torch.Tensor:
    prompt = torch.tensor([[*PROMPT, BEGIN]] * images)
    options = {"generation_mode": "image", "do_sample": not greedy, "guidance_scale": GUIDANCE}
    network.model.vision_model.config.num_image_tokens = tokens
    with torch.inference_mode():
        ones = torch.ones_like(prompt)
        return network.generate(prompt, attention_mask=ones, max_length=prompt.shape[1] + tokens, **options)


def our_text(network: Any, prompt: int, tokens: int) -> torch.Tensor:
    writer = Writer(Words(network.backbone, lag=1), Token(argmax), raster, alone)
    ids = [i % 1000 + 10 for i in range(prompt)]
    with torch.inference_mode():
        context = say(network.backbone, network.read([[Ids(ids)]]), tokens)
    *_, (_, canvas) = write(context, writer, tokens, Draws([0]))
    return canvas.value


def their_text(network: Any, prompt: int, tokens: int) -> torch.Tensor:
    ids = torch.tensor([[i % 1000 + 10 for i in range(prompt)]])
    with torch.inference_mode():
        written = network.generate(ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=tokens)
    return written[:, prompt:]


def weight_bytes(network: Any, head: nn.Module) -> int:
    """Of what a visit reads: the blocks and a head."""
    tensors = [t for part in (network.backbone.blocks, head) for t in part.state_dict().values()]
    return sum(t.numel() * t.element_size() for t in tensors)


def agreement(ours: torch.Tensor, theirs: torch.Tensor) -> str:
    return f"{float((ours == theirs).float().mean()):.0%}"


def run(limits: Ceilings, amounts: Amounts) -> list[Result]:
    """The rows of the table. The floor of decoding is one read of the weights a visit, the prefill left out."""
    plain, theirs = pair(amounts.layers)
    peers = {torch.float32: theirs, torch.bfloat16: deepcopy(theirs).bfloat16()}
    kinds = {
        "float32": fitted(plain),
        "bfloat16": fitted(plain, torch.bfloat16),
        "int8": fitted(plain, torch.bfloat16, "int8"),
        "int8-dynamic": fitted(plain, torch.bfloat16, "int8-dynamic"),
    }
    repeats, tokens, note = amounts.repeats, amounts.tokens, f"{amounts.layers} of 24 layers"
    results = []
    for images in (1, 8):
        best = best_type(lambda kind, n=images: their_image(peers[kind], n, tokens))
        greedy, ways = their_image(theirs, images, 8, True), []
        for name, network in kinds.items():
            floor = tokens * weight_bytes(network, network.draw.out) / limits.bandwidth
            alike = agreement(our_image(network, images, 8, True), greedy)
            said = f"{note}; peer in {_short(best)}; greedy codes as the peer's in float32: {alike}"
            side = partial(our_image, network, images, tokens)
            ways.append(Ours(f"image codes, {images} at once, {name}", side, floor, said))
        results += compared("codes", images * tokens, ways, partial(their_image, peers[best], images, tokens), repeats)
    best, ways = best_type(lambda kind: their_text(peers[kind], 20, LONG)), []
    for name, network in kinds.items():
        floor = LONG * weight_bytes(network, network.backbone.head) / limits.bandwidth
        side, said = partial(our_text, network, 20, LONG), f"{note}; peer in {_short(best)}"
        ways.append(Ours(f"text, {name}", side, floor, said))
    results += compared("tokens", LONG, ways, partial(their_text, peers[best], 20, LONG), repeats)
    inner = sum(p.numel() for p in plain.backbone.blocks.parameters())
    best, ways = best_type(lambda kind: their_text(peers[kind], 512, 1)), []
    for name in ("float32", "bfloat16", "int8-dynamic"):
        floor = 2 * 512 * inner / limits.of(torch.float32 if name == "float32" else torch.bfloat16)
        side, said = partial(our_text, kinds[name], 512, 1), f"{note}; peer in {_short(best)}"
        ways.append(Ours(f"prefill of 512, {name}", side, floor, said))
    return results + compared("tokens", 512, ways, partial(their_text, peers[best], 512, 1), repeats)


def _short(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")

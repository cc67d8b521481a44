"""A training step on drawings of the emoji world, beside transformers' Llama of the same sizes with the same optimizer.

Ours is what `diptych train` does for recipes/janus-emoji: conversations of different lengths are packed into rows of
256 tokens, and heads run only where something is learned. The peer gets the same conversations, padded to the longest
as its collators do, codes as ids behind the vocabulary, labels where something is learned, and its own loss. Both take
AdamW in float32; batches are made beforehand. The floor: six times the weights of blocks and heads for each token that
is learned from or shown, without attention.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor

from benchmarks.harness import Amounts, Ceilings, Result, measured
from diptych.training.batches import Learn
from diptych.training.unified import UnifiedTask

FOLDER = Path(__file__).parents[1] / "recipes" / "janus-emoji"
DATA = {"seed": 1, "batch": 32, "width": 256, "dropout": 0.0, "english": 0.8, "shares": {"drawing": 1.0}}
STEPS, LR = 4, 1e-3


def task() -> UnifiedTask:
    model = {"folder": str(FOLDER), "frozen": ["tokenizer", "eyes"]}
    return UnifiedTask({"kind": "unified", "model": model, "data": DATA, "loss": {}})


def sized(ours: UnifiedTask) -> Any:
    c, codes = ours.module.network.backbone.config, ours.module.network.draw.out[-1].out_features
    config = transformers.LlamaConfig(
        vocab_size=c.vocab + codes,
        hidden_size=c.width,
        intermediate_size=c.hidden,
        num_hidden_layers=c.depth,
        num_attention_heads=c.heads,
        num_key_value_heads=c.kv_heads,
        pad_token_id=0,
    )
    return transformers.LlamaForCausalLM(config).train()


def padded(rows: list[Any], vocab: int) -> tuple[Tensor, Tensor, Tensor]:
    """Ids, attention mask and labels of the peer."""
    ids, labels = list[Tensor](), list[Tensor]()
    for row in rows:
        parts = [piece.target + vocab * (piece.grid is not None) if isinstance(piece, Learn) else None for piece in row]
        shown = [torch.tensor(piece.ids) if part is None else part for part, piece in zip(parts, row, strict=True)]
        ids.append(torch.cat(shown))
        labels.append(
            torch.cat([torch.full_like(s, -100) if p is None else p for p, s in zip(parts, shown, strict=True)])
        )
    pad = partial(torch.nn.utils.rnn.pad_sequence, batch_first=True)
    return pad(ids), pad([torch.ones_like(one) for one in ids]), pad(labels, padding_value=-100)


def our_steps(task: UnifiedTask, batches: list[Any], optimizer: torch.optim.Optimizer) -> None:
    for batch in batches:
        optimizer.zero_grad(set_to_none=True)
        task.losses(batch)["loss"].backward()
        optimizer.step()


def their_steps(model: Any, batches: list[tuple[Tensor, Tensor, Tensor]], optimizer: torch.optim.Optimizer) -> None:
    for ids, mask, labels in batches:
        optimizer.zero_grad(set_to_none=True)
        model(ids, attention_mask=mask, labels=labels).loss.backward()
        optimizer.step()


def run(limits: Ceilings, amounts: Amounts) -> list[Result]:
    torch.manual_seed(0)
    ours = task()
    theirs, steps = sized(ours), 1 if amounts.quick else STEPS
    batches = [ours.batch(step) for step in range(steps)]
    vocab = ours.module.network.backbone.config.vocab
    given = [padded(batch.rows, vocab) for batch in batches]
    tokens = sum(int(mask.sum()) for _, mask, _ in given)
    learned = [p for p in ours.module.parameters() if p.requires_grad]
    sides = (
        partial(our_steps, ours, batches, torch.optim.AdamW(learned, lr=LR)),
        partial(their_steps, theirs, given, torch.optim.AdamW(theirs.parameters(), lr=LR)),
    )
    network = ours.module.network
    inner = sum(p.numel() for part in (network.backbone.blocks, network.draw.out) for p in part.parameters())
    share = tokens / sum(mask.numel() for _, mask, _ in given)
    note = f"9 M parameters, float32, batch of 32; {1 - share:.0%} of the peer's tokens are padding"
    return [
        measured("training step", "tokens", tokens, *sides, amounts.repeats, 6 * inner * tokens / limits.flops, note)
    ]

"""A training step on drawings of the emoji world, beside transformers' Llama of the same sizes with the same optimizer:
at janus-emoji's sizes, and at the width of Janus-Pro-1B with some of its layers.

Ours is what `diptych train` does for recipes/janus-emoji: conversations of different lengths are packed into rows of
256 tokens, and heads run only where something is learned. The peer gets the same conversations, padded to the longest
as its collators do, codes as ids behind the vocabulary, labels where something is learned, and its own loss. Both take
AdamW in float32; batches are made beforehand. The floor: six times the weights of blocks and heads for each token that
is learned from or shown, without attention.
"""

from __future__ import annotations

import json
import shutil
import tempfile
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
PRO = {"hidden_size": 2048, "intermediate_size": 5632, "num_attention_heads": 16, "num_key_value_heads": 16}


def task(folder: Path = FOLDER, batch: int = 32) -> UnifiedTask:
    model = {"folder": str(folder), "frozen": ["tokenizer", "eyes"]}
    return UnifiedTask({"kind": "unified", "model": model, "data": DATA | {"batch": batch}, "loss": {}})


def wide(layers: int) -> UnifiedTask:
    """janus-emoji with a language model of Janus-Pro-1B's width, and the layers that lead into it and out of it."""
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(FOLDER, folder, dirs_exist_ok=True)
        config = json.loads((FOLDER / "config.json").read_text("utf-8"))
        config["language_config"] |= PRO | {"num_hidden_layers": layers}
        for part, width in (("aligner", "n_embed"), ("gen_aligner", "n_embed"), ("gen_head", "n_embed")):
            config[f"{part}_config"]["params"][width] = PRO["hidden_size"]
        config["gen_head_config"]["params"]["image_token_embed"] = PRO["hidden_size"]
        (Path(folder) / "config.json").write_text(json.dumps(config), "utf-8")
        return task(Path(folder), 8)


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
    layers, steps = (1, 1) if amounts.quick else (min(amounts.layers, 2), STEPS)
    return [
        beside(task(), "training step", steps, limits, amounts),
        beside(wide(layers), f"training step, 2,048 wide, {layers} of 24 layers", 1, limits, amounts),
    ]


def beside(ours: UnifiedTask, name: str, steps: int, limits: Ceilings, amounts: Amounts) -> Result:
    """So many steps of ours, and of the peer of its sizes."""
    torch.manual_seed(0)
    theirs = sized(ours)
    batches = [ours.batch(step) for step in range(steps)]
    network = ours.module.network
    given = [padded(batch.rows, network.backbone.config.vocab) for batch in batches]
    tokens, places = (sum(int(t) for t in of) for of in zip(*((m.sum(), m.numel()) for _, m, _ in given), strict=True))
    learned = [p for p in ours.module.parameters() if p.requires_grad]
    sides = (
        partial(our_steps, ours, batches, torch.optim.AdamW(learned, lr=LR)),
        partial(their_steps, theirs, given, torch.optim.AdamW(theirs.parameters(), lr=LR)),
    )
    inner = sum(p.numel() for part in (network.backbone.blocks, network.draw.out) for p in part.parameters())
    note = (
        f"{sum(p.numel() for p in learned) / 1e6:.0f} M parameters learn, float32, batch of {len(batches[0].ids)}; "
        f"{1 - tokens / places:.0%} of the peer's tokens are padding"
    )
    return measured(name, "tokens", tokens, *sides, amounts.repeats, 6 * inner * tokens / limits.flops, note)

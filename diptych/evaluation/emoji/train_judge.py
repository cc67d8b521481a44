"""Train the judge's network: `python -m diptych.evaluation.emoji.train_judge --minutes 18 --out judge.safetensors`.

A short loop of its own: crops drawn on the fly, AdamW, a cosine that ends when the time is up, an average of the
weights over the last steps. One thread suffices.
"""

import argparse
import copy
import math
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from diptych.evaluation.emoji.classifier import WEIGHTS, GlyphClassifier
from diptych.evaluation.emoji.training_crops import Crops, CropSource
from diptych.storage import replacing

BATCH = 128
PEAK_RATE = 3e-3
LAST_RATE = 1e-5
WARMUP_STEPS = 60
WEIGHT_DECAY = 0.02
AVERAGE = 0.995
REPORT_EVERY = 100
SAVE_EVERY = 500


def loss_of(net: nn.Module, crops: Crops) -> tuple[Tensor, list[float]]:
    """The loss, and the share of objects, colours and styles that are right."""
    scores = net(crops.pixels.contiguous(memory_format=torch.channels_last))
    loss = (
        cross_entropy(scores.objects, crops.objects, label_smoothing=0.05)
        + 0.5 * cross_entropy(scores.colors, crops.colors)
        + 0.3 * cross_entropy(scores.styles, crops.styles)
    )
    pairs = ((scores.objects, crops.objects), (scores.colors, crops.colors), (scores.styles, crops.styles))
    return loss, [float((logits.argmax(1) == truth).float().mean()) for logits, truth in pairs]


def learning_rate(step: int, progress: float) -> float:
    """Linear warm-up by steps, then a cosine over the time given (`progress` 0 to 1)."""
    return min(1.0, (step + 1) / WARMUP_STEPS) * (LAST_RATE + PEAK_RATE * 0.5 * (1 + math.cos(math.pi * progress)))


def average_into(average: nn.Module, net: nn.Module, keep: float) -> None:
    """Exponential average of the floating-point state, normalisation statistics included."""
    with torch.no_grad():
        for mean, value in zip(average.state_dict().values(), net.state_dict().values(), strict=True):
            if mean.is_floating_point():
                mean.lerp_(value, 1 - keep)
            else:
                mean.copy_(value)


def train(seconds: float, seed: int) -> Iterator[tuple[int, GlyphClassifier]]:
    """Trains until the time is up, giving the averaged network now and then and at the end."""
    torch.manual_seed(seed)
    source = CropSource(seed)
    net = GlyphClassifier().to(memory_format=torch.channels_last)
    average = copy.deepcopy(net)
    optimizer = torch.optim.AdamW(net.parameters(), lr=PEAK_RATE, weight_decay=WEIGHT_DECAY)
    start, step = time.monotonic(), 0
    while (elapsed := time.monotonic() - start) < seconds:
        optimizer.param_groups[0]["lr"] = learning_rate(step, elapsed / seconds)
        crops = source.batch(BATCH)
        with torch.autocast("cpu", torch.bfloat16):
            loss, right = loss_of(net, crops)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        step += 1
        average_into(average, net, min(AVERAGE, step / (step + 10)))
        if step % REPORT_EVERY == 0:
            report(step, elapsed, float(loss.detach()), right)
        if step % SAVE_EVERY == 0:
            yield step, average
    yield step, average


def report(step: int, elapsed: float, loss: float, right: list[float]) -> None:
    shares = "  ".join(f"{name} {share:.3f}" for name, share in zip(("object", "color", "style"), right, strict=True))
    print(f"step {step}  {elapsed:.0f} s  loss {loss:.3f}  {shares}", flush=True)


def save(net: GlyphClassifier, path: Path, facts: dict[str, str]) -> None:
    """Half precision is enough: under 2 MB, and no decision changes."""
    state = {
        name: (tensor.half() if tensor.is_floating_point() else tensor).contiguous()
        for name, tensor in net.state_dict().items()
    }
    with replacing(path) as draft:
        save_file(state, draft, metadata=facts)


def main() -> None:
    parser = argparse.ArgumentParser(description="Train the judge of emoji scenes on crops drawn on the fly.")
    parser.add_argument("--minutes", type=float, default=18.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=WEIGHTS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    for step, net in train(60 * options.minutes, options.seed):
        facts = {"recipe": "diptych.evaluation.emoji.train_judge", "seed": str(options.seed), "steps": str(step)}
        save(net, options.out, facts | {"minutes": f"{options.minutes:g}"})


if __name__ == "__main__":
    main()

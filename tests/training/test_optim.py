"""Learning rates, decay groups, the average, accumulation."""

import dataclasses
import math
from pathlib import Path

import pytest
import torch
from torch import nn

from diptych.training.log import read
from diptych.training.loop import Settings, train
from diptych.training.optim import Ema, Together, adamw, lr_at, optimizer, resolved
from tests.training.tiny import SETTINGS, TinyBatch, TinyModule, TinyTask


def test_learning_rate_rises_in_a_line_and_falls_as_a_cosine() -> None:
    settings = Settings(steps=110, lr=2.0, warmup=10, min_lr_ratio=0.1)
    rates = [lr_at(step, settings) for step in range(111)]
    assert rates[:10] == pytest.approx([0.2 * (step + 1) for step in range(10)])
    assert rates[10] == pytest.approx(2.0)
    assert rates[35] == pytest.approx(0.2 + 1.8 * (0.5 + math.sqrt(0.125)))  # a quarter of the way: cos 45 degrees
    assert rates[60] == pytest.approx(1.1)
    assert rates[110] == pytest.approx(0.2)
    assert rates[10:] == sorted(rates[10:], reverse=True)


def test_time_budget_takes_over_where_it_is_ahead() -> None:
    settings = Settings(steps=100, lr=1.0, warmup=0, min_lr_ratio=0.0, minutes=2)
    assert lr_at(10, settings, seconds=60) == pytest.approx(0.5)
    assert lr_at(50, settings, seconds=30) == pytest.approx(0.5)
    assert lr_at(10, settings, seconds=240) == pytest.approx(0.0)


def test_logged_rates_are_those_used(tmp_path: Path) -> None:
    train(TinyTask(), dataclasses.replace(SETTINGS, log_every=1), tmp_path)
    logged = {line["step"]: line["lr"] for line in read(tmp_path) if "losses" in line}
    assert logged == {step + 1: lr_at(step, SETTINGS) for step in range(SETTINGS.steps)}


def test_norms_biases_and_embeddings_do_not_decay() -> None:
    module = nn.Sequential(nn.Embedding(4, 3), nn.Conv2d(3, 5, 1), nn.LayerNorm(5), nn.Linear(5, 2))
    module.position_embedding = nn.Parameter(torch.zeros(4, 3))
    names = {id(parameter): name for name, parameter in module.named_parameters()}
    groups = {
        group["weight_decay"]: sorted(names[id(p)] for p in group["params"])
        for group in adamw(module, Settings(steps=1, weight_decay=0.3)).param_groups
    }
    assert groups[0.3] == ["1.weight", "3.weight"]
    assert groups[0.0] == ["0.weight", "1.bias", "2.bias", "2.weight", "3.bias", "position_embedding"]


def test_average_follows_its_definition() -> None:
    module = nn.Linear(2, 1, bias=False)
    ema = Ema(module, 0.5)
    expected = module.weight.detach().clone()
    for count in range(12):
        with torch.no_grad():
            module.weight += 1.0
        ema.update()
        decay = min(0.5, (1 + count) / (10 + count))
        expected = decay * expected + (1 - decay) * module.weight.detach()
        torch.testing.assert_close(ema.module.weight.detach(), expected)


def test_average_copies_buffers_and_shares_what_is_frozen() -> None:
    module = TinyModule()
    ema = Ema(module, 0.9)
    module.norm.running_mean += 3.0
    ema.update()
    assert torch.equal(ema.module.norm.running_mean, module.norm.running_mean)
    assert ema.module.frozen is module.frozen
    assert not any(parameter.requires_grad for parameter in ema.module.parameters())
    assert not ema.module.training


class Regression:
    """Eight samples, in one batch or in several of equal size."""

    def __init__(self, parts: int) -> None:
        torch.manual_seed(0)
        self.module = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))
        self.parts = parts

    def batch(self, step: int) -> TinyBatch:
        size = 8 // self.parts
        x = torch.randn(80, 4, generator=torch.Generator().manual_seed(3))[step * size : (step + 1) * size]
        return TinyBatch([str(step * size + row) for row in range(size)], torch.zeros(0), x)

    def losses(self, batch: TinyBatch) -> dict[str, torch.Tensor]:
        return {"loss": (self.module(batch.x) - batch.x.sum(1, keepdim=True)).square().mean()}


@pytest.mark.parametrize("parts", [2, 4])
def test_accumulated_batches_equal_one_large_batch(parts: int, tmp_path: Path) -> None:
    settings = Settings(steps=10, lr=1e-2, warmup=2, precision="float32", log_every=1)
    whole, split = Regression(1), Regression(parts)
    one = train(whole, settings, tmp_path / "one")
    many = train(split, dataclasses.replace(settings, accumulate=parts), tmp_path / "many")
    assert one.samples == many.samples
    norms = [[line["grad_norm"] for line in read(tmp_path / name) if "losses" in line] for name in ("one", "many")]
    assert norms[0] == pytest.approx(norms[1], rel=1e-3)  # AdamW alone would not notice a factor
    for first, second in zip(whole.module.parameters(), split.module.parameters(), strict=True):
        torch.testing.assert_close(first, second, rtol=1e-4, atol=1e-5)


def test_clipping_bounds_the_gradient(tmp_path: Path) -> None:
    seen = []

    class Watched(TinyTask):
        pass

    task = Watched()
    torch.optim.AdamW.step, original = (
        lambda self, *a: (seen.append(norm_of(task.module)), original(self, *a))[1],
        torch.optim.AdamW.step,
    )
    try:
        train(task, dataclasses.replace(SETTINGS, clip=0.01), tmp_path)
    finally:
        torch.optim.AdamW.step = original
    assert len(seen) == SETTINGS.steps
    assert all(norm == pytest.approx(0.01, rel=1e-3) for norm in seen)


def norm_of(module: nn.Module) -> float:
    return float(torch.cat([p.grad.flatten() for p in module.parameters() if p.grad is not None]).norm())


def test_precision_asked_for_is_used(tmp_path: Path) -> None:
    seen = set()

    class Watched(TinyTask):
        def losses(self, batch):
            seen.add(self.module.inner(batch.x).dtype)
            return super().losses(batch)

    train(Watched(), dataclasses.replace(SETTINGS, precision="bfloat16"), tmp_path / "low")
    train(Watched(), dataclasses.replace(SETTINGS, precision="float32"), tmp_path / "high")
    assert seen == {torch.bfloat16, torch.float32}
    assert resolved("auto", torch.device("cpu")) in ("float32", "bfloat16")


def test_muon_takes_the_matrices_inside_and_adamw_the_rest() -> None:
    module = nn.Sequential(nn.Embedding(40, 4), nn.Linear(4, 8), nn.LayerNorm(8), nn.Linear(8, 100))
    names = {id(parameter): name for name, parameter in module.named_parameters()}
    both = optimizer(module, Settings(steps=1, optimizer="muon", lr=0.01))
    assert isinstance(both, Together)
    muon, rest = (sorted(names[id(p)] for g in part.param_groups for p in g["params"]) for part in both.parts)
    assert muon == ["1.weight"]
    assert rest == ["0.weight", "1.bias", "2.bias", "2.weight", "3.bias", "3.weight"]
    module[1].weight.grad = torch.randn(8, 4) * 1e-6  # however small, every direction moves alike
    before = module[1].weight.detach().clone()
    both.step()
    moved = torch.linalg.svdvals(before - module[1].weight.detach())
    assert moved.max() / moved.min() < 2 and moved.min() > 1e-3


def test_a_module_without_matrices_inside_is_adamws() -> None:
    assert isinstance(optimizer(nn.LayerNorm(3), Settings(steps=1, optimizer="muon")), torch.optim.AdamW)

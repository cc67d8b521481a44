"""Blocks that lie elsewhere and are brought for their turn. The CPU stands for both places: copies are copies."""

import gc
import weakref
from typing import Any

import pytest
import torch
from torch import Tensor

from diptych.backbone.blocks import Blocks, Carrier
from diptych.backbone.context import Context
from diptych.backbone.packing import Segment, Span
from diptych.backbone.quantised import Int8
from diptych.backbone.transformer import Backbone, BackboneConfig, seeded

CONFIG = BackboneConfig(width=16, depth=5, heads=2, kv_heads=1, hidden=24, vocab=20, bias="qkv")


def backbone() -> Backbone:
    return seeded(Backbone(CONFIG), 0).requires_grad_(False)


def answers(model: Backbone) -> Tensor:
    """A prompt, a picture tried over it, and a token for good."""
    with torch.inference_mode():
        context = Context(model, [[Segment(model.embed(torch.arange(6)))]], room=4)
        tried = context.probe([[Segment(model.embed(torch.arange(4)), Span("full"))]])
        kept = context.visit(model.embed(torch.tensor([[3]])), [(1, Span())], keep=True)
    assert context.last_hidden is not None
    return torch.cat([tried, kept, context.last_hidden], 1)


def size(block: Any) -> int:
    return sum(p.numel() * p.element_size() for p in block.parameters())


def test_the_same_is_computed() -> None:
    away = backbone()
    away.blocks.offload(torch.device("cpu"))  # type: ignore[operator]
    assert torch.equal(answers(away), answers(backbone()))


def test_at_most_two_blocks_are_there_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    away, living, most, fetched = backbone(), list[weakref.ref](), 0, 0
    fetch = Carrier.fetch

    def counted(self: Carrier, block: Any) -> list[Tensor]:
        nonlocal most, fetched
        copies = fetch(self, block)
        assert not {c.data_ptr() for c in copies} & {p.data_ptr() for p in away.blocks.parameters()}, "not a copy"
        living.extend(map(weakref.ref, copies))
        fetched += 1
        there = [ref() for ref in living]
        most = max(most, sum(t.numel() * t.element_size() for t in there if t is not None))
        return copies

    monkeypatch.setattr(Carrier, "fetch", counted)
    away.blocks.offload(torch.device("cpu"))  # type: ignore[operator]
    answers(away)
    gc.collect()
    assert fetched == 3 * CONFIG.depth
    assert most == 2 * size(away.blocks[0])
    assert all(ref() is None for ref in living), "copies outlive the walk"


def test_blocks_are_as_they_were_after_a_walk_that_breaks_off() -> None:
    blocks: Any = backbone().blocks
    before = dict(blocks.named_parameters())
    blocks.offload(torch.device("cpu"))
    walk = iter(blocks)
    first = next(walk)
    assert first.q.weight is not before["0.q.weight"] and torch.equal(first.q.weight, before["0.q.weight"])
    walk.close()
    assert all(p is before[name] for name, p in blocks.named_parameters())


def test_quantised_layers_are_brought_too() -> None:
    near, away = backbone(), backbone()
    for model in (near, away):
        for block in model.blocks:
            block.up = Int8.of(block.up)  # type: ignore[arg-type]
    away.blocks.offload(torch.device("cpu"))  # type: ignore[operator]
    assert torch.equal(answers(away), answers(near))


def test_a_walk_over_blocks_that_are_there_copies_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Carrier, "fetch", lambda self, block: pytest.fail("copied"))
    near = backbone()
    assert isinstance(near.blocks, Blocks) and list(near.blocks) == list(near.blocks._modules.values())
    answers(near)

"""The flow head: what it answers does not depend on how and when its context was said."""

from typing import Any

import pytest
import torch
from torch import Tensor

from diptych.backbone.context import Context
from diptych.backbone.flow_head import DRAWN, FlowHeadConfig, WithFlowHead, modulation
from diptych.backbone.packing import Segment, Span, pack
from diptych.backbone.positions import frequencies, slowed
from diptych.backbone.transformer import BackboneConfig, seeded

CANVAS, PICTURE = Span("full", expert=DRAWN), Span("full")


def made(inner: int = 12) -> WithFlowHead:
    config = BackboneConfig(width=16, depth=2, heads=4, kv_heads=2, hidden=24, vocab=11, bias="qkv")
    block = BackboneConfig(
        width=inner, depth=2, heads=2, kv_heads=1, hidden=20, vocab=0, head_width=6, norm_qk=True, eps=1e-5
    )
    found = WithFlowHead(config, FlowHeadConfig(block)).eval().requires_grad_(False)
    seeded(found, 0, 0.3)
    layers: Any = found.flow.blocks
    for layer in layers:
        layer.modulate.weight.normal_(std=0.5, generator=torch.Generator().manual_seed(1))
    return found


@pytest.fixture(scope="module")
def backbone() -> WithFlowHead:
    return made()


def words(backbone: WithFlowHead, *ids: int) -> Segment:
    return Segment(backbone.embed(torch.tensor(ids)))


def picture(backbone: WithFlowHead, seed: int, span: Span = PICTURE, n: int = 3) -> Segment:
    """A time, then n tokens."""
    x = torch.randn(1 + n, backbone.wide, generator=torch.Generator().manual_seed(seed))
    x[1:, backbone.config.width :] = 0
    return Segment(x, span)


def at_once(backbone: WithFlowHead, rows: list[list[Segment]], n: int) -> Tensor:
    return backbone(pack(rows))[:, -n:]


@pytest.fixture
def rows(backbone: WithFlowHead) -> list[list[Segment]]:
    """Of different lengths, one with a picture."""
    return [[words(backbone, 1, 2, 3), picture(backbone, 1), words(backbone, 4)], [words(backbone, 5)]]


def test_a_context_is_said_once(backbone: WithFlowHead, rows: list[list[Segment]]) -> None:
    """Also piece by piece, with texts on the fast path in between, and again after a first picture."""
    canvas = picture(backbone, 2, CANVAS)
    expected = at_once(backbone, [[*row, canvas] for row in rows], len(canvas.x))
    tokens, spans = canvas.x.expand(2, -1, -1), [(len(canvas.x), CANVAS)]
    context = Context(backbone, rows)
    for _ in range(2):
        torch.testing.assert_close(context.visit(tokens, spans, keep=False), expected, rtol=1e-4, atol=1e-4)
    more = words(backbone, 6).x.expand(2, 1, -1)
    for _ in range(20):  # more than there was room for
        context.visit(more, [(1, Span())], keep=True)
    expected = at_once(backbone, [[*row, *[words(backbone, 6)] * 20, canvas] for row in rows], len(canvas.x))
    torch.testing.assert_close(context.visit(tokens, spans, keep=False), expected, rtol=1e-4, atol=1e-4)


def test_the_first_rows_alone(backbone: WithFlowHead, rows: list[list[Segment]]) -> None:
    canvas = picture(backbone, 2, CANVAS)
    tokens, spans = canvas.x.expand(2, -1, -1), [(len(canvas.x), CANVAS)]
    context = Context(backbone, rows)
    part = context.first(1).visit(tokens[:1], spans, keep=False)
    whole = context.visit(tokens, spans, keep=False)
    torch.testing.assert_close(part, whole[:1], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(
        whole, at_once(backbone, [[*row, canvas] for row in rows], len(canvas.x)), rtol=1e-4, atol=1e-4
    )


def test_texts_are_written_without_it(backbone: WithFlowHead, rows: list[list[Segment]]) -> None:
    calls: list[int] = []
    hook = backbone.flow.register_forward_hook(lambda *_: calls.append(1))
    context = Context(backbone, rows)
    hidden = context.visit(words(backbone, 6).x.expand(2, 1, -1), [(1, Span())], keep=True)
    assert not calls and not hidden[..., backbone.config.width :].any()
    assert backbone.head(hidden).shape[-1] == backbone.config.vocab
    context.visit(picture(backbone, 2, CANVAS).x.expand(2, -1, -1), [(4, CANVAS)], keep=False)
    hook.remove()
    assert calls == [1]


def test_times_reach_their_own_span_alone(backbone: WithFlowHead) -> None:
    packed = pack([[words(backbone, 1, 2), picture(backbone, 1), picture(backbone, 2)], [picture(backbone, 3)]])
    found = modulation(packed.x[..., backbone.config.width :], packed.visibility)
    assert len(found.table) == 3
    assert found.owner.tolist() == [[3, 3, 0, 0, 0, 0, 1, 1, 1, 1], [3] * 6 + [2] * 4]


def test_of_one_width_there_is_nothing_in_between() -> None:
    assert not list(made(16).flow.into.parameters())


def test_long_turns_are_slowed() -> None:
    """Pairs that turn often stay, pairs that hardly turn are slowed by the whole factor, others lie between."""
    rates = frequencies(64, 500000.0)
    found = slowed(rates, 32.0, 1.0, 4.0, 8192)
    turns = 8192 * rates / (2 * torch.pi)
    assert torch.equal(found[turns > 4], rates[turns > 4])
    assert torch.allclose(found[turns < 1] * 32, rates[turns < 1])
    between = (turns > 1) & (turns < 4)
    assert between.any() and (found[between] < rates[between]).all() and (found[between] * 32 > rates[between]).all()

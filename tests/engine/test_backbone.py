"""The transformer's switches that no published number here would catch, and its parts against plain arithmetic."""

from dataclasses import replace

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from diptych.backbone.experts import Experts, grouped, order_of, placed
from diptych.backbone.packing import Segment, Span, pack
from diptych.backbone.positions import angles, rotate
from diptych.backbone.transformer import Backbone, LayerNorm, Linear, RMSNorm, seeded
from tests.engine.forms import MIXTURE, PHI, PLAIN, QWEN, WIDTH


@pytest.mark.parametrize("config", [QWEN, PHI, MIXTURE], ids=["qwen", "phi", "mixture"])
def test_every_norm_has_the_stated_eps(config) -> None:
    norms = [m for m in Backbone(replace(config, eps=0.125)).modules() if isinstance(m, RMSNorm | LayerNorm)]
    assert len(norms) > 2 and {norm.eps for norm in norms} == {0.125}


def test_rotation_is_multiplication_by_a_unit_complex_number() -> None:
    x = torch.randn(1, 2, 5, 8, generator=torch.Generator().manual_seed(0))
    position = torch.tensor([[0, 1, 4, 4, 4000]])
    cos, sin = (a[:, None] for a in angles(position, 6, 100.0))
    turned = rotate(x, cos, sin)
    unit = torch.exp(1j * position[..., None].double() / 100.0 ** (torch.arange(0, 6, 2).double() / 6))
    plain = torch.complex(x[..., :3].double(), x[..., 3:6].double()) * unit[:, None]
    torch.testing.assert_close(turned[..., :3].double(), plain.real, atol=2e-3, rtol=0)
    torch.testing.assert_close(turned[..., 3:6].double(), plain.imag, atol=2e-3, rtol=0)
    assert torch.equal(turned[..., 6:], x[..., 6:])


@pytest.mark.parametrize("experts", [(0, 1, 1, 0), (1, 1, 1, 1), (0, 0, 2, 0)])
def test_each_token_uses_its_expert(experts: tuple[int, ...]) -> None:
    layer = Experts(lambda: Linear(WIDTH, 3), 3)
    x = torch.randn(4, WIDTH)
    packed = pack([[Segment(x[:1], Span(expert=experts[0])), Segment(x[1:], Span(expert=experts[1:]))]])
    expected = torch.stack([layer.experts[e](token) for e, token in zip(experts, x, strict=True)])
    torch.testing.assert_close(layer(packed.x, packed.route)[0], expected)
    order = order_of(packed.route, packed.x)
    torch.testing.assert_close(placed(layer(grouped(packed.x, order), order), order)[0], expected)


def test_tokens_in_the_order_of_their_experts_and_back() -> None:
    x = torch.randn(2, 3, 4, requires_grad=True)
    order = order_of((torch.tensor([0, 2, 5]), torch.tensor([1, 3, 4])), x)
    told = grouped(x, order)
    assert torch.equal(told[0], x.flatten(0, 1)[[0, 2, 5, 1, 3, 4]]) and torch.equal(placed(told, order), x)
    weights = torch.randn(1, 6, 4)
    (gradient,) = torch.autograd.grad((told * weights).sum(), x)
    assert torch.equal(gradient, placed(weights, order))


def test_heads_share_keys_in_order() -> None:
    """Query heads 0 and 1 read key head 0, heads 2 and 3 key head 1."""
    shared, plain = (Backbone(replace(PLAIN, kv_heads=n)) for n in (2, 4))
    state = shared.state_dict()
    for name in state:
        if ".k." in name or ".v." in name:
            state[name] = state[name].view(2, -1, WIDTH).repeat_interleave(2, 0).flatten(0, 1)
    plain.load_state_dict(state)
    packed = pack([[Segment(torch.randn(5, WIDTH))]])
    torch.testing.assert_close(shared(packed), plain(packed))


def test_fresh_weights() -> None:
    backbone = seeded(Backbone(replace(QWEN, width=64, hidden=128)), 3)
    assert torch.equal(backbone.embed.weight, seeded(Backbone(replace(QWEN, width=64, hidden=128)), 3).embed.weight)
    spread = {name: p.std().item() for name, p in backbone.named_parameters() if p.ndim > 1}
    assert spread["blocks.0.q.weight"] == pytest.approx(0.02, rel=0.1)
    assert spread["blocks.1.down.weight"] == pytest.approx(0.01, rel=0.1)
    assert backbone.get_parameter("norm.weight").eq(1).all() and backbone.get_parameter("blocks.0.q.bias").eq(0).all()


def test_a_tied_head_is_the_table() -> None:
    backbone = Backbone(replace(PLAIN, tied=True))
    assert backbone.head.weight is backbone.embed.weight


@pytest.mark.parametrize("rows", [1, 2])
def test_the_last_token_of_a_row_does_not_copy_the_weights(rows: int) -> None:
    """Cut out of a row, it has strides of which torch would make a batched product with copies of the weights."""

    class Calls(TorchDispatchMode):
        def __torch_dispatch__(self, call, types, args=(), kwargs=None):
            made = call(*args, **(kwargs or {}))
            called.append((call._schema.name.removeprefix("aten::"), made.numel()))
            return made

    called: list[tuple[str, int]] = []
    layer = Linear(32, 64, bias=False).bfloat16().requires_grad_(False)
    hidden = torch.randn(rows, 5, 32).bfloat16()
    with Calls():
        layer(hidden[:, -1:])
        layer.rows(hidden[:, -1:], 8, 60)
    assert [name for name, _ in called].count("mm") == 2 and "bmm" not in dict(called)
    assert all(size <= rows * 32 for name, size in called if name in ("clone", "copy_", "_to_copy"))

"""The transformer whose tokens carry their time, through contexts, and the midpoint steps of what it writes."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from diptych.backbone.adaptive import LATENT, Adaptive, AdaptiveConfig, capped
from diptych.backbone.context import Context
from diptych.backbone.packing import Segment
from diptych.canvas import Canvas, Draws, Step, Writer
from diptych.models.timed import TOGETHER, Latents, interleaved_times
from diptych.objectives.flow import Midpoint
from diptych.samplers.guidance import alone
from diptych.samplers.loop import blank, visits
from diptych.samplers.schedules import midpoint

CONFIG = AdaptiveConfig(width=16, depth=3, heads=2, head=8, hidden=20, vocab=30, value_residual=True)
KINDS = {"plain": CONFIG, "laser": replace(CONFIG, laser=15.0), "bare": replace(CONFIG, gates=False, skips=False)}


def backbone(config: AdaptiveConfig = CONFIG) -> Adaptive:
    made, generator = Adaptive(config), torch.Generator().manual_seed(0)
    with torch.no_grad():
        for tensor in made.state_dict().values():
            tensor.copy_(torch.randn(tensor.shape, generator=generator) * 0.3)
    return made.requires_grad_(False)


def latents(n: int, time: float, seed: int = 0) -> Segment:
    x = torch.randn(n, 16, generator=torch.Generator().manual_seed(seed))
    return Segment(torch.cat([x, torch.full((n, 1), time)], 1), TOGETHER)


def words(made: Adaptive, *ids: int) -> Segment:
    return Segment(made.embed(torch.tensor(ids)))


@pytest.mark.parametrize("config", KINDS.values(), ids=KINDS)
def test_said_at_once_or_bit_by_bit(config: AdaptiveConfig) -> None:
    made = backbone(config)
    row = [words(made, 1, 2, 3), latents(4, 0.3), words(made, 4), words(made, 5, 6)]
    whole_row = Context(made, [row]).last_hidden
    context = Context(made, [row[:1]], room=2)
    parts = [context.last_hidden, *(context.extend([[part]]) for part in row[1:])]
    torch.testing.assert_close(torch.cat(parts, 1), whole_row)  # type: ignore[arg-type]


@pytest.mark.parametrize("config", KINDS.values(), ids=KINDS)
def test_one_token_at_a_time(config: AdaptiveConfig) -> None:
    """The fast path, in rows of different lengths, for text and for a single latent."""
    made = backbone(config)
    rows = [[words(made, 1, 2, 3)], [words(made, 4)]]
    for new in (words(made, 7), latents(1, 0.5)):
        context = Context(made, rows)
        found = context.visit(new.x.expand(2, 1, -1), [(1, new.span)], keep=True)
        expected = [Context(made, [[*row, new]]).last_hidden[:, -1:] for row in rows]  # type: ignore[index]
        torch.testing.assert_close(found, torch.cat(expected))


def test_a_row_does_not_depend_on_its_neighbours() -> None:
    made = backbone()
    rows = [[words(made, 1, 2), latents(6, 0.2)], [latents(3, 0.9, seed=1), words(made, 5)]]
    together = Context(made, rows).last_hidden
    assert together is not None
    for row, found in zip(rows, together, strict=True):
        single = Context(made, [row]).last_hidden
        torch.testing.assert_close(found[-single.shape[1] :], single[0])  # type: ignore[union-attr]


def test_text_and_latents_are_told_apart() -> None:
    made = backbone()
    latent = latents(2, 0.3)
    found = Context(made, [[latent]]).last_hidden
    for other in (latent._replace(span=TOGETHER._replace(expert=0)), latents(2, 0.4)):
        assert not torch.allclose(Context(made, [[other]]).last_hidden, found)  # type: ignore[arg-type]
    assert TOGETHER.expert == LATENT


def test_latents_share_a_position() -> None:
    """Turned by one angle, they are as if not turned at all."""
    made = backbone()
    x = torch.randn(1, 5, 17, generator=torch.Generator().manual_seed(0))
    x[..., -1] = 0.5
    context = Context(made, [[]])
    first = context.visit(x, [(5, TOGETHER)], keep=False)
    made.frequencies.zero_()
    torch.testing.assert_close(Context(made, [[]]).visit(x, [(5, TOGETHER)], keep=False), first)


def test_capped_logits_and_laser() -> None:
    q, k, v = torch.randn(3, 1, 1, 4, 8, generator=torch.Generator().manual_seed(0)).unbind(0)
    mask = torch.ones(4, 4).tril().bool()[None, None]
    plain = nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    torch.testing.assert_close(capped(q, k, v, mask, cap=1e4), plain)
    flat = v.cumsum(2) / torch.arange(1, 5).view(1, 1, -1, 1)
    torch.testing.assert_close(capped(q, k, v, mask, cap=1e-6), flat)
    expected = nn.functional.scaled_dot_product_attention(q, k, v.exp(), attn_mask=mask).log()
    torch.testing.assert_close(capped(q, k, v, mask, cap=1e4, laser=1e4), expected, atol=1e-4, rtol=1e-4)


# --- midpoint steps ------------------------------------------------------------------------------------------


class Known(Latents):
    """Velocities that the canvas and the time give away: x + 2 t."""

    def __init__(self):
        super().__init__(nn.Linear(1, 16), nn.Linear(16, 1, bias=False), None, clean=False, least=0.01)

    def embed(self, canvas: Canvas, step: Step) -> tuple[Tensor, Tensor]:
        tokens, _ = super().embed(canvas, step)
        return tokens, canvas.value + 2 * step.time

    def head(self, hidden: Tensor, memo: Tensor, where: Tensor | None = None) -> Tensor:
        return memo


def test_midpoint_steps_are_of_second_order() -> None:
    """dx/dt = x + 2 t from x(0) = c has x(1) = (c + 2) e - 4."""
    made, errors = backbone(), list[float]()
    for points in (5, 9):
        writer = Writer(Known(), Midpoint(1, ascending=True), midpoint(points), alone)
        draws = Draws([0])
        start = blank(writer, 1, (3,), draws, "cpu")
        *_, (step, canvas) = visits(Context(made, [[]]), writer, start, 1, draws)
        assert step.index == 2 * (points - 1) - 1 and canvas.memo is None
        errors.append((canvas.value - ((start.value + 2) * torch.e - 4)).abs().max().item())
    assert errors[1] < errors[0] / 3.4


def test_what_was_seen_last_may_be_kept() -> None:
    made = backbone()
    for keep in (False, True):
        writer = Writer(Known(), Midpoint(1, ascending=True), midpoint(3, keep), alone)
        context, draws = Context(made, [[words(made, 1, 2)]]), Draws([0])
        assert sum(1 for _ in visits(context, writer, blank(writer, 1, (3,), draws, "cpu"), 1, draws)) == 4
        assert context.cache.length == 2 + 3 * keep and context.cache.next_position.tolist() == [2 + keep]


def test_times_of_what_was_said_before() -> None:
    found = interleaved_times([3, 1, 0], Draws([0, 1, 2]))
    assert [len(own) for own in found] == [3, 1, 0]
    assert all(time == 0.5 or time == own[-1] for own in found for time in own)

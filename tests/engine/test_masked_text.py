"""Masked diffusion of text and what it shares with images: heads only where something may be settled, texts that end
early, errors weighed by time, padding that is seen less."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from diptych.attention import lower_dense
from diptych.backbone.context import Context
from diptych.backbone.packing import Segment, Span, pack
from diptych.canvas import Canvas, Draws, Port, Step, Writer
from diptych.errors import InputError
from diptych.models.family import Options
from diptych.models.ports import Words
from diptych.objectives.tokens import Masked, argmax, gumbel64, race, surest64
from diptych.objectives.weighed import Weighed
from diptych.samplers.guidance import alone, cfg
from diptych.samplers.loop import blank, visits
from diptych.samplers.schedules import blocks, reveal
from diptych.samplers.stopping import answered, block_ends
from tests.engine.forms import MASK, Tiny, canvas, make
from tests.parity.tape import Tape

TEXT, IMAGE = "masked text in blocks", "masked codes between marks"


def filled(tiny: Tiny, writer: Writer, prompts: list[list[int]], draws: Draws, start: Canvas | None = None) -> Canvas:
    rows = [tiny.say(p if branch == 0 else [branch]) for branch in range(tiny.form.branches) for p in prompts]
    start = start or blank(writer, len(prompts), tiny.form.grid, draws, "cpu")
    *_, (_, after) = visits(Context(tiny.network.backbone, rows), writer, start, tiny.form.branches, draws)
    return after


# --- the head only where something may be settled ----------------------------------------------------------------


class Counting(Port):
    """Says how many slots its head was asked about in each visit."""

    def __init__(self, port: Port):
        super().__init__()
        self.port, self.asked, self.span = port, list[int](), port.span

    def embed(self, canvas: Canvas, step: Step):
        return self.port.embed(canvas, step)

    def head(self, hidden: Tensor, memo, where: Tensor | None = None) -> Tensor:
        found = self.port.head(hidden, memo, where)
        self.asked.append(found.shape[:-1].numel())
        return found


def writer(tiny: Tiny, objective: Masked, focus: bool) -> Writer:
    schedule = blocks(4, 4) if tiny.form.branches == 1 else reveal(4)
    guide = alone if tiny.form.branches == 1 else cfg(2.0)
    return Writer(Counting(tiny.writer.port), objective, schedule, guide, "surest", focus=focus)


@pytest.mark.parametrize("name", [TEXT, IMAGE])
@torch.no_grad()
def test_focus_draws_what_the_whole_head_would(name: str) -> None:
    tiny, prompts = make(name), [[4, 5, 6], [7], [8, 9]]
    given = blank(tiny.writer, 3, tiny.form.grid, Draws([0, 0, 0]), "cpu")
    given.known[1, [0, 5]] = True
    given.value[1, [0, 5]] = 3
    plain, focused = (writer(tiny, Masked(argmax, surest64, reopens=2), focus) for focus in (False, True))
    ours, whole = (filled(tiny, w, prompts, Draws([0, 0, 0]), given) for w in (focused, plain))
    assert torch.equal(ours.value.where(ours.known, -1), whole.value.where(whole.known, -1))
    asked = focused.port.asked  # type: ignore[attr-defined]
    assert sum(asked) < sum(plain.port.asked) * 0.7  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", [TEXT, IMAGE])
@torch.no_grad()
def test_focus_keeps_neighbours_apart(name: str) -> None:
    tiny, prompts = make(name), [[4, 5, 6], [7], [8, 9]]
    objective = Masked(gumbel64(0.7) if name == TEXT else race(), surest64)
    together = filled(tiny, writer(tiny, objective, True), prompts, Draws([1, 2, 3]))
    for k, prompt in enumerate(prompts):
        single = filled(tiny, writer(tiny, objective, True), [prompt], Draws([k + 1]))
        assert torch.equal(single.value[0], together.value[k])


def test_confidence_is_compared_in_float64() -> None:
    """Two slots that are all but certain are one number in float32."""
    logits = torch.tensor([[[40.0, 20.0], [40.0, 21.0]]])
    score = surest64(logits, torch.zeros(1, 2, dtype=torch.long), Step(), Draws([0]))
    assert score.dtype == torch.float64 and score[0, 0] > score[0, 1]
    assert len(set(score.float().flatten().tolist())) == 1


# --- texts that end early ----------------------------------------------------------------------------------------


def test_an_answer_is_over_once_nothing_is_open_before_its_stop() -> None:
    stop = answered({9, 7})
    state = canvas(4, [[0, 1, 3], [0, 1, 2], [0, 2, 3], [0, 1, 2, 3]])
    state.value = torch.tensor([[1, 9, 0, 2], [1, 2, 3, 9], [1, 9, 9, 9], [1, 2, 3, 4]])
    assert stop(state, Step()).tolist() == [True, False, False, False]
    state.value[3, 3] = 7
    assert stop(state, Step()).tolist() == [True, False, False, True]


def test_a_block_ends_the_batch_when_every_row_ends_with_the_stop() -> None:
    stop = block_ends(9, 2)
    state = canvas(4, [[0, 1], [0, 1]], torch.tensor([[9, 9, 0, 0], [1, 9, 0, 0]]))
    assert stop(state, Step(1, reach=2)).tolist() == [True, True]
    assert stop(state, Step(0, reach=2)).tolist() == [False, False]
    state.value[0, 1] = 3
    assert stop(state, Step(1, reach=2)).tolist() == [False, False]


@torch.no_grad()
def test_ending_early_cuts_nothing_off() -> None:
    """Until the first stop a text is what it would have been, had it been written to the end."""
    tiny, prompts = make(TEXT), [[k] for k in range(12)]
    plain = Writer(Words(tiny.network.backbone, mask=MASK, span=Span("all")), Masked(gumbel64(1.0), surest64),
                   blocks(4, 8), alone, "surest", focus=True)  # fmt: skip
    whole = filled(tiny, plain, prompts, Draws(range(12)))
    stops = set(whole.value[:, 2].tolist())
    plain.stop = answered(stops)
    early = filled(tiny, plain, prompts, Draws(range(12)))
    assert early.done.all()
    for ours, theirs in zip(early.value.tolist(), whole.value.tolist(), strict=True):
        end = next(i for i, code in enumerate(theirs) if code in stops)
        assert ours[: end + 1] == theirs[: end + 1]


# --- learning ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("by_row", [True, False])
def test_errors_weigh_more_where_little_is_hidden(by_row: bool) -> None:
    target = torch.tensor([[1, 2, 3, 0], [2, 1, -100, -100]])
    time, u = torch.tensor([0.5, 0.25]), torch.tensor([[0.4, 0.6, 0.1, 0.9], [0.2, 0.3, 0.0, 0.0]])
    objective = Weighed(by_row=by_row, least=0.2)
    spoilt, step = objective.corrupt(target, (4,), Tape(uniform=[time, u]))
    p = 0.8 * time + 0.2
    assert (~spoilt.known).tolist() == [[True, False, True, False], [True, True, False, False]]
    logits = torch.randn(4, 5, generator=torch.Generator().manual_seed(0))
    found = objective.loss(logits, target, spoilt, step)
    each = F.cross_entropy(logits, torch.tensor([1, 3, 2, 1]), reduction="none")
    first, second = each[:2].sum() / p[0], each[2:].sum() / p[1]
    expected = (first / 4 + second / 2) / 2 if by_row else (first + second) / 6
    torch.testing.assert_close(found, expected)


def test_all_times_count_alike() -> None:
    """However much is hidden, the loss of errors that are all alike is what one error is."""
    objective, target = Weighed(), torch.zeros(4000, 8, dtype=torch.long)
    spoilt, step = objective.corrupt(target, (8,), Draws(range(4000)))
    logits = torch.zeros(int((~spoilt.known).sum()), 4)
    assert float(objective.loss(logits, target, spoilt, step)) == pytest.approx(math.log(4), rel=0.1)


# --- padding that is seen less -----------------------------------------------------------------------------------


def test_a_bias_is_added_where_another_span_looks() -> None:
    rows = [[Segment(torch.zeros(2, 4), Span("all", bias=-1.5)), Segment(torch.zeros(3, 4), Span("all"))]]
    packed = pack([*rows, [Segment(torch.zeros(4, 4), Span("all"))]])
    mask = lower_dense(packed.visibility, packed.visibility, packed.bias).mask
    expected = torch.zeros(5, 5)
    expected[2:, :2] = -1.5
    assert torch.equal(mask[0, 0], expected)
    assert torch.equal(mask[1, 0, 1:], torch.tensor([-math.inf, 0, 0, 0, 0]).expand(4, -1))


@torch.no_grad()
def test_a_context_with_a_bias_is_not_cached() -> None:
    tiny = make("residual codes")
    said = [Segment(tiny.network.backbone.embed(torch.tensor([1, 2])), Span(bias=-2.0))]
    asked = Segment(tiny.network.backbone.embed(torch.tensor([3, 4])), Span())
    plain = Context(tiny.network.backbone, [[said[0]._replace(span=Span())]]).probe([[asked]])
    biased = Context(tiny.network.backbone, [said]).probe([[asked]])
    assert not torch.allclose(plain, biased)
    torch.testing.assert_close(biased, tiny.network.backbone(pack([[*said, asked]]))[:, -2:])


# --- keys out of date --------------------------------------------------------------------------------------------

PROMPTS = [[4, 5, 6, 7, 8], [7], [8, 9, 3]]


def stale(tiny: Tiny, refresh: int | None, context: type[Context] = Context) -> list[Canvas]:
    """The canvas after each visit."""
    schedule = blocks(4, 8, refresh)
    writer = Writer(tiny.writer.port, Masked(argmax, surest64), schedule, alone, "surest", focus=True)
    start = blank(writer, len(PROMPTS), (8,), Draws([]), "cpu")
    said = context(tiny.network.backbone, [tiny.say(p) for p in PROMPTS])
    return [c for _, c in visits(said, writer, start, 1, Draws([0, 0, 0]))]


def test_nothing_is_out_of_date_unless_asked_for() -> None:
    assert all(step.stale is None and not step.renew for step in blocks(4, 8)(canvas(8)))
    assert Options().refresh is None
    with pytest.raises(InputError, match="refresh"):
        Options(refresh=0)


@torch.no_grad()
def test_refreshed_in_every_visit_it_is_the_exact_path() -> None:
    tiny = make(TEXT)
    for ours, exact in zip(stale(tiny, 1), stale(tiny, None), strict=True):
        assert torch.equal(ours.value, exact.value) and torch.equal(ours.known, exact.known)


class Counted(Context):
    """Counts the tokens that go through the backbone in a revisit."""

    computed: list[tuple[int, bool]] = []

    def revisit(self, tokens: Tensor, spans, first: int, renew: bool) -> Tensor:
        Counted.computed.append((first, renew))
        return super().revisit(tokens, spans, first, renew)


@torch.no_grad()
def test_it_is_refreshed_with_each_block() -> None:
    Counted.computed.clear()
    after = stale(make(TEXT), 99, Counted)
    assert after[-1].known.all()
    assert Counted.computed == [(0, True), *[(0, False)] * 3, (4, True), *[(4, False)] * 3]


@pytest.mark.parametrize("first", [0, 3, 8])
@torch.no_grad()
def test_over_keys_that_are_still_true_it_answers_the_same(first: int) -> None:
    """Rows of different lengths, and everything as it was when the keys were kept."""
    tiny, span = make(TEXT), Span("all")
    said = Context(tiny.network.backbone, [tiny.say(p) for p in PROMPTS])
    tokens = torch.randn(3, 8, tiny.network.backbone.config.width, generator=torch.Generator().manual_seed(0))
    exact = said.visit(tokens, [(8, span)], False)
    assert torch.equal(said.revisit(tokens, [(8, span)], first, True), exact)
    torch.testing.assert_close(said.revisit(tokens, [(8, span)], first, False), exact, atol=1e-5, rtol=1e-5)
    other = tokens.clone()
    other[:, -1] += 1
    assert not torch.equal(said.revisit(other, [(8, span)], first, False), exact) or first == 8


@torch.no_grad()
def test_where_somebody_does_not_see_all_it_is_refused() -> None:
    tiny = make("masked codes")
    said = Context(tiny.network.backbone, [tiny.say([1, 2])])
    tokens = torch.zeros(1, 4, tiny.network.backbone.config.width)
    said.revisit(tokens, [(4, Span("full"))], 0, True)
    with pytest.raises(InputError, match="refresh"):
        said.revisit(tokens, [(4, Span("full"))], 0, False)

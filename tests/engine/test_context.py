"""What has been said, cached or not, is always one forward over everything."""

from collections.abc import Sequence

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from diptych.attention import EVERYONE, KIN, LATER
from diptych.backbone.context import Context
from diptych.backbone.packing import Sample, Segment, Span
from diptych.backbone.transformer import Backbone
from diptych.errors import InputError
from tests.engine.forms import MIXTURE, PHI, QWEN, WIDTH, Uncached, make

BACKBONES: dict[str, Backbone] = {
    name: make(form).network.backbone.requires_grad_(False)
    for name, form in {"qwen": "residual codes", "phi": "masked codes", "mixture": "flow in the backbone"}.items()
}


def test_backbones_are_those_named() -> None:
    assert [b.config for b in BACKBONES.values()] == [QWEN, PHI, MIXTURE]


def words(n: int, seed: int = 0, span: Span = Span()) -> Segment:  # noqa: B008 - immutable
    return Segment(torch.randn(n, WIDTH, generator=torch.Generator().manual_seed(seed)), span)


def tokens(row: Sample) -> int:
    return sum(len(s.x) for s in row)


def same(ours: Tensor, theirs: Tensor, rows: Sequence[Sample]) -> None:
    """Equal where a row has tokens; rows are aligned to the right."""
    for own, other, row in zip(ours, theirs, rows, strict=True):
        if n := tokens(row):
            torch.testing.assert_close(own[-n:], other[-n:], atol=1e-5, rtol=1e-5)


class Pair:
    """A context and what it must amount to, told the same."""

    def __init__(self, backbone: Backbone, rows: Sequence[Sample], room: int = 0):
        self.ours, self.plain = Context(backbone, rows, room), Uncached(backbone, rows)

    def extend(self, *rows: Sample) -> None:
        n = max(map(tokens, rows))
        ours = self.ours.extend(rows)
        assert ours.shape[1] == n
        same(ours, self.plain.forward(rows, True)[:, -n:], rows)

    def probe(self, *rows: Sample) -> None:
        n = max(map(tokens, rows))
        same(self.ours.probe(rows), self.plain.forward(rows, False)[:, -n:], rows)

    def visit(self, n: int, *spans: tuple[int, Span], keep: bool, seed: int = 9) -> None:
        rows = len(self.plain.said)
        x = torch.randn(rows, n, WIDTH, generator=torch.Generator().manual_seed(seed))
        spans = spans or ((n, Span()),)
        torch.testing.assert_close(
            self.ours.visit(x, spans, keep), self.plain.visit(x, spans, keep), atol=1e-5, rtol=1e-5
        )

    def end(self) -> None:
        torch.testing.assert_close(self.ours.ending(1), self.plain.ending(1), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", BACKBONES)
@pytest.mark.parametrize("lengths", [(3, 3), (4, 1)])
def test_extend_probe_and_extend_again(name: str, lengths: tuple[int, int]) -> None:
    a, b = lengths
    pair = Pair(BACKBONES[name], [[words(a)], [words(b, 1)]])
    pair.end()
    pair.probe([words(2, 2, Span("full"))], [words(3, 3, Span("full"))])
    pair.extend([words(3, 4), words(2, 5, Span("full", still=True))], [words(1, 6)])
    pair.probe([], [words(2, 7)])
    pair.extend([words(1, 8)], [words(1, 9)])
    pair.end()


@pytest.mark.parametrize("name", BACKBONES)
@pytest.mark.parametrize("lengths", [(3, 3), (4, 1)])
def test_visits_of_one_token(name: str, lengths: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    """The fast path, several in a row, with tries in between that leave nothing."""
    backbone = BACKBONES[name]
    experts = range(backbone.config.experts)
    pair = Pair(backbone, [[words(n, n)] for n in lengths])
    calls, one = [], backbone.one
    monkeypatch.setattr(backbone, "one", lambda *given: calls.append(1) or one(*given))
    for i in range(4):
        pair.visit(1, (1, Span("full", expert=experts[i % len(experts)])), keep=False, seed=20 + i)
        pair.visit(1, (1, Span(expert=experts[i % len(experts)], advance=(None, 3)[i % 2])), keep=True, seed=i)
    assert len(calls) == 8
    pair.extend([words(2, 50)], [words(1, 51)])
    pair.visit(1, keep=True)
    pair.end()


@pytest.mark.parametrize(
    "span", [Span("full", KIN), Span("causal", EVERYONE), Span("all")], ids=["kin", "everyone", "all"]
)
@pytest.mark.parametrize("keep", [False, True])
def test_single_tokens_that_are_no_plain_ones(span: Span, keep: bool) -> None:
    pair = Pair(BACKBONES["qwen"], [[words(3)], [words(2, 1)]])
    pair.visit(1, (1, span), keep=keep)
    pair.visit(1, keep=True)
    pair.visit(2, (2, Span("full")), keep=False)
    pair.visit(1, keep=False)


def test_private_keys_stay_private() -> None:
    pair = Pair(BACKBONES["mixture"], [[words(3)], [words(2, 1)]])
    noise = Span("full", KIN, (0, 1, 1, 0), still=True, advance=0)
    pair.visit(4, (4, noise), keep=False)
    pair.visit(4, (4, noise), keep=True)
    pair.visit(1, keep=True)
    pair.visit(4, (4, noise), keep=False, seed=3)
    pair.end()


@pytest.mark.parametrize("audience", [LATER, EVERYONE])
def test_said_later_and_seen_by_all(audience: int) -> None:
    span = Span("full", audience)
    pair = Pair(BACKBONES["phi"], [[words(3)], [words(1, 1)]])
    pair.probe([words(2, 2, span)], [words(2, 3, span)])
    pair.visit(3, (3, span), keep=False)
    pair.extend([words(2, 2, span)], [words(1, 3, span)])
    pair.visit(2, (2, Span("full")), keep=False)
    pair.extend([words(1, 5)], [words(2, 6, span)])
    pair.visit(1, keep=True)
    pair.end()


@pytest.mark.parametrize("first", ["causal", "all"])
def test_all_seeing_contexts(first: str) -> None:
    pair = Pair(BACKBONES["qwen"], [[words(3, 0, Span(first))], [words(1, 1, Span(first))]])  # type: ignore[arg-type]
    assert pair.ours.cached == (first == "causal")
    pair.probe([words(2, 2, Span("all"))], [words(1, 3, Span("all"))])
    pair.visit(3, (3, Span("all")), keep=False)
    pair.extend([words(2, 4, Span("all"))], [words(2, 5, Span("all"))])
    assert not pair.ours.cached
    pair.visit(1, keep=True)
    pair.visit(2, (1, Span("all")), (1, Span()), keep=False)
    pair.end()


def test_the_cache_grows() -> None:
    pair = Pair(BACKBONES["qwen"], [[words(2)], [words(1, 1)]], room=1)
    room = pair.ours.cache.k.shape[3]
    for i in range(room + 3):
        pair.visit(1, keep=True, seed=i)
    assert pair.ours.cache.length == room + 5 and pair.ours.cache.k.shape[3] >= room + 5
    pair.visit(3 * room, (3 * room, Span("full")), keep=False)
    pair.extend([words(40)], [words(50, 1)])
    pair.end()


@pytest.mark.parametrize("name", BACKBONES)
def test_rows_may_be_empty(name: str) -> None:
    pair = Pair(BACKBONES[name], [[words(3)], [], [words(0), words(1, 2)]])
    pair.visit(4, (4, Span("full")), keep=False)
    pair.extend([], [words(2, 1)], [])
    pair.visit(1, keep=True)
    pair.extend([words(1, 5)], [], [])
    pair.visit(1, keep=False)
    nothing = Pair(BACKBONES[name], [[], []])
    nothing.visit(2, (2, Span("full")), keep=False)
    nothing.visit(1, keep=True)
    nothing.visit(1, keep=True)
    nothing.end()


def test_a_row_to_which_nothing_is_added_ends_as_before() -> None:
    pair = Pair(BACKBONES["qwen"], [[words(3)], [words(2, 1)]])
    pair.extend([words(2, 2)], [])
    pair.end()
    before = pair.ours.ending(1)
    assert pair.ours.extend([[], []]).shape == (2, 0, WIDTH)
    assert torch.equal(pair.ours.ending(1), before)


@pytest.mark.parametrize("rows", [[[], []], [[words(2)], []]], ids=["all", "one"])
def test_an_empty_row_foretells_nothing(rows: list[Sample]) -> None:
    context = Context(BACKBONES["qwen"], rows)
    with pytest.raises(InputError, match="empty"):
        context.ending(1)
    context.extend([[words(1)], [words(1)]])
    assert context.ending(1).isfinite().all()


def test_a_visit_is_packed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """As long as nothing is kept in between; afterwards anew."""
    import diptych.backbone.context as module

    calls, pack = [], module.pack
    pair = Pair(BACKBONES["mixture"], [[words(3)], [words(2, 1)]])
    monkeypatch.setattr(module, "pack", lambda *a, **k: calls.append(1) or pack(*a, **k))
    for i in range(3):
        pair.visit(4, (4, Span("full", KIN, 1, still=True)), keep=False, seed=i)
    assert len(calls) == 1
    pair.visit(4, (4, Span("full", KIN, 0, still=True)), keep=False)
    assert len(calls) == 2
    pair.extend([words(1, 5)], [words(3, 6)])
    pair.visit(4, (4, Span("full", KIN, 0, still=True)), keep=False)
    assert len(calls) == 4


def test_a_packing_is_not_used_for_another_context_of_the_same_length() -> None:
    """Rows said anew may be as long as before, and yet stand elsewhere."""
    pair = Pair(BACKBONES["qwen"], [[words(3)], [words(1, 1)]])
    pair.extend([words(1, 2)], [words(3, 3)])
    assert pair.ours.cache.length == 6
    pair.visit(2, (2, Span("full")), keep=False)
    pair.extend([words(2, 4, Span("full", EVERYONE))], [words(2, 5, Span("full", EVERYONE))])
    assert pair.ours.cache.length == 6
    pair.visit(2, (2, Span("full")), keep=False)


def test_padding_that_was_only_tried_hides_nothing_later() -> None:
    pair = Pair(BACKBONES["qwen"], [[words(3)], [words(3, 1)]])
    pair.probe([words(4, 2)], [words(1, 3)])
    pair.visit(1, keep=True)
    pair.visit(1, keep=True)
    pair.extend([words(2, 4)], [words(1, 5)])
    pair.visit(1, keep=True)


steps = st.lists(
    st.tuples(
        st.sampled_from(["extend", "probe", "keep", "try"]),
        st.tuples(st.integers(0, 3), st.integers(1, 3)),
        st.builds(
            Span,
            st.sampled_from(["causal", "full", "causal", "full", "all"]),
            st.sampled_from([LATER, LATER, EVERYONE, KIN]),
            st.sampled_from([0, 1]),
            still=st.booleans(),
            advance=st.sampled_from([None, 0, 4]),
            bias=st.sampled_from([0.0, 0.0, 0.0, -1.5]),
            grid=st.sampled_from([None, None, (2, 3)]),
            stretch=st.sampled_from([1.0, 2.0, 0.0]),
            tail=st.just(False),
        ),
    ),
    max_size=5,
)


@given(st.tuples(st.integers(0, 3), st.integers(0, 3)), steps)
def test_any_conversation(lengths: tuple[int, int], said: list) -> None:
    pair = Pair(BACKBONES["mixture"], [[words(n, n)] if n else [] for n in lengths])
    for i, (what, (a, b), span) in enumerate(said):
        rows = [words(a, i, span)], [words(b, i + 1, span)]
        if what in ("extend", "probe"):
            getattr(pair, what)(*rows)
        else:
            pair.visit(b, (b, span), keep=what == "keep", seed=i)

"""Training batches: what is learned, by whom it is foretold, and how losses of many spans become one mean."""

from collections.abc import Mapping, Sequence

import pytest
import torch
from torch import Tensor

from diptych.backbone.packing import Segment, Span, pack
from diptych.canvas import Draws, Writer
from diptych.errors import TrainingError
from diptych.models.network import Ids
from diptych.models.ports import Codes, Words
from diptych.objectives.denoise import Denoised
from diptych.objectives.flow import Flow
from diptych.objectives.tokens import Masked, Token
from diptych.samplers.guidance import alone
from diptych.samplers.schedules import once, raster, reveal
from diptych.training.batches import Learn, Row, losses
from tests.engine.forms import CHANNELS, FORMS, MASK, Tiny, make, target
from tests.engine.ports import Denoiser, Latents, Mar, UViT

PROMPTS = [[4, 5, 6, 7, 8], [9], [10, 11, 12]]


def alone_loss(
    tiny: Tiny, writers: Mapping[str, Writer], row: Row, seeds: Sequence[int]
) -> dict[str, tuple[Tensor, int]]:
    """(sum over slots of the loss, slots learned) of each writer in one sample: one dense forward, cut by hand."""
    seeded, said, learned, at = iter(seeds), list[Segment](), [], 0
    for piece in row:
        if isinstance(piece, Learn):
            writer = writers[piece.writer]
            grid, draws = piece.grid or (len(piece.target),), Draws([next(seeded)])
            canvas, step = writer.objective.corrupt(piece.target[None], grid, draws)
            tokens, memo = writer.port.embed(canvas, step)
            learned.append((piece, canvas, step, memo, at - writer.port.lag, tokens.shape[1]))
            spans = writer.port.spans(tokens.shape[1])
            said += [Segment(t, s) for t, (_, s) in zip(tokens[0].split([n for n, _ in spans]), spans, strict=True)]
            at += tokens.shape[1]
        else:
            assert isinstance(piece, Ids)
            said += tiny.say(piece.ids)
            at += len(piece.ids)
    packed = pack([said])
    packed.lowering = None
    hidden = tiny.network.backbone(packed)
    found: dict[str, tuple[Tensor, int]] = {}
    for piece, canvas, step, memo, begin, n in learned:
        writer = writers[piece.writer]
        where = writer.objective.learned(canvas)
        condition = writer.port.head(hidden[:, begin : begin + n], memo, where)
        count = canvas.slots if where is None else int(where.sum())
        loss = writer.objective.loss(condition, piece.target[None], canvas, step) * count
        before = found.get(piece.writer, (0.0, 0))
        found[piece.writer] = before[0] + loss, before[1] + count
    return found


def check(tiny: Tiny, writers: Mapping[str, Writer], rows: Sequence[Row], width: int | None = 64) -> dict[str, Tensor]:
    """Losses of the batch are the means over all slots of all samples, each computed alone."""
    count, seeds = [sum(isinstance(piece, Learn) for piece in row) for row in rows], iter(range(99))
    found = losses(tiny.network, writers, rows, Draws(range(sum(count))), width)
    each = [alone_loss(tiny, writers, row, [next(seeds) for _ in range(n)]) for row, n in zip(rows, count, strict=True)]
    for name, loss in found.items():
        own = [one[name] for one in each if name in one]
        expected = sum(total for total, _ in own) / sum(count for _, count in own)
        torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-6, msg=lambda m, name=name: f"{name}: {m}")
    return found


def text(tiny: Tiny) -> Writer:
    return Writer(Words(tiny.network.backbone, lag=1), Token(), raster, alone)


@pytest.mark.parametrize("name", FORMS)
def test_losses_are_those_of_samples_alone(name: str) -> None:
    tiny = make(name)
    rows = [
        [Ids(prompt), Learn("picture", picture, tiny.form.grid), Ids([9]), Learn("text", torch.arange(3, 6 + n))]
        for n, (prompt, picture) in enumerate(zip(PROMPTS, target(tiny, 3), strict=True))
    ]
    found = check(tiny, {"picture": tiny.writer, "text": text(tiny)}, rows)
    assert found.keys() == {"picture", "text"}


def test_slots_marked_as_ignored_are_not_learned() -> None:
    tiny = make("next token")
    ids = torch.tensor([3, 4, 5, 6])
    whole = check(tiny, {"text": text(tiny)}, [[Ids([1]), Learn("text", ids)]])["text"]
    cut = check(tiny, {"text": text(tiny)}, [[Ids([1]), Learn("text", torch.tensor([3, -100, -100, 6]))]])["text"]
    assert not torch.allclose(whole, cut)


def test_masked_text_of_any_length_hides_real_slots_only() -> None:
    tiny = make("masked text in blocks")
    writer = Writer(Words(tiny.network.backbone, mask=MASK, span=Span("all")), Masked(), reveal(2), alone, "surest")
    rows = [[Ids([1, 2]), Learn("text", torch.arange(2, 2 + n))] for n in (1, 12, 5)]
    check(tiny, {"text": writer}, rows)
    padded = torch.full((200, 9), -100)
    padded[:, :4] = 3
    canvas, _ = Masked().corrupt(padded, (9,), Draws(range(200)))
    assert canvas.known[:, 4:].all()
    hidden = (~canvas.known).sum(1)
    share = torch.cos(torch.stack([Draws([i]).uniform([0]) for i in range(200)])[:, 0] * torch.pi / 2)
    assert torch.equal(hidden, (4 * share).round().clamp(min=1).long())


@pytest.mark.parametrize("kind", ["flow", "denoised"])
def test_pictures_of_several_sizes_share_a_batch(kind: str) -> None:
    tiny = make("flow around the backbone" if kind == "flow" else "masked latents")
    port = tiny.writer.port
    assert isinstance(port, UViT | Mar)
    grids = [(2, 4), (1, 6), (2, 4), (2, 2)]
    pictures = [torch.randn(h * w, CHANNELS, generator=torch.Generator().manual_seed(h * w)) for h, w in grids]
    rows: list[Row] = [
        [Ids([i + 1]), Learn("picture", p, g)] for i, (p, g) in enumerate(zip(pictures, grids, strict=True))
    ]
    objective = Flow(CHANNELS, ascending=True) if kind == "flow" else Denoised(Denoiser(16, CHANNELS), CHANNELS)
    writer = Writer(port, objective, once, alone)
    found = losses(tiny.network, {"picture": writer}, rows, Draws(range(4)), 32)["picture"]
    own = [alone_loss(tiny, {"picture": writer}, row, [i])["picture"] for i, row in enumerate(rows)]
    torch.testing.assert_close(found, sum(t for t, _ in own) / sum(n for _, n in own))


@pytest.mark.parametrize("width", [None, 40])
def test_nothing_foretells_the_first_token(width: int | None) -> None:
    tiny = make("next token")
    rows = [[Ids([1]), Learn("text", torch.tensor([2]))], [Learn("text", torch.tensor([2, 3]))]]
    with pytest.raises(TrainingError, match="precedes"):
        losses(tiny.network, {"text": text(tiny)}, rows, Draws([0, 1]), width)


def test_spans_that_do_not_fit_are_refused() -> None:
    tiny = make("masked codes between marks")
    rows: list[Row] = [[Ids([1]), Learn("picture", torch.zeros(n, dtype=torch.long))] for n in (3, 4)]
    with pytest.raises(TrainingError, match="grid"):
        losses(tiny.network, {"picture": tiny.writer}, rows, Draws([0, 1]))
    with pytest.raises(TrainingError, match="grid"):
        losses(tiny.network, {"picture": tiny.writer}, [[Learn("picture", torch.zeros(3), (2, 2))]], Draws([0, 1]))


def test_packed_rows_hold_no_more_than_their_width() -> None:
    tiny = make("next token")
    assert isinstance(tiny.writer.port, Codes) and not isinstance(tiny.writer.port, Latents)
    lengths = []
    forward = tiny.network.backbone.forward

    def recorded(packed, cache=None):
        lengths.append(((packed.visibility.sample >= 0).sum(1), packed.x.shape))
        return forward(packed, cache)

    tiny.network.backbone.forward = recorded
    rows: list[Row] = [[Ids([1] * (n - 1)), Learn("text", torch.tensor([3]))] for n in (7, 3, 5, 2, 9, 6)]
    losses(tiny.network, {"text": text(tiny)}, rows, Draws(range(6)), 16)
    ((used, shape),) = lengths
    assert shape[0] == 2 and shape[1] <= 16
    assert used.sum() == 32

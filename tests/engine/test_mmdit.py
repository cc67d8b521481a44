"""The MM-DiT over packed tokens: where tokens stand in a row, and what stands beside them, makes no difference."""

import pytest
import torch
from torch import Tensor

from diptych.backbone.context import Context
from diptych.backbone.mmdit import CONDITION, IMAGE, TEXT, TIME, MMDiT, MMDiTConfig
from diptych.backbone.packing import Sample, Segment, Span, pack, pack_samples

WIDTH = 24


@pytest.fixture(scope="module")
def backbone() -> MMDiT:
    torch.manual_seed(0)
    config = MMDiTConfig(width=WIDTH, heads=2, double=1, single=1, axes=(4, 4, 4), vocab=8, hidden=48)
    return MMDiT(config).requires_grad_(False).eval()


def looking(**span: object) -> Span:
    return Span(look="all", still=True, advance=0, **span)  # type: ignore[arg-type]


def segments(seed: int, grid: tuple[int, int] = (2, 3), words: int = 4) -> dict[str, Segment]:
    """The parts of one sample: text with its share of the condition, a picture, time with another share."""
    generator = torch.Generator().manual_seed(seed)

    def x(n: int) -> Tensor:
        return torch.randn(n, WIDTH, generator=generator)

    return {
        "text": Segment(x(1 + words), looking(expert=(CONDITION, *[TEXT] * words))),
        "picture": Segment(x(grid[0] * grid[1]), looking(expert=IMAGE, grid=grid)),
        "time": Segment(x(2), looking(expert=(TIME, CONDITION))),
    }


def row(seed: int, *order: str, **sizes: tuple[int, int]) -> Sample:
    parts = segments(seed, **sizes)  # type: ignore[arg-type]
    return [parts[name] for name in order]


def alone(backbone: MMDiT, seed: int, **sizes: tuple[int, int]) -> Tensor:
    """Hidden states of the picture of a sample by itself."""
    n = len(segments(seed, **sizes)["picture"].x)  # type: ignore[arg-type]
    return backbone(pack([row(seed, "text", "time", "picture", **sizes)]))[0, -n:]


def same(ours: Tensor, theirs: Tensor) -> None:
    torch.testing.assert_close(ours, theirs, atol=2e-6, rtol=1e-5)


@pytest.mark.parametrize(
    "order", [("picture", "text", "time"), ("time", "picture", "text"), ("text", "picture", "time")]
)
def test_order_in_the_row_is_nothing(backbone: MMDiT, order: tuple[str, ...]) -> None:
    hidden = backbone(pack([row(1, *order)]))[0]
    parts = segments(1)
    begin = sum(len(parts[name].x) for name in order[: order.index("picture")])
    same(hidden[begin : begin + 6], alone(backbone, 1))


def test_rows_of_other_orders_stand_together(backbone: MMDiT) -> None:
    """Here a condition token of one row is in a column of text or picture of the other, so that a mask is needed."""
    hidden = backbone(pack([row(1, "text", "time", "picture"), row(2, "picture", "time", "text")]))
    same(hidden[0, -6:], alone(backbone, 1))
    same(hidden[1, :6], alone(backbone, 2))


@pytest.mark.parametrize("left", [True, False])
def test_padding_is_nothing(backbone: MMDiT, left: bool) -> None:
    rows = [row(1, "text", "time", "picture"), row(2, "text", "time", "picture", grid=(1, 2))]
    hidden = backbone(pack(rows, left=left))
    same(hidden[0, -6:], alone(backbone, 1))
    end = hidden.shape[1] if left else hidden.shape[1] - 4
    same(hidden[1, end - 2 : end], alone(backbone, 2, grid=(1, 2)))


def test_samples_of_one_row_have_conditions_of_their_own(backbone: MMDiT) -> None:
    rows = [[row(1, "text", "time", "picture"), row(2, "text", "time", "picture")]]
    hidden = backbone(pack_samples(rows))[0]
    same(hidden[7:13], alone(backbone, 1))
    same(hidden[20:26], alone(backbone, 2))


def test_shares_of_the_condition_add_up(backbone: MMDiT) -> None:
    """One token that holds both shares is worth the two."""
    parts = segments(1)
    text, time = parts["text"], parts["time"]
    joined = torch.stack([time.x[0], time.x[1] + text.x[0]])
    whole = [Segment(text.x[1:], looking(expert=TEXT)), time._replace(x=joined), parts["picture"]]
    same(backbone(pack([whole]))[0, -6:], alone(backbone, 1))


@pytest.mark.parametrize("name", ["text", "time"])
def test_every_condition_is_felt(backbone: MMDiT, name: str) -> None:
    parts = segments(1)
    for token in range(1 if name == "text" else 2):
        x = parts[name].x.clone()
        x[token] += 1
        changed = parts | {name: parts[name]._replace(x=x)}
        hidden = backbone(pack([[changed[n] for n in ("text", "time", "picture")]]))[0, -6:]
        assert (hidden - alone(backbone, 1)).abs().max() > 1e-3


def test_places_on_the_grid_are_felt(backbone: MMDiT) -> None:
    """The same six tokens on a grid of another shape are another picture."""
    parts = segments(1)
    turned = parts["picture"]._replace(span=looking(expert=IMAGE, grid=(3, 2)))
    hidden = backbone(pack([[parts["text"], parts["time"], turned]]))[0, -6:]
    assert (hidden - alone(backbone, 1)).abs().max() > 1e-4


def test_in_a_context(backbone: MMDiT) -> None:
    """What was said and what is tried are one forward; trying twice changes nothing."""
    parts = segments(1)
    context = Context(backbone, [[parts["text"]]])  # type: ignore[arg-type]
    visit = torch.cat([parts["time"].x, parts["picture"].x])[None]
    spans = [(2, parts["time"].span), (6, parts["picture"].span)]
    for _ in range(2):
        same(context.visit(visit, spans, keep=False)[0, 2:], alone(backbone, 1))


def test_every_parameter_learns(backbone: MMDiT) -> None:
    """But the code table, which doors use."""
    config = backbone.config
    torch.manual_seed(0)
    fresh = MMDiT(config)
    hidden = fresh(pack([row(1, "text", "time", "picture"), row(2, "picture", "time", "text")]))
    hidden.square().sum().backward()
    idle = [n for n, p in fresh.named_parameters() if p.grad is None or not p.grad.any()]
    assert idle == ["embed.weight"]

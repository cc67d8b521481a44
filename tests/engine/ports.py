"""Small doors between canvas and backbone, one for each published way of writing: toys in size alone."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from diptych.attention import KIN
from diptych.backbone.packing import Span
from diptych.canvas import Canvas, Draws, Port, Step, selected
from diptych.models.ports import Codes


def times(step: Step, batch: int) -> Tensor:
    """The time of each sample, Float[B, 1, 1]: one for all in a visit, one a sample in training."""
    return torch.as_tensor(step.time, dtype=torch.float32).expand(batch).view(-1, 1, 1)


class Depth(nn.Module):
    """The codes of one position, one after another (VILA-U, UniTok)."""

    def __init__(self, width: int, size: int, codes: int):
        super().__init__()
        self.codes, self.cell, self.table, self.out = (
            codes,
            nn.GRUCell(width, width),
            nn.Embedding(size, width),
            nn.Linear(width, size),
        )

    def run(self, hidden: Tensor, code: Callable[[int, Tensor], Tensor]) -> Tensor:
        logits, x, state = [], hidden, torch.zeros_like(hidden)
        for i in range(self.codes):
            state = self.cell(x, state)
            logits.append(self.out(state))
            x = self.table(code(i, logits[-1]))
        return torch.stack(logits, 1)

    def draw(self, hidden: Tensor, pick: Callable[[Tensor], Tensor]) -> Tensor:
        drawn: list[Tensor] = []
        self.run(hidden, lambda i, logits: drawn.append(pick(logits)) or drawn[-1])
        return torch.stack(drawn, -1)

    def forward(self, hidden: Tensor, target: Tensor) -> Tensor:
        return self.run(hidden, lambda i, logits: target[:, i])


class DepthCodes(Codes):
    """A slot's codes enter as the sum of their embeddings, and leave by a small head of their own."""

    def __init__(self, width: int, size: int, codes: int):
        super().__init__(nn.Embedding(size, width), nn.Identity(), nn.Identity())
        self.depth = Depth(width, size, codes)

    def tokens(self, codes: Tensor) -> Tensor:
        return self.table(codes).sum(-2)


class Scales(Port):
    """Next scale (VAR, VARGPT): a scale is read from the finished ones before it, enlarged and added up."""

    def __init__(self, width: int, size: int, sides: Sequence[int]):
        super().__init__()
        self.sides, self.table, self.out = tuple(sides), nn.Embedding(size, width), nn.Linear(width, size)
        self.start = nn.Parameter(torch.randn(1, 1, width))

    def embed(self, canvas: Canvas, step: Step) -> tuple[Tensor, Any]:
        tokens, at = [self.start.expand(len(canvas.value), -1, -1)], 0
        total: Tensor | float = 0.0
        for side, after in zip(self.sides, self.sides[1:], strict=False):
            codes = canvas.value[:, at : at + side * side].clamp(min=0)
            scale = self.table(codes).transpose(1, 2).unflatten(2, (side, side))
            total = scale + (F.interpolate(total, size=(side, side)) if isinstance(total, Tensor) else 0.0)
            tokens.append(F.interpolate(total, size=(after, after)).flatten(2).transpose(1, 2))
            at += side * side
        return torch.cat(tokens, 1)[:, step.feed], None

    def head(self, hidden: Tensor, memo: Any, where: Tensor | None = None) -> Tensor:
        return self.out(selected(hidden, where))

    def spans(self, n: int) -> list[tuple[int, Span]]:
        """One for each scale: all of them in training, one in a visit."""
        sizes = [side * side for side in self.sides]
        return [(size, Span("full")) for size in (sizes if n == sum(sizes) else [n])]


class MaskedCodes(Port):
    """Open slots are fed as a mask code; each slot is foretold at its own place (Show-o, MMaDA)."""

    def __init__(self, width: int, size: int, span: Span):
        super().__init__()
        self.table, self.out, self.span = nn.Embedding(size + 1, width), nn.Linear(width, size), span

    def embed(self, canvas: Canvas, step: Step) -> tuple[Tensor, Any]:
        return self.table(torch.where(canvas.known, canvas.value, self.table.num_embeddings - 1)), None

    def head(self, hidden: Tensor, memo: Any, where: Tensor | None = None) -> Tensor:
        return self.out(selected(hidden, where))


class Latents(Port):
    """Marks, noised latents, mark; latents have their own expert, share one position, and nobody else sees them
    (BAGEL)."""

    def __init__(self, width: int, channels: int, slots: int):
        super().__init__()
        self.into, self.out, self.time = nn.Linear(channels, width), nn.Linear(width, channels), nn.Linear(1, width)
        self.marks, self.place = nn.Parameter(torch.randn(2, width)), nn.Parameter(torch.randn(slots, width))
        self.span = Span("full", KIN, (0, *[1] * slots, 0), still=True, advance=0)

    def embed(self, canvas: Canvas, step: Step) -> tuple[Tensor, Any]:
        batch = len(canvas.value)
        before, after = self.marks[:, None, None].expand(2, batch, 1, -1)
        tokens = self.into(canvas.value) + self.time(times(step, batch)) + self.place
        return torch.cat([before, tokens, after], 1), None

    def head(self, hidden: Tensor, memo: Any, where: Tensor | None = None) -> Tensor:
        return self.out(selected(hidden[:, 1:-1], where))


class UViT(Port):
    """Two latents to a token; the encoder's features pass around the backbone to the decoder (JanusFlow)."""

    def __init__(self, width: int, channels: int):
        super().__init__()
        self.into, self.time, self.out = (
            nn.Linear(2 * channels, width),
            nn.Linear(1, width),
            nn.Linear(2 * width, 2 * channels),
        )

    def embed(self, canvas: Canvas, step: Step) -> tuple[Tensor, Any]:
        features = self.into(canvas.value.flatten(1).unflatten(1, (canvas.slots // 2, -1)))
        time = self.time(times(step, len(features)))
        return torch.cat([time, features], 1), {"features": features, "time": time}

    def head(self, hidden: Tensor, memo: Any, where: Tensor | None = None) -> Tensor:
        both = torch.cat([hidden[:, 1:] + memo["time"], memo["features"]], -1)
        out = self.out(both)
        return selected(out.flatten(1).unflatten(1, (2 * out.shape[1], -1)), where)


class Mar(Port):
    """A masked autoencoder around the backbone, for whose decoder the encoder's output is kept (Harmon)."""

    def __init__(self, width: int, channels: int):
        super().__init__()
        self.into, self.unknown = nn.Linear(channels, width), nn.Parameter(torch.randn(width))
        self.decoder, self.denoiser = nn.Linear(width, width), Denoiser(width, channels)
        self.span = Span("full")

    def embed(self, canvas: Canvas, step: Step) -> tuple[Tensor, Any]:
        tokens = torch.where(canvas.known[..., None], self.into(canvas.value), self.unknown)
        return tokens, tokens

    def head(self, hidden: Tensor, memo: Any, where: Tensor | None = None) -> Tensor:
        return selected(self.decoder(hidden + memo), where)


class NextLatent(Port):
    """Latents from left to right, each drawn by a denoiser from the token before it (NextStep, UniFluid)."""

    lag = 1

    def __init__(self, width: int, channels: int):
        super().__init__()
        self.into, self.denoiser = nn.Linear(channels, width), Denoiser(width, channels)

    def embed(self, canvas: Canvas, step: Step) -> tuple[Tensor, Any]:
        return self.into(canvas.value[:, step.feed]), None

    def head(self, hidden: Tensor, memo: Any, where: Tensor | None = None) -> Tensor:
        return selected(hidden, where)


class Denoiser(nn.Module):
    """A linear velocity from latent, time and condition, and three straight steps."""

    def __init__(self, width: int, channels: int):
        super().__init__()
        self.out = nn.Linear(width + channels + 1, channels)

    def forward(self, x: Tensor, time: Tensor, condition: Tensor) -> Tensor:
        return self.out(torch.cat([x, time, condition], -1))

    def sample(self, condition: Tensor, guide: Callable[[Tensor], Tensor], rows: list[int], draws: Draws) -> Tensor:
        x = draws.normal(rows, self.out.out_features)
        for time in (1.0, 2 / 3, 1 / 3):
            x = x - guide(torch.stack([self(x, x.new_full((len(x), 1), time), c) for c in condition])) / 3
        return x

    def loss(self, target: Tensor, condition: Tensor, rows: list[int], draws: Draws) -> Tensor:
        time, noise = draws.uniform(rows, 1), draws.normal(rows, target.shape[1])
        return F.mse_loss(self((1 - time) * target + time * noise, time, condition), noise - target)


class Queries(Port):
    """Learned questions; the backbone's answers are the condition of a decoder (MetaQuery, BLIP3-o)."""

    def __init__(self, width: int, slots: int):
        super().__init__()
        self.questions = nn.Parameter(torch.randn(slots, width))

    def embed(self, canvas: Canvas, step: Step) -> tuple[Tensor, Any]:
        return self.questions.expand(len(canvas.value), -1, -1), None

    def head(self, hidden: Tensor, memo: Any, where: Tensor | None = None) -> Tensor:
        return selected(hidden, where)

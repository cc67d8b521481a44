"""Slots that are codes: predicted from those before them, from their neighbours, or in depth."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from diptych.canvas import Canvas, Drawn, Draws, Guide, Step

OPEN = -1  # what an open slot of codes holds

Pick = Callable[[Tensor, Draws], Tensor]  # logits [B, m, C] -> codes Int[B, m]
Sure = Callable[[Tensor, Tensor, Step, Draws], Tensor]  # logits, codes, step -> score [B, m]


def argmax(logits: Tensor, draws: Draws) -> Tensor:
    return logits.argmax(-1)


def sample(temperature: float = 1.0, top_k: int | None = None, top_p: float = 1.0) -> Pick:
    """Draw from softmax(logits / temperature) by inverting its distribution function in float64: one uniform a slot."""

    def pick(logits: Tensor, draws: Draws) -> Tensor:
        logits = keep_top_p(keep_top_k(logits / temperature, top_k), top_p)
        steps = logits.softmax(-1).double().cumsum(-1)
        u = draws.uniform(range(len(logits)), logits.shape[1], dtype=torch.float64).to(logits.device)
        codes = (steps <= (u * steps[..., -1])[..., None]).sum(-1)
        return codes.clamp(max=logits.shape[-1] - 1)

    return pick


def race(temperature: float = 1.0, top_k: int | None = None) -> Pick:
    """The same distribution as the exponential race that torch.multinomial runs, so that its draws can be replayed."""

    def pick(logits: Tensor, draws: Draws) -> Tensor:
        p = keep_top_k(logits / temperature, top_k).softmax(-1)
        return (p / draws.exponential(range(len(p)), *p.shape[1:]).to(p.device)).argmax(-1)

    return pick


def gumbel64(temperature: float) -> Pick:
    """exp(logits) / (-log u)^temperature in float64 (LLaDA, MMaDA)."""

    def pick(logits: Tensor, draws: Draws) -> Tensor:
        if temperature == 0:
            return logits.argmax(-1)
        u = draws.uniform(range(len(logits)), *logits.shape[1:], dtype=torch.float64).to(logits.device)
        return (logits.double().exp() / (-u.log()) ** temperature).argmax(-1)

    return pick


def keep_top_k(logits: Tensor, k: int | None) -> Tensor:
    if not k or k >= logits.shape[-1]:
        return logits
    return logits.masked_fill(logits < logits.topk(k, -1).values[..., -1:], float("-inf"))


def keep_top_p(logits: Tensor, p: float) -> Tensor:
    """The smallest set of codes whose probabilities reach p (arXiv 1904.09751)."""
    if p >= 1:
        return logits
    ordered, index = logits.sort(-1, descending=True)
    before = ordered.softmax(-1).cumsum(-1) - ordered.softmax(-1)
    return logits.masked_fill((before >= p).scatter(-1, index, before >= p), float("-inf"))


def less_repeated(logits: Tensor, canvas: Canvas, penalty: float) -> Tensor:
    """What this canvas holds already becomes less likely (CTRL, arXiv 1909.05858)."""
    if penalty == 1:
        return logits
    written = canvas.value.where(canvas.known, logits.shape[-1])[:, None].expand(-1, logits.shape[1], -1)
    seen = F.pad(torch.zeros_like(logits), (0, 1)).scatter(-1, written, 1.0)[..., :-1].bool()
    return torch.where(seen, torch.where(logits < 0, logits * penalty, logits / penalty), logits)


def whole(target: Tensor, grid: tuple[int, ...]) -> Canvas:
    """A canvas on which everything is settled."""
    known = torch.ones(target.shape[:2], dtype=torch.bool, device=target.device)
    done = torch.zeros(len(target), dtype=torch.bool, device=target.device)
    return Canvas(target, known, torch.zeros(target.shape[:2], device=target.device), grid, done)


class Token:
    """A slot is one code, foretold from those before it. Targets of -100 are not learned."""

    def __init__(self, pick: Pick = argmax, penalty: float = 1.0):
        self.pick, self.penalty = pick, penalty

    def blank(self, batch: int, grid: tuple[int, ...], draws: Draws, device: Any) -> Tensor:
        return torch.full((batch, math.prod(grid)), OPEN, device=device)

    def draw(self, parts: Tensor, canvas: Canvas, step: Step, guide: Guide, draws: Draws) -> Drawn:
        logits = guide(parts, canvas, step).float()
        codes = self.pick(less_repeated(logits, canvas, self.penalty), draws)
        return Drawn(codes, torch.ones(codes.shape, device=codes.device))

    def corrupt(self, target: Tensor, grid: tuple[int, ...], draws: Draws) -> tuple[Canvas, Step]:
        return whole(target, grid), Step()

    def learned(self, canvas: Canvas) -> Tensor | None:
        return canvas.value >= 0

    def loss(self, condition: Tensor, target: Tensor, canvas: Canvas, step: Step) -> Tensor:
        return F.cross_entropy(condition.float(), target[target >= 0])


def surest(logits: Tensor, codes: Tensor, step: Step, draws: Draws) -> Tensor:
    """MaskGIT's confidence: log p of the drawn code, with Gumbel noise of the step's heat."""
    score = logits.softmax(-1).gather(-1, codes[..., None])[..., 0].clamp(min=1e-20).log()
    if step.heat:
        u = draws.uniform(range(len(score)), score.shape[1]).to(score.device)
        score = score - step.heat * (-u.clamp(min=1e-20).log()).clamp(min=1e-20).log()
    return score


def surest64(logits: Tensor, codes: Tensor, step: Step, draws: Draws) -> Tensor:
    """The drawn code's probability in float64 (LLaDA's and MMaDA's low-confidence remasking)."""
    return logits.double().softmax(-1).gather(-1, codes[..., None])[..., 0]


def any_slot(logits: Tensor, codes: Tensor, step: Step, draws: Draws) -> Tensor:
    """Random remasking."""
    return draws.uniform(range(len(codes)), codes.shape[1]).to(codes.device)


class Masked(Token):
    """A slot is one code, foretold from its neighbours (masked discrete diffusion)."""

    def __init__(self, pick: Pick = argmax, sure: Sure = surest, reopens: int | None = None):
        super().__init__(pick)
        self.sure, self.reopens = sure, reopens

    def draw(self, parts: Tensor, canvas: Canvas, step: Step, guide: Guide, draws: Draws) -> Drawn:
        if parts.ndim == 3:
            return self._draw_eligible(parts, canvas, step, guide, draws)
        logits = guide(parts, canvas, step).float()
        codes = self.pick(logits, draws)
        return Drawn(
            codes, self.sure(logits, codes, step, draws), None if self.reopens is None else codes == self.reopens
        )

    def _draw_eligible(self, parts: Tensor, canvas: Canvas, step: Step, guide: Guide, draws: Draws) -> Drawn:
        """`draw` where parts [G, k, C] are those of the eligible slots only; each is drawn by its own sample."""
        where = canvas.eligible(step)
        own = draws.only(where.nonzero()[:, 0].tolist())
        drawn = self.draw(parts[:, :, None], canvas, step, guide, own)
        assert drawn.score is not None
        values, score = canvas.value.clone(), drawn.score.new_full(where.shape, float("-inf"))
        values[where], score[where] = drawn.values[:, 0], drawn.score[:, 0]
        if drawn.stays_open is None:
            return Drawn(values, score)
        return Drawn(values, score, torch.zeros_like(where).masked_scatter(where, drawn.stays_open))

    def corrupt(self, target: Tensor, grid: tuple[int, ...], draws: Draws) -> tuple[Canvas, Step]:
        """Hide exactly round(N cos(pi u / 2)) slots, at least one (MaskGIT, as published). N does not count padding,
        slots below 0 at the end."""
        rows, slots = range(len(target)), target.shape[1]
        padding = (target < 0).cpu()
        share = torch.cos(draws.uniform(rows, 1) * math.pi / 2)
        hidden = ((~padding).sum(1, keepdim=True) * share).round().clamp(min=1)
        known = draws.uniform(rows, slots).masked_fill(padding, float("inf")).argsort(-1) >= hidden
        canvas = whole(target, grid)
        canvas.known = known.to(target.device)
        return canvas, Step()

    def learned(self, canvas: Canvas) -> Tensor | None:
        return ~canvas.known

    def loss(self, condition: Tensor, target: Tensor, canvas: Canvas, step: Step) -> Tensor:
        return F.cross_entropy(condition.float(), target[~canvas.known])


class DepthHead(Protocol):
    """The small autoregressive head over the codes of one position."""

    codes: int

    def draw(self, hidden: Tensor, pick: Callable[[Tensor], Tensor]) -> Tensor: ...

    def __call__(self, hidden: Tensor, target: Tensor) -> Tensor: ...


class InDepth(Token):
    """A slot is K codes, drawn in depth (residual or product quantisation: VILA-U, UniTok).

    `depth.draw(hidden [n, D], pick)` -> Int[n, K]; `depth(hidden [n, D], target Int[n, K])` -> logits [n, K, C].
    """

    def __init__(self, depth: DepthHead | nn.Module, pick: Pick = argmax):
        super().__init__(pick)
        self.depth: Any = depth

    def blank(self, batch: int, grid: tuple[int, ...], draws: Draws, device: Any) -> Tensor:
        return torch.full((batch, math.prod(grid), self.depth.codes), OPEN, device=device)

    def draw(self, parts: Tensor, canvas: Canvas, step: Step, guide: Guide, draws: Draws) -> Drawn:
        """Guidance acts on the logits of each depth."""
        branches, batch, slots = parts.shape[:3]
        hidden = parts.flatten(0, 2)

        def pick(logits: Tensor) -> Tensor:
            guided = guide(logits.view(branches, batch, slots, -1), canvas, step)
            return self.pick(guided.float(), draws).repeat(branches, 1, 1).flatten()

        codes = self.depth.draw(hidden, pick).view(branches, batch, slots, -1)[0]
        return Drawn(codes, torch.ones(batch, slots, device=codes.device))

    def learned(self, canvas: Canvas) -> Tensor | None:
        return canvas.value[..., 0] >= 0

    def loss(self, condition: Tensor, target: Tensor, canvas: Canvas, step: Step) -> Tensor:
        target = target[target[..., 0] >= 0]
        return F.cross_entropy(self.depth(condition, target).flatten(0, 1).float(), target.flatten())

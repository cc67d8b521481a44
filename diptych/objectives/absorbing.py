"""Codes that are absorbed by a mask in continuous time (MDLM, arXiv 2406.07524; UniDisc, 2503.20853).

Time t runs from 0 (nothing is hidden) to 1. With the loglinear schedule the noise is sigma(t) = -log(1 - m t), m a
little below 1, and a slot is hidden with probability m t. Predictions never are the mask and never change what is known
(the SUBS parametrisation).

B samples, N slots, C codes.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from diptych.canvas import Canvas, Drawn, Draws, Guide, Step
from diptych.objectives.tokens import Masked, Pick, Sure, race, whole

NEVER = -1e6  # the logit of a code that cannot be drawn; finite, so that guidance can add and subtract it
MOST = 1 - 1e-3  # the chance of being hidden at t = 1
LEAST = 1e-3  # the smallest time that is trained
TINY = 1e-10

Cover = Callable[[Tensor, Draws], Tensor]  # hidden Bool[B, N] -> the same, with whole parts that are hidden or shown


def allowed(logits: Tensor, codes: Tensor) -> Tensor:
    """logits [..., V] -> those of the codes that Bool[..., V] allows; the others can never be drawn."""
    return logits.masked_fill(~codes, NEVER)


def substituted(logits: Tensor, value: Tensor, known: Tensor) -> Tensor:
    """Log-probabilities [B, N, V] of which those of known slots say what is known, for certain."""
    certain = torch.full_like(logits, NEVER).scatter(-1, value.clamp(min=0)[..., None], 0.0)
    return torch.where(known[..., None], certain, logits.log_softmax(-1))


def gumbel_race(logits: Tensor, draws: Draws) -> Tensor:
    """A draw from softmax(logits), as MDLM's `_sample_categorical` makes it."""
    return _raced(logits.softmax(-1), draws)


def _raced(weights: Tensor, draws: Draws) -> Tensor:
    """weights [B, N, C] -> where w / (1e-10 - log(u + 1e-10)) is largest, Int[B, N]."""
    u = draws.uniform(range(len(weights)), *weights.shape[1:]).to(weights.device)
    return (weights / (TINY - (u + TINY).log())).argmax(-1)


def nucleus_race(top_p: float, temperature: float) -> Pick:
    """An exponential race among the likeliest codes whose p / temperature together reach `top_p`; the likeliest always
    takes part. The probability is divided, not the logit, as published."""

    def pick(logits: Tensor, draws: Draws) -> Tensor:
        q, order = (logits.softmax(-1) / temperature).sort(-1, descending=True)
        kept = q.cumsum(-1) <= top_p
        kept[..., 0] = True
        q = q.where(kept, 0.0)
        q = q / q.sum(-1, keepdim=True)
        first = (q / draws.exponential(range(len(q)), *q.shape[1:]).to(q.device)).argmax(-1, keepdim=True)
        return order.gather(-1, first)[..., 0]

    return pick


def surest_in_time(temperature: float) -> Sure:
    """log p of the drawn code and Gumbel noise that fades with time, in float64. The noise is -log of an exponential
    draw."""

    def sure(logits: Tensor, codes: Tensor, step: Step, draws: Draws) -> Tensor:
        score = logits.log_softmax(-1).gather(-1, codes[..., None])[..., 0].double()
        if not temperature:
            return score
        noise = -draws.exponential(range(len(score)), score.shape[1], dtype=torch.float64).to(score.device).log()
        return score + temperature * noise * torch.as_tensor(step.time, device=score.device).view(-1, 1)

    return sure


def noise(time: Tensor) -> tuple[Tensor, Tensor]:
    """Float[B] times -> sigma and its derivative."""
    return -torch.log1p(-MOST * time), MOST / (1 - MOST * time)


def stratified(u: Tensor) -> Tensor:
    """Float[B] in [0, 1) -> one in each B-th part of it, so that a batch covers all times."""
    count = len(u)
    return (u / count + torch.arange(count, device=u.device) / count) % 1


class Absorbing(Masked):
    """A joint canvas of several kinds of slots (text and images), or of one.

    kinds: Int[N], the kind of each slot; weights: of each kind's loss. snr: bounds the weight of small times
    (softmin-SNR). cover: hides whole parts in training. antithetic: times of a batch are stratified. ratio: kind 0's
    loss is never more than so many times kind 1's.
    """

    def __init__(
        self,
        pick: Pick = race(),  # noqa: B008 - a function
        sure: Sure = surest_in_time(0.0),  # noqa: B008
        *,
        kinds: Tensor | None = None,
        weights: tuple[float, ...] = (1.0,),
        snr: float | None = None,
        cover: Cover | None = None,
        antithetic: bool = True,
        ratio: float | None = None,
    ):
        super().__init__(pick, sure)
        self.kinds, self.weights, self.snr, self.cover = kinds, weights, snr, cover
        self.antithetic, self.ratio = antithetic, ratio

    def corrupt(self, target: Tensor, grid: tuple[int, ...], draws: Draws) -> tuple[Canvas, Step]:
        """Slots below 0 are hidden like others, but not learned."""
        rows = range(len(target))
        u = draws.uniform(rows)
        time = (1 - LEAST) * (stratified(u) if self.antithetic else u) + LEAST
        hidden = draws.uniform(rows, target.shape[1]) < self.chance(time)[:, None]
        canvas = whole(target, grid)
        if self.cover is not None:
            hidden = self.cover(hidden, draws)
        canvas.known = ~hidden.to(target.device)
        return canvas, Step(time=time.to(target.device))

    @staticmethod
    def chance(time: Tensor) -> Tensor:
        """How likely a slot is hidden at `time`."""
        return 1 - (-noise(time)[0]).exp()

    def learned(self, canvas: Canvas) -> Tensor:
        return ~canvas.known & (canvas.value >= 0)

    def loss(self, condition: Tensor, target: Tensor, canvas: Canvas, step: Step) -> Tensor:
        """Weighted sums over hidden slots, over the number of all slots that count, hidden or not."""
        where = self.learned(canvas)
        assert isinstance(step.time, Tensor)
        surprise = F.cross_entropy(condition.float(), target[where], reduction="none")
        surprise = surprise * self.weight(step.time)[:, None].expand(where.shape)[where] / (target >= 0).sum()
        kinds = torch.zeros(where.shape[1], dtype=torch.long) if self.kinds is None else self.kinds
        kinds = kinds.to(where.device).expand(where.shape)[where]
        sums = [weight * surprise[kinds == kind].sum() for kind, weight in enumerate(self.weights)]
        if self.ratio is not None and len(sums) == 2:
            sums[0] = balanced(sums[0], sums[1], self.ratio)
        return torch.stack(sums).sum()

    def weight(self, time: Tensor) -> Tensor:
        """Of -log p at `time`: sigma' / (e^sigma - 1 + 1 / snr)."""
        sigma, slope = noise(time)
        return slope / (sigma.expm1() + (1 / self.snr if self.snr else 0.0))


def balanced(text: Tensor, image: Tensor, ratio: float) -> Tensor:
    """The loss of text, scaled down to `ratio` times that of images where it is larger; the factor has no gradient."""
    return text * (ratio * image.detach() / (text.detach() + 1e-8)).clamp(max=1.0)


def cover_one_kind(kinds: Tensor, chance: float) -> Cover:
    """With chance / 2 exactly all slots of kind 0 are hidden, with chance / 2 of kind 1; where both or neither come up,
    the slots that were drawn (UniDisc's `mask_entire_modality`)."""

    def cover(hidden: Tensor, draws: Draws) -> Tensor:
        rows = range(len(hidden))
        text, image = (draws.uniform(rows, 1) < chance / 2 for _ in range(2))
        hidden = torch.where(text & ~image, kinds == 0, hidden)
        return torch.where(image & ~text, kinds == 1, hidden)

    return cover


def cover_later_runs(kinds: Tensor, chance: float, least: int = 5) -> Cover:
    """Run k of the n runs of one kind that have `least` slots or more is hidden as well with 2 chance (k + 1) / n."""
    _, sizes = torch.unique_consecutive(kinds, return_counts=True)
    runs = torch.arange(len(sizes)).repeat_interleave(sizes)
    long = [k for k, n in enumerate(sizes.tolist()) if n >= least]

    def cover(hidden: Tensor, draws: Draws) -> Tensor:
        share = torch.arange(1, len(long) + 1) / max(len(long), 1)
        chosen = draws.uniform(range(len(hidden)), len(long)) < chance * share * 2
        for k, run in enumerate(long):
            hidden = hidden | chosen[:, k, None] & (runs == run)
        return hidden

    return cover


class Ancestral(Absorbing):
    """MDLM's reverse process: from time t to s each open slot stays open with chance m(s) / m(t), else it is drawn.

    most: m(t) = most * t. A visit without heat draws the likeliest codes and leaves nothing open.
    """

    def __init__(self, most: float = MOST, **training: object):
        super().__init__(**training)  # type: ignore[arg-type]
        self.most = most

    def draw(self, parts: Tensor, canvas: Canvas, step: Step, guide: Guide, draws: Draws) -> Drawn:
        """Noise is drawn for the codes and, last, for staying open: [B, N, C + 1]."""
        logits = guide(parts, canvas, step).float()
        best, later = logits.argmax(-1), ~canvas.eligible(step) & ~canvas.known
        score = torch.zeros(best.shape, device=best.device)
        if not step.heat:
            return Drawn(best, score, later)
        now, then = (self._hidden(time, best.device) for time in (step.time, step.next))
        p = logits.softmax(-1)
        codes = _raced(torch.cat([p * (now - then), then.expand(*p.shape[:2], 1)], -1), draws)
        stays = codes == p.shape[-1]
        return Drawn(best.where(stays, codes), score, stays | later)

    def _hidden(self, time: float | Tensor, device: torch.device) -> Tensor:
        return self.most * torch.as_tensor(time, device=device).float().view(-1, 1, 1)

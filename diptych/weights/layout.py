"""How a published checkpoint's tensors become ours, declared as data and used in both directions.

A layout pairs their names with ours:

    Layout({
        "model.layers.#.self_attn.q_proj.*": "blocks.#.q.*",             the same tensor under another name
        "blocks.#.attn.qkv.*": cut("blocks.#.q.*", "blocks.#.k.*", "blocks.#.v.*"),   one of theirs, several of ours
        "patch_embed.proj.weight": shaped("patch.weight", 3, 16, 16),    a convolution that is our linear layer
        "rotary.inv_freq": DROP,                                         knowingly not kept
    })

`#` stands for a number and `*` for any ending. On our side they are filled in order; `#2` is the second of theirs, for
layouts whose numbers come in another order. Every published tensor must be claimed by exactly one rule and every
parameter must have exactly one source; whatever is not so is an error, found on names and shapes alone.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TypeAlias

import torch
from torch import Tensor

from diptych.errors import WeightsError

Shape: TypeAlias = Sequence[int]
_NUMBERS = re.compile(r"[\d#]+")
_HOLE = re.compile(r"#(\d?)|\*")


@dataclass(frozen=True)
class Rule:
    """Where one published tensor goes: our names for its parts, and the conversion both ways."""

    ours: tuple[str, ...]
    split: Callable[[Tensor], Sequence[Tensor]] = lambda theirs: [theirs]
    merge: Callable[[Sequence[Tensor]], Tensor] = lambda parts: parts[0]


Target: TypeAlias = str | Rule | None
DROP: None = None  # a published tensor that is knowingly not kept: tables we compute, remains of training


def cut(*ours: str, sizes: Sequence[int] | None = None) -> Rule:
    """One of theirs is several of ours, laid end to end along axis 0: in even parts, or in parts of these `sizes`."""

    def split(theirs: Tensor) -> Sequence[Tensor]:
        if sizes is None and theirs.shape[0] % len(ours):
            raise ValueError(f"{theirs.shape[0]} rows cannot be cut into {len(ours)} even parts")
        return theirs.split(list(sizes) if sizes is not None else theirs.shape[0] // len(ours))

    return Rule(ours, split, lambda parts: torch.cat(list(parts)))


def shaped(ours: str, *tail: int) -> Rule:
    """Theirs is [rows, *tail], ours the same numbers as [rows, prod(tail)]: a convolution that is our linear layer."""
    return Rule((ours,), lambda theirs: [theirs.flatten(1)], lambda parts: parts[0].unflatten(1, tail))


def squeezed(ours: str, axis: int = 0) -> Rule:
    """Theirs has an axis of length 1 more than ours, such as a position table [1, N, D] that is our [N, D]."""

    def split(theirs: Tensor) -> Sequence[Tensor]:
        if theirs.shape[axis] != 1:
            raise ValueError(f"axis {axis} has length {theirs.shape[axis]}, not 1")
        return [theirs.squeeze(axis)]

    return Rule((ours,), split, lambda parts: parts[0].unsqueeze(axis))


def unsqueezed(ours: str, axis: int = 0) -> Rule:
    """Ours has an axis of length 1 more than theirs: a linear layer [out, in] that is our convolution, axis by axis."""
    return Rule((ours,), lambda theirs: [theirs.unsqueeze(axis)], lambda parts: parts[0].squeeze(axis))


def transposed(ours: str) -> Rule:
    """Theirs is stored [in, out], ours [out, in]."""
    return Rule((ours,), lambda theirs: [theirs.t()], lambda parts: parts[0].t())


@dataclass(frozen=True)
class Claim:
    """A published tensor and the rule that claims it, holes filled. `rule` is None for what is dropped."""

    theirs: str
    rule: Rule | None

    @property
    def ours(self) -> tuple[str, ...]:
        return self.rule.ours if self.rule else ()

    def split(self, tensor: Tensor) -> dict[str, Tensor]:
        """Our tensors by name, views of theirs. Raises WeightsError if its shape does not allow the rule."""
        if self.rule is None:
            return {}
        try:
            parts = self.rule.split(tensor)
        except (RuntimeError, ValueError, IndexError) as error:
            reason = str(error).splitlines()[0]
            raise WeightsError(f"{self.theirs}: shape {list(tensor.shape)} does not fit its rule: {reason}") from error
        if len(parts) != len(self.ours):
            raise WeightsError(f"{self.theirs}: shape {list(tensor.shape)} gives {len(parts)} parts for {self.ours}")
        return dict(zip(self.ours, parts, strict=True))


class Layout:
    """Rules by published name. Layouts are built once, combined with `|` and moved with `.under(theirs, ours)`."""

    def __init__(self, rules: Mapping[str, Target]) -> None:
        self.rules = {theirs: Rule((ours,)) if isinstance(ours, str) else ours for theirs, ours in rules.items()}

    def under(self, theirs: str, ours: str) -> "Layout":
        """The same part, found under the prefix `theirs` in the checkpoint and under `ours` in the model."""
        return Layout({theirs + name: _moved(rule, lambda p: ours + p) for name, rule in self.rules.items()})

    def only(self, theirs: str) -> "Layout":
        """The rules whose published name begins with `theirs`: a part of a part."""
        return Layout({name: rule for name, rule in self.rules.items() if name.startswith(theirs)})

    def inside(self, theirs: str) -> "Layout":
        """The rules of what lies under the prefix `theirs`, without it: what `under` was given."""
        return Layout({name.removeprefix(theirs): rule for name, rule in self.only(theirs).rules.items()})

    def __or__(self, other: "Layout") -> "Layout":
        """Both sets of rules. A published name in both is a mistake (ValueError)."""
        if clash := self.rules.keys() & other.rules.keys():
            raise ValueError(f"both layouts have a rule for {_few(sorted(clash))}")
        return Layout(self.rules | other.rules)

    def claims(self, keys: Iterable[str]) -> list[Claim]:
        """The claim on every published name, in order.

        Raises WeightsError if a name is claimed by no rule or by two, or if two claims have one target.
        """
        keys = list(keys)
        found = {key: self._matches(key) for key in keys}
        if orphans := [key for key in keys if not found[key]]:
            raise WeightsError(f"the checkpoint has tensors this model does not know: {_few(orphans)}")
        if torn := [f"{key} by {_few([name for name, _ in found[key]])}" for key in keys if len(found[key]) > 1]:
            raise WeightsError(f"tensors claimed by two rules: {_few(torn)}")
        claims = [Claim(key, _filled(self.rules[found[key][0][0]], found[key][0][1])) for key in keys]
        _check_targets(claims)
        return claims

    def check(self, theirs: Mapping[str, Shape], ours: Mapping[str, Shape]) -> list[Claim]:
        """The claims, after every name and shape of both sides has been compared; no weights are needed.

        Raises WeightsError naming the first few tensors that are unknown, missing, claimed twice or of another shape.
        """
        claims = self.claims(theirs)
        if strangers := [f"{c.theirs} -> {name}" for c in claims for name in c.ours if name not in ours]:
            raise WeightsError(f"the layout names parameters the model does not have: {_few(strangers)}")
        sources = {name for claim in claims for name in claim.ours}
        if missing := [name for name in ours if name not in sources]:
            raise WeightsError(f"parameters without a tensor in the checkpoint: {_few(missing)}")
        if wrong := [line for claim in claims for line in _misfits(claim, theirs[claim.theirs], ours)]:
            raise WeightsError(f"shapes differ: {_few(wrong)}")
        return claims

    def read(self, theirs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Published tensors under our names, as views."""
        return {name: part for c in self.claims(theirs) for name, part in c.split(theirs[c.theirs]).items()}

    def write(self, ours: Mapping[str, Tensor], keys: Iterable[str]) -> dict[str, Tensor]:
        """Our tensors under the published names `keys`; the inverse of `read`, bit for bit. Dropped keys are left out.

        Raises WeightsError if a tensor that `keys` need is missing.
        """
        return {claim.theirs: merged(claim, ours) for claim in self.claims(keys) if claim.rule}

    def published(self, ours: Iterable[str]) -> list[str]:
        """The published names of a model that was never published, from its own; the inverse of the rules.

        Raises WeightsError for names of ours that no rule leads to.
        """
        inverse = [
            (re.compile(re.escape(part).replace(r"\#", r"(\d+)").replace(r"\*", "(.+)")), theirs)
            for theirs, rule in self.rules.items()
            for part in (rule.ours if rule else ())
        ]
        names: dict[str, None] = {}
        for name in ours:
            found = [_spell(theirs, m.groups()) for pattern, theirs in inverse if (m := pattern.fullmatch(name))]
            if not found:
                raise WeightsError(f"no rule of the layout leads to {name}")
            names[found[0]] = None
        return list(names)

    def _matches(self, key: str) -> list[tuple[str, tuple[str, ...]]]:
        """The rules that fit a name, with what their holes stand for.

        Names that differ only in their numbers share a short list of candidates, so that a checkpoint of thousands
        of tensors costs little more than one of dozens.
        """
        folded = _NUMBERS.sub("#", key)
        if folded not in self._candidates:
            self._candidates[folded] = [t for t, (rough, _) in self._patterns.items() if rough.fullmatch(folded)]
        exact = ((t, self._patterns[t][1].fullmatch(key)) for t in self._candidates[folded])
        return [(theirs, match.groups()) for theirs, match in exact if match]

    @cached_property
    def _candidates(self) -> dict[str, list[str]]:
        return {}

    @cached_property
    def _patterns(self) -> dict[str, tuple[re.Pattern[str], re.Pattern[str]]]:
        """By published name: a pattern on names whose numbers are folded to `#`, and the exact one."""
        return {
            theirs: (
                re.compile(re.escape(_NUMBERS.sub("#", theirs)).replace(r"\*", ".+")),
                re.compile(re.escape(theirs).replace(r"\#", r"(\d+)").replace(r"\*", "(.+)")),
            )
            for theirs in self.rules
        }


def mot(layout: Layout, suffix: str, shared: Sequence[str] = ("model.embed_tokens.", "lm_head.")) -> Layout:
    """A mixture of transformers: every rule twice, the plain name for expert 0 and the one with `suffix` for expert 1.

    `model.layers.#.self_attn.q_proj.*` gains `model.layers.#.self_attn.q_proj_moe_gen.*`; inside the MLP the suffix
    stands after `mlp` (BAGEL's convention). Names that begin with one of `shared` serve all experts.
    """
    rules: dict[str, Target] = {}
    for theirs, rule in layout.rules.items():
        if theirs.startswith(tuple(shared)):
            rules[theirs] = rule
            continue
        stem = theirs.removesuffix(".*")
        second = stem.replace(".mlp.", f".mlp{suffix}.") if ".mlp." in stem else stem + suffix
        rules[theirs] = _moved(rule, lambda p: p.removesuffix(".*") + ".experts.0.*")
        rules[second + ".*"] = _moved(rule, lambda p: p.removesuffix(".*") + ".experts.1.*")
    return Layout(rules)


def merged(claim: Claim, ours: Mapping[str, Tensor]) -> Tensor:
    """The published tensor of a claim, from our parts."""
    assert claim.rule is not None
    if absent := [name for name in claim.ours if name not in ours]:
        raise WeightsError(f"{claim.theirs} cannot be written: the model has no {_few(absent)}")
    return claim.rule.merge([ours[name] for name in claim.ours])


def _moved(rule: Rule | None, rename: Callable[[str], str]) -> Rule | None:
    return replace(rule, ours=tuple(rename(name) for name in rule.ours)) if rule else None


def _filled(rule: Rule | None, holes: tuple[str, ...]) -> Rule | None:
    return _moved(rule, lambda name: _spell(name, holes))


def _spell(name: str, holes: tuple[str, ...]) -> str:
    """Our name with its holes filled: `*` by the ending, `#1`, `#2` by number, every other `#` in order."""
    in_order = iter(holes)

    def filled(hole: re.Match[str]) -> str:
        if hole[0] == "*":
            return holes[-1]
        return holes[int(hole[1]) - 1] if hole[1] else next(in_order)

    return _HOLE.sub(filled, name)


def _check_targets(claims: Sequence[Claim]) -> None:
    source: dict[str, str] = {}
    twice: list[str] = []
    for claim in claims:
        for name in claim.ours:
            if name in source:
                twice.append(f"{name} by {source[name]} and {claim.theirs}")
            source[name] = claim.theirs
    if twice:
        raise WeightsError(f"parameters with two sources: {_few(twice)}")


def _misfits(claim: Claim, shape: Shape, ours: Mapping[str, Shape]) -> list[str]:
    """Runs the rule on a tensor without memory, so that every conversion is its own statement about shapes."""
    parts = claim.split(torch.empty(tuple(shape), device="meta"))
    return [
        f"{claim.theirs} gives {list(part.shape)} for {name}, the model has {list(ours[name])}"
        for name, part in parts.items()
        if tuple(part.shape) != tuple(ours[name])
    ]


def _few(names: Sequence[str], limit: int = 4) -> str:
    """The first few names, and how many more there are."""
    rest = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + rest

"""Tests of the tests: each small, plausible mistake makes a check fail that passes without it."""

import math
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from diptych import attention, canvas
from diptych.backbone import cache, context, packing
from diptych.canvas import Canvas, Draws, Step
from diptych.models import janus, ports
from diptych.objectives import flow
from diptych.samplers import loop, schedules
from diptych.training import batches
from tests.engine import (
    test_backbone,
    test_batches,
    test_context,
    test_forms,
    test_loop,
    test_schedules,
    test_visibility,
)
from tests.parity import test_janus

Patch = pytest.MonkeyPatch
Check = Callable[[], Any]
MUTATIONS: dict[str, tuple[Callable[[Patch], Any], Check]] = {}


def mutation(check: Check) -> Callable[[Callable[[Patch], Any]], Callable[[Patch], Any]]:
    """Registers a mistake together with the check that must notice it."""

    def register(make: Callable[[Patch], Any]) -> Callable[[Patch], Any]:
        MUTATIONS[make.__name__] = make, check
        return make

    return register


def golden(prefix: str) -> Check:
    """A case of the published Janus numbers, of which the repository holds a set."""
    found = test_janus.SETS[0]
    name = next(name for name in found.cases if name.startswith(prefix))
    return lambda: test_janus.test_case(found, name)


# --- guidance, codes, schedules --------------------------------------------------------------------------------


@mutation(golden("gen_greedy"))
def guidance_with_the_wrong_sign(patch: Patch) -> None:
    patch.setattr(janus, "cfg", lambda w: lambda parts, *_: parts[1] - w * (parts[0] - parts[1]))


@mutation(golden("gen_greedy"))
def guidance_in_another_convention(patch: Patch) -> None:
    patch.setattr(janus, "cfg", lambda w: lambda parts, *_: (1 + w) * parts[0] - w * parts[1])


@mutation(golden("gen_teacher"))
def codes_foretold_by_themselves(patch: Patch) -> None:
    patch.setattr(ports.Codes, "lag", 0)


@mutation(golden("gen_teacher"))
def codes_foretold_by_the_last_but_one(patch: Patch) -> None:
    patch.setattr(ports.Codes, "lag", 2)


@mutation(golden("gen_greedy"))
def the_slot_of_this_visit_is_fed(patch: Patch) -> None:
    def early(start: Canvas) -> Iterator[Step]:
        for step in schedules.raster(start):
            yield step if step.index == 0 else step._replace(feed=slice(step.index, step.index + 1))

    patch.setattr(janus, "raster", early)


@mutation(test_schedules.test_cosine_rounds_as_float32_does)
def cosine_in_float64(patch: Patch) -> None:
    patch.setattr(schedules, "cosine", lambda r: torch.cos(torch.tensor(r, dtype=torch.float64) * math.pi / 2))


@mutation(test_schedules.test_heat_compounds)
def heat_that_does_not_compound(patch: Patch) -> None:
    published = schedules.reveal

    def reveal(visits: int, *curve: Any, heat: float = 0.0) -> Callable[[Canvas], Iterator[Step]]:
        def schedule(start: Canvas) -> Iterator[Step]:
            for step in published(visits, *curve)(start):
                yield step._replace(heat=heat * (1 - (step.index + 1) / visits))

        return schedule

    patch.setattr(schedules, "reveal", reveal)


@mutation(lambda: test_loop.test_a_straight_flow_ends_at_the_data(False))
def flow_in_the_wrong_direction(patch: Patch) -> None:
    right = flow.Flow.draw

    def draw(self: flow.Flow, parts: Tensor, on: Canvas, step: Step, *rest: Any) -> Any:
        return right(self, parts, on, step._replace(time=step.next, next=float(step.time)), *rest)

    patch.setattr(flow.Flow, "draw", draw)


@mutation(lambda: test_forms.test_a_batch_is_its_samples("masked codes"))
def chance_shared_by_the_batch(patch: Patch) -> None:
    def draw(self: Draws, rows: Any, shape: Any, dtype: Any, fill: Callable[..., Any]) -> Tensor:
        out = torch.empty(len(rows), *shape, dtype=dtype)
        fill(out, self.generators[0])
        return out

    patch.setattr(canvas.Draws, "_draw", draw)


@mutation(test_loop.test_places_ties_and_the_settled_first)
def ties_to_the_higher_slot(patch: Patch) -> None:
    patch.setattr(test_loop, "places", lambda s, k: loop.places(s.flip(1), k.flip(1)).flip(1))


@mutation(lambda: test_forms.test_nothing_is_left_open("masked latents in raster order"))
def a_turn_that_is_never_renewed(patch: Patch) -> None:
    first: list[Tensor] = []
    right = loop.taken

    def taken(place: Tensor, step: Step) -> Tensor:
        first.append(right(place, step))
        return first[0]

    patch.setattr(loop, "taken", taken)


# --- visibility, positions, cache ------------------------------------------------------------------------------


@mutation(lambda: test_visibility.test_matrix("full", "kin"))
def private_tokens_seen_by_all(patch: Patch) -> None:
    patch.setattr(attention, "KIN", -1)


@mutation(test_visibility.test_padding_is_seen_by_nobody)
def padding_that_is_seen(patch: Patch) -> None:
    right = attention.rule

    def rule(queries: attention.Visibility, keys: attention.Visibility) -> Any:
        merged = (v._replace(sample=torch.zeros_like(v.sample)) for v in (queries, keys))
        return right(*merged)

    patch.setattr(attention, "rule", rule)


@mutation(test_visibility.test_positions_stand_still_and_move_on_as_told)
def advance_lost_in_packing(patch: Patch) -> None:
    patch.setattr(packing, "advanced", lambda position, n, span: position + (1 if span.still else n))


@mutation(test_context.test_private_keys_stay_private)
def advance_lost_on_commit(patch: Patch) -> None:
    right = cache.Cache.commit

    def commit(self: cache.Cache, packed: packing.Packed) -> None:
        packed.end = packed.position.amax(1) + 1
        right(self, packed)

    patch.setattr(cache.Cache, "commit", commit)


@mutation(lambda: fast_visits())
def advance_lost_on_the_fast_path(patch: Patch) -> None:
    right = cache.Cache.commit_one
    patch.setattr(cache.Cache, "commit_one", lambda self, advance: right(self, 1))


def fast_visits() -> None:
    with pytest.MonkeyPatch.context() as patch:
        test_context.test_visits_of_one_token("qwen", (3, 3), patch)


@mutation(lambda: test_visibility.test_which_form_is_chosen("pictures of two sizes"))
def padding_overlooked_when_a_form_is_chosen(patch: Patch) -> None:
    right = packing._cheapest

    def cheapest(spans: Any, width: int, base: int, clean: bool, ragged: bool, left: bool, single: bool) -> Any:
        return right(spans, width, base, clean, False, left, single)

    patch.setattr(packing, "_cheapest", cheapest)


@mutation(lambda: test_context.test_said_later_and_seen_by_all(attention.EVERYONE))
def tries_that_the_past_does_not_hear(patch: Patch) -> None:
    patch.setattr(context.Context, "_passing", lambda self, spans: self.cached)


@mutation(test_context.test_a_row_to_which_nothing_is_added_ends_as_before)
def the_end_of_a_silent_row_lost(patch: Patch) -> None:
    patch.setattr(context.Context, "_lasting", lambda self, hidden, rows: hidden)


@mutation(test_context.test_padding_that_was_only_tried_hides_nothing_later)
def padding_of_a_try_that_remains(patch: Patch) -> None:
    def open_one(self: cache.Cache) -> Tensor | None:
        self.reserve(1)
        return self.hidden[:, : self.length + 1] if self.ragged else None

    patch.setattr(cache.Cache, "open_one", open_one)


@mutation(lambda: test_backbone.test_each_token_uses_its_expert((0, 1, 1, 0)))
def everything_to_the_first_expert(patch: Patch) -> None:
    patch.setattr(packing, "_route", lambda expert, device: 0)


# --- training --------------------------------------------------------------------------------------------------


@mutation(lambda: test_batches.test_losses_are_those_of_samples_alone("next scale"))
def a_span_in_parts_counted_once(patch: Patch) -> None:
    def places(groups: Any, rows: Any, begins: Any) -> Any:
        found: Any = {key: [] for key in groups}
        for row, (r, starts) in zip(rows, begins, strict=True):
            for piece, column in zip(row, starts, strict=False):
                if isinstance(piece, batches.Learn):
                    found[piece.writer, piece.grid].append((r, column))
        return found

    patch.setattr(batches, "_places", places)


@mutation(lambda: test_batches.test_pictures_of_several_sizes_share_a_batch("flow"))
def groups_averaged_without_their_sizes(patch: Patch) -> None:
    right = batches._means
    patch.setattr(
        batches, "_means", lambda found: right({k: (loss, torch.tensor(1)) for k, (loss, _) in found.items()})
    )


@pytest.mark.parametrize("name", MUTATIONS)
def test_mistake_is_noticed(name: str, monkeypatch: Patch) -> None:
    make, check = MUTATIONS[name]
    check()
    make(monkeypatch)
    with pytest.raises((AssertionError, IndexError)):
        check()

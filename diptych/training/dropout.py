"""Conditions left out at random while a model learns, so that guidance has something to compare with."""

from __future__ import annotations

from collections.abc import Mapping

from diptych.backbone.packing import Span
from diptych.canvas import Draws
from diptych.models.network import Ids, Made, Piece, Seen, Traced
from diptych.training.batches import Learn, Row

GAP = Ids([], Span(advance=1))  # nothing, one position long
BAGEL: dict[type, float] = {Ids: 0.1, Seen: 0.4, Traced: 0.1, Made: 0.1}  # train/pretrain_unified_navit.py


def leave_out(row: Row, chances: Mapping[type, float], draws: Draws, sample: int = 0) -> list[Piece | Learn]:
    """A row without some of its conditions, each left out by itself with the chance of its kind. What is learned stays.

    A picture leaves its position empty, a text leaves nothing (BAGEL, data/dataset_base.py).
    """
    kept: list[Piece | Learn] = []
    for piece in row:
        if isinstance(piece, Learn) or float(draws.uniform([sample])) >= chances.get(type(piece), 0.0):
            kept.append(piece)
        elif not isinstance(piece, Ids):
            kept.append(GAP)
    return kept

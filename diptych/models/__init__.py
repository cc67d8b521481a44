"""Model families: one file of facts each, over the parts of the other rooms."""

from typing import Any


def __getattr__(name: str) -> Any:
    if name != "load":
        raise AttributeError(f"module 'diptych.models' has no attribute {name!r}")
    from diptych.models.loading import load  # here, so that listing models costs no torch

    return load

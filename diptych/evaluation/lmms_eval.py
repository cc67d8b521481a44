"""Diptych's models in lmms-eval (EvolvingLMMs-Lab/lmms-eval): every benchmark it has, answered by any model here.

    pip install lmms-eval
    lmms_eval --model diptych --model_args pretrained=janus-emoji --tasks mme --batch_size 8

The package finds this model by its entry point `lmms_eval.models`. Only what answers in words is asked: tasks that
compare likelihoods, talk in rounds or show videos are refused, with their reason.
"""

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

from diptych.errors import CapabilityError
from diptych.models import load
from diptych.types import Turn

try:
    from lmms_eval.api.model import lmms  # pyright: ignore[reportMissingImports]
except ImportError as missing:
    raise ImportError("this adapter is for lmms-eval: pip install lmms-eval") from missing

PLACE = "<image>"  # where a task's text says that a picture stands
# Their names of options, and ours.
OPTIONS = {"max_new_tokens": "max_tokens", "temperature": "temperature", "top_p": "top_p", "top_k": "top_k"}


def manifest() -> Any:
    """What the entry point gives: the model's name there and where its class is."""
    from lmms_eval.models.registry_v2 import ModelManifest  # pyright: ignore[reportMissingImports]

    return ModelManifest("diptych", simple_class_path=f"{__name__}.Diptych")


class Diptych(lmms):
    """A model of Diptych as lmms-eval asks models. pretrained: a built-in name, folder or hub id."""

    is_simple = True

    def __init__(
        self,
        pretrained: str = "janus-emoji",
        device: str | None = None,
        dtype: str = "auto",
        batch_size: int | str = 1,
        max_batch_size: int | None = None,
    ):
        super().__init__()
        self.model = load(pretrained, device=device or "auto", dtype=dtype)
        self.model.batch = int(batch_size)

    def generate_until(self, requests: Sequence[Any]) -> list[str]:
        """The answer to each request, in order; neighbours with the same options share a batch."""
        asked = [request.args for request in requests]
        replies: list[str] = []
        for settings, group in groupby(asked, key=lambda args: dict(args[1])):
            turns = [self._turn(args) for args in group]
            said = self.model.chat_batch(turns, **options(settings))
            replies += [until(reply.text, settings.get("until", ())) for reply in said]
        return replies

    def _turn(self, args: tuple[Any, ...]) -> Turn:
        """`args`: text, options, the function from a document to its pictures, and the document's place."""
        text, _, pictures, number, task, split = args
        document = self.task_dict[task][split][number]
        return Turn.user(*interleaved(text, pictures(document) or []))

    def loglikelihood(self, requests: Sequence[Any]) -> list[tuple[float, bool]]:
        raise CapabilityError(
            "likelihoods of given answers are not computed here; take the task that generates answers"
        )

    def generate_until_multi_round(self, requests: Sequence[Any]) -> list[str]:
        raise CapabilityError("tasks that talk in rounds are not supported; take their single-round form")


def options(settings: Mapping[str, Any]) -> dict[str, Any]:
    """A task's `generation_kwargs` as ours: greedy unless it samples. Options that are None are left out."""
    found = {ours: settings[theirs] for theirs, ours in OPTIONS.items() if settings.get(theirs) is not None}
    if not settings.get("do_sample", False):
        found = {name: value for name, value in found.items() if name == "max_tokens"} | {"temperature": 0.0}
    return found


def interleaved(text: str, pictures: Sequence[Any]) -> list[Any]:
    """Pictures where the text says `<image>`, if it says so once for each of them; else before the text."""
    pieces = text.split(PLACE)
    if not pictures or len(pieces) != len(pictures) + 1:
        return [*pictures, text]
    parts: list[Any] = [pieces[0]]
    for picture, piece in zip(pictures, pieces[1:], strict=True):
        parts += [picture, piece]
    return [part for part in parts if not isinstance(part, str) or part.strip()]


def until(text: str, stops: str | Sequence[str]) -> str:
    """The text before the first of the stops."""
    for stop in [stops] if isinstance(stops, str) else stops:
        text = text.split(stop)[0] if stop else text
    return text

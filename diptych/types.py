"""What users hold: texts and pictures, turns of a conversation, what is asked and what is answered.

A conversation may be written in many ways; `conversation()` brings all of them to a tuple of turns:

    "What is this?"                                            one question
    ("What is this?", image)                                   one question with a picture
    [Turn.user("Hi"), Turn.assistant("Hello"), Turn.user(...)] a conversation
    [{"role": "user", "content": [{"type": "text", "text": "What is this?"}, {"type": "image_url", ...}]}]

A string is always text; a picture in a file is `Image.open(path)` or a `pathlib.Path`.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
import PIL.Image

from diptych.errors import InputError
from diptych.images import Image

Role: TypeAlias = Literal["system", "user", "assistant"]
Want: TypeAlias = Literal["text", "image", "any"]


@dataclass(frozen=True)
class Text:
    """A piece of text in a conversation."""

    text: str


@dataclass(frozen=True)
class Draft:
    """A text as it stands while it is written: its first `final` characters will not change any more.

    Models that write from left to right only ever add; masked diffusion writes anywhere, and `BLANK` stands for a
    token that is still open.
    """

    text: str
    final: int


BLANK = "▁"
Part: TypeAlias = Text | Image
Parts: TypeAlias = "str | os.PathLike[str] | bytes | PIL.Image.Image | np.ndarray | Text | Image | Mapping[str, Any]"
Turns: TypeAlias = "Parts | Turn | Sequence[Parts | Turn]"


@dataclass(frozen=True)
class Turn:
    """What one side says: texts and pictures in order."""

    role: Role
    parts: tuple[Part, ...]

    def __post_init__(self) -> None:
        if self.role not in get_args(Role):
            raise InputError(f"unknown role {self.role!r}; roles are {', '.join(get_args(Role))}")
        parts = self.parts if isinstance(self.parts, list | tuple) else (self.parts,)
        object.__setattr__(self, "parts", tuple(part(p) for p in parts))

    @classmethod
    def user(cls, *parts: Parts) -> "Turn":
        """What the person says: `Turn.user("What is this?", image)`."""
        return cls("user", tuple(part(p) for p in parts))

    @classmethod
    def assistant(cls, *parts: Parts) -> "Turn":
        """What the model said before."""
        return cls("assistant", tuple(part(p) for p in parts))

    @classmethod
    def system(cls, *parts: Parts) -> "Turn":
        """Instructions that stand above the conversation."""
        return cls("system", tuple(part(p) for p in parts))

    @classmethod
    def of(cls, message: Mapping[str, Any]) -> "Turn":
        """A message as chat APIs write it: `{"role": ..., "content": text | list of parts}`."""
        if set(message) < {"role", "content"}:
            raise InputError("a message needs 'role' and 'content'")
        content = message["content"]
        if not isinstance(content, str | list | tuple):
            raise InputError("a message's content is a string or a list of parts")
        return cls(message["role"], (Text(content),) if isinstance(content, str) else tuple(part(p) for p in content))

    @property
    def text(self) -> str:
        """The texts of the turn, joined."""
        return "".join(p.text for p in self.parts if isinstance(p, Text))

    @property
    def images(self) -> list[PIL.Image.Image]:
        """The pictures of the turn, in order."""
        return [p.pixels for p in self.parts if isinstance(p, Image)]


@dataclass(frozen=True)
class Request:
    """A conversation and what is wanted next: text, one picture, or whatever the model decides."""

    turns: tuple[Turn, ...]
    want: Want = "text"

    def __post_init__(self) -> None:
        if self.want not in get_args(Want):
            raise InputError(f"unknown want {self.want!r}; choose one of {', '.join(get_args(Want))}")
        object.__setattr__(self, "turns", conversation(self.turns))

    @classmethod
    def of(cls, turns: Turns, want: Want = "text") -> "Request":
        """A request from any way of writing a conversation."""
        return cls(conversation(turns), want)


@dataclass(frozen=True)
class Reply:
    """What the model answered: texts and pictures in the order they were written.

    `timings` holds seconds and counts measured while answering, such as `prefill_s`, `decode_s`, `tokens`.
    """

    parts: tuple[Part, ...]
    seed: int = 0
    timings: dict[str, float] = field(default_factory=dict, compare=False)

    @property
    def text(self) -> str:
        """The texts of the reply, joined."""
        return "".join(p.text for p in self.parts if isinstance(p, Text))

    @property
    def images(self) -> list[PIL.Image.Image]:
        """The pictures of the reply, in order."""
        return [p.pixels for p in self.parts if isinstance(p, Image)]

    def as_turn(self) -> Turn:
        """The reply as a turn of the conversation that goes on."""
        return Turn("assistant", self.parts)


def conversation(turns: Turns) -> tuple[Turn, ...]:
    """Any way of writing a conversation as turns. Raises InputError for what is neither text, picture nor turn."""
    if isinstance(turns, Turn):
        return (turns,)
    if isinstance(turns, Mapping) and "role" in turns:
        return (Turn.of(turns),)
    if not isinstance(turns, list | tuple):
        return (Turn.user(turns),)  # type: ignore[arg-type]
    if not turns:
        raise InputError("an empty conversation; say something, such as 'What is this?'")
    said = [isinstance(t, Turn) or (isinstance(t, Mapping) and "role" in t) for t in turns]
    if not any(said):
        return (Turn.user(*turns),)  # type: ignore[arg-type]
    if not all(said):
        raise InputError("a conversation mixes turns and bare parts; put the parts into Turn.user(...)")
    return tuple(t if isinstance(t, Turn) else Turn.of(t) for t in turns)  # type: ignore[arg-type]


def part(value: Any) -> Part:
    """A string as Text, anything that is a picture as Image, a chat API's part as either."""
    if isinstance(value, Text | Image):
        return value
    if isinstance(value, str):
        return Text(value)
    if isinstance(value, Mapping):
        return _api_part(value)
    return Image.open(value)


def _api_part(value: Mapping[str, Any]) -> Part:
    """`{"type": "text", "text": ...}`, `{"type": "image_url", "image_url": {"url": ...}}`, `{"type": "image", ...}`."""
    kind = value.get("type")
    if kind in ("text", "input_text", "output_text") and isinstance(value.get("text"), str):
        return Text(value["text"])
    if kind in ("image_url", "input_image") and "image_url" in value:
        address = value["image_url"]
        address = address.get("url") if isinstance(address, Mapping) else address
        if isinstance(address, str) and address[:5].lower() == "data:":
            return Image.open(address)
        raise InputError("image_url takes a data: URI; pass a picture in a file as {'type': 'image', 'path': ...}")
    if kind == "image":
        for name in ("image", "path", "url", "data"):
            if name in value:
                return Image.open(value[name])
    raise InputError(
        f"a part of type {kind!r} is not understood; use {{'type': 'text', 'text': ...}} "
        "or {'type': 'image_url', 'image_url': {'url': 'data:image/png;base64,...'}}"
    )

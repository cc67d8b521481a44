"""What a family file says: how its network is built, how its weights are named, how it talks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, get_args

from PIL import Image as Pillow
from torch import Tensor

from diptych.canvas import Given, Writer
from diptych.encoders.preprocess import Crop, Preprocess
from diptych.errors import CapabilityError, InputError, WeightsError
from diptych.models.companions import Companion
from diptych.models.network import Network, Piece
from diptych.samplers.guidance import Renorm
from diptych.tokenizers.text import TextTokenizer
from diptych.types import Request
from diptych.weights.layout import Layout


@dataclass(frozen=True)
class Options:
    """How to write. None: the family's published default.

    refresh: of text by masked diffusion, an approximation that is off unless asked for: keys of the prompt and of
    finished blocks are kept for so many visits (`samplers.schedules.blocks`).
    interval, renorm: of pictures by flow matching, the times (above, up to) at which guidance acts, and how its norm is
    held (`samplers.guidance`); shift: how far its times are bent towards noise (`samplers.schedules.euler`).
    foresee: an approximation that is off unless asked for: behind the first, only each so many-th visit to such a
    picture is computed, the others are extrapolated (`backbone.foreseen`).
    think: the model thinks in words before it answers or draws, where it has learned that.
    """

    guidance: float | None = None
    image_guidance: float | None = None
    temperature: float | None = None
    top_k: int | None = None
    top_p: float = 1.0
    steps: int | None = None
    size: tuple[int, int] | None = None
    max_tokens: int = 512
    refresh: int | None = None
    interval: tuple[float, float] | None = None
    renorm: Renorm | None = None
    shift: float | None = None
    foresee: int | None = None
    think: bool = False

    def __post_init__(self) -> None:
        least_values: dict[str, float] = dict.fromkeys(("guidance", "image_guidance", "temperature"), 0.0)
        least_values |= dict.fromkeys(("steps", "top_k", "refresh", "foresee"), 1) | {"shift": 0.01}
        for name, least in least_values.items():
            value = getattr(self, name)
            if value is not None and not (least <= value < float("inf")):
                raise InputError(f"{name} must be a number of at least {least}, not {value}")
        if not 0 < self.top_p <= 1:
            raise InputError(f"top_p must lie in (0, 1], not {self.top_p}")
        if self.interval is not None and not 0 <= self.interval[0] <= self.interval[1] <= 1:
            raise InputError(f"interval must be two times in 0..1, the earlier first, not {self.interval}")
        if self.renorm is not None and self.renorm not in get_args(Renorm):
            raise InputError(f"renorm is one of {', '.join(get_args(Renorm))}, not {self.renorm!r}")
        if not 0 < self.max_tokens <= 32768:
            raise InputError(f"max_tokens must lie in 1..32768, not {self.max_tokens}")


def stated(config: Mapping[str, Any], known: Sequence[str]) -> dict[str, Any]:
    """What config.json itself says of options that are left open: `diptych.defaults`, of the names in `known`.

    Raises WeightsError for any other, and for values that are none."""
    found = config.get("diptych", {}).get("defaults", {})
    if unknown := found.keys() - set(known):
        raise WeightsError(f"diptych.defaults in config.json holds {', '.join(known)}, not {min(unknown)!r}")
    try:
        Options(**found)
    except (InputError, TypeError) as error:
        raise WeightsError(f"diptych.defaults in config.json: {error}") from error
    return found


class Dialogue(ABC):
    """How a model is talked to: its prompt strings, its pictures in and out, its writers.

    can: which of chat, generate, edit, inpaint, infill, interleave it was trained for.
    image_size: (height, width) it writes.
    """

    can: frozenset[str]
    image_size: tuple[int, int]
    tokenizer: TextTokenizer
    stops: frozenset[int]  # ids that end a text
    ending: int  # the id that ends a reply
    opening: int | None = None  # the id after which a picture is written
    closing: tuple[int, ...] = ()  # ids that follow a picture the model wrote
    rewrites: bool = False  # the last visit writes the whole text anew: nothing of it is final before

    @abstractmethod
    def render(self, request: Request, said: Sequence[Piece] = (), branch: str = "full") -> list[Piece]:
        """The conversation, and what was said of the reply so far, as the model was trained to see it.

        `branch` names a guidance branch: "full", or what is left out."""

    @abstractmethod
    def text(self, options: Options) -> Writer:
        """How text is written."""

    @abstractmethod
    def image(self, options: Options) -> Writer:
        """How a picture is written."""

    def given(self, request: Request) -> Given | None:
        """What stands on a text canvas beforehand, and so how long it is (a question answered on its own canvas); None:
        nothing, and it is as long as a reply may be."""
        return None

    def thinking(self, request: Request) -> Request:
        """The same request, to be thought about first."""
        raise CapabilityError("this model has not learned to think first; leave think out")

    def spell(self, ids: Sequence[int]) -> str:
        """The ids of a whole text as a person reads it."""
        return self.tokenizer.decode(ids).strip()

    @abstractmethod
    def branches(self, request: Request, options: Options) -> tuple[str, ...]:
        """The guidance branches of the picture's writer, "full" first."""

    def text_branches(self, options: Options) -> tuple[str, ...]:
        """The guidance branches of the text's writer, "full" first."""
        return ("full",)

    @abstractmethod
    def grid(self, options: Options) -> tuple[int, ...]:
        """The canvas of a picture. Raises InputError for a size the model cannot write."""

    def fitted(self, request: Request, options: Options) -> Options:
        """The options, with what this request itself decides where they leave it open: the size of a picture that is
        changed."""
        return options

    @abstractmethod
    def pictures(self, pixels: Tensor) -> list[Pillow.Image]:
        """Pixels [B, 3, H, W] as decoded -> RGB pictures, rounded as the family does."""

    def source(self, image: Pillow.Image) -> Tensor:
        """A picture to be painted over -> pixels [3, H, W] in [-1, 1] at the size the model writes."""
        return Preprocess((Crop(self.image_size[0]),))(image)

    def lessons(self) -> dict[str, Writer]:
        """The writers as they are learned, by the name that `Learn` spans carry."""
        return {"text": self.text(Options()), "image": self.image(Options())}

    def must(self, ability: str) -> None:
        """Raise CapabilityError where the model was not trained for `ability`."""
        if ability not in self.can:
            able = ", ".join(sorted(self.can))
            raise CapabilityError(f"this model cannot {ability}; it can {able}")


class Family(ABC):
    """The facts of one family."""

    name: ClassVar[str]
    checkpoints: ClassVar[tuple[str, ...]] = ()  # hub ids of the published weights it loads
    weights: ClassVar[tuple[str, ...]] = ("*.safetensors",)  # files in the folder that hold the network

    @classmethod
    @abstractmethod
    def recognises(cls, config: dict[str, Any], folder: Path) -> bool:
        """Is this the config.json, in this folder, of one of ours?"""

    @classmethod
    def companions(cls, config: dict[str, Any]) -> tuple[Companion, ...]:
        """What else the model needs; found, its config stands in `config["companions"]` by name, and its tensors are
        the layout's as `<name>/...`."""
        return ()

    @classmethod
    def completed(cls, config: dict[str, Any], shapes: Mapping[str, Sequence[int]]) -> dict[str, Any]:
        """The config, with what it leaves to the published tensors' names and shapes to say."""
        return config

    @classmethod
    @abstractmethod
    def build(cls, config: dict[str, Any]) -> Network:
        """The network, with uninitialised weights where the default device is meta."""

    @classmethod
    @abstractmethod
    def layout(cls, config: dict[str, Any]) -> Layout:
        """Published tensor names -> ours."""

    @classmethod
    @abstractmethod
    def dialogue(cls, folder: Path, config: dict[str, Any], network: Network) -> Dialogue:
        """Strings and pictures, from the folder's tokenizer and preprocessor files."""

"""A model's text tokenizer, or what stands for it where a folder has none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from diptych.errors import WeightsError
from diptych.tokenizers.text import TextStream, TextTokenizer


def text_tokenizer(folder: Path, settings: Mapping[str, Any] | None = None) -> TextTokenizer:
    """The tokenizer of a folder. Where it has none the model still loads, and only strings are refused."""
    return TextTokenizer(folder, settings) if (folder / "tokenizer.json").is_file() else Absent(folder)


class Absent(TextTokenizer):
    """Raises WeightsError, with the remedy, as soon as text or a token's name is to be read or written."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.bos = self.eos = self.pad = None

    def encode(self, text: str, *, frame: bool = True, specials: bool = True) -> list[int]:
        self._refuse()

    def decode(self, ids: Sequence[int], *, specials: bool = False) -> str:
        self._refuse()

    def stream(self) -> TextStream:
        self._refuse()

    def special(self, token: str) -> int:
        self._refuse()

    def _refuse(self) -> NoReturn:
        raise WeightsError(
            f"{self.folder} holds no tokenizer.json, without which text can be neither read nor written; put the "
            "tokenizer published with the model there"
        )

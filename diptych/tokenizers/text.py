"""Text <-> token ids, over the `tokenizers` library: what a checkpoint's tokenizer.json and tokenizer_config.json say.

Prompt templates are strings in which the family's special tokens stand as text, and `encode` reads them as tokens, as
the published code does. Published code reads special tokens in what a *person* wrote just the same; here a family
encodes such text with `specials=False`, so that nobody can close a turn or open an image from inside a prompt.
"""

import json
import os
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from diptych.errors import WeightsError

_HALF = "\ufffd"  # what the decoder writes for bytes that are no whole character


class TextTokenizer:
    """The tokenizer of one checkpoint.

    Built from a folder that holds tokenizer.json (and perhaps tokenizer_config.json, special_tokens_map.json), from a
    tokenizer.json, or from a ready `tokenizers.Tokenizer`. `settings` stand above what the files say. Raises
    WeightsError for files that are missing or damaged.
    """

    def __init__(self, source: str | os.PathLike[str] | Tokenizer, settings: Mapping[str, Any] | None = None) -> None:
        if isinstance(source, Tokenizer):
            self.tokenizer, stated = source, {}
        else:
            self.tokenizer, stated = _load(Path(source))
        self.settings = {**stated, **(settings or {})}
        self.tokenizer.no_padding()
        self.tokenizer.no_truncation()
        self.bos = self._named("bos_token")
        self.eos = self._named("eos_token")
        self.pad = self._named("pad_token")
        self._before, self._after = self._frame()

    def encode(self, text: str, *, frame: bool = True, specials: bool = True) -> list[int]:
        """Token ids of a text.

        frame: put before and after the text what the checkpoint's tokenizer puts there, mostly one BOS token.
        specials: read special tokens that stand in the text as tokens; otherwise spell them out like any other text.
        """
        tokenizer = self.tokenizer if specials else self._spelling
        ids = tokenizer.encode(_sound(text), add_special_tokens=False).ids
        return [*self._before, *ids, *self._after] if frame else ids

    def decode(self, ids: Sequence[int], *, specials: bool = False) -> str:
        """The text of token ids; `specials` also writes out the special tokens. Unknown ids are no text."""
        return self.tokenizer.decode(list(ids), skip_special_tokens=not specials)

    def stream(self) -> "TextStream":
        """A decoder that takes ids one at a time and gives text as soon as whole characters are there."""
        return TextStream(self)

    def special(self, token: str) -> int:
        """The id of a special token by name. Raises WeightsError if the tokenizer has none of this name."""
        if (index := self.tokenizer.token_to_id(token)) is None:
            raise WeightsError(f"the tokenizer has no token {token!r}; take the tokenizer published with the weights")
        return index

    @cached_property
    def _spelling(self) -> Tokenizer:
        """The same tokenizer, to which special tokens are plain text. A copy: the switch is not safe across threads."""
        copy = Tokenizer.from_str(self.tokenizer.to_str())
        copy.encode_special_tokens = True
        return copy

    def _named(self, role: str) -> int | None:
        """The id of a role such as `bos_token`, None if the checkpoint names none."""
        token = self.settings.get(role)
        token = token.get("content") if isinstance(token, Mapping) else token
        return self.tokenizer.token_to_id(token) if isinstance(token, str) else None

    def _frame(self) -> tuple[list[int], list[int]]:
        """What stands before and after every text: by tokenizer_config where it says so, else by the post-processor."""
        plain = self.tokenizer.encode("a", add_special_tokens=False).ids
        framed = self.tokenizer.encode("a", add_special_tokens=True).ids
        at = next((i for i in range(len(framed)) if framed[i : i + len(plain)] == plain), 0)
        before, after = framed[:at], framed[at + len(plain) :]
        return self._stated("add_bos_token", self.bos, before), self._stated("add_eos_token", self.eos, after)

    def _stated(self, setting: str, token: int | None, otherwise: list[int]) -> list[int]:
        if self.settings.get(setting) is None:
            return otherwise
        return [token] if self.settings[setting] and token is not None else []


class TextStream:
    """Ids in, text out, never half a character: bytes of an unfinished one are held back until the rest arrives.

    Decoding depends on what stands before (a leading space, bytes of one character in several tokens), so each new
    piece is the difference between decoding a short window with and without the new tokens.
    """

    def __init__(self, tokenizer: TextTokenizer) -> None:
        self._tokenizer = tokenizer
        self._ids: list[int] = []
        self._start = self._said = 0

    def push(self, index: int) -> str:
        """The text that this id completes; empty while a character is unfinished."""
        self._ids.append(index)
        text, before = self._window()
        if len(text) <= len(before) or text.endswith(_HALF):
            return ""
        self._start, self._said = self._said, len(self._ids)
        return text[len(before) :]

    def flush(self) -> str:
        """What is still held back when no more ids come; an unfinished character becomes U+FFFD."""
        text, before = self._window()
        self._start = self._said = len(self._ids)
        return text[len(before) :]

    def _window(self) -> tuple[str, str]:
        decode = self._tokenizer.decode
        return decode(self._ids[self._start :]), decode(self._ids[self._start : self._said])


def _sound(text: str) -> str:
    """Lone surrogates, which no encoding can hold, become question marks."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _load(path: Path) -> tuple[Tokenizer, dict[str, Any]]:
    file = path / "tokenizer.json" if path.is_dir() else path
    if not file.is_file():
        raise WeightsError(f"{file}: no such file; the folder of a model needs its tokenizer.json")
    try:
        tokenizer = Tokenizer.from_file(str(file))
    except Exception as error:  # the library raises bare Exception for whatever its parser meets
        raise WeightsError(f"{file}: is no tokenizer ({str(error)[:120]})") from error
    return tokenizer, _settings(file.parent)


def _settings(folder: Path) -> dict[str, Any]:
    """Only plain values are looked at; classes and code that a config may name play no part."""
    settings: dict[str, Any] = {}
    for name in ("special_tokens_map.json", "tokenizer_config.json"):
        file = folder / name
        if not file.is_file():
            continue
        try:
            settings |= dict(json.loads(file.read_text(encoding="utf-8")).items())
        except (ValueError, AttributeError) as error:
            raise WeightsError(f"{file}: is no JSON table") from error
    return settings

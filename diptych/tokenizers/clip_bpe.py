"""CLIP's tokenizer from its published files: vocab.json and merges.txt, lower-cased, words marked at their end."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from diptych.errors import WeightsError
from diptych.tokenizers.text import TextTokenizer

END = "</w>"
WORDS = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"  # openai/CLIP, simple_tokenizer.py
BOS, EOS = "<|startoftext|>", "<|endoftext|>"


def clip_tokenizer(folder: Path) -> TextTokenizer:
    """The tokenizer of a folder that holds vocab.json and merges.txt. Raises WeightsError where they are missing or
    damaged."""
    vocab, merges = _vocab(folder / "vocab.json"), _merges(folder / "merges.txt")
    if missing := [token for token in (BOS, EOS) if token not in vocab]:
        raise WeightsError(f"{folder / 'vocab.json'} has no {missing[0]}; download CLIP's own vocab.json")
    try:
        model = models.BPE(vocab, merges, end_of_word_suffix=END, unk_token=EOS)
    except Exception as error:  # the library raises bare Exception
        raise WeightsError(f"{folder / 'merges.txt'} does not fit vocab.json; download both again") from error
    return TextTokenizer(_dressed(Tokenizer(model), vocab), {"bos_token": BOS, "eos_token": EOS, "pad_token": EOS})


def _dressed(tokenizer: Tokenizer, vocab: dict[str, int]) -> Tokenizer:
    """Normalising, cutting into words, and the way back."""
    spaces = normalizers.Replace(Regex(r"\s+"), " ")
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), spaces, normalizers.Lowercase()])  # type: ignore
    words = pre_tokenizers.Split(Regex(WORDS), behavior="removed", invert=True)
    bytes_ = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([words, bytes_])  # type: ignore
    tokenizer.post_processor = processors.TemplateProcessing(  # type: ignore
        single=f"{BOS} $A {EOS}", special_tokens=[(BOS, vocab[BOS]), (EOS, vocab[EOS])]
    )
    tokenizer.decoder = decoders.Sequence([decoders.ByteLevel(), decoders.Replace(END, " ")])  # type: ignore
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in (BOS, EOS)])
    return tokenizer


def _vocab(file: Path) -> dict[str, int]:
    try:
        table: Any = json.loads(_read(file))
    except ValueError as error:
        raise WeightsError(f"{file} is not valid JSON; download it again") from error
    if not isinstance(table, dict) or not all(isinstance(index, int) for index in table.values()):
        raise WeightsError(f"{file} must map tokens to ids; download it again")
    return table


def _merges(file: Path) -> list[tuple[str, str]]:
    """Pairs of tokens, the likeliest first; the first line names a version."""
    pairs = [tuple(line.split()) for line in _read(file).splitlines()[1:] if line.strip()]
    if any(len(pair) != 2 for pair in pairs):
        raise WeightsError(f"{file} must hold two tokens a line; download it again")
    return pairs  # type: ignore[return-value]


def _read(file: Path) -> str:
    if not file.is_file():
        raise WeightsError(f"{file}: no such file; a CLIP tokenizer needs vocab.json and merges.txt, download them")
    try:
        return file.read_text(encoding="utf-8")
    except ValueError as error:
        raise WeightsError(f"{file} is no text; download it again") from error

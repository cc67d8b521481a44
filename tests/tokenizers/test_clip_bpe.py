"""CLIP's tokenizer from vocab.json and merges.txt."""

import json
from pathlib import Path

import pytest

from diptych.errors import WeightsError
from diptych.tokenizers.clip_bpe import BOS, EOS, clip_tokenizer

LETTERS = [chr(c) for c in range(ord("a"), ord("z") + 1)] + list(".,?'19")
MERGES = ["c a", "a t</w>", "ca t</w>", "t h", "th e</w>", "' s</w>"]
TEXTS = ["a cat.", "The  CAT's hat,\n the cat?", "19 cats' 9", "", "cat<|endoftext|>hat", "thé cat", "  the\tcat  "]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tokens = [*LETTERS, *(letter + "</w>" for letter in LETTERS), *("".join(m.split()) for m in MERGES), BOS, EOS]
    (tmp_path / "vocab.json").write_text(json.dumps({token: i for i, token in enumerate(tokens)}))
    (tmp_path / "merges.txt").write_text("\n".join(["#version: 0.2", *MERGES]) + "\n")
    return tmp_path


@pytest.mark.parametrize("text", TEXTS)
def test_as_in_transformers(folder: Path, text: str) -> None:
    transformers = pytest.importorskip("transformers")
    theirs = transformers.CLIPTokenizer.from_pretrained(folder)
    ours = clip_tokenizer(folder)
    ids = ours.encode(text)
    assert ids == theirs.encode(text)
    assert ours.decode(ids).strip() == theirs.decode(ids, skip_special_tokens=True)


def test_words_end_where_they_are_marked(folder: Path) -> None:
    tokenizer = clip_tokenizer(folder)
    ids = tokenizer.encode("The cat's hat.")
    assert [tokenizer.tokenizer.id_to_token(i) for i in ids] == [
        BOS,
        "the</w>",
        "cat</w>",
        "'s</w>",
        "h",
        "at</w>",
        ".</w>",
        EOS,
    ]
    assert tokenizer.decode(ids) == "the cat 's hat . "


def test_special_tokens_in_a_text_are_text(folder: Path) -> None:
    tokenizer = clip_tokenizer(folder)
    assert tokenizer.eos in tokenizer.encode("a <|startoftext|> b", specials=False)  # of characters it does not know
    assert tokenizer.encode("a <|startoftext|> b", specials=False).count(tokenizer.bos) == 1
    assert tokenizer.encode("a <|startoftext|> b").count(tokenizer.bos) == 2


@pytest.mark.parametrize(
    ("name", "text", "complaint"),
    [
        ("vocab.json", None, r"vocab\.json: no such file"),
        ("merges.txt", None, r"merges\.txt: no such file"),
        ("vocab.json", "{", r"vocab\.json is not valid JSON"),
        ("vocab.json", "[1]", r"vocab\.json must map tokens to ids"),
        ("vocab.json", '{"a": 0}', r"vocab\.json has no <\|startoftext\|>"),
        ("merges.txt", "#version\na b c\n", r"merges\.txt must hold two tokens a line"),
        ("merges.txt", "#version\nx 9\n", r"merges\.txt does not fit vocab\.json"),
    ],
)
def test_files_that_are_missing_or_damaged(folder: Path, name: str, text: str | None, complaint: str) -> None:
    (folder / name).unlink() if text is None else (folder / name).write_text(text)
    with pytest.raises(WeightsError, match=complaint):
        clip_tokenizer(folder)

"""Text to ids and back: what checkpoints say about it, special tokens in what people write, decoding while it comes."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors

from diptych.errors import WeightsError
from diptych.tokenizers.text import TextTokenizer

SPECIALS = ["<s>", "</s>", "<image>", "<|User|>"]


def byte_level() -> Tokenizer:
    """All 256 bytes, two merges, special tokens behind them."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocab = {symbol: index for index, symbol in enumerate([*alphabet, "he", "hel"])}
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=[("h", "e"), ("he", "l")]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIALS])
    return tokenizer


@pytest.fixture
def folder(tmp_path):
    byte_level().save(str(tmp_path / "tokenizer.json"))
    config = {"add_bos_token": True, "bos_token": {"content": "<s>"}, "eos_token": "</s>", "auto_map": {"x": "y.Z"}}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    return tmp_path


TOKENIZER = TextTokenizer(byte_level(), {"bos_token": "<s>", "eos_token": "</s>", "add_bos_token": True})


def test_frame_is_what_the_config_says(folder):
    tokenizer = TextTokenizer(folder)
    assert (tokenizer.bos, tokenizer.eos, tokenizer.pad) == (258, 259, None)
    assert tokenizer.encode("hel") == [258, 257]
    assert tokenizer.encode("hel", frame=False) == [257]
    assert TextTokenizer(folder, {"add_eos_token": True}).encode("") == [258, 259]


def test_frame_is_the_post_processor_where_the_config_is_silent():
    inner = byte_level()
    inner.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 258), ("</s>", 259)]
    )
    assert TextTokenizer(inner).encode("hel") == [258, 257, 259]
    settings = {"bos_token": "<s>", "add_bos_token": False}
    assert TextTokenizer(inner, settings).encode("hel") == [257, 259]


def test_padding_and_truncation_of_the_file_play_no_part():
    inner = byte_level()
    inner.enable_padding(length=20)
    inner.enable_truncation(3)
    assert len(TextTokenizer(inner).encode("x" * 10)) == 10


def test_special_tokens_by_name():
    assert TOKENIZER.special("<image>") == 260
    with pytest.raises(WeightsError, match="no token '<boi>'.*published with the weights"):
        TOKENIZER.special("<boi>")


def test_templates_are_read_and_people_are_not():
    text = "<|User|>hel<image>"
    assert TOKENIZER.encode(text, frame=False) == [261, 257, 260]
    spelled = TOKENIZER.encode(text, frame=False, specials=False)
    assert not {260, 261} & set(spelled) and TOKENIZER.decode(spelled) == text


@given(st.lists(st.sampled_from([*SPECIALS, "<", "s>", "he", "|", "<s", "<<s>>"])).map("".join))
def test_no_text_of_a_person_holds_a_special_token(text):
    assert all(index < 258 for index in TOKENIZER.encode(text, frame=False, specials=False))


def test_decoding_leaves_special_tokens_out_unless_asked():
    ids = TOKENIZER.encode("<|User|>hel")
    assert TOKENIZER.decode(ids) == "hel"
    assert TOKENIZER.decode(ids, specials=True) == "<s><|User|>hel"
    assert TOKENIZER.decode([257, 100_000]) == "hel"


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=20))
def test_streams_give_whole_characters_that_add_up(text):
    ids = TOKENIZER.encode(text, frame=False, specials=False)
    stream = TOKENIZER.stream()
    pieces = [stream.push(index) for index in ids]
    assert "\ufffd" in text or not any("\ufffd" in piece for piece in pieces)
    assert "".join([*pieces, stream.flush()]) == text


def test_a_stream_that_ends_within_a_character():
    stream = TOKENIZER.stream()
    ids = TOKENIZER.encode("a🎉", frame=False)[:-1]
    assert [stream.push(index) for index in ids] == ["a", "", "", ""]
    assert stream.flush().startswith("\ufffd")
    assert stream.flush() == ""


def test_lone_surrogates_are_question_marks():
    assert TOKENIZER.decode(TOKENIZER.encode("a\ud800b")) == "a?b"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [("tokenizer.json", "{}", "is no tokenizer"), ("tokenizer_config.json", "[1]", "no JSON table")],
)
def test_damaged_files(folder, name, content, message):
    (folder / name).write_text(content)
    with pytest.raises(WeightsError, match=message):
        TextTokenizer(folder)


def test_missing_file(tmp_path):
    with pytest.raises(WeightsError, match="needs its tokenizer.json"):
        TextTokenizer(tmp_path)

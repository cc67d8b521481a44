"""A small byte-level BPE vocabulary trained on a world's own texts, in the files Janus' tokenizers are published as."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

from diptych.data.worlds.emoji import EmojiWorld
from diptych.data.worlds.emoji.rules import OBJECTS

SPECIALS = (
    "<｜begin▁of▁sentence｜>",
    "<｜end▁of▁sentence｜>",
    "<｜▁pad▁｜>",
    "<image_placeholder>",
    "<begin_of_image>",
    "<end_of_image>",
    "<|User|>",
    "<|Assistant|>",
)
SETTINGS = {
    "add_bos_token": True,
    "add_eos_token": False,
    "bos_token": SPECIALS[0],
    "eos_token": SPECIALS[1],
    "pad_token": SPECIALS[2],
    "tokenizer_class": "LlamaTokenizerFast",
    "model_max_length": 1024,
}


def texts(world: EmojiWorld, count: int) -> Iterator[str]:
    """What people and model say in that world: `count` samples of each kind, and every object's name ten times."""
    for i in range(count):
        yield ": " + world.drawing(i).prompt
        question, caption, story = world.question(i), world.caption(i), world.story(i)
        yield f"\n{question.question}"
        yield f": {question.answer}"
        yield f"\n{caption.prompt}"
        yield f": {caption.caption}"
        yield f"\n{world.edit(i).instruction}"
        yield story.prompt
        yield from (f" {text}" for text, _ in story.frames)
    for item in OBJECTS.values():
        for _ in range(10):
            yield f" {item.noun.name} {item.noun.plural}"
            yield f"，{item.zh}，{item.measure_word}{item.zh}"


def train(size: int, seed: int = 5, count: int = 6_000) -> Tokenizer:
    """A vocabulary of `size` tokens. The same arguments give the same vocabulary."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=[AddedToken(name, special=True, normalized=False) for name in SPECIALS],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts(EmojiWorld(seed), count), trainer)
    return tokenizer


def write(folder: Path, size: int) -> None:
    """tokenizer.json, tokenizer_config.json and special_tokens_map.json in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    train(size).save(str(folder / "tokenizer.json"), pretty=False)
    names = {role: SETTINGS[role] for role in ("bos_token", "eos_token", "pad_token")}
    for name, content in (("tokenizer_config.json", SETTINGS), ("special_tokens_map.json", names)):
        (folder / name).write_text(json.dumps(content, ensure_ascii=False, indent=1) + "\n", "utf-8")

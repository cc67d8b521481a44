"""Harmon talked to in strings: tiny and untrained, with a tokenizer made here."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image as Pillow
from tokenizers import Tokenizer, decoders, models

from diptych.canvas import Draws
from diptych.errors import CapabilityError, InputError, WeightsError
from diptych.models import harmon
from diptych.models.family import Options
from diptych.models.harmon import GUIDANCE, PENALTY, Harmon, HarmonDialogue, HarmonNetwork
from diptych.models.model import Model
from diptych.models.network import Ids, Made, Seen
from diptych.tokenizers.absent import Absent
from diptych.tokenizers.text import TextTokenizer
from diptych.training.batches import Learn, losses
from diptych.types import Request, Text, Turn

LETTERS = [chr(i) for i in (10, *range(32, 127))]
SPECIALS = ["<|im_start|>", "<|im_end|>"]
CONFIG: dict[str, Any] = {
    "model_type": "harmon",
    "llm": {
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "intermediate_size": 48,
        "vocab_size": len(LETTERS) + len(SPECIALS),
        "eos_token_id": len(LETTERS) + 1,
        "tie_word_embeddings": True,
    },
    "mar": {
        **{f"{part}_{size}": n for part in ("encoder", "decoder") for size, n in (("embed_dim", 24), ("depth", 1))},
        "encoder_num_heads": 2,
        "decoder_num_heads": 3,
        "img_size": 8,
        "vae_stride": 4,
        "vae_embed_dim": 4,
        "buffer_size": 3,
        "diffloss_d": 2,
        "diffloss_w": 16,
        "num_sampling_steps": "4",
    },
    "vae": {"embed_dim": 4, "ch": 8, "ch_mult": [1, 1, 1], "num_groups": 4},
}
SIDE, FACTOR = 16, 4  # pixels of a picture, and of a slot


def tokenizer() -> TextTokenizer:
    made = Tokenizer(models.BPE({letter: i for i, letter in enumerate(LETTERS)}, []))
    made.decoder = decoders.Fuse()
    made.add_special_tokens(SPECIALS)
    return TextTokenizer(made, {"eos_token": "<|im_end|>"})


def network() -> HarmonNetwork:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        made = Harmon.build(Harmon.completed(CONFIG, {}))
        for parameter in made.parameters():
            if parameter.ndim > 1:
                parameter.data = torch.randn(parameter.shape) * 0.2
    return made


def dialogue_of(made: HarmonNetwork) -> HarmonDialogue:
    dialogue = Harmon.dialogue(Path("nowhere"), Harmon.completed(CONFIG, {}), made)
    dialogue.tokenizer = tokenizer()
    return dialogue


@cache
def model() -> Model:
    made = network().requires_grad_(False).eval()
    return Model("tiny", made, dialogue_of(made), Path())


def talk() -> HarmonDialogue:
    dialogue = model().dialogue
    assert isinstance(dialogue, HarmonDialogue)
    return dialogue


def picture(width: int = 16, height: int = 16, seed: int = 0) -> Pillow.Image:
    return Pillow.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8))


# --- prompts -----------------------------------------------------------------------------------------------------


def test_a_conversation_with_a_picture() -> None:
    turns = (Turn.system("Be brief."), Turn.user(picture(20, 10), "What?"), Turn.assistant("A"), Turn.user("B"))
    before, seen, after = talk().render(Request(turns))
    assert isinstance(seen, Seen) and seen.pixels.shape == (3, SIDE, SIDE)
    told = [talk().tokenizer.decode(piece.ids, specials=True) for piece in (before, after) if isinstance(piece, Ids)]
    assert told[0] == "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n"
    assert told[1] == (
        "\nWhat?<|im_end|>\n<|im_start|>assistant\nA<|im_end|>\n<|im_start|>user\nB<|im_end|>\n<|im_start|>assistant\n"
    )


def test_marks_in_what_a_person_writes_are_text() -> None:
    (piece,) = talk().render(Request.of("<|im_end|>"))
    assert isinstance(piece, Ids) and piece.ids.count(talk().ending) == 1


def test_what_it_cannot_do() -> None:
    with pytest.raises(InputError, match="words alone"):
        model().chat(("Like this", picture()), want="image")
    with pytest.raises(CapabilityError, match="cannot edit"):
        model().edit(picture(), "bluer")
    for size in ((10, 16), (0, 16)):
        with pytest.raises(InputError, match="multiples of 4"):
            model().generate("a cat", size=size)


def test_without_a_tokenizer_only_strings_are_refused(tmp_path: Path) -> None:
    made = network()
    dialogue = Harmon.dialogue(tmp_path, Harmon.completed(CONFIG, {}), made)
    assert isinstance(dialogue.tokenizer, Absent) and dialogue.ending == CONFIG["llm"]["eos_token_id"]
    with pytest.raises(WeightsError, match="tokenizer"):
        Model("mute", made, dialogue, tmp_path).chat("Hi")


def test_the_penalty_is_the_folders(tmp_path: Path) -> None:
    config = Harmon.completed(CONFIG, {})
    assert Harmon.dialogue(tmp_path, config, network()).penalty == PENALTY
    (tmp_path / "generation_config.json").write_text('{"repetition_penalty": 1.05}')
    assert Harmon.dialogue(tmp_path, config, network()).penalty == 1.05


# --- answers and pictures ----------------------------------------------------------------------------------------


def test_replies_do_not_depend_on_their_neighbours() -> None:
    asked = ["Hi", ("What is this?", picture()), "A longer question, so that rows differ"]
    options = {"max_tokens": 8, "temperature": 1.0, "seed": 3}
    together = [reply.text for reply in model().chat_batch(asked, **options)]
    assert together == [model().chat(turns, **options).text for turns in asked]  # type: ignore[arg-type]
    assert len(set(together)) == 3
    streamed = [part.text for part in model().chat("Hi", stream=True, **options) if isinstance(part, Text)]
    assert "".join(streamed).strip() == together[0]


def test_pictures() -> None:
    both = model().generate("a cat", n=2, seed=5, steps=3)
    assert [p.size for p in both] == [(SIDE, SIDE)] * 2 and both[0].tobytes() != both[1].tobytes()
    (second,) = model().generate("a cat", seed=6, steps=3)
    assert second.tobytes() == both[1].tobytes()
    (unguided,) = model().generate("a cat", seed=6, steps=3, guidance=1)
    assert unguided.tobytes() != second.tobytes()
    assert talk().branches(Request.of("a cat", "image"), Options()) == ("full", "no_text") and GUIDANCE == 3.0
    (reply,) = model().chat("a cat", want="image", seed=6, steps=3).images
    assert reply.tobytes() == second.tobytes()


def test_pictures_of_any_size() -> None:
    (wide,) = model().generate("a cat", steps=3, size=(8, 20))
    assert wide.size == (20, 8)


def test_more_visits_than_slots() -> None:
    (made,) = model().generate("a cat", steps=6, size=(4, 8))
    assert made.size == (8, 4)


def test_painting_into_pictures() -> None:
    """Rows that begin with different numbers of known slots are each as if alone."""
    masks = [Pillow.new("L", (16, 16), 0) for _ in range(2)]
    masks[0].paste(255, (0, 0, 8, 16))
    masks[1].paste(255, (0, 0, 4, 4))
    sources, words = [picture(seed=0), picture(seed=1)], ["a cat", "a dog"]
    sketches: list[Pillow.Image] = []
    both = model().edit(sources, words, mask=masks, steps=3, preview=lambda _, sketch: sketches.append(sketch), every=1)
    assert len(sketches) == 6 and both[0].tobytes() != both[1].tobytes()
    for source, text, mask, painted in zip(sources, words, masks, both, strict=True):
        (alone,) = model().edit(source, text, mask=mask, steps=3)
        assert np.abs(np.asarray(alone, int) - np.asarray(painted, int)).max() <= 1


def test_a_picture_goes_on_below() -> None:
    """Latents are extended as codes are."""
    (wide,) = model().extend(picture(), "a cat", side="bottom", steps=3)
    width, height = model().image_size[::-1]
    assert wide.size == (width, height * 3 // 2)


def test_pictures_of_several_sizes_are_read_together() -> None:
    net = model().network
    assert isinstance(net, HarmonNetwork)
    pixels = [torch.rand(3, h, w) * 2 - 1 for h, w in ((8, 8), (8, 12), (8, 8))]
    for own, together in zip(pixels, net.see(pixels), strict=True):
        torch.testing.assert_close(net.see([own])[0], together)
        grid = (own.shape[1] // FACTOR, own.shape[2] // FACTOR)
        (written,) = net.recall([Made(net.encode(own[None])[0], grid)])
        torch.testing.assert_close(written, together)


def test_slots_of_several_latents() -> None:
    config = {**CONFIG, "mar": {**CONFIG["mar"], "patch_size": 2, "img_size": 16}}
    made = Harmon.build(Harmon.completed(config, {}))
    pixels = torch.rand(1, 3, 16, 32) * 2 - 1
    slots = made.encode(pixels)
    assert slots.shape == (1, 8, 16) and made.factor == 2 * FACTOR
    torch.testing.assert_close(made.decode(slots, (2, 4)), made.tokenizer.decode(made.tokenizer.encode(pixels)))


def test_reading_teaches_the_encoder_less(monkeypatch: pytest.MonkeyPatch) -> None:
    made = network()
    dialogue = dialogue_of(made)
    row = [*dialogue.render(Request.of(("Is it?", picture()))), Learn("text", torch.tensor([1, 2]))]
    gradients = []
    for share in (harmon.READING, 1.0):
        monkeypatch.setattr(harmon, "READING", share)
        loss = losses(made, dialogue.lessons(), [row], Draws([0]))["text"]
        gradients.append(torch.autograd.grad(loss, (made.draw.autoencoder.latent.weight, made.backbone.norm.weight)))
    (less, same), (full, whole) = gradients
    torch.testing.assert_close(less, full * 0.1)
    torch.testing.assert_close(same, whole)


def test_lessons_reach_every_parameter() -> None:
    """Pictures to be written and texts about pictures, in one batch; rows hide different numbers of slots."""
    made = network()
    dialogue = dialogue_of(made)
    slots = made.encode(torch.rand(2, 3, SIDE, SIDE) * 2 - 1).detach()
    answer = Learn("text", torch.tensor([*dialogue.tokenizer.encode("yes"), dialogue.ending]))
    rows = [
        [*dialogue.render(Request.of("a cat", "image")), Learn("image", slots[0], (4, 4))],
        [*dialogue.render(Request.of("a big dog", "image")), Learn("image", slots[1], (4, 4))],
        [*dialogue.render(Request.of(("Is it?", picture()))), answer],
    ]
    found = losses(made, dialogue.lessons(), rows, Draws([1, 5, 7]))
    assert set(found) == {"image", "text"} and all(loss.isfinite() for loss in found.values())
    (found["image"] + found["text"]).backward()
    trained = {n: p for n, p in made.named_parameters() if not n.startswith("tokenizer.")}
    assert [name for name, parameter in trained.items() if parameter.grad is None] == []
    shares = []
    for row, seed in zip(rows, (1, 5), strict=False):
        image = dialogue.lessons()["image"]
        canvas, _ = image.objective.corrupt(slots[:1], (4, 4), Draws([seed]))
        alone = losses(made, {"image": image}, [row], Draws([seed]))["image"]
        shares.append((alone, (~canvas.known).sum()))
    torch.testing.assert_close(found["image"], sum(a * n for a, n in shares) / sum(n for _, n in shares))

"""MMaDA talked to in strings: tiny and untrained, with a tokenizer made here."""

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
from diptych.models.companions import Found
from diptych.models.family import Options
from diptych.models.mmada import GUIDANCE, Marks, MMaDA, MMaDADialogue, llada
from diptych.models.model import Model
from diptych.models.network import Ids, Network, Seen
from diptych.models.painting import Side, beyond, onward
from diptych.tokenizers.absent import Absent
from diptych.tokenizers.text import TextTokenizer
from diptych.training.batches import Learn, losses
from diptych.types import Draft, Request, Text, Turn
from tests.engine.forms import canvas

BLOCKS = {"ch": 32, "ch_mult": [1, 1, 1], "num_res_blocks": [1, 1, 1], "z_channels": 3}
SPECIALS = ["<|startoftext|>", "<|endoftext|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"]
SPECIALS += ["<|mdm_mask|>", "<|soi|>", "<|eoi|>", "<|t2i|>", "<|mmu|>", "[iPAD]"]
LETTERS = [chr(i) for i in (10, *range(32, 127))]
CONFIG = {
    "model_type": "mmada",
    "d_model": 32,
    "n_layers": 2,
    "n_heads": 4,
    "n_kv_heads": 2,
    "mlp_hidden_size": 48,
    "embedding_size": len(LETTERS) + len(SPECIALS) + 8 + 5,
    "rope_theta": 500000.0,
    "rms_norm_eps": 1e-5,
    "weight_tying": False,
    "mask_token_id": len(LETTERS) + SPECIALS.index("<|mdm_mask|>"),
    "codebook_size": 8,
    "num_vq_tokens": 16,
    "companions": {"magvitv2": Found(Path(), {"encoder": BLOCKS, "decoder": BLOCKS})},
}


def tokenizer() -> Tokenizer:
    made = Tokenizer(models.BPE({letter: i for i, letter in enumerate(LETTERS)}, []))
    made.decoder = decoders.Fuse()
    made.add_special_tokens(SPECIALS)
    return made


def dialogue_of(network: Network) -> MMaDADialogue:
    dialogue = MMaDA.dialogue(Path(), CONFIG, network)
    dialogue.tokenizer = TextTokenizer(tokenizer())
    dialogue.speak(Marks.of(dialogue.tokenizer))
    return dialogue


@cache
def model() -> Model:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = MMaDA.build(CONFIG)
        for parameter in network.backbone.parameters():
            if parameter.ndim > 1:
                parameter.data = torch.randn(parameter.shape) * 0.3
    network.requires_grad_(False).eval()
    return Model("tiny", network, dialogue_of(network), Path())


def talk() -> MMaDADialogue:
    dialogue = model().dialogue
    assert isinstance(dialogue, MMaDADialogue)
    return dialogue


def picture(side: int = 16, seed: int = 0) -> Pillow.Image:
    return Pillow.fromarray(np.random.default_rng(seed).integers(0, 256, (side, side, 3), np.uint8))


# --- prompts -----------------------------------------------------------------------------------------------------


def test_marks_are_those_of_the_tokenizer() -> None:
    begin = len(LETTERS)
    marks = talk().marks
    assert (marks.bos, marks.eos, marks.pad) == (begin, begin + 1, begin + 10)
    assert marks.codes == begin + len(SPECIALS) == model().network.marks.codes  # type: ignore[union-attr]


def test_a_conversation_with_a_picture() -> None:
    turns = (Turn.system("Be brief."), Turn.user(picture(), " What? "), Turn.assistant("A"), Turn.user("B"))
    front, seen, back, text = talk().render(Request(turns))
    assert isinstance(seen, Seen) and seen.pixels.shape == (3, 16, 16)
    assert [tuple(p.ids) for p in (front, back) if isinstance(p, Ids)] == [
        (talk().marks.mmu, talk().marks.soi),
        (talk().marks.eoi,),
    ]
    assert isinstance(text, Ids)
    header = "<|start_header_id|>{}<|end_header_id|>\n"
    turns_ = [("system", "Be brief."), ("user", "What?"), ("assistant", "A"), ("user", "B")]
    whole = "".join(header.format(role) + said + "<|eot_id|>" for role, said in turns_)
    spelt = "<|startoftext|>" + whole + header.format("assistant")
    assert text.ids == talk().tokenizer.encode(spelt, frame=False)  # as the published code reads the whole string


def test_marks_in_what_a_person_writes_are_text() -> None:
    (piece,) = talk().render(Request.of("<|eot_id|>"))
    assert isinstance(piece, Ids) and piece.ids.count(talk().marks.eot) == 1


def test_a_long_prompt_is_cut_before_its_end_mark() -> None:
    marks = talk().marks
    ids = talk().drawing(list(range(50)) * 20)
    assert len(ids) == talk().longest + 1 and ids[:3] == [marks.t2i, marks.bos, 0] and ids[-1] == marks.eos
    assert talk().drawing([]) == [marks.t2i, marks.bos, marks.eos]


def test_what_it_cannot_read() -> None:
    with pytest.raises(InputError, match="one picture"):
        model().chat(("Which?", picture(), picture()))
    with pytest.raises(InputError, match="words alone"):
        model().chat(("Like this", picture()), want="image")
    with pytest.raises(CapabilityError, match="cannot edit"):
        model().edit(picture(), "bluer")
    with pytest.raises(InputError, match="16x16"):
        model().generate("a cat", size=(32, 32))


def test_without_a_tokenizer_only_strings_are_refused(tmp_path: Path) -> None:
    network = MMaDA.build(CONFIG)
    dialogue = MMaDA.dialogue(tmp_path, CONFIG, network)
    assert isinstance(dialogue.tokenizer, Absent) and dialogue.marks == Marks()
    with pytest.raises(WeightsError, match="tokenizer"):
        Model("mute", network, dialogue, tmp_path).chat("Hi")


def test_config() -> None:
    c = llada(CONFIG | {"mlp_hidden_size": None, "mlp_ratio": 4, "n_kv_heads": None, "multi_query_attention": True})
    assert (c.hidden, c.kv_heads, c.eps, c.theta, c.tied) == (128, 1, 1e-5, 500000.0, False)
    with pytest.raises(ValueError, match="block_type"):
        llada(CONFIG | {"block_type": "sequential"})


# --- answers and pictures ----------------------------------------------------------------------------------------


def test_replies_do_not_depend_on_their_neighbours() -> None:
    asked = ["Hi", ("What is this?", picture()), "A longer question, so that rows differ"]
    options: dict[str, Any] = {"max_tokens": 8, "steps": 4, "temperature": 1.0, "seed": 3}
    together = [reply.text for reply in model().chat_batch(asked, **options)]
    assert together == [model().chat(turns, **options).text for turns in asked]  # type: ignore[arg-type]
    assert len(set(together)) == 3


def test_keys_out_of_date_are_asked_for() -> None:
    options: dict[str, Any] = {"max_tokens": 16, "steps": 8}
    exact = model().chat("Hi", **options).text
    assert model().chat("Hi", **options, refresh=1).text == exact
    assert isinstance(model().chat("Hi", **options, refresh=4).text, str)
    assert all(step.stale is None for step in talk().text(Options()).schedule(canvas(512)))


def test_a_reply_as_it_is_written() -> None:
    parts = list(model().chat("Hi", stream="drafts", max_tokens=12, steps=4))
    drafts = [part for part in parts if isinstance(part, Draft)]
    finals = [draft.final for draft in drafts]
    assert drafts and finals == sorted(finals)
    pieces = list(model().chat("Hi", stream=True, max_tokens=12, steps=4))
    text = "".join(piece.text for piece in pieces if isinstance(piece, Text))
    assert text.strip() == model().chat("Hi", max_tokens=12, steps=4).text


def test_the_number_of_tokens_and_steps_is_free() -> None:
    writer = talk().text(Options(max_tokens=300))  # blocks of 128, 128 and 44
    steps = list(writer.schedule(canvas(300)))
    assert len(steps) == 3 * 64 and steps[-1].reach == 300
    assert sum(int(step.take) for step in steps) == 300  # type: ignore[arg-type]
    with pytest.raises(InputError, match="multiple of 3"):
        model().chat("Hi", max_tokens=300, steps=4)


def test_pictures() -> None:
    both = model().generate("a cat", n=2, seed=5, steps=4)
    assert [p.size for p in both] == [(16, 16)] * 2 and both[0].tobytes() != both[1].tobytes()
    (second,) = model().generate("a cat", seed=6, steps=4)
    assert second.tobytes() == both[1].tobytes()
    (unguided,) = model().generate("a cat", seed=6, steps=4, guidance=0)
    assert unguided.tobytes() != second.tobytes()
    assert talk().branches(Request.of("a cat", "image"), Options()) == ("full", "no_text") and GUIDANCE == 3.5
    (reply,) = model().chat("a cat", want="image", seed=6, steps=4).images
    assert reply.tobytes() == second.tobytes()


def test_greedy_pictures_do_not_depend_on_the_seed() -> None:
    one, other = (model().generate("a dog", seed=seed, steps=4, temperature=0)[0] for seed in (1, 2))
    assert one.tobytes() == other.tobytes()


def test_painting_into_a_picture() -> None:
    mask = Pillow.new("L", (16, 16), 0)
    mask.paste(255, (0, 0, 8, 16))
    source = picture()
    sketches: list[Pillow.Image] = []
    (painted,) = model().edit(
        source, "a cat", mask=mask, steps=4, preview=lambda _, sketch: sketches.append(sketch), every=1
    )
    assert len(sketches) == 4 and sketches[-1].tobytes() == painted.tobytes() != sketches[0].tobytes()


@pytest.mark.parametrize("side", ["left", "right", "top", "bottom"])
def test_a_picture_goes_on_beyond_its_edge(side: Side) -> None:
    """The half that is not shared with the new canvas keeps its codes; several sides make it larger still."""
    source, told = picture(), list[tuple[int, int]]()
    network: Any = model().network
    codes = network.encode(talk().source(source)[None])[0].view(4, 4)
    two = model().extend(source, "a cat", side=side, n=2, seed=3, steps=4, progress=lambda *how: told.append(how))
    across = side in ("left", "right")
    assert [p.size for p in two] == [(24, 16) if across else (16, 24)] * 2 and two[0].tobytes() != two[1].tobytes()
    assert two[1].tobytes() == model().extend(source, "a cat", side=side, seed=4, steps=4)[0].tobytes()
    assert told[-1] == (32, 32) and told == sorted(told)
    begun = beyond(codes, side, (4, 4))
    whole = onward(codes, torch.where(begun.known, begun.value, -1).view(4, 4), side)
    assert whole.shape == ((4, 6) if across else (6, 4)) and int((whole == -1).sum()) == 8
    kept = whole[whole != -1]
    assert torch.equal(kept, codes.flatten())
    (further,) = model().extend(source, ["a cat", "a dog"], side=[side, side], steps=4)
    assert further.size == ((32, 16) if across else (16, 32))


def test_edges_that_are_not_there() -> None:
    for side, prompt, wrong in (
        ("up", "a", "top, bottom"),
        (["left", "top"], "a", "not both"),
        ("left", ["a"] * 2, "2 p"),
    ):
        with pytest.raises(InputError, match=wrong):
            model().extend(picture(), prompt, side=side)
    with pytest.raises(InputError, match=r"n must lie"):
        model().extend(picture(), "a", n=0)


def test_thinking_stands_before_the_answer() -> None:
    plain, thought = (model().chat("a cat", max_tokens=8, think=think).text for think in (False, True))
    asked = Request.of("a cat")
    (spoken,) = talk().render(talk().thinking(asked))
    assert isinstance(spoken, Ids) and "<think> </think>" in talk().tokenizer.decode(spoken.ids) and plain != thought
    assert model().chat_batch(["a cat"], max_tokens=8, think=True)[0].text == thought
    with pytest.raises(CapabilityError, match="leave think out"):
        model().generate("a cat", think=True)


def test_a_learned_image_row() -> None:
    """What `lessons` learn is what training asks for."""
    network = MMaDA.build(CONFIG)
    dialogue = dialogue_of(network)
    codes = network.encode(torch.rand(1, 3, 16, 16) * 2 - 1)[0]
    answer = Learn("text", torch.tensor(dialogue.tokenizer.encode("yes") + [dialogue.ending]))
    rows = [
        [dialogue.padding(3), *dialogue.render(Request.of("a cat", "image")), Learn("image", codes, (4, 4))],
        [*dialogue.render(Request.of(("Is it?", picture()))), answer],
        [Learn("plain", torch.tensor([1, 2, 3, 4]))],
    ]
    found = losses(network, dialogue.lessons(), rows, Draws([1, 5, 7]))
    assert set(found) == {"image", "text", "plain"} and all(loss.isfinite() for loss in found.values())
    sum(found.values()).backward()  # type: ignore[union-attr]
    assert all(p.grad is not None for p in network.backbone.parameters())

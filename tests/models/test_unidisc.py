"""UniDisc from strings: prompts, replies, pictures, infilling; published names; wrong input."""

import json
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image as Pillow
from tokenizers import Tokenizer, models, pre_tokenizers

import diptych
from diptych.canvas import Draws
from diptych.errors import InputError, WeightsError
from diptych.models.companions import Found
from diptych.models.family import Options
from diptych.models.joint import Run
from diptych.models.model import Model
from diptych.models.network import Ids, Made, Seen
from diptych.models.painting import under
from diptych.models.registry import recognise
from diptych.models.unidisc import SYSTEM, UniDisc, UniDiscDialogue
from diptych.samplers.conversation import draw, say, write
from diptych.training.batches import Learn, losses
from diptych.types import Image, Request, Turn
from diptych.weights.files import Checkpoint
from tests.parity.sets import GoldenSet, sets

SETS = [golden for golden in sets() if any(recognise(folder) == "unidisc" for folder in golden.folder.iterdir())]
FOLDERS = [folder for golden in SETS for folder in sorted(golden.folder.iterdir()) if recognise(folder) == "unidisc"]
SPECIALS = ["<unk>", "<s>", "</s>", "<image>"]
SAID = "A cat on a mat red dog What animal is this? colour it? cat."


def words(said: str, count: int = 10**6) -> Tokenizer:
    """A word a token, as far as a tiny vocabulary goes."""
    known = dict.fromkeys([*SPECIALS, *said.split()])
    vocabulary = {word: i for i, word in enumerate(list(known)[:count])}
    made = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()  # type: ignore[assignment]
    made.add_special_tokens(SPECIALS)
    return made


@pytest.fixture(scope="module")
def spoken(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], Model]:
    """A set's model with a tokenizer, which the published sets lack."""

    @cache
    def load(folder: Path) -> Model:
        copy = tmp_path_factory.mktemp("unidisc")
        for file in folder.iterdir():
            (copy / file.name).symlink_to(file.resolve())
        (copy / "vq").symlink_to((folder.parent / "vq").resolve())
        words(SAID, json.loads((folder / "config.json").read_text())["mask_index"]).save(str(copy / "tokenizer.json"))
        return diptych.load(copy, device="cpu", dtype="float32")

    return load


@pytest.fixture(params=FOLDERS, ids=lambda folder: folder.name)
def model(request: pytest.FixtureRequest, spoken: Callable[[Path], Model]) -> Model:
    return spoken(request.param)


@pytest.fixture
def interleaved(spoken: Callable[[Path], Model]) -> Model:
    return next(m for m in map(spoken, FOLDERS) if m.dialogue.interleaved)  # type: ignore[attr-defined]


def picture(seed: int = 0, size: tuple[int, int] = (40, 56)) -> Pillow.Image:
    return Pillow.fromarray(np.random.default_rng(seed).integers(0, 255, (*size, 3), np.uint8))


# --- prompts -----------------------------------------------------------------------------------------------


def shown(model: Model, ids: list[int]) -> str:
    """Ids as text, with marks by name and `<m>` where a token is open."""
    dialogue: Any = model.dialogue
    names = {dialogue.mask: "<m>", **dict(enumerate(SPECIALS))}
    return " ".join(names.get(i) or dialogue.tokenizer.decode([i]) for i in ids)


def spelled(text: str) -> str:
    """Without spaces around marks, nor the first and last mark, which official code adds behind the template."""
    return re.sub(r"\s*(<[^>]+>)\s*", r"\1", text).removeprefix("<s>").removesuffix("</s>")


def prompt(model: Model, request: Request, slot: int = 0) -> str:
    """What stands before the writing, its place, and what stands behind."""
    texts = [shown(model, p.ids) for p in model.dialogue.render(request) if isinstance(p, Ids)]
    answer = "authentication" * slot + "</s><s><image>" if slot else ""
    return spelled(texts[0] + answer + "".join(texts[1:]))


@pytest.mark.parametrize("golden", SETS, ids=lambda golden: golden.name)
def test_prompts(golden: GoldenSet, interleaved: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    told = {name: text for name, text in golden.prompts.items() if isinstance(text, str)}
    dialogue: Any = interleaved.dialogue
    monkeypatch.setattr(dialogue.tokenizer, "tokenizer", words(re.sub("<[^>]+>", " ", " ".join(told.values()))))
    dialogue.tokenizer.__dict__.pop("_spelling", None)
    monkeypatch.setattr(dialogue, "mask", 10**6)  # the tiny model has no ids for every word of the prompts
    official = {name.removeprefix("interleaved_"): spelled(text) for name, text in told.items()}
    slots = {name: text.count("authentication") for name, text in official.items()}
    image = picture()
    assert official.pop("system") == official.pop("training_image_generation_prefix") == SYSTEM
    assert prompt(interleaved, Request.of("A cat on a mat", "image")) == official.pop("text_to_image")
    name = "question_then_answer_slot_image_last"
    asked = Request.of([Turn.user(image, "What animal is in the picture?")])
    assert prompt(interleaved, asked, slots[name]) == official.pop(name)
    name = "multi_turn_image_last"
    turns = [Turn.user(image, "What animal is this?"), Turn.assistant("A cat."), Turn.user("What colour is it?")]
    assert prompt(interleaved, Request.of(turns), slots[name]) == official.pop(name)
    sheet = dialogue.sheet(Request.of([Turn.user("A <m3> on a mat", image)]))
    before = shown(interleaved, sheet.given.value[: sheet.runs[0].length].tolist())
    assert spelled(before) == official.pop("infill_text_with_masks_image_last")
    dialogue.tokenizer.__dict__.pop("_spelling", None)
    assert not official, f"no check is written for the prompts {sorted(official)}"


# --- replies -----------------------------------------------------------------------------------------------


def test_draws_from_strings(model: Model) -> None:
    both = model.generate(["A cat", "red dog on mat"], steps=3, seed=5)
    assert [p.size for p in both] == [model.image_size[::-1]] * 2
    (alone,) = model.generate("red dog on mat", steps=3, seed=5)
    assert np.array_equal(np.asarray(both[1]), np.asarray(alone))
    assert np.array_equal(*(np.asarray(model.generate("A cat", steps=3, guidance=0, seed=5)[0]) for _ in range(2)))


def test_answers_from_strings(model: Model) -> None:
    asked = [picture(), "A cat"]
    reply = model.chat(asked, max_tokens=6, steps=3)
    assert reply.text and reply == model.chat(asked, max_tokens=6, steps=3)
    batch = model.chat_batch([asked, [picture(1), "A"]], max_tokens=6, steps=3)
    assert batch[0].text == reply.text and len(batch) == 2
    greedy = [model.chat(asked, max_tokens=6, steps=3, temperature=0, seed=seed).text for seed in (1, 2)]
    assert greedy[0] == greedy[1]
    assert isinstance(model.chat(asked, max_tokens=6, steps=3, top_p=0.5).text, str)
    drafts = list(model.chat(asked, max_tokens=6, steps=3, stream="drafts"))
    assert len(drafts) == 3


def test_a_text_of_fixed_length_ends_there(model: Model) -> None:
    dialogue: Any = model.dialogue
    if dialogue.interleaved:
        return
    writer = dialogue.text(Options(steps=3, temperature=0, guidance=0))
    rows = model.network.read([dialogue.render(Request.of([Turn.user(picture())]))])
    canvas = draw(say(model.network.backbone, rows), writer, (3 * dialogue.length,), 1, Draws([0]))
    assert canvas.known[0].nonzero().flatten().tolist() == list(range(dialogue.length - 1))
    short = draw(say(model.network.backbone, rows), writer, (dialogue.length - 1,), 1, Draws([0]))
    assert canvas.value[0, : dialogue.length - 1].tolist() == short.value[0].tolist()


def test_paints_over_a_part(model: Model) -> None:
    source, mask = picture(2, model.image_size), Pillow.new("L", model.image_size)
    mask.paste(255, (0, 0, model.image_size[0] // 2, model.image_size[1]))
    (painted,) = model.edit(source, "A cat", mask=mask, steps=2)
    assert painted.size == model.image_size
    (tall,) = model.extend(source, "A cat", side="top", steps=2)
    assert tall.size == (model.image_size[0], model.image_size[1] * 3 // 2)


def test_fills_in_text_and_image_together(model: Model) -> None:
    dialogue: Any = model.dialogue
    source, mask = picture(2, model.image_size), Pillow.new("L", model.image_size)
    mask.paste(255, (0, 0, model.image_size[0] // 2, model.image_size[1]))
    anew = under(dialogue, Image(source), Image(mask), dialogue.grid(Options()))
    sheet = dialogue.sheet(Request.of([Turn.user("A <m2> on mat", source)]), anew)
    assert (sheet.given.value[sheet.text] == dialogue.mask).sum() == 2
    assert torch.equal(~sheet.given.known[sheet.picture], anew) and 0 < anew.sum() < len(anew)
    seen = list[tuple[int, int]]()
    reply = model.infill("A <m2> on mat", source, mask=mask, steps=2, progress=lambda *how: seen.append(how))
    assert reply == model.infill("A <m2> on mat", source, mask=mask, steps=2) and seen[-1][0] == seen[-1][1]
    assert reply.images[0].size == model.image_size and reply.text
    alone = model.infill("A <m2> on mat", source, steps=2)
    (kept,) = model.dialogue.pictures(
        model.network.decode(model.network.encode(dialogue.source(source)[None]), dialogue.grid(Options()))
    )
    assert np.array_equal(np.asarray(alone.images[0]), np.asarray(kept))  # without a mask the picture stays
    with pytest.raises(InputError, match="nothing is left open"):
        model.infill("A cat on mat", source)
    writer, known = dialogue.joint(sheet.runs, Options(steps=2)), sheet.given.known
    start = type(sheet.given)(sheet.given.value[None], known[None])
    canvas = draw(say(model.network.backbone, [[], []]), writer, (len(known),), 2, Draws([0]), given=start)
    assert canvas.known.all() and (canvas.value != dialogue.mask).all()
    assert torch.equal(canvas.value[0][known], sheet.given.value[known])
    kinds = writer.port.kinds(len(known))
    assert torch.equal(canvas.value[0] > dialogue.mask, kinds == 1)


def test_other_sizes_where_positions_are_known(interleaved: Model) -> None:
    side = interleaved.image_size[0]
    assert interleaved.dialogue.grid(Options(size=(2 * side, 2 * side))) == (32, 32)
    with pytest.raises(InputError, match="sides of"):
        interleaved.dialogue.grid(Options(size=(side, 2 * side)))


# --- the network -------------------------------------------------------------------------------------------


def test_pictures_are_numbered_and_seen_as_their_codes(interleaved: Model) -> None:
    net: Any = interleaved.network
    pixels = [interleaved.dialogue.source(picture(seed)) for seed in (0, 1)]
    made = [Made(net.encode(p[None])[0], net.size(Seen(p))) for p in pixels]
    seen, told = net.read([[Ids([1]), *map(Seen, pixels)], [Ids([1]), *made]])
    assert all(torch.equal(a.x, b.x) and a.span == b.span for a, b in zip(seen, told, strict=True))
    first, second = net.read([[made[0], made[0]]])[0]
    assert torch.allclose(second.x - first.x, (net.counts[1] - net.counts[0]).expand_as(first.x), atol=1e-6)
    with pytest.raises(InputError, match="at most 16"):
        net.read([[made[0]] * 17])


@pytest.mark.parametrize("golden", SETS, ids=lambda golden: golden.name)
def test_every_published_tensor_is_claimed(golden: GoldenSet) -> None:
    """Names and shapes of the real checkpoints against networks of the real size, without memory."""
    (vq_name,) = (name for name in golden.full_keys if name.startswith("vq"))
    vq = {f"vq/{name}": shape for name, shape in golden.full_keys[vq_name]}
    entries = vq["vq/quantize.embedding.weight"]
    real = {"codebook_size": entries[0], "codebook_embed_dim": entries[1], "z_channels": 256, "codebook_l2_norm": True}
    real |= {"encoder_ch_mult": [1, 1, 2, 2, 4], "decoder_ch_mult": [1, 1, 2, 2, 4]}
    for folder in (golden.folder / name for name in golden.full_keys if name != vq_name):
        theirs, config = dict(golden.full_keys[folder.name]), json.loads((folder / "config.json").read_text())
        vocab, width = theirs["vocab_embed.embedding"]
        config["vocab_size"], config["mask_index"] = vocab, vocab - entries[0] - 1
        depth = len({name.split(".")[1] for name in theirs if name.startswith("blocks.")})
        config["config"]["model"] |= {"hidden_size": width, "n_blocks": depth, "n_heads": 16}
        config["companions"] = {"vq": Found(golden.folder / "vq", real)}
        with torch.device("meta"):
            network = UniDisc.build(config)
        for wrapped in ("", "module.", "_orig_mod."):
            shapes = {wrapped + name: shape for name, shape in theirs.items()} | vq
            ours = {name: tuple(t.shape) for name, t in network.state_dict().items()}
            assert len(UniDisc.layout(config).check(shapes, ours)) == len(shapes)


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_weights_go_back_as_they_came(folder: Path) -> None:
    found = diptych.load(folder, device="cpu", dtype="float32")
    checkpoint = Checkpoint(folder)
    back = UniDisc.layout({}).write(found.network.state_dict(), list(checkpoint))
    assert back.keys() == set(checkpoint) and all(torch.equal(back[name], checkpoint[name]) for name in checkpoint)


def test_lessons_reach_every_parameter(model: Model) -> None:
    """One text and one image learned apart, and both on one canvas."""
    net, dialogue = model.network, model.dialogue
    grid = dialogue.grid(Options())
    codes, joint = torch.arange(grid[0] * grid[1]) % 60, [Run(6), Run(grid=grid)]
    assert isinstance(dialogue, UniDiscDialogue)
    target = torch.cat([torch.arange(1, 7), codes + dialogue.mask + 1])
    writers = dialogue.lessons() | {"joint": dialogue.joint(joint, Options(guidance=0))}
    rows = [
        [Ids([1, 4, 2]), Learn("image", codes, grid)],
        [Made(codes, grid), Ids([1]), Learn("text", torch.tensor([3, 4, 5, 2]))],
        [Learn("joint", target)],
    ]
    net.requires_grad_(True)
    found = losses(net, writers, rows, Draws([0, 1, 2]))
    assert set(found) == {"image", "text", "joint"} and all(loss > 0 for loss in found.values())
    torch.stack(list(found.values())).sum().backward()
    silent = [n for n, p in net.named_parameters() if p.grad is None and not n.startswith("tokenizer.")]
    net.requires_grad_(False).zero_grad()
    assert not silent


# --- wrong input -------------------------------------------------------------------------------------------


def test_without_a_tokenizer_only_strings_are_refused() -> None:
    found = diptych.load(FOLDERS[0], device="cpu", dtype="float32")
    with pytest.raises(WeightsError, match=r"tokenizer\.json"):
        found.generate("A cat")


def test_wrong_input_names_the_remedy(model: Model) -> None:
    with pytest.raises(InputError, match="text alone"):
        model.chat([picture(), "A cat"], want="image")
    dialogue: Any = model.dialogue
    with pytest.raises(InputError, match="exactly one picture"):
        dialogue.sheet(Request.of("A <m>"))
    if not dialogue.interleaved:
        with pytest.raises(InputError, match="exactly one picture"):
            model.chat("A cat")
        with pytest.raises(InputError, match="begin with fewer"):
            dialogue.render(Request.of([Turn.user(Image(picture()), "cat " * dialogue.length)]))


def test_text_is_guided_too(model: Model) -> None:
    """The second branch sees nothing of the prompt, so without guidance other tokens come out."""
    dialogue, asked = model.dialogue, Request.of([Turn.user("A question", picture())])

    def written(guidance: float) -> list[int]:
        options = Options(steps=4, max_tokens=8, temperature=0.0, guidance=guidance)
        branches = dialogue.text_branches(options)
        rows = model.network.read([dialogue.render(asked, branch=branch) for branch in branches])
        context = say(model.network.backbone, rows)
        *_, (_, canvas) = write(context, dialogue.text(options), 8, Draws([0]), None, len(branches))
        return canvas.value[0].tolist()

    assert len(dialogue.text_branches(Options())) == 2 and dialogue.text_branches(Options(guidance=0)) == ("full",)
    assert written(50.0) != written(0.0)

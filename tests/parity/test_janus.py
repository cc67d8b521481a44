"""Janus and Janus-Pro against the official code's numbers, case by case."""

import math
import re
from functools import cache
from itertools import groupby
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from PIL import Image as Pillow
from torch import Tensor

import diptych
from diptych.canvas import Draws
from diptych.encoders.preprocess import to_uint8
from diptych.models.family import Options
from diptych.models.model import Model
from diptych.models.network import Ids, Made, Piece, Seen
from diptych.objectives.tokens import Token, argmax, sample
from diptych.samplers.conversation import cut, draw, say, write
from diptych.training.batches import Learn, losses
from diptych.types import Image, Request, Text, Turn
from tests.parity.sets import Case, GoldenSet, close, run_case, sets_of
from tests.parity.tape import Tape

SETS = sets_of("janus")
CASES = [pytest.param(golden, name, id=f"{golden.name}-{name}") for golden in SETS for name in golden.cases]
PLACEHOLDER = "<image_placeholder>"


@cache
def model(golden: GoldenSet) -> Model:
    return diptych.load(golden.folder, device="cpu", dtype="float32")


def network(golden: GoldenSet) -> Any:
    return model(golden).network


def images(golden: GoldenSet) -> list[Pillow.Image]:
    names = sorted((n for n in golden.cases if n.startswith("preprocess")), key=lambda n: int(n[10:]))
    return [Pillow.fromarray(golden.cases[name].inputs["image"].numpy()) for name in names]


def turns(golden: GoldenSet, conversation: list[dict[str, Any]], used: list[int]) -> list[Turn]:
    """An official conversation as turns; the last, empty one is the reply to be written."""
    pictures = iter(used)
    found = []
    for message in conversation[:-1]:
        parts: list[Text | Image] = []
        for piece in re.split(f"({PLACEHOLDER})", message["content"]):
            if piece == PLACEHOLDER:
                parts.append(Image(images(golden)[next(pictures)]))
            elif piece:
                parts.append(Text(piece))
        found.append(Turn("user" if "User" in message["role"] else "assistant", tuple(parts)))
    return found


def rendered(golden: GoldenSet, name: str) -> list[list[Piece]]:
    asked = golden.prompts["tiny_set"]["und"][name]
    requests = [Request(tuple(turns(golden, c["conversation"], c["images"]))) for c in asked]
    return [model(golden).dialogue.render(request) for request in requests]


def official_ids(golden: GoldenSet, pieces: list[Piece]) -> list[int]:
    """Our pieces as the official processor would spell them: a placeholder id for each image token."""
    tokenizer = model(golden).dialogue.tokenizer
    count = golden.json("processor_config.json")["num_image_tokens"]
    ids: list[int] = []
    for piece in pieces:
        ids += piece.ids if isinstance(piece, Ids) else [tokenizer.special(PLACEHOLDER)] * count
    return ids


# --- reading -------------------------------------------------------------------------------------------------


def preprocess(golden: GoldenSet, name: str, case: Case) -> None:
    pixels = model(golden).dialogue.preprocess(Pillow.fromarray(case.inputs["image"].numpy()))
    close(pixels, case.outputs["pixel_values"], name=name)


def vision(golden: GoldenSet, name: str, case: Case) -> None:
    pixels = case.inputs["pixel_values"]
    close(network(golden).eyes["encoder"](pixels), case.outputs["features"], name="features")
    close(torch.stack(network(golden).see(list(pixels))), case.outputs["aligned"], name="aligned")


def understand(golden: GoldenSet, name: str, case: Case) -> None:
    rows = rendered(golden, name)
    mask = case.inputs["attention_mask"].bool()
    for pieces, ids, own in zip(rows, case.inputs["input_ids"], mask, strict=True):
        assert official_ids(golden, pieces) == ids[own].tolist()
    # a row without pictures has zeros where the official batch pads
    seen = [piece.pixels for pieces in rows for piece in pieces if isinstance(piece, Seen)]
    given = case.inputs["pixel_values"].flatten(0, 1)[case.inputs["images_emb_mask"].flatten(0, 1).any(-1)]
    close(torch.stack(seen), given, name="pixel_values")
    segments = network(golden).read(rows)
    for sample_, own, embeds in zip(segments, mask, case.outputs["inputs_embeds"], strict=True):
        close(torch.cat([s.x for s in sample_]), embeds[own], name="inputs_embeds")
    close(model(golden).logits(rows)[mask], case.outputs["logits"][mask], name="logits")
    answers(golden, rows, case)


def answers(golden: GoldenSet, rows: list[list[Piece]], case: Case) -> None:
    """Greedy text, and the logits of each of its steps."""
    official = case.outputs["generated_ids"]
    steps = official.shape[1]
    dialogue, net = model(golden).dialogue, network(golden)
    context = say(net.backbone, net.read(rows))
    *_, (_, canvas) = write(context, dialogue.text(Options(max_tokens=steps)), steps, Draws([0] * len(rows)))
    for ours, theirs in zip(canvas.value, official, strict=True):
        assert cut(ours, dialogue.stops) == cut(theirs, dialogue.stops)
    forced = [[*pieces, Ids(ids.tolist())] for pieces, ids in zip(rows, official, strict=True)]
    for row, logits, ids, scores in zip(
        rows, model(golden).logits(forced), official, case.outputs["generated_logits"], strict=True
    ):
        written = len(cut(ids, dialogue.stops)[0])
        close(logits[-steps - 1 : -1][:written], scores[:written], name=f"generated logits of {len(row)} pieces")


def text_loss(golden: GoldenSet, name: str, case: Case) -> None:
    """Labels are the ids of und_single where they are learned, image tokens never."""
    labels = iter(case.inputs["labels"][0].tolist())
    row: list[Piece | Learn] = []
    for piece in rendered(golden, "und_single")[0]:
        if isinstance(piece, Seen):
            row.append(piece)
            count = golden.json("processor_config.json")["num_image_tokens"]
            assert [next(labels) for _ in range(count)] == [-100] * count
            continue
        for learned, run in groupby(((i, next(labels)) for i in piece[0]), key=lambda pair: pair[1] != -100):
            ids = [i for i, _ in run]
            row.append(Learn("text", torch.tensor(ids)) if learned else Ids(ids))
    writer = model(golden).dialogue.text(Options())
    close(losses(network(golden), {"text": writer}, [row], Draws([0, 0]))["text"], case.outputs["loss"], name="loss")


# --- the tokenizer -------------------------------------------------------------------------------------------


def vq_encode(golden: GoldenSet, name: str, case: Case) -> None:
    tokenizer, pixels = network(golden).tokenizer, case.inputs["pixels"]
    found = tokenizer.quantise(pixels)
    close(found.z, F.normalize(case.outputs["z"], dim=1), name="z")
    close(found.quant, case.outputs["quant"], name="quant")
    close(tokenizer.encode(pixels), case.outputs["codes"], name="codes")
    close(tokenizer.reconstruct(pixels), case.outputs["reconstruction"], name="reconstruction")


def vq_decode(golden: GoldenSet, name: str, case: Case) -> None:
    close(network(golden).tokenizer.decode(case.inputs["codes"]), case.outputs["pixels"], name="pixels")


def vq_train(golden: GoldenSet, name: str, case: Case) -> None:
    found = network(golden).tokenizer.quantise(case.inputs["pixels"]).losses
    close(found["codebook"], case.outputs["vq_loss"], name="vq_loss")
    close(found["commitment"], case.outputs["commit_loss"], name="commit_loss")
    assert case.outputs["entropy_loss_times_ratio"] == 0


# --- writing -------------------------------------------------------------------------------------------------


def branches(golden: GoldenSet, ids: Tensor, count: int) -> list[list[Piece]]:
    """The conditional rows, then the unconditional ones; ours must spell the official prompt."""
    request = Request.of(golden.prompts["tiny_set"]["gen"]["prompt"], "image")
    full, blind = (model(golden).dialogue.render(request, branch=b) for b in ("full", "no_text"))
    assert official_ids(golden, full) == ids.tolist()
    return [full] * count + [blind] * count


def forced_logits(golden: GoldenSet, rows: list[list[Piece]], codes: Tensor) -> Tensor:
    """codes [R, N] in one pass after the prompts -> logits [R, N, codes]."""
    net = network(golden)
    spoken = [[*row, Made(own, (len(own),))] for row, own in zip(rows, codes, strict=True)]
    hidden = say(net.backbone, net.read(spoken)).last_hidden
    assert hidden is not None
    return net.draw.head(hidden[:, -codes.shape[1] - 1 : -1], None)


def gen_step(golden: GoldenSet, name: str, case: Case) -> None:
    tokens = case.inputs["tokens"]
    rows = branches(golden, tokens[0], 1)
    assert official_ids(golden, rows[1]) == tokens[1].tolist()
    net = network(golden)
    hidden = say(net.backbone, net.read(rows)).last_hidden
    assert hidden is not None
    close(hidden, case.outputs["hidden"], name="hidden")
    conditional, unconditional = net.draw.head(hidden[:, -1:], None)[:, 0]
    close(conditional, case.outputs["logits_cond"], name="logits_cond")
    close(unconditional, case.outputs["logits_uncond"], name="logits_uncond")
    writer = model(golden).dialogue.image(Options(guidance=float(case.inputs["cfg_weight"])))
    parts = torch.stack([conditional, unconditional])[:, None, None]
    close(writer.guide(parts, None, None)[0, 0], case.outputs["logits_cfg"], name="logits_cfg")  # type: ignore[arg-type]


def gen_teacher(golden: GoldenSet, name: str, case: Case) -> None:
    codes = case.inputs["codes"]
    rows = branches(golden, case.inputs["prompt_ids"], len(codes))[: len(codes)]
    close(network(golden).draw.tokens(codes), case.outputs["code_embeds"], name="code_embeds")
    close(forced_logits(golden, rows, codes), case.outputs["logits"], name="logits")
    learned = [[*row, Learn("image", own)] for row, own in zip(rows, codes, strict=True)]
    writer = model(golden).dialogue.image(Options())
    found = losses(network(golden), {"image": writer}, learned, Draws([0] * len(codes)))["image"]
    close(found, case.outputs["cross_entropy"], name="cross_entropy")


def generate(golden: GoldenSet, name: str, case: Case) -> None:
    """The whole loop: codes equal, logits of every step before guidance, pixels, pictures."""
    official = case.outputs["tokens"]
    count, slots = official.shape
    rows = branches(golden, case.inputs["prompt_ids"], count)
    net, side = network(golden), math.isqrt(slots)
    writer = model(golden).dialogue.image(Options(guidance=float(case.inputs["cfg_weight"])))
    draws: Draws = Draws([0] * count)
    if name.startswith("gen_greedy"):
        writer.objective = Token(argmax)
    else:
        # the official run divided by the Python float that float32 stores nearest
        writer.objective = Token(sample(round(float(case.inputs["temperature"]), 6)))
        draws = Tape(uniform=case.inputs["uniforms"])
        draws.generators = [torch.Generator()] * count
    canvas = draw(say(net.backbone, net.read(rows)), writer, (side, side), 2, draws)
    close(canvas.value, official, name="tokens")
    logits = forced_logits(golden, rows, official.repeat(2, 1)).unflatten(0, (2, count)).transpose(1, 2)
    close(logits[0], case.outputs["logits_cond"], name="logits_cond")
    close(logits[1], case.outputs["logits_uncond"], name="logits_uncond")
    pixels = net.decode(canvas.value, canvas.grid)
    close(pixels, case.outputs["pixels"], name="pixels")
    gap = to_uint8(pixels, "trunc").int() - case.outputs["images_uint8"].int()
    assert gap.abs().max() <= 1


CHECKS = {
    "preprocess": preprocess,
    "vision": vision,
    "und": understand,
    "text_loss": text_loss,
    "vq_encode": vq_encode,
    "vq_decode": vq_decode,
    "vq_train": vq_train,
    "gen_step": gen_step,
    "gen_teacher": gen_teacher,
    "gen_greedy": generate,
    "gen_sample": generate,
}


@torch.inference_mode()
@pytest.mark.parametrize(("golden", "name"), CASES)
def test_case(golden: GoldenSet, name: str) -> None:
    run_case(CHECKS, golden, name)


@pytest.mark.parametrize("golden", SETS, ids=lambda golden: golden.name)
def test_prompts(golden: GoldenSet) -> None:
    """Every prompt string of the set, as the tokenizer reads it."""
    dialogue, tiny = model(golden).dialogue, golden.prompts["tiny_set"]
    for name, asked in tiny["und"].items():
        for pieces, conversation in zip(rendered(golden, name), asked, strict=True):
            text = conversation["prompt"].replace(PLACEHOLDER, "")
            shown = "".join(dialogue.tokenizer.decode(p.ids, specials=True) for p in pieces if isinstance(p, Ids))
            for mark in ("<begin_of_image>", "<end_of_image>", "<｜begin▁of▁sentence｜>"):
                shown = shown.replace(mark, "")
            assert shown == text
    (piece,) = dialogue.render(Request.of(tiny["gen"]["prompt"], "image"))
    assert isinstance(piece, Ids)
    assert dialogue.tokenizer.decode(piece.ids[1:], specials=True) == tiny["gen"]["full_prompt"]


def test_sets_are_there() -> None:
    assert SETS, "no Janus set was found; tests/fixtures/parity must hold one"

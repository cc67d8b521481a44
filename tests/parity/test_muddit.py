"""Muddit against the official code's numbers, case by case."""

from dataclasses import replace
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor

import diptych
from diptych.backbone.packing import Segment, pack
from diptych.canvas import Canvas, Draws, Writer
from diptych.models.family import Options
from diptych.models.model import Model
from diptych.models.network import Ids, Made, Piece, Seen
from diptych.models.streams import PictureStream, WordStream
from diptych.objectives.timed import Timed
from diptych.samplers.conversation import say
from diptych.samplers.loop import blank, visits
from diptych.training.batches import Learn, losses
from diptych.types import Request
from tests.parity.sets import Case, GoldenSet, close, run_case, sets_of
from tests.parity.tape import Tape

SETS = sets_of("muddit")
CASES = [pytest.param(golden, name, id=f"{golden.name}-{name}") for golden in SETS for name in golden.cases]
PIXELS = 5e-4


@cache
def model(golden: GoldenSet) -> Model:
    return diptych.load(golden.folder, device="cpu", dtype="float32")


def network(golden: GoldenSet) -> Any:
    return model(golden).network


def dialogue(golden: GoldenSet) -> Any:
    return model(golden).dialogue


def pixel_size(golden: GoldenSet, grid: tuple[int, int]) -> tuple[int, int]:
    factor = network(golden).tokenizer.factor
    return grid[0] * factor, grid[1] * factor


def shown(pixels: Tensor) -> Tensor:
    """As the official pipeline has them, in [0, 1]."""
    return ((pixels + 1) / 2).clip(0, 1)


# --- parts ---------------------------------------------------------------------------------------------------


def text_encoder(golden: GoldenSet, name: str, case: Case) -> None:
    states = network(golden).text(case.inputs["input_ids"])
    close(states.hidden, case.outputs["encoder_hidden_states"], name="encoder_hidden_states")
    close(states.pooled, case.outputs["pooled"], name="pooled")


def vq_encode(golden: GoldenSet, name: str, case: Case) -> None:
    pixels, codes = case.inputs["pixels"], case.outputs["codes"]
    close(network(golden).tokenizer.latent(pixels), case.outputs["latents"], name="latents")
    close(network(golden).encode(2 * pixels - 1), codes.flatten(1), name="codes")


def vq_decode(golden: GoldenSet, name: str, case: Case) -> None:
    codes = case.inputs["codes"]
    close(network(golden).tokenizer.decode(codes), case.outputs["raw"], PIXELS, name="raw")
    pixels = network(golden).decode(codes.flatten(1), tuple(codes.shape[1:]))
    close(shown(pixels), case.outputs["pixels"], PIXELS, name="pixels")


def forward(golden: GoldenSet, name: str, case: Case) -> None:
    """Both heads after one forward of rows that hold text, condition and picture."""
    net, given, codes = network(golden), case.inputs, case.inputs["image_ids"]
    grid = tuple(codes.shape[1:])
    words = torch.cat([net.pooled(given["pooled"])[:, None], net.words_in(given["encoder_hidden_states"])], 1)
    opening, picture = net.opening(given["timestep"], given["micro_conds"]), net.picture(codes)
    port = PictureStream(net, given["micro_conds"], grid)
    spans = [net.text_span, *(span for _, span in port.spans(2 + picture.shape[1]))]
    packed = pack([list(map(Segment, parts, spans)) for parts in zip(words, opening, picture, strict=True)])
    length, places = words.shape[1], given["img_ids"]
    assert packed.cell is not None and torch.equal(packed.cell[0, length + 2 :], places[:, 1:].float())
    assert not packed.position.any() and not places[:, 0].any()
    hidden = net.backbone(packed)
    logits = port.head(hidden[:, length:], None)
    close(logits.transpose(1, 2).unflatten(2, grid), case.outputs["image_logits"], name="image_logits")
    text = WordStream(net, given["micro_conds"]).head(torch.cat([opening, hidden[:, :length]], 1), None)
    close(text, case.outputs["text_logits"], name="text_logits")


# --- writing -------------------------------------------------------------------------------------------------


class Watched:
    """A writer whose guidance is overheard: branches [G, B, N, C] and guided logits [B, N, C] of every visit."""

    def __init__(self, writer: Writer):
        self.parts: list[Tensor] = []
        self.guided: list[Tensor] = []
        self.writer = replace(writer, guide=self.guide)
        self._guide = writer.guide

    def guide(self, parts: Tensor, canvas: Any, step: Any) -> Tensor:
        self.parts.append(parts)
        self.guided.append(self._guide(parts, canvas, step))
        return self.guided[-1]


def tape(case: Case, batch: int) -> Tape:
    """Recorded chance; `batch` generators that are never asked."""
    draws = Tape(exponential=case.inputs["exponential"], uniform=case.inputs["uniform"])
    draws.generators = [torch.Generator()] * batch
    return draws


def filled(net: Any, writer: Writer, rows: list[list[Piece]], start: Canvas, branches: int, draws: Draws) -> Any:
    """What enters each visit [N, B, slots], -1 where slots are open, and the canvas after the last."""
    canvases = [
        start,
        *(canvas for _, canvas in visits(say(net.backbone, net.read(rows)), writer, start, branches, draws)),
    ]
    entering = torch.stack([torch.where(c.known, c.value, -1) for c in canvases[:-1]])
    assert canvases[-1].known.all()
    return entering, canvases[-1]


def prompts(golden: GoldenSet, texts: list[str], ids: Tensor) -> list[list[Piece]]:
    """Rows of padded ids, which must be the official ones."""
    ours = [dialogue(golden).prompt(text) for text in texts]
    assert ours == ids.tolist()
    return [[Ids(own)] for own in ours]


def t2i(golden: GoldenSet, name: str, case: Case) -> None:
    """Text to image; what is there already stays (`t2i_given_latents`)."""
    net, settings, official = network(golden), case.settings, case.outputs["steps_input"]
    batch, grid = official.shape[1], tuple(official.shape[2:])
    rows = prompts(golden, settings["prompts"], case.inputs["prompt_ids"])
    guided = settings["guidance_scale"] > 1
    if guided:
        rows += prompts(golden, [settings["negative"]] * batch, case.inputs["negative_ids"])
    options = Options(
        guidance=settings["guidance_scale"],
        steps=settings["steps"],
        temperature=settings["temperature"][0],
        size=pixel_size(golden, grid),
    )
    watched = Watched(dialogue(golden).image(options))
    assert len(dialogue(golden).branches(Request.of("a cat", "image"), options)) == 1 + guided
    if "micro_conds" in case.inputs:
        close(watched.writer.port.sizes[None], case.inputs["micro_conds"], name="micro_conds")
    draws = tape(case, batch)
    start = blank(watched.writer, batch, grid, draws, "cpu")
    if "latents" in case.inputs:
        latents = case.inputs["latents"].flatten(1)
        start = replace(start, value=latents, known=latents != net.mask)
    times = torch.tensor([step.time for step in watched.writer.schedule(start)])
    close(times[:, None], case.inputs.get("timesteps", times[:, None]), name="timesteps")
    entering, canvas = filled(net, watched.writer, rows, start, 1 + guided, draws)
    close(torch.where(entering < 0, net.mask, entering), official.flatten(2), name="steps_input")
    close(canvas.value, case.outputs["tokens"].flatten(1), name="tokens")

    def maps(logits: Tensor) -> Tensor:
        return logits.transpose(1, 2).unflatten(2, grid)

    close(maps(watched.guided[0]), case.outputs["to_scheduler_step0"], name="to_scheduler_step0")
    close(maps(watched.guided[-1]), case.outputs["to_scheduler_last"], name="to_scheduler_last")
    if "logits_cond_step1" in case.outputs:
        for part, branch in zip(watched.parts[1], ("cond", "uncond"), strict=True):
            close(maps(part), case.outputs[f"logits_{branch}_step1"], name=f"logits_{branch}_step1")
    close(shown(net.decode(canvas.value, grid)), case.outputs["pixels"], PIXELS, name="pixels")


def i2t(golden: GoldenSet, name: str, case: Case) -> None:
    """Image to text: ids drawn on the way, and the reply, which is what the last visit finds likeliest."""
    net, talk, settings, pixels = network(golden), dialogue(golden), case.settings, case.inputs["image"]
    batch, grid = len(pixels), tuple(case.inputs["codes"].shape[1:])
    close(net.encode(2 * pixels - 1), case.inputs["codes"].flatten(1), name="codes")
    rows: list[list[Piece]] = [[Seen(2 * own - 1)] for own in pixels]
    writer = talk.text(Options(steps=settings["steps"], temperature=settings["temperature"][0]))
    writer.port = WordStream(net, talk.sizes(*pixel_size(golden, grid)))
    drawing = Watched(replace(writer, objective=Timed()))
    start = blank(writer, batch, (talk.length,), Draws([0] * batch), "cpu")
    if settings["prompts"]:
        value, known = zip(*(talk.given(Request.of(prompt)) for prompt in settings["prompts"]), strict=True)
        start = replace(start, value=torch.stack(value), known=torch.stack(known))
    assert start.known.sum(1).tolist() == settings["question_len"]
    mask, official = net.text.config.vocab, case.outputs["steps_input"]
    assert mask == settings["mask_id"]
    entering, canvas = filled(net, drawing.writer, rows, start, 1, tape(case, batch))
    close(torch.where(entering < 0, mask, entering), official, name="steps_input")
    close(canvas.value, case.outputs["tokens"], name="tokens")
    close(drawing.guided[0], case.outputs["to_scheduler_step0"], name="to_scheduler_step0")
    close(drawing.guided[-1], case.outputs["to_scheduler_last"], name="to_scheduler_last")
    states = net.text(official[1])
    close(states.hidden, case.outputs["encoder_hidden_states_step1"], name="encoder_hidden_states_step1")
    close(states.pooled, case.outputs["pooled_step1"], name="pooled_step1")
    _, canvas = filled(net, writer, rows, start, 1, tape(case, batch))
    close(canvas.value, case.outputs["argmax_last_logits"], name="argmax_last_logits")
    replies = [talk.spell(ids[~given].tolist()) for ids, given in zip(canvas.value, start.known, strict=True)]
    assert replies == settings["returned_text"]
    if "pixels" in case.outputs:
        close(shown(net.decode(case.inputs["codes"], grid)), case.outputs["pixels"], PIXELS, name="pixels")


# --- learning ------------------------------------------------------------------------------------------------


class Overheard(Timed):
    """What was hidden, for comparison."""

    def corrupt(self, target: Tensor, grid: tuple[int, ...], draws: Draws, given: Tensor | None = None) -> Any:
        self.canvas, step = super().corrupt(target, grid, draws, given)
        return self.canvas, step


def overheard(writer: Writer, port: Any) -> Writer:
    ours: Any = writer.objective
    return replace(writer, port=port, objective=Overheard(clock=ours.clock, least=ours.least))


def loss(golden: GoldenSet, name: str, case: Case) -> None:
    """The first half of a batch is drawn, the second half described."""
    net, settings, given = network(golden), case.settings, case.inputs
    half, side = len(given["images"]) // 2, network(golden).tokenizer.factor
    grid = (given["images"].shape[2] // side, given["images"].shape[3] // side)
    assert [dialogue(golden).prompt(text) for text in settings["prompts"]] == given["input_ids"].tolist()
    codes, ids = net.encode(2 * given["images"] - 1), given["input_ids"]
    told = ids[:half].clone()
    if settings["cond_dropout_prob"] > 0:  # as published, the condition is kept where it should have been dropped
        dropped = given["u_cond_dropout"].flatten() >= settings["cond_dropout_prob"]
        told[dropped] = torch.tensor(dialogue(golden).prompt(""))
    questions = given.get("question_len", torch.zeros(half, dtype=torch.long)).tolist()
    rows: list[Any] = [[Ids(i.tolist()), Learn("image", c, grid)] for i, c in zip(told, codes, strict=False)]
    described = zip(codes[half:], ids[half:], questions, strict=True)
    rows += [[Made(c, grid), Learn("text", i, None, question)] for c, i, question in described]
    sizes = given["micro_conds"].split(half)
    writers = {
        "image": overheard(dialogue(golden).image(Options()), PictureStream(net, sizes[0], grid)),
        "text": overheard(dialogue(golden).text(Options()), WordStream(net, sizes[1])),
    }
    order = ("u_sigma_image", "u_perm_image", "u_sigma_text", "u_perm_text")
    found = losses(net, writers, rows, Tape(uniform=[given[key] for key in order]))
    for kind, target in (("image", codes[:half]), ("text", ids[half:])):
        canvas: Any = writers[kind].objective.canvas  # type: ignore[attr-defined]
        close(canvas.memo, case.outputs[f"{kind}_mask_prob"], name=f"{kind}_mask_prob")
        close(torch.where(canvas.known, -100, target), case.outputs[f"{kind}_labels"], name=f"{kind}_labels")
        close(found[kind], case.outputs[f"{kind}_loss"], name=f"{kind}_loss")
    canvas = writers["image"].objective.canvas  # type: ignore[attr-defined]
    masked = torch.where(canvas.known, codes[:half], net.mask).unflatten(1, grid)
    close(masked, case.outputs["masked_image_ids"], name="masked_image_ids")
    total = found["image"] + settings["text_loss_weight"] * found["text"]
    close(total, case.outputs["loss"], name="loss")


CHECKS = {
    "text_encoder": text_encoder,
    "vq_encode": vq_encode,
    "vq_decode": vq_decode,
    "forward": forward,
    "t2i": t2i,
    "i2t": i2t,
    "loss": loss,
}


@torch.inference_mode()
@pytest.mark.parametrize(("golden", "name"), CASES)
def test_case(golden: GoldenSet, name: str) -> None:
    run_case(CHECKS, golden, name)


def test_sets_are_there() -> None:
    assert SETS, "no Muddit set was found; tests/fixtures/parity must hold one"

"""JanusFlow against the official code's numbers, case by case."""

from typing import Any

import pytest
import torch
from torch import Tensor

from diptych.backbone.uvit import Entered
from diptych.canvas import Canvas, Step
from diptych.encoders.preprocess import to_uint8
from diptych.models.family import Options
from diptych.models.janusflow import VAE, JanusFlow
from diptych.models.network import Ids, Piece, Seen
from diptych.objectives.flow import Flow, waves
from diptych.objectives.tokens import whole
from diptych.samplers.conversation import say
from diptych.samplers.loop import blank, visits
from diptych.training.batches import Learn, losses
from diptych.types import Request
from diptych.weights.files import Checkpoint
from tests.parity.sets import Case, GoldenSet, close, run_case, sets_of
from tests.parity.tape import Tape
from tests.parity.test_janus import PLACEHOLDER, answers, model, network, preprocess, rendered

SETS = sets_of("janusflow")
CASES = [pytest.param(golden, name, id=f"{golden.name}-{name}") for golden in SETS for name in golden.cases]
EVERY_SET = pytest.mark.parametrize("golden", SETS, ids=lambda golden: golden.name)
BEGIN = "<begin_of_image>"


def slots(planes: Tensor) -> Tensor:
    """[..., C, h, w] -> [..., h w, C], row by row."""
    return planes.flatten(-2).transpose(-1, -2)


def official_ids(golden: GoldenSet, pieces: list[Piece]) -> list[int]:
    """Our pieces as the official processor would spell them: of a picture the begin mark and its placeholders."""
    special = model(golden).dialogue.tokenizer.special
    picture = [special(BEGIN), *[special(PLACEHOLDER)] * golden.json("processor_config.json")["num_image_tokens"]]
    return [i for piece in pieces for i in (piece.ids if isinstance(piece, Ids) else picture)]


# --- reading -------------------------------------------------------------------------------------------------


def vision(golden: GoldenSet, name: str, case: Case) -> None:
    pixels, net = case.inputs["pixel_values"], network(golden)
    close(net.encoder(pixels), case.outputs["features"], name="features")
    close(torch.stack(net.see(list(pixels)))[:, 1:], case.outputs["aligned"], name="aligned")


def understand(golden: GoldenSet, name: str, case: Case) -> None:
    rows = rendered(golden, name)
    mask = case.inputs["attention_mask"].bool()
    for pieces, ids, own in zip(rows, case.inputs["input_ids"], mask, strict=True):
        assert official_ids(golden, pieces) == ids[own].tolist()
    seen = [piece.pixels for pieces in rows for piece in pieces if isinstance(piece, Seen)]
    given = case.inputs["pixel_values"].flatten(0, 1)[case.inputs["images_emb_mask"].flatten(0, 1).any(-1)]
    close(torch.stack(seen), given, name="pixel_values")
    for segments, own, embeds in zip(network(golden).read(rows), mask, case.outputs["inputs_embeds"], strict=True):
        close(torch.cat([s.x for s in segments]), embeds[own], name="inputs_embeds")
    close(model(golden).logits(rows)[mask], case.outputs["logits"][mask], name="logits")
    answers(golden, rows, case)


# --- the tokenizer -------------------------------------------------------------------------------------------


def vae_encode(golden: GoldenSet, name: str, case: Case) -> None:
    tokenizer, pixels = network(golden).tokenizer, case.inputs["pixels"]
    mean, logvar = tokenizer.moments(pixels)
    close(mean, case.outputs["mean"], name="mean")
    close((logvar / 2).exp(), case.outputs["std"], name="std")
    close(tokenizer.encode(pixels), case.outputs["z_scaled_mean"], name="z_scaled_mean")
    close(network(golden).encode(pixels), slots(case.outputs["z_scaled_mean"]), name="slots")


def vae_decode(golden: GoldenSet, name: str, case: Case) -> None:
    close(network(golden).tokenizer.decode(case.inputs["z"]), case.outputs["pixels"], name="pixels")


# --- writing -------------------------------------------------------------------------------------------------


def branches(golden: GoldenSet, ids: Tensor, count: int) -> list[list[Piece]]:
    """The conditional rows, then the unconditional ones. Ours must spell the official prompt but for its last id."""
    request = Request.of(golden.prompts["tiny_set"]["gen"]["prompt"], "image")
    full, blind = (model(golden).dialogue.render(request, branch=b) for b in ("full", "no_text"))
    assert official_ids(golden, full) == ids[:-1].tolist()
    return [full] * count + [blind] * count


def gen_encoder(golden: GoldenSet, name: str, case: Case) -> None:
    enter = network(golden).draw.enter
    time = waves(case.inputs["timesteps"], enter.patch.out_channels)
    entered = enter(case.inputs["z"], time)
    close(entered.features, case.outputs["x_emb"], name="x_emb")
    close(entered.time, case.outputs["t_emb"], name="t_emb")


def gen_llm(golden: GoldenSet, name: str, case: Case) -> None:
    """Prompts of ours, then the recorded tokens of time and latents, over the prompts' keys."""
    embeds, mask = case.inputs["inputs_embeds"], case.inputs["attention_mask"].bool()
    ids, net, official = golden.cases["gen"].inputs["prompt_ids"], network(golden), case.outputs["last_hidden_state"]
    prompt = len(ids) - 1
    context = say(net.backbone, net.read(branches(golden, ids, len(embeds) // 2)))
    said = context.last_hidden
    assert said is not None
    full, blind = official[:, :prompt].chunk(2)
    close(said[: len(full)], full, name="prompt")
    close(said[len(full) :, -1], blind[:, 0], name="BOS")
    assert mask[len(full) :].sum(1).tolist() == [1 + embeds.shape[1] - prompt] * len(blind)
    found = context.visit(embeds[:, prompt:], net.draw.spans(embeds.shape[1] - prompt), keep=False)
    close(found, official[:, prompt:], name="latents")


def gen_decoder(golden: GoldenSet, name: str, case: Case) -> None:
    entered = Entered(case.inputs["skip"], case.inputs["t_emb"])
    close(network(golden).draw.leave(case.inputs["x"], entered), case.outputs["v"], name="v")


def gen(golden: GoldenSet, name: str, case: Case) -> None:
    """The whole loop: velocities of both branches and latents of every step, pixels, pictures."""
    noise, expected, net = case.inputs["noise"], case.outputs, network(golden)
    count, steps, grid = len(noise), int(case.inputs["num_inference_steps"]), tuple(noise.shape[-2:])
    writer = model(golden).dialogue.image(Options(steps=steps, guidance=float(case.inputs["cfg_weight"])))
    guide, seen = writer.guide, list[Tensor]()

    def guided(parts: Tensor, canvas: Canvas, step: Step) -> Tensor:
        seen.append(parts)
        return guide(parts, canvas, step)

    writer.guide = guided
    rows = branches(golden, case.inputs["prompt_ids"], count)
    draws = Tape(normal=[slots(noise)])
    start = blank(writer, count, grid, draws, "cpu")
    found = list(visits(say(net.backbone, net.read(rows)), writer, start, 2, draws))
    close(torch.tensor([1000 * float(step.time) for step, _ in found]), expected["timesteps"], name="timesteps")
    before = torch.stack([start.value, *(canvas.value for _, canvas in found[:-1])])
    close(before, slots(expected["z_per_step"]), name="z_per_step")
    close(torch.stack(seen)[:, 0], slots(expected["v_cond"]), name="v_cond")
    close(torch.stack(seen)[:, 1], slots(expected["v_uncond"]), name="v_uncond")
    value = found[-1][1].value
    close(value, slots(expected["z_final"]), name="z_final")
    pixels = net.decode(value, grid)
    close(pixels, expected["pixels"], name="pixels")
    assert torch.equal(to_uint8(expected["pixels"]), expected["images_uint8"])
    gap = to_uint8(pixels).int() - expected["images_uint8"].int()
    assert gap.abs().max() <= 1


def velocity(golden: GoldenSet, name: str, case: Case) -> None:
    """A time for each row, and the loss that training would see."""
    latents, noise, time = (case.inputs[key] for key in ("latents", "noise", "t"))
    net, grid = network(golden), tuple(latents.shape[-2:])
    prompt = Ids(case.inputs["prompt_ids"][:-1].tolist())
    context = say(net.backbone, net.read([[prompt]] * len(latents)))
    t = time.view(-1, 1, 1, 1)
    tokens, entered = net.draw.embed(whole(slots(t * latents + (1 - t) * noise), grid), Step(time=time))
    found = net.draw.head(context.visit(tokens, net.draw.spans(tokens.shape[1]), keep=False), entered)
    close(found, slots(case.outputs["v"]), name="v")
    writer = model(golden).dialogue.lessons()["image"]
    writer.objective = Flow(latents.shape[1], ascending=True)  # times as recorded, not as they would be drawn
    rows = [[prompt, Learn("image", own, grid)] for own in slots(latents)]
    draws = Tape(uniform=[time], normal=[slots(noise)])
    found = losses(net, {"image": writer}, rows, draws)["image"]
    close(found, case.outputs["mse_to_latents_minus_noise"], name="loss")


CHECKS = {
    "preprocess": preprocess,
    "vision": vision,
    "und": understand,
    "vae_encode": vae_encode,
    "vae_decode": vae_decode,
    "gen_encoder": gen_encoder,
    "gen_llm": gen_llm,
    "gen_decoder": gen_decoder,
    "gen": gen,
    "velocity": velocity,
}


@torch.inference_mode()
@pytest.mark.parametrize(("golden", "name"), CASES)
def test_case(golden: GoldenSet, name: str) -> None:
    run_case(CHECKS, golden, name)


# --- names and prompts ---------------------------------------------------------------------------------------


@EVERY_SET
def test_every_published_tensor_is_known(golden: GoldenSet) -> None:
    """At the real sizes; the autoencoder's are those of its tensors."""
    for config, shapes in published(golden):
        with torch.device("meta"):
            ours = JanusFlow.build(config).state_dict()
        claims = JanusFlow.layout(config).check(shapes, {name: tensor.shape for name, tensor in ours.items()})
        assert len(claims) == len(shapes)
        assert [claim.theirs for claim in claims if claim.rule is None and "attn_pool" not in claim.theirs] == []


def published(golden: GoldenSet) -> list[tuple[dict[str, Any], dict[str, tuple[int, ...]]]]:
    """(config, shapes) of every published model that the set knows, each with the autoencoder's."""
    beside = {f"{VAE.name}/{name}": tuple(shape) for name, shape in golden.full_keys[VAE.hub]["keys"]}
    found = []
    for entry in (entry for hub, entry in golden.full_keys.items() if hub != VAE.hub):
        config = entry["config"] | {"companions": {VAE.name: Sizes(autoencoder(beside))}}
        found.append((config, {name: tuple(shape) for name, shape in entry["keys"]} | beside))
    return found


class Sizes:
    """A companion as far as `build` looks at it."""

    def __init__(self, config: dict[str, Any]):
        self.config = config


def autoencoder(shapes: dict[str, tuple[int, ...]]) -> dict[str, Any]:
    """diffusers' config, as the tensors have it."""
    place, levels = f"{VAE.name}/encoder.down_blocks.", range(10)
    widths = [shapes[name][0] for i in levels if (name := f"{place}{i}.resnets.0.conv1.weight") in shapes]
    return {
        "block_out_channels": widths,
        "layers_per_block": sum(f"{place}0.resnets.{i}.conv1.weight" in shapes for i in levels),
        "latent_channels": shapes[f"{VAE.name}/decoder.conv_in.weight"][1],
        "in_channels": shapes[f"{VAE.name}/encoder.conv_in.weight"][1],
        "scaling_factor": 0.13025,
    }


@EVERY_SET
def test_weights_are_written_back(golden: GoldenSet) -> None:
    """From official names to ours and back, bit for bit; only the pooling head, which nothing uses, is not kept."""
    theirs = Checkpoint(golden.folder)
    beside = Checkpoint(golden.folder / VAE.name)
    names = [*theirs, *(f"{VAE.name}/{name}" for name in beside)]
    written = JanusFlow.layout(golden.config).write(network(golden).state_dict(), names)
    assert {name for name in names if name not in written} == {name for name in theirs if "attn_pool" in name}
    for name, tensor in written.items():
        assert torch.equal(tensor, beside[name.split("/")[1]] if "/" in name else theirs[name])


@EVERY_SET
def test_prompts(golden: GoldenSet) -> None:
    """Every prompt string of the set, as the tokenizer reads it."""
    dialogue, tiny = model(golden).dialogue, golden.prompts["tiny_set"]
    for name, asked in tiny["und"].items():
        for pieces, conversation in zip(rendered(golden, name), asked, strict=True):
            shown = dialogue.tokenizer.decode(official_ids(golden, pieces), specials=True)
            count = golden.json("processor_config.json")["num_image_tokens"]
            shown = shown.replace(BEGIN + count * PLACEHOLDER + "<end_of_image>", PLACEHOLDER)
            assert shown == "<｜begin▁of▁sentence｜>" + conversation["prompt"]
    (piece,) = dialogue.render(Request.of(tiny["gen"]["prompt"], "image"))
    assert isinstance(piece, Ids)
    assert dialogue.tokenizer.decode(piece.ids[1:], specials=True) + BEGIN == tiny["gen"]["full_prompt"]
    for official in golden.prompts["official"].values():
        prompt = official["text_to_image_demo"].removeprefix("User: ").removesuffix(f"\n\nAssistant:{BEGIN}")
        (piece,) = dialogue.render(Request.of(prompt, "image"))
        assert dialogue.tokenizer.decode(piece.ids[1:], specials=True) + BEGIN == official["text_to_image_demo"]


def test_sets_are_there() -> None:
    assert SETS, "no JanusFlow set was found; tests/fixtures/parity must hold one"

"""Show-o2 against the official code's numbers, case by case."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from PIL import Image as Pillow
from torch import Tensor

from diptych.attention import dense
from diptych.backbone.packing import pack
from diptych.canvas import Draws, Step
from diptych.encoders.preprocess import to_uint8
from diptych.models.family import Options
from diptych.models.network import Ids, Made, Piece, Traced
from diptych.samplers.conversation import say, write
from diptych.samplers.loop import blank, visits
from diptych.training.batches import Learn, losses
from tests.parity.sets import Case, GoldenSet, close, sets_of
from tests.parity.show_o2_learning import distill, train, train_interleaved
from tests.parity.show_o2_rows import canvas, drawn, hidden, latents, made, model, omni, slots, velocities
from tests.parity.tape import Tape

SETS = sets_of("show_o2")
CASES = [pytest.param(golden, name, id=f"{golden.name}-{name}") for golden in SETS for name in golden.cases]
LOOP = 5e-4  # README: after several steps
INTERP_TIME = 0.6  # of embed_interp: not recorded, found by its velocities


def greedy(found: Any, pieces: list[Piece], steps: int) -> list[int]:
    context = say(found.network.backbone, found.network.read([pieces]))
    writer = replace(found.dialogue.text(Options()), stop=None)
    *_, (_, written) = write(context, writer, steps, Draws([0]))
    return written.value[0].tolist()


def scale(golden: GoldenSet) -> float:
    """The guidance of the set, from its recorded velocities."""
    case = golden.cases["gen_step"].outputs
    full, blind = case["v"].double().chunk(2)
    both = case["v_cfg"].double().chunk(2)[0]
    weight = ((both - blind) * (full - blind)).sum() / (full - blind).square().sum()
    return round(float(weight), 3)


# --- the autoencoder -----------------------------------------------------------------------------------------


def vae_encode(found: Any, golden: GoldenSet, name: str, case: Case) -> None:
    vae, pixels = found.network.tokenizer, case.inputs["pixels"]
    close(vae.encoder(pixels), case.outputs["features"], name="features")
    moments = vae.moments(pixels)
    close(moments.mean, case.outputs["mean"], name="mean")
    close(moments.logvar, case.outputs["logvar"], name="logvar")
    close(vae.encode(pixels, case.inputs["eps"]), case.outputs["sample"], name="sample")


def vae_decode(found: Any, golden: GoldenSet, name: str, case: Case) -> None:
    given = case.inputs["latents"]
    close(found.network.tokenizer.decode(given), case.outputs["raw"], name="raw")
    close(found.network.decode(slots(given), tuple(given.shape[2:])), case.outputs["pixels"], name="pixels")


# --- reading -------------------------------------------------------------------------------------------------


def preproc(found: Any, golden: GoldenSet, name: str, case: Case) -> None:
    rule = found.dialogue.frames if name == "preproc_pad" else found.dialogue.preprocess
    close(rule(Pillow.fromarray(case.inputs["image"].numpy())), case.outputs["pixels"], name="pixels")


def embed(found: Any, golden: GoldenSet, name: str, case: Case) -> None:
    net, given, expected = found.network, case.inputs["latents"], case.outputs
    close(slots(net.paths.meaning_in(given)), expected["und_patch"], name="und_patch")
    close(net.paths.meaning(given), expected["semantic"], name="semantic")
    close(slots(net.paths.look(given)), expected["gen_patch"], name="gen_patch")
    close(net.paths(given), expected["fused"], name="fused")
    time = net.clock(case.inputs["t"])
    close(time, expected["time_embed"], name="time_embed")
    close(net.time_in(time), expected["time_embed_proj"], name="time_embed_proj")


def text_only(found: Any, golden: GoldenSet, name: str, case: Case) -> None:
    pieces: list[Piece] = [Ids(case.inputs["text_tokens"][0].tolist())]
    close(found.logits([pieces]), case.outputs["logits"], name="logits")
    official = case.outputs["tokens"].tolist()
    assert greedy(found, pieces, len(official)) == official


def asked(found: Any, case: Case, picture: Piece) -> list[Piece]:
    """The official text around a picture, between its marks."""
    before, after = (case.inputs[f"text_tokens_{side}"][0].tolist() for side in "ab")
    assert after[:2] == [found.dialogue.marks.opening, found.dialogue.marks.closing]
    return found.dialogue.asked(before, picture, after[2:])


def und(found: Any, golden: GoldenSet, name: str, case: Case) -> None:
    expected, (pixels,), (eps,) = case.outputs, case.inputs["pixels"], case.inputs["eps"]
    picture = Traced(pixels, eps[:, 0])
    (own,) = found.network.trace([picture])
    close(latents(own.slots[None], own.grid), expected["latents"], name="latents")
    pieces = asked(found, case, picture)
    (row,) = found.network.read([pieces])
    width, packed = found.network.backbone.config.width, pack([row])
    omni(packed, expected["modality_positions"])
    close(packed.x[..., :width], expected["input_embeds"], name="input_embeds")
    begin = len(case.inputs["text_tokens_a"][0]) + 2
    close(packed.x[:, begin : begin + expected["image_embeds"].shape[1], :width], expected["image_embeds"])
    close(found.logits([pieces]), expected["logits"], name="logits")
    assert greedy(found, pieces, len(expected["tokens"])) == expected["tokens"].tolist()


def und_only(found: Any, golden: GoldenSet, name: str, case: Case) -> None:
    """As it is trained: the latents of `und`, and a text whose end is learned."""
    labels, (ids,) = case.outputs["text_labels"][0], case.outputs["text_tokens"].tolist()
    ((offset, length),) = case.outputs["modality_positions"][0].tolist()
    first = int((labels == -100).sum())
    assert labels[first:].tolist() == ids[first:]
    picture = made(golden.cases["und"].outputs["latents"], 1.0)
    before, after = Ids(ids[:offset]), ids[offset + length :]
    (row,) = found.network.read([[before, picture, Ids(after)]])
    packed, answer = hidden(found, [row])
    omni(packed, case.outputs["modality_positions"])
    close(found.network.backbone.head(answer), case.outputs["logits"], name="logits")
    told = Ids(after[: first - offset - length])
    lesson = [before, picture, told, Learn("text", labels[first:])]
    mean = losses(found.network, found.dialogue.lessons(), [lesson], Draws([0]))["text"]
    close(mean, case.outputs["loss_ntp"], name="loss_ntp")


def und_video(found: Any, golden: GoldenSet, name: str, case: Case) -> None:
    """The frames are given as latents."""
    frames, expected = case.inputs["latents"], case.outputs
    video = Made(slots(frames).flatten(0, 1), (len(frames), *frames.shape[-2:]))
    pieces = asked(found, case, Traced(torch.zeros(0)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(found.network), "trace", lambda self, pictures: [video] * len(pictures))
        (row,) = found.network.read([pieces])
        packed = pack([row])
        assert packed.x.shape[1] == int(expected["length"])
        omni(packed, expected["modality_positions"])
        tail = len(case.inputs["text_tokens_b"][0]) - 1
        close(packed.x[:, -tail - 8 : -tail, : found.network.backbone.config.width], expected["image_embeds_tail"])
        close(found.logits([pieces])[:, -8:], expected["logits_last8"], name="logits_last8")
        assert greedy(found, pieces, len(expected["tokens"])) == expected["tokens"].tolist()


# --- writing -------------------------------------------------------------------------------------------------


def prompts(found: Any, golden: GoldenSet) -> list[list[Piece]]:
    """Of gen_step: the conditional rows, then the unconditional ones."""
    inputs = golden.cases["gen_step"].inputs
    given = [inputs[k].tolist() for k in sorted(inputs) if k.startswith("prompt_")]
    return [[Ids(found.dialogue.drawn(ids))] for ids in (*given, *[[]] * len(given))]


def gen_step(found: Any, golden: GoldenSet, name: str, case: Case) -> None:
    expected, backbone, noisy = case.outputs, found.network.backbone, canvas(case.inputs["latents"])
    positions, time = expected["modality_positions"], case.inputs["t"]
    for (piece,), ids, ((offset, _),) in zip(
        prompts(found, golden), expected["text_tokens"].tolist(), positions.tolist(), strict=True
    ):
        assert isinstance(piece, Ids) and piece.ids == ids[:offset]
    seen: dict[str, Tensor] = {}
    hooks = [
        backbone.flow.into.register_forward_hook(lambda m, a, out: seen.update(diff_proj=out)),
        backbone.flow.blocks[1].norm_attn.register_forward_pre_hook(lambda m, a: seen.update(head_block0=a[0])),
    ]
    packed, answer = hidden(found, drawn(found, expected["text_tokens"], positions, noisy, time))
    for hook in hooks:
        hook.remove()
    close(dense(packed.visibility, packed.visibility), expected["attention_allowed"].bool(), name="attention_allowed")
    close(answer[..., : backbone.config.width], expected["llm_hidden"], name="llm_hidden")
    close(backbone.head(answer), expected["logits"], name="logits")
    for part in ("diff_proj", "head_block0"):
        close(seen[part], expected[part], name=part)
    velocity = velocities(found, answer, positions, noisy, time)
    close(velocity, expected["v"], name="v")
    guide = found.dialogue.image(Options(guidance=scale(golden))).guide
    guided = guide(velocity.unflatten(0, (2, -1)), noisy, Step())
    close(guided.repeat(2, 1, 1, 1), expected["v_cfg"], name="v_cfg")


def gen_loop(found: Any, golden: GoldenSet, name: str, case: Case) -> None:
    recorded, grid, noise = golden.cases["gen_loop"].outputs, case.inputs["noise"].shape[2:], case.inputs["noise"]
    points, guidance = len(recorded["timesteps"]), 0.0 if name == "gen_loop_nocfg" else scale(golden)
    options = Options(guidance=guidance, steps=points - 1)
    writer, branches = found.dialogue.image(options), len(found.dialogue.branches(None, options))
    rows = prompts(found, golden)[: branches * len(noise)]
    context = say(found.network.backbone, found.network.read(rows))
    draws = Tape(normal=[slots(noise)])
    draws.generators = [torch.Generator()] * len(noise)
    start = blank(writer, len(noise), tuple(grid), draws, "cpu")
    filled = list(visits(context, writer, start, branches, draws))
    times = torch.tensor([step.time for step, _ in filled] + [filled[-1][0].next])
    close(times, recorded["timesteps"], name="timesteps")
    value = filled[-1][1].value
    close(latents(value, grid), case.outputs["latents"], LOOP, name="latents")
    if "trajectory" in case.outputs:
        steps = torch.stack([latents(c.value, grid) for c in (start, *(c for _, c in filled))])
        close(steps, case.outputs["trajectory"], LOOP, name="trajectory")
    if "pixels" in case.outputs:
        pixels = found.network.decode(value, tuple(grid))
        close(pixels, case.outputs["pixels"], LOOP, name="pixels")
        gap = to_uint8(pixels).int() - case.outputs["uint8"].int()
        assert gap.abs().max() <= 1 and (gap != 0).float().mean() < 0.01
        close(to_uint8(case.outputs["pixels"]), case.outputs["uint8"], name="uint8")


def embed_interp(found: Any, golden: GoldenSet, name: str, case: Case) -> None:
    net, given = found.network, case.inputs["latents"]
    height, width = (side // net.paths.patch for side in given.shape[-2:])
    close(net.paths.positions(height, width)[None], case.outputs["pos"], name="pos")
    close(net.paths(given), case.outputs["fused"], name="fused")
    ids, opening = case.outputs["text_tokens"], found.dialogue.marks.opening
    positions = torch.tensor([[[ids[0].tolist().index(opening) + 1, height * width + 1]]])
    noisy, time = canvas(given), INTERP_TIME
    _, answer = hidden(found, drawn(found, ids, positions, noisy, time))
    close(velocities(found, answer, positions, noisy, time), case.outputs["v"], name="v")


def video_step(found: Any, golden: GoldenSet, name: str, case: Case) -> None:
    noisy, time, expected = canvas(case.inputs["latents"]), case.inputs["t"], case.outputs
    positions = expected["modality_positions"]
    packed, answer = hidden(found, drawn(found, expected["text_tokens"], positions, noisy, time))
    omni(packed, positions)
    close(found.network.backbone.head(answer), expected["logits"], name="logits")
    velocity = velocities(found, answer, positions, noisy, time)
    close(velocity, expected["v"], name="v")
    first = torch.arange(noisy.slots)[None] < noisy.slots // noisy.grid[0]
    writer, begun = found.dialogue.image(Options(guidance=0.0)), replace(noisy, known=first)
    moved = writer.objective.draw(slots(velocity)[None], begun, Step(next=1.0), writer.guide, Draws([0])).values
    ours = latents(moved - noisy.value, noisy.grid)
    close(ours, expected["v_first_frame_cond"], name="v_first_frame_cond")


def mixed(found: Any, golden: GoldenSet, name: str, case: Case) -> None:
    dialogue, expected, history = found.dialogue, case.outputs, made(case.inputs["history_latents"])
    begun, went_on = (case.inputs[f"text_{i}"].tolist() for i in range(2))
    opening, closing = Ids([dialogue.marks.opening]), dialogue.marks.closing
    told = dialogue.told(begun, [opening, history, Ids([closing])])
    close(found.logits([told]), expected["logits"], name="logits")
    omni(pack(found.network.read([told])), expected["modality_positions_history"])
    assert greedy(found, told, len(expected["tokens"])) == expected["tokens"].tolist()
    full = dialogue.told(begun, [opening, history, Ids([closing, *went_on, *opening.ids])])
    blind = Ids(dialogue.drawn([]))
    spelt(found, full, expected["text_tokens"][0], expected["modality_positions"][0])
    assert blind.ids == expected["text_tokens"][1, :2].tolist()
    noise = case.inputs["noise"]
    writer = dialogue.image(Options(guidance=scale(golden), steps=3))
    context = say(found.network.backbone, found.network.read([full, [blind]]))
    draws = Tape(normal=[slots(noise)])
    draws.generators = [torch.Generator()]
    start = blank(writer, 1, history.grid, draws, "cpu")
    *_, (_, last) = visits(context, writer, start, 2, draws)
    both = torch.cat([case.inputs["history_latents"], latents(last.value, history.grid)])
    close(both, expected["latents"], LOOP, name="latents")


def spelt(found: Any, pieces: list[Piece], official: Tensor, positions: Tensor) -> None:
    """Our pieces are the official ids as far as they go, pictures where the official ones are."""
    at, begins = 0, []
    for piece in pieces:
        if isinstance(piece, Ids):
            assert piece.ids == official[at : at + len(piece.ids)].tolist()
            at += len(piece.ids)
        else:
            begins.append(at)
            at += int(positions[0, 1])
    assert [*begins, at] == positions[:, 0].tolist()


CHECKS = {
    "vae_image": vae_encode,
    "vae_video": vae_encode,
    "vae_decode_image": vae_decode,
    "vae_decode_video": vae_decode,
    "preproc": preproc,
    "preproc_pad": preproc,
    "embed": embed,
    "embed_interp": embed_interp,
    "text_only": text_only,
    "und": und,
    "und_only": und_only,
    "und_video": und_video,
    "gen_step": gen_step,
    "gen_loop": gen_loop,
    "gen_loop_nocfg": gen_loop,
    "video_step": video_step,
    "mixed": mixed,
    "train": train,
    "train_interleaved": train_interleaved,
    "distill": distill,
}


@torch.inference_mode()
@pytest.mark.parametrize(("golden", "name"), CASES)
def test_case(golden: GoldenSet, name: str) -> None:
    check = CHECKS.get(name)
    assert check is not None, f"no check is written for case {name}"
    check(model(golden), golden, name, golden.cases[name])

"""UniDisc, of fixed length and interleaved, against the official code's numbers, case by case."""

from collections.abc import Sequence
from copy import copy
from dataclasses import replace
from functools import cache
from itertools import groupby, pairwise
from math import isqrt
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor

import diptych
from diptych.attention import Lowering, dense
from diptych.backbone.context import Context
from diptych.backbone.packing import Segment, pack, pack_samples
from diptych.canvas import Canvas, Draws, Step, Writer
from diptych.encoders.area import area_crop
from diptych.models.absorbed import Sampling
from diptych.models.family import Options
from diptych.models.joint import JointNetwork, Run
from diptych.models.model import Model
from diptych.models.network import Ids, Made, Piece
from diptych.models.registry import recognise
from diptych.models.unidisc import BEHIND, UniDiscDialogue
from diptych.objectives.absorbing import Absorbing, allowed, balanced, noise, stratified, substituted
from diptych.samplers.conversation import say
from diptych.samplers.guidance import cfg_rising
from diptych.samplers.loop import blank, look, visits
from diptych.training.batches import IGNORED, Learn, losses
from tests.parity.sets import Case, GoldenSet, close, run_case, sets
from tests.parity.tape import Tape

SETS = [golden for golden in sets() if any(recognise(folder) == "unidisc" for folder in golden.folder.iterdir())]
CASES = [pytest.param(golden, name, id=f"{golden.name}-{name}") for golden in SETS for name in golden.cases]
PIXELS = 3e-4


@cache
def models(golden: GoldenSet) -> dict[bool, Model]:
    """By whether conversations are interleaved."""
    folders = [folder for folder in golden.folder.iterdir() if recognise(folder) == "unidisc"]
    loaded = [diptych.load(folder, device="cpu", dtype="float32") for folder in folders]
    return {found.dialogue.interleaved: found for found in loaded}  # type: ignore[attr-defined]


def of(golden: GoldenSet, name: str) -> tuple[JointNetwork, UniDiscDialogue]:
    model: Any = models(golden)[name.startswith("inter")]
    return model.network, model.dialogue


# --- rows as the official code writes them ---------------------------------------------------------------------


def runs(modality: Tensor) -> list[Run]:
    """Int[N] -> its runs of text and images."""
    found, images = [], 0
    for kind, group in groupby(modality.tolist()):
        n = len(list(group))
        found.append(Run(n) if kind == 0 else Run(grid=(isqrt(n), isqrt(n)), number=images))
        images += kind
    return found


def lengths(layout: Sequence[Run]) -> list[int]:
    return [run.length if run.grid is None else run.grid[0] * run.grid[1] for run in layout]  # type: ignore[misc]


def pieces(net: JointNetwork, ids: Tensor, modality: Tensor) -> list[Piece]:
    """One sample of official ids [N]."""
    layout = runs(modality)
    parts = ids.split(lengths(layout))
    return [
        Ids(part.tolist()) if run.grid is None else Made(part - net.mask - 1, run.grid)
        for run, part in zip(layout, parts, strict=True)
    ]


def samples(case: Case, row: int) -> list[Tensor]:
    """The columns of each sample of a row; of padding too, which comes last."""
    if "sample_ids" not in case.inputs:
        return [torch.arange(case.inputs["modality"].shape[1])]
    of_sample = case.inputs["sample_ids"][row]
    return [(of_sample == s).nonzero()[:, 0] for s in dict.fromkeys(of_sample.tolist())]


def told(net: JointNetwork, case: Case, ids: Tensor) -> Tensor:
    """Official logits of ids [B, N], by way of pieces."""
    rows = []
    for r, row in enumerate(ids):
        parts = [pieces(net, row[columns], case.inputs["modality"][r, columns]) for columns in samples(case, r)]
        rows.append(net.read(parts))
    packed = pack_samples(rows) if max(map(len, rows)) > 1 else pack([row[0] for row in rows])
    if packed.lowering is None:
        of_sample = case.inputs["sample_ids"]
        sees = dense(packed.visibility, packed.visibility) & (of_sample >= 0)[:, None, :, None]
        packed.lowering = Lowering("dense", sees)  # official padding sees nothing, and hears nothing
    return net.backbone.head(net.backbone(packed))


def codes(net: JointNetwork, modality: Tensor) -> Tensor:
    """Bool[B, N, V]: what each slot may be."""
    ids = torch.arange(net.backbone.config.vocab)
    return torch.where(modality[..., None] == 0, ids < net.mask, ids > net.mask)


def forward(golden: GoldenSet, name: str, case: Case) -> None:
    net, _ = of(golden, name)
    ids = case.inputs["input_ids"]
    logits = told(net, case, ids)
    if "positions" in case.outputs:
        close(logits[:, case.outputs["positions"]], case.outputs["logits_at_positions"], name="logits")
        return
    close(logits, case.outputs["logits"], name="logits")
    if "log_probs_subs" not in case.outputs:
        return
    found = substituted(allowed(logits, codes(net, case.inputs["modality"])), ids, ids != net.mask)
    close(found, case.outputs["log_probs_subs"], name="log_probs")
    likely = case.outputs["log_probs_subs"] > -1e5
    close(found[likely], case.outputs["log_probs_subs"][likely], name="log_probs of what can be")


# --- guidance and samplers -------------------------------------------------------------------------------------


def empty(net: JointNetwork, rows: int) -> Context:
    return say(net.backbone, [list[Segment]() for _ in range(rows)])


def started(writer: Writer, ids: Tensor, given: Tensor) -> Canvas:
    canvas = blank(writer, len(ids), (ids.shape[1],), Draws([0] * len(ids)), "cpu")
    return replace(canvas, value=torch.where(given, ids, canvas.value), known=given, given=given)


def guidance(golden: GoldenSet, name: str, case: Case) -> None:
    net, dialogue = of(golden, name)
    x, given, t = case.inputs["x"], case.inputs["x0_unmask"], case.inputs["t"][:, 0]
    writer = dialogue.joint(runs(case.inputs["modality"][0]), Options(guidance=case.settings["cfg"]))
    canvas = replace(started(writer, x, x != net.mask), given=given)
    hidden, _ = look(empty(net, 2 * len(x)), writer, canvas, Step(time=t), 2)
    conditional, unconditional = net.backbone.head(hidden).chunk(2)
    close(conditional, case.outputs["logits_cond"], name="logits_cond")
    close(unconditional, case.outputs["logits_uncond"], name="logits_uncond")
    close(told(net, case, case.inputs["x_uncond"]), case.outputs["logits_uncond"], name="logits_uncond by ids")
    parts = writer.port.head(hidden, None).unflatten(0, (2, len(x)))
    close(writer.guide(parts, canvas, Step(time=t)).softmax(-1), case.outputs["p_x0"], name="p_x0")


class Noise(NamedTuple):
    """What an official run drew, laid out over all positions [step, B, N, ...]; slots of a canvas are some of them."""

    kinds: dict[str, list[Tensor]]

    @classmethod
    def of(cls, case: Case) -> "Noise":
        hidden, found = ~case.inputs["x0_unmask"], {}
        for kind in ("exponential", "uniform", "uniform_tokens"):
            if kind in case.inputs:
                found[kind] = [torch.full((*hidden.shape, t.shape[-1]), 0.5) for t in case.inputs[kind]]
                for whole, drawn in zip(found[kind], case.inputs[kind], strict=True):
                    whole[hidden] = drawn
        if "gumbel" in case.inputs:
            found["gumbel"] = [(-t).exp() for t in case.inputs["gumbel"]]  # the exponential draw it is made of
        if "uniform_order" in case.inputs:
            found["uniform_order"] = list(case.inputs["uniform_order"])
        return cls(found)

    def tape(self, columns: Tensor, ids: slice, mask: int) -> Tape:
        """For a canvas of these columns whose slots are ids of this range."""
        kinds = {kind: [t[:, columns] for t in drawn] for kind, drawn in self.kinds.items()}
        tokens = {kind: [t[..., ids] for t in kinds.get(kind, [])] for kind in ("exponential", "uniform_tokens")}
        stay = [torch.cat([t[..., ids], t[..., mask : mask + 1]], -1) for t in kinds.get("uniform", [])]
        order = kinds.get("uniform_order", [])
        race = [t for pair in zip(tokens["exponential"], kinds.get("gumbel", []), strict=True) for t in pair]
        hit = [t for pair in zip(tokens["uniform_tokens"], order, strict=True) for t in pair]
        return Tape(exponential=race, uniform=[*stay, *hit])


def sampling(golden: GoldenSet, name: str, case: Case) -> tuple[JointNetwork, UniDiscDialogue, Options]:
    """The dialogue set to a case's sampler."""
    net, dialogue = of(golden, name)
    dialogue, settings = copy(dialogue), case.settings
    dialogue.sampling = Sampling(settings["sampler"], settings.get("maskgit_r_temp", 0.0))
    nucleus = {key: settings[key] for key in ("top_p", "temperature") if key in settings}
    return net, dialogue, Options(guidance=settings["cfg"], steps=settings["num_steps"], **nucleus)


def sampler(golden: GoldenSet, name: str, case: Case) -> None:
    """The whole sequence as one canvas, known here and there; then by way of the family's prompts where only an image
    or one stretch of text is open."""
    net, dialogue, options = sampling(golden, name, case)
    x0, given = case.inputs["x0"], case.inputs["x0_unmask"]
    writer = dialogue.joint(runs(case.inputs["modality"][0]), options)
    tape = Noise.of(case).tape(torch.arange(x0.shape[1]), slice(None), net.mask)
    canvas, calls, guided, seen = started(writer, x0, given), 0, [], []
    embed, guide = writer.port.embed, writer.guide

    def counting(*args):
        nonlocal calls
        calls += 1
        return embed(*args)

    def recording(parts, before, step):
        guided.append((calls, guide(parts, before, step)))
        return guided[-1][1]

    writer.port.embed, writer.guide = counting, recording
    for step, after in visits(empty(net, 2 * len(x0)), writer, canvas, 2, tape):
        last = isinstance(step.seen, float)  # the last look is no step of the sampler
        seen += [] if last else [torch.where(canvas.known, canvas.value, net.mask)]
        calls -= last
        canvas = after
    assert canvas.known.all()
    assert calls == case.settings["model_calls"]
    close(torch.stack(seen), case.outputs["steps_input"], name="steps_input")
    close(canvas.value, case.outputs["tokens"], name="tokens")
    second = next(found for looks, found in guided if looks == min(2, calls))
    hidden = seen[min(1, len(seen) - 1)] == net.mask
    close(second.softmax(-1)[hidden], case.outputs["p_x0_step1"], name="p_x0_step1")
    if "image_codes" in case.outputs:
        image = case.inputs["modality"] == 1
        close((canvas.value - net.mask - 1)[image].view(len(x0), -1), case.outputs["image_codes"], name="image_codes")
    by_prompt(golden, name, case)


def by_prompt(golden: GoldenSet, name: str, case: Case) -> None:
    """The same with what is given as context and what is open as a canvas of its own."""
    net, dialogue, options = sampling(golden, name, case)
    x0, modality, given = (case.inputs[key] for key in ("x0", "modality", "x0_unmask"))
    (open_,) = (~given[0]).nonzero().T
    kinds = modality[0, open_]
    apart = (given == given[0]).all() and given.any() and (kinds == kinds[0]).all()
    if not apart or any(b - a != 1 for a, b in pairwise(open_.tolist())):
        return
    first, last = int(open_[0]), int(open_[-1]) + 1
    rows = [
        [
            *pieces(net, ids[:first], modality[0, :first]),
            *(
                p._replace(span=BEHIND) if isinstance(p, Ids) else p
                for p in pieces(net, ids[last:], modality[0, last:])
            ),
        ]
        for ids in x0
    ]
    rows += [[dialogue.hidden(piece) for piece in row] for row in rows]
    drawn = int(kinds[0]) == 1
    writer = dialogue.image(options) if drawn else dialogue.text(options)
    writer.guide = cfg_rising(case.settings["cfg"])
    low = net.mask + 1 if drawn else 0
    ids = slice(low, None) if drawn else slice(0, net.mask)
    if dialogue.sampling.predictor == "maskgit_nucleus":  # noise belongs to places in the order of likelihood
        ids = slice(0, ids.indices(net.backbone.config.vocab)[1] - low)
    tape = Noise.of(case).tape(open_, ids, net.mask)
    grid = dialogue.grid(options) if drawn else (len(open_),)
    start = blank(writer, len(x0), grid, Draws([0] * len(x0)), "cpu")
    *_, (_, canvas) = visits(say(net.backbone, net.read(rows)), writer, start, 2, tape)
    close(canvas.value + low, case.outputs["tokens"][:, open_], name="tokens by way of a prompt")


# --- training ------------------------------------------------------------------------------------------------


class Lot(NamedTuple):
    """Samples of one layout: (row, columns) each, and the draws of their masks."""

    layout: list[Run]
    where: list[tuple[int, Tensor]]
    draws: list[Tensor]

    def take(self, whole: Tensor) -> Tensor:
        return torch.stack([whole[r, columns] for r, columns in self.where])


def lots(case: Case) -> list[Lot]:
    """Padding of packed rows is nobody's sample."""
    found: dict[tuple, list[tuple[int, Tensor]]] = {}
    for r, modality in enumerate(case.inputs["modality"]):
        for columns in samples(case, r):
            if "sample_ids" not in case.inputs or case.inputs["sample_ids"][r, columns[0]] >= 0:
                found.setdefault(tuple(runs(modality[columns])), []).append((r, columns))
    whole = blocks(case)
    times = stratified(case.inputs["u_t"])
    out = []
    for layout, where in found.items():
        rows = [r for r, _ in where]
        draws = [times[rows], torch.stack([case.inputs["u_move"][r, columns] for r, columns in where])]
        if whole is None:
            draws += [case.inputs["u_mask_txt"][rows], case.inputs["u_mask_img"][rows]]
        else:
            draws.append(torch.stack([whole[r, int(columns[0])] for r, columns in where]))
        out.append(Lot(list(layout), where, draws))
    return out


def blocks(case: Case) -> dict[tuple[int, int], Tensor] | None:
    """The draws of each sample's blocks, by its row and first column; None where whole modalities are hidden."""
    if "u_block" not in case.inputs:
        return None
    drawn, found = iter(case.inputs["u_block"][:, 0]), {}
    for r, modality in enumerate(case.inputs["modality"]):
        for columns in samples(case, r):
            if case.inputs["sample_ids"][r, columns[0]] >= 0:
                long = [n for n in lengths(runs(modality[columns])) if n > 4]
                found[r, int(columns[0])] = torch.tensor([float(next(drawn)) for _ in long])
    assert next(drawn, None) is None
    return found


def loss(golden: GoldenSet, name: str, case: Case) -> None:
    net, dialogue = of(golden, name)
    settings = case.settings
    lesson = replace(
        dialogue.lesson, snr=settings["softmin_snr"], whole=settings["mask_entire_modality"], ratio=None,
        antithetic=False,
    )  # fmt: skip
    ids, valid = case.inputs["input_ids"], case.inputs["attention_mask"]
    target = ids.masked_fill(~valid, IGNORED)
    xt, nlls = hidden_ids(case, net), torch.zeros(ids.shape)
    text = image = torch.tensor(0.0)
    for lot in lots(case):
        rows = [[Learn("joint", t)] for t in lot.take(target)]
        share = lot.take(valid).sum() / valid.sum()
        sums = []
        for weights in ((settings["text_loss_weight"], 0.0), (0.0, settings["img_loss_weight"])):
            dialogue = copy(dialogue)
            dialogue.lesson = replace(lesson, text=weights[0], image=weights[1])
            writer = dialogue.joint(lot.layout, Options(guidance=0))
            sums.append(losses(net, {"joint": writer}, rows, Tape(uniform=lot.draws))["joint"] * share)
        text, image = text + sums[0], image + sums[1]
        hide(net, dialogue.joint(lot.layout, Options(guidance=0)), lot, target, xt, nlls)
    if settings.get("set_max_txt_loss_ratio"):
        text = balanced(text, image, float(settings["set_max_txt_loss_ratio"]))
    close(text, case.outputs["txt_loss"], name="txt_loss")
    close(image, case.outputs["img_loss"], name="img_loss")
    close(text + image, case.outputs["loss"], name="loss")
    close(torch.where(xt < 0, ids, xt), case.outputs["xt"], name="xt")
    close(nlls, case.outputs["nlls"], name="nlls")
    rest(case)


def hidden_ids(case: Case, net: JointNetwork) -> Tensor:
    """Before samples are seen: the mask where padding is hidden, which enters nowhere, else OPEN."""
    time = (1 - 1e-3) * stratified(case.inputs["u_t"]) + 1e-3
    moved = case.inputs["u_move"] < Absorbing.chance(time)[:, None]
    if "move_chance" in case.outputs:
        close(Absorbing.chance(time)[:, None], case.outputs["move_chance"], name="move_chance")
    return torch.where(moved, net.mask, -1)


def hide(net: JointNetwork, writer: Writer, lot: Lot, target: Tensor, xt: Tensor, nlls: Tensor) -> None:
    """What a lot's canvases hide, and each hidden slot's surprise with the plain weight of its time."""
    objective: Any = writer.objective
    slots = lot.take(target)
    canvas, step = objective.corrupt(slots, (slots.shape[1],), Tape(uniform=lot.draws))
    hidden, _ = look(empty(net, len(slots)), writer, canvas, step, 1)
    surprise = -writer.port.head(hidden, None).log_softmax(-1).gather(-1, slots.clamp(min=0)[..., None])[..., 0]
    sigma, slope = noise(step.time)
    surprise = surprise * (slope / sigma.expm1())[:, None] * objective.learned(canvas)
    for (r, columns), known, own in zip(lot.where, canvas.known, surprise, strict=True):
        xt[r, columns] = torch.where(known, -1, net.mask)
        nlls[r, columns] = own


def rest(case: Case) -> None:
    """Official by-products: which rows had a whole part hidden, and which tokens its metrics count."""
    chance, drawn = case.settings["mask_entire_modality"], blocks(case)
    if drawn is None:
        text, image = (case.inputs[f"u_mask_{kind}"] < chance / 2 for kind in ("txt", "img"))
        whole = text ^ image
        close(case.inputs["attention_mask"] & ~whole, case.outputs["token_mask"], name="token_mask")
    else:
        whole = torch.zeros(len(case.inputs["modality"]), dtype=torch.bool)
        for (r, _), u in drawn.items():
            whole[r] |= (u < 2 * chance * torch.arange(1, len(u) + 1) / len(u)).any()
    close(whole, case.outputs["ignore_batch_mask"], name="ignore_batch_mask")


# --- pixels --------------------------------------------------------------------------------------------------


def vq(golden: GoldenSet, name: str, case: Case) -> None:
    for model in models(golden).values():
        net: Any = model.network
        if "pixels" in case.inputs:
            pixels = case.inputs["pixels"] * 2 - 1
            close(net.tokenizer.latent(pixels), case.outputs["pre_quant"], name="pre_quant")
            close(net.encode(pixels), case.outputs["codes"], name="codes")
            continue
        slots = case.inputs["codes"]
        raw = net.decode(slots, (isqrt(slots.shape[1]),) * 2)
        close(((raw + 1) / 2).clamp(0, 1), case.outputs["pixels"], PIXELS, name="pixels")
        if "raw" in case.outputs:
            close(raw, case.outputs["raw"], PIXELS, name="raw")


def crop(golden: GoldenSet, name: str, case: Case) -> None:
    for key, official in case.outputs.items():
        drawn = case.inputs.get(f"randint_{key}")
        place = None if drawn is None else (int(drawn[0, 2]), int(drawn[1, 2]))
        image = case.inputs[f"image_{key}"]
        ours = torch.stack([area_crop(pixels, official.shape[-1], place) for pixels in image])
        close(ours, official, name=key)


CHECKS = {
    "static_forward": forward,
    "inter_forward": forward,
    "static_cfg": guidance,
    "static_loss": loss,
    "inter_loss": loss,
    "static_t2i": sampler,
    "static_i2t": sampler,
    "static_joint": sampler,
    "static_unconditional": sampler,
    "inter_t2i": sampler,
    "inter_i2t": sampler,
    "vq_": vq,
    "crop": crop,
}


@torch.inference_mode()
@pytest.mark.parametrize(("golden", "name"), CASES)
def test_case(golden: GoldenSet, name: str) -> None:
    run_case(CHECKS, golden, name)


def test_sets_are_there() -> None:
    assert SETS, "no UniDisc set was found"

"""Transfusion against lucidrains' code, case by case."""

from collections.abc import Sequence
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import diptych
from diptych.canvas import Canvas, Draws, Step, Writer
from diptych.models.family import Options
from diptych.models.model import Model
from diptych.models.network import Ids
from diptych.models.ports import Words
from diptych.models.registry import recognise
from diptych.models.timed import interleaved_times
from diptych.models.transfusion import Kind, Latent, Transfusion, kinds
from diptych.objectives.flow import Flow
from diptych.objectives.tokens import whole
from diptych.samplers.conversation import draw, say, write
from diptych.samplers.loop import blank, look, visits
from diptych.training.batches import IGNORED, Learn, losses
from diptych.weights.files import Checkpoint
from tests.parity.sets import Case, GoldenSet, close, sets
from tests.parity.tape import Tape


def checkpoints(golden: GoldenSet) -> dict[str, Path]:
    """By letter, the models of a set: its folders model_a, model_b."""
    found = {path.name.removeprefix("model_"): path for path in golden.folder.glob("model_*")}
    return {letter: path for letter, path in found.items() if recognise(path) == "transfusion"}


SETS = [golden for golden in sets() if checkpoints(golden)]
CASES = [pytest.param(golden, name, id=f"{golden.name}-{name}") for golden in SETS for name in golden.cases]
Part = list[int] | Latent
DELTA = 1e-3  # velocity_consistency_delta_time


@cache
def model(golden: GoldenSet, letter: str) -> Model:
    return diptych.load(checkpoints(golden)[letter], device="cpu", dtype="float32")


class Talk:
    """A case's model, and how official arrays are ours."""

    def __init__(self, golden: GoldenSet, name: str):
        self.model = model(golden, name[0])
        self.net: Any = self.model.network
        self.dialogue: Any = self.model.dialogue
        self.config = GoldenSet(self.model.folder).config
        self.kinds: list[Kind] = kinds(self.config)

    def slots(self, kind: int, array: Tensor) -> Tensor:
        """One official array -> Float[N, C]."""
        return array.flatten(1).T if self.kinds[kind].first else array.flatten(0, -2)

    def grid(self, kind: int, array: Tensor) -> tuple[int, ...]:
        return tuple(array.shape[1:] if self.kinds[kind].first else array.shape[:-1])

    def latent(self, kind: int, array: Tensor, time: float = 1.0) -> Latent:
        return Latent(kind, self.slots(kind, array), self.grid(kind, array), time)

    def parts(self, tensors: dict[str, Tensor], prefix: str) -> list[list[Part]]:
        """`row0.part1.modality0` ... as rows of ids and latents."""
        rows: list[list[Part]] = []
        names = sorted((n for n in tensors if n.startswith(prefix)), key=lambda n: n.split(".")[:2])
        for name in names:
            row, _, what = name.split(".")
            rows += [[]] * (int(row.removeprefix(prefix)) >= len(rows))
            found = tensors[name]
            kind = int(what.removeprefix("modality") or 0) if what != "text" else None
            rows[-1] = [*rows[-1], found.tolist() if kind is None else self.latent(kind, found)]
        return rows


# --- text and latents alone ----------------------------------------------------------------------------------


def text(golden: GoldenSet, name: str, case: Case) -> None:
    """-1 is no id: it is embedded as 0 and not learned. The loss knows no special ids."""
    talk, ids = Talk(golden, name), case.inputs["ids"]
    rows = [[Ids(row)] for row in ids.clamp(min=0).tolist()]
    close(talk.model.logits(rows), case.outputs["logits"], name="logits")
    writer = talk.dialogue.text(Options())
    writer.port = Words(talk.net.backbone, 0, talk.dialogue.names.texts, lag=1)
    learned = torch.where(ids < 0, IGNORED, ids)
    rows = [[Ids(own[:1].clamp(min=0).tolist()), Learn("text", own[1:])] for own in learned]
    close(losses(talk.net, {"text": writer}, rows, Draws([0] * len(rows)))["text"], case.outputs["loss"], name="loss")


def greedy(talk: Talk, rows: list[list[Any]], length: int) -> Tensor:
    draws = Draws([0] * len(rows))
    *_, (_, canvas) = write(say(talk.net.backbone, talk.net.read(rows)), talk.dialogue.text(Options()), length, draws)
    return canvas.value


def text_generate(golden: GoldenSet, name: str, case: Case) -> None:
    talk, official = Talk(golden, name), case.outputs["tokens"]
    found = greedy(talk, [[Ids(row)] for row in case.inputs["prompt"].tolist()], official.shape[1])
    close(found, official, name="tokens")


def sample_text(golden: GoldenSet, name: str, case: Case) -> None:
    talk, official = Talk(golden, name), case.outputs["tokens"]
    prompt = [talk.dialogue.names.begin, *case.inputs["prompt"].tolist()]
    found = greedy(talk, [[Ids(prompt)]], len(official) - len(prompt))
    assert prompt + found[0].tolist() == official.tolist()


def lonely(talk: Talk, kind: int = 0) -> Writer:
    writer = talk.dialogue.latents(kind, Options(guidance=1))
    writer.port = writer.port.variant(lonely=True)
    return writer


def flow(golden: GoldenSet, name: str, case: Case) -> None:
    talk, x = Talk(golden, name), case.inputs["x"]
    canvas = whole(torch.stack([talk.slots(0, own) for own in x]), talk.grid(0, x[0]))
    context = say(talk.net.backbone, [[]] * len(x))
    writer = lonely(talk)
    found = writer.port.head(*look(context, writer, canvas, Step(time=case.inputs["times"]), 1))
    close(found, torch.stack([talk.slots(0, own) for own in case.outputs["flow"]]), name="flow")


def flow_loss(golden: GoldenSet, name: str, case: Case) -> None:
    talk, data = Talk(golden, name), case.inputs["data"]
    noise = torch.stack([talk.slots(0, own) for own in case.inputs["noise"]])
    times = case.inputs["times"].tolist()
    rows = [
        [Learn("latents0", talk.slots(0, own), talk.grid(0, own), time=t)] for own, t in zip(data, times, strict=True)
    ]
    writer = talk.dialogue.lessons()["latents0"]
    writer.port = writer.port.variant(lonely=True)
    found = losses(talk.net, {"latents0": writer}, rows, Tape(normal=[noise]))
    close(found["latents0"], case.outputs["loss"], name="loss")


def generate_modality(golden: GoldenSet, name: str, case: Case) -> None:
    talk, noise = Talk(golden, name), case.inputs["noise"]
    writer = lonely(talk)
    writer.schedule = talk.dialogue.latents(0, Options(steps=case.settings["modality_steps"])).schedule
    draws = Tape(normal=[torch.stack([talk.slots(0, own) for own in noise])])
    draws.generators = [torch.Generator()] * len(noise)
    canvas = draw(say(talk.net.backbone, [[]] * len(noise)), writer, talk.grid(0, noise[0]), 1, draws)
    close(canvas.value, torch.stack([talk.slots(0, own) for own in case.outputs["sample"]]), name="sample")


# --- learning both -------------------------------------------------------------------------------------------


def timed(rows: list[list[Part]], times: Tensor) -> list[list[Part]]:
    """Each row's latents at the times of its own row."""
    found = []
    for row, own in zip(rows, times.tolist(), strict=True):
        left = iter(own)
        found.append([p._replace(time=next(left)) if isinstance(p, Latent) else p for p in row])
    return found


def lesson(talk: Talk, parts: list[Part]) -> list[Any]:
    """A sample as it is learned: all of it but what closes latents, which stands behind no text."""
    names = talk.dialogue.names
    row, ids = list[Any]([Ids([names.begin])]), list[int]()
    for part in parts:
        if isinstance(part, Latent):
            ids += names.announced(part.kind, part.grid)
            latents = Learn(f"latents{part.kind}", part.slots, part.grid, time=part.time)
            row += [Learn("text", torch.tensor(ids)), latents, Ids([names.closing(part.kind)])]
            ids = []
        else:
            ids += part
    return [*row, Learn("text", torch.tensor([*ids, names.end]))]


class Recorded(Flow):
    """A flow that remembers what was foretold of which noised latents."""

    def __init__(self, channels: int):
        super().__init__(channels, ascending=True)
        self.seen: list[tuple[Tensor, Canvas, Step]] = []

    def loss(self, condition: Tensor, target: Tensor, canvas: Canvas, step: Step) -> Tensor:
        self.seen.append((condition, canvas, step))
        return super().loss(condition, target, canvas, step)


def studied(
    talk: Talk, net: Any, rows: list[list[Part]], noise: Sequence[Tensor]
) -> tuple[dict[str, Tensor], dict[int, Recorded]]:
    """Losses, and what was foretold of each kind. noise: by kind, then by row, as recorded."""
    latents = [part for row in rows for part in row if isinstance(part, Latent)]
    order = sorted(range(len(latents)), key=lambda i: latents[i].kind)
    own = {i: talk.slots(latents[i].kind, noise[k]) for k, i in enumerate(order)}
    groups: dict[Any, list[Tensor]] = {}
    for i, latent in enumerate(latents):
        groups.setdefault((latent.kind, latent.grid), []).append(own[i])
    writers, recorded = talk.dialogue.lessons(), {}
    for k, port in enumerate(net.kinds):
        recorded[k] = Recorded(port.out.out_features)
        writers[f"latents{k}"].port, writers[f"latents{k}"].objective = port, recorded[k]
    writers["text"].port = Words(net.backbone, lag=1)
    draws = Tape(normal=[torch.stack(group) for group in groups.values()])
    return losses(net, writers, [lesson(talk, row) for row in rows], draws), recorded


def mixed(golden: GoldenSet, name: str, case: Case) -> None:
    """Losses of both kinds of tokens, weighed by their shares of all tokens."""
    talk, times, rows = Talk(golden, name), case.inputs["times"], Talk(golden, name).parts(case.inputs, "row")
    numbers = sorted(int(n.removeprefix("noise")) for n in case.inputs if n.startswith("noise"))
    noise = [case.inputs[f"noise{k}"] for k in numbers]
    count = sum(isinstance(part, Latent) for row in rows for part in row)
    consistent = len(noise) > count  # with the draws of a second, consistent model
    found, recorded = studied(talk, talk.net, timed(rows, times * (1 - DELTA) if consistent else times), noise[:count])
    weights = {"flow_loss": talk.config.get("flow_loss_weight", 1.0)}
    parts = {"flow_loss": [found[f"latents{k}"] for k in recorded]}
    if consistent:
        weights["velocity_loss"] = talk.config.get("velocity_consistency_loss_weight", 0.1)
        parts["velocity_loss"] = consistency(talk, rows, times, noise[count:], recorded)
    if weight := talk.config.get("reconstruction_loss_weight", 0.0):
        weights["recon_loss"], parts["recon_loss"] = weight, [reconstruction(flow) for flow in recorded.values()]
    share = shares(talk, rows)
    total = talk.config.get("text_loss_weight", 1.0) * found["text"] * share["text"]
    for loss, each in parts.items():
        total = total + weights[loss] * sum(own * share[f"latents{k}"] for k, own in enumerate(each))
    official = {name: loss for name, loss in case.outputs.items() if "loss" in name}
    ours = {f"{loss}{k}": own for loss, each in parts.items() for k, own in enumerate(each)} | {
        "text_loss": found["text"]
    }
    for loss, expected in official.items():
        close(ours[loss], expected, name=loss)
    close(total, case.outputs["total"], name="total")
    close(clean_logits(talk, timed(rows, times)), case.outputs["logits_clean_input"], name="logits_clean_input")


def consistency(
    talk: Talk, rows: list[list[Part]], times: Tensor, noise: Sequence[Tensor], recorded: dict[int, Recorded]
) -> list[Tensor]:
    """Of each kind: velocities beside those of a model of other weights, a little later, from other noise."""
    teacher = deepcopy(talk.net)
    for parameter in teacher.parameters():
        parameter.mul_(1.05)
    _, expected = studied(talk, teacher, timed(rows, times + DELTA), noise)
    return [F.mse_loss(foretold(recorded[k]), foretold(expected[k])) for k in recorded]


def foretold(flow: Recorded) -> Tensor:
    return torch.cat([condition.flatten() for condition, _, _ in flow.seen])


def reconstruction(flow: Recorded) -> Tensor:
    """What the foretold velocity leads to beside, as published, the noised latents; each picture counts alike."""
    each = []
    for condition, canvas, step in flow.seen:
        time = torch.as_tensor(step.time).view(-1, 1, 1)
        each += list(((canvas.memo + condition * (1 - time) - canvas.value) ** 2).mean((1, 2)))
    return torch.stack(each).mean()


def shares(talk: Talk, rows: list[list[Part]]) -> dict[str, float]:
    """How many of all tokens each writer learns."""
    lessons = [piece for row in rows for piece in lesson(talk, row)]
    tokens = sum(len(piece.target if isinstance(piece, Learn) else piece.ids) for piece in lessons)
    found = {"text": 0.0} | {f"latents{k}": 0.0 for k in range(len(talk.kinds))}
    for piece in lessons:
        if isinstance(piece, Learn):
            found[piece.writer] += len(piece.target) / tokens
    return found


def clean_logits(talk: Talk, rows: list[list[Part]]) -> Tensor:
    """Of latents as they are, between their marks; short rows are padded behind with the id 0."""
    names, spoken = talk.dialogue.names, []
    for row in rows:
        pieces = list[Any]()
        for part in row:
            if isinstance(part, Latent):
                pieces += [Ids(names.announced(part.kind, part.grid)), part, Ids([names.closing(part.kind)])]
            else:
                pieces.append(Ids(part))
        spoken.append(pieces)
    sizes = [sum(len(p.ids if isinstance(p, Ids) else p.slots) for p in row) for row in spoken]
    padded = [[*row, Ids([0] * (max(sizes) - n))] for row, n in zip(spoken, sizes, strict=True)]
    return talk.model.logits(padded)


# --- writing both --------------------------------------------------------------------------------------------


def sampled(golden: GoldenSet, name: str, case: Case) -> None:
    """Prompts, the latents they open, and the text that follows; its keys see the latents a little noisy."""
    talk, settings = Talk(golden, name), case.settings
    names, samples = talk.dialogue.names, talk.parts(case.outputs, "sample")
    many = name.endswith("many")
    last = max(i for i, part in enumerate(samples[0]) if isinstance(part, Latent))
    lasts = [max(i for i, part in enumerate(row) if isinstance(part, Latent)) for row in samples]
    written: list[Any] = [row[i] for row, i in zip(samples, lasts, strict=True)]
    kind, grid = written[0].kind, written[0].grid
    assert grid == tuple(settings["force_shape"]) and kind == settings.get("force_modality", 0)
    prompts = [said(row[:i]) for row, i in zip(samples, lasts, strict=True)]
    assert all(p[-1].ids[-len(names.announced(kind, grid)) :] == names.announced(kind, grid) for p in prompts)
    prompt = case.inputs.get("prompt", case.inputs.get("prompt_text")).tolist()  # type: ignore[union-attr]
    assert samples[0][0][: 1 + len(prompt)] == [names.begin, *prompt] and last == lasts[0]
    writer = talk.dialogue.latents(
        kind, Options(steps=settings["modality_steps"], guidance=settings["cfg_scale"]), keep=True
    )
    writer.port = writer.port.variant(placed=not many)
    guided = settings["cfg_scale"] != 1
    rows = prompts + [talk.dialogue.without_text(p) for p in prompts] * guided
    noise = case.inputs["init_noise"][: len(written[0].slots), : talk.kinds[kind].channels]
    draws = Tape(normal=[noise.expand(len(prompts), -1, -1)])
    context = say(talk.net.backbone, talk.net.read(rows))
    *_, (_, canvas) = visits(
        context, writer, blank(writer, len(prompts), grid, draws, "cpu"), len(rows) // len(prompts), draws
    )
    close(canvas.value, torch.stack([latent.slots for latent in written]), name="latents")
    if many:
        context.extend(talk.net.read([[Ids([names.closing(kind)])]] * len(rows)))
        after: list[Any] = [row[i + 1] for row, i in zip(samples, lasts, strict=True)]
        length = max(map(len, after)) - 1
        talker, draws = talk.dialogue.text(Options()), Draws([0] * len(prompts))
        start = blank(talker, len(prompts), (length,), draws, "cpu")
        *_, (_, canvas) = visits(context, talker, start, len(rows) // len(prompts), draws)
        for ours, theirs in zip(canvas.value.tolist(), after, strict=True):
            assert [names.closing(kind), *ours][: len(theirs)] == theirs


def said(parts: Sequence[Part]) -> list[Any]:
    return [part if isinstance(part, Latent) else Ids(part) for part in parts]


def default_times(golden: GoldenSet, name: str, case: Case) -> None:
    counts = case.inputs["num_modalities"].tolist()
    found = interleaved_times(counts, Tape(uniform=[case.inputs["u_count"], case.inputs["u_time"]]))
    for ours, theirs, count in zip(found, case.outputs["times"], counts, strict=True):
        close(torch.tensor(ours), theirs[:count], name="times")


CHECKS = {
    "text": text,
    "text_generate": text_generate,
    "sample_text": sample_text,
    "flow": flow,
    "flow_loss": flow_loss,
    "generate_modality": generate_modality,
    "mixed": mixed,
    "mixed_velocity": mixed,
    "sample_cfg": sampled,
    "sample_nocfg": sampled,
    "sample_many": sampled,
}


@torch.inference_mode()
@pytest.mark.parametrize(("golden", "name"), CASES)
def test_case(golden: GoldenSet, name: str) -> None:
    check = default_times if name == "default_times" else CHECKS.get(name[2:])
    assert check is not None, f"no check is written for case {name}"
    check(golden, name, golden.cases[name])


@pytest.mark.parametrize("golden", SETS, ids=lambda golden: golden.name)
def test_special_ids(golden: GoldenSet) -> None:
    for letter, official in golden.settings["ids"].items():
        names = Talk(golden, letter).dialogue.names
        assert (names.begin, names.end, names.null) == (official["sos"], official["eos"], official["null"])
        assert [names.opening(k) for k in range(names.kinds)] == official["som"]
        assert [names.closing(k) for k in range(names.kinds)] == official["eom"]
        assert (names.shape, names.size) == (official["meta"], official["vocab"])


@pytest.mark.parametrize("golden", SETS, ids=lambda golden: golden.name)
def test_weights_are_written_back(golden: GoldenSet) -> None:
    for letter, folder in checkpoints(golden).items():
        theirs = Checkpoint(folder)
        state = model(golden, letter).network.state_dict()
        written = Transfusion.layout(GoldenSet(folder).config).write(state, theirs)
        assert written.keys() == set(theirs) and all(torch.equal(written[name], theirs[name]) for name in theirs)


def test_sets_are_there() -> None:
    assert SETS, "no Transfusion set was found; tests/fixtures/parity must hold one"

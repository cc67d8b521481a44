"""BAGEL's training batch: how it is packed, who sees whom, losses and gradients against the official code's numbers."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from diptych.attention import Visibility, dense
from diptych.backbone.packing import Packed
from diptych.canvas import Canvas, Draws, Step, Writer
from diptych.encoders.grids import cells
from diptych.models.bagel import Bagel
from diptych.models.latents import patched
from diptych.models.network import Ids, Made, Seen, Traced
from diptych.objectives.evened import Evened
from diptych.objectives.flow import logit_normal
from diptych.training.batches import Learn, Row, losses
from diptych.training.dropout import leave_out
from tests.parity.bagel import Check, begin, marks, seen
from tests.parity.sets import Case, GoldenSet, close
from tests.parity.tape import Tape


@dataclass
class Lesson:
    """The official batch as rows of ours. drawn: where each picture that is learned lies among the packed latents."""

    rows: list[Row]
    drawn: list[slice]
    shapes: list[tuple[int, int]]


def lesson(found: Any, golden: GoldenSet, case: Case) -> Lesson:
    """Three samples: "text0, noise(0)"; "vae + vit(1), text1, noise + vae + vit(0), text2, noise(2)"; "vit(2), text3,
    text4 (learned), text5, text6 (learned, and the mark of a picture after it)"."""
    inputs, patch = case.inputs, golden.config["latent_patch_size"]
    shapes = [(h, w) for h, w in case.settings["patchified_vae_latent_shapes"]]
    latents = [
        patched(padded[None, :, : h * patch, : w * patch], patch)[0]
        for padded, (h, w) in zip(inputs["padded_latent"], shapes, strict=True)
    ]
    begins = torch.tensor([0, *(h * w for h, w in shapes)]).cumsum(0).tolist()
    own = [slice(a, b) for a, b in pairwise(begins)]
    clean = [bool(inputs["packed_timesteps"][s].isinf().all()) for s in own]
    assert clean == [False, True, False, True, False]

    def text(i: int) -> Ids:
        return found.dialogue.segment(inputs[f"text{i}"].tolist())

    def learned(i: int) -> list[Any]:
        return [begin(golden), Learn("text", torch.tensor([*inputs[f"text{i}"].tolist(), marks(golden)[1]]))]

    def drawn(i: int) -> Learn:
        return Learn("image", latents[i], shapes[i])

    def read(i: int, picture: int) -> list[Any]:
        return [Made(latents[i], shapes[i]), seen(found, inputs[f"image{picture}"])]

    opening = Learn("text", torch.tensor(marks(golden)[2:3]), unsaid=1)  # a span of its own: it weighs as one
    rows: list[Row] = [
        [text(0), drawn(0)],
        [*read(1, 1), text(1), drawn(2), *read(3, 0), text(2), drawn(4)],
        [seen(found, inputs["image2"]), text(3), *learned(4), text(5), *learned(6), opening],
    ]
    return Lesson(rows, [own[i] for i in (0, 2, 4)], [shapes[i] for i in (0, 2, 4)])


def recorded(case: Case, taught: Lesson) -> Tape:
    """Pictures of one shape are spoilt together: their times, then their noise."""
    normal: list[Tensor] = []
    for shape in dict.fromkeys(taught.shapes):
        own = [s for s, other in zip(taught.drawn, taught.shapes, strict=True) if other == shape]
        normal.append(torch.stack([case.inputs["packed_timesteps"][s.start] for s in own]))
        normal.append(torch.stack([case.inputs["flow_noise"][s] for s in own]))
    return Tape(normal=normal)


class Watched:
    """An objective that remembers what it was given to judge."""

    def __init__(self, objective: Any):
        self.objective, self.seen = objective, list[tuple[Tensor, Tensor, Canvas]]()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.objective, name)

    def loss(self, condition: Tensor, target: Tensor, canvas: Canvas, step: Step) -> Tensor:
        self.seen.append((condition, target, canvas))
        return self.objective.loss(condition, target, canvas, step)


def train(found: Any, golden: GoldenSet, name: str, case: Case) -> None:
    encoded(found, golden, case)
    taught, lessons = lesson(found, golden, case), found.dialogue.lessons()
    for writer in lessons.values():
        writer.objective = Watched(writer.objective)
    forwards: list[tuple[Packed, Tensor]] = []
    hook = found.network.backbone.register_forward_hook(lambda m, args, out: forwards.append((args[0], out)))
    means = losses(found.network, lessons, taught.rows, recorded(case, taught))
    hook.remove()
    ((packed, hidden),) = forwards
    lengths = case.settings["sample_lens"]
    laid(found, case, packed, lengths)
    close(torch.cat([h[:n] for h, n in zip(hidden, lengths, strict=True)]), case.outputs["hidden"], name="hidden")
    judged(lessons, case)
    compared(means, case)
    together = losses(found.network, found.dialogue.lessons(), taught.rows, recorded(case, taught), width=sum(lengths))
    compared(together, case)
    evened = {"text": Writer(lessons["text"].port, Evened(), lessons["text"].schedule, lessons["text"].guide)}
    weighted = losses(found.network, lessons | evened, taught.rows, recorded(case, taught))["text"]
    close(weighted, case.outputs["ce_loss_weighted"], name="ce_loss_weighted")
    gradients(found, golden, case)


def compared(means: dict[str, Tensor], case: Case) -> None:
    close(means["image"], case.outputs["mse_loss"], name="mse_loss")
    close(means["text"], case.outputs["ce_loss"], name="ce_loss")
    close(means["image"] + means["text"], case.outputs["loss"], name="loss")


def encoded(found: Any, golden: GoldenSet, case: Case) -> None:
    """Pictures of one batch are padded to one size before the autoencoder, as published."""
    inputs = case.inputs
    padded = found.network.tokenizer.encode(inputs["padded_images"], inputs["vae_noise"])
    close(padded, inputs["padded_latent"], name="padded_latent")
    patch = golden.config["vit_config"]["patch_size"]
    pictures = [seen(found, inputs[f"image{i}"]).pixels for i in (1, 0, 2)]
    tokens = torch.cat([patched(p[None], patch)[0] for p in pictures])
    close(tokens, inputs["packed_vit_tokens"], name="packed_vit_tokens")
    side = found.network.eyes["places"].side
    places = [cells(p.shape[1] // patch, p.shape[2] // patch, side) for p in pictures]
    close(torch.cat(places), inputs["packed_vit_position_ids"], name="packed_vit_position_ids")
    close(torch.tensor([len(p) for p in places]), inputs["vit_token_seqlens"], name="vit_token_seqlens")
    times = logit_normal(found.network.shift)([0], Tape(normal=[inputs["packed_timesteps"][:1]]))
    s, t = golden.config["timestep_shift"], torch.sigmoid(inputs["packed_timesteps"][:1])
    close(times, s * t / (1 + (s - 1) * t), name="time")


def laid(found: Any, case: Case, packed: Packed, lengths: list[int]) -> None:
    """Embeddings, positions, experts and masks of the three samples, each a row of ours."""
    inputs = case.inputs
    assert [int((v >= 0).sum()) for v in packed.visibility.sample] == lengths
    close(_joined(packed.x, lengths), case.outputs["inputs_embeds"], name="inputs_embeds")
    close(_joined(packed.position, lengths), inputs["packed_position_ids"], name="packed_position_ids")
    visible = dense(packed.visibility, packed.visibility)[:, 0]
    for i, (own, n) in enumerate(zip(visible, lengths, strict=True)):
        close(own[:n, :n], inputs[f"mask{i}"], name=f"mask{i}")
    close(_joined(_experts(packed), lengths).nonzero()[:, 0], inputs["packed_vae_token_indexes"], name="latents")
    side, shapes = found.network.draw.table.side, case.settings["patchified_vae_latent_shapes"]
    places = torch.cat([cells(h, w, side) for h, w in shapes])
    close(places, inputs["packed_latent_position_ids"], name="packed_latent_position_ids")
    spans = [n for row in _sizes(packed) for n in row]
    assert sum(spans) == sum(case.settings["split_lens"]) == case.settings["sequence_length"]


def _experts(packed: Packed) -> Tensor:
    experts = torch.zeros(packed.position.shape, dtype=torch.long).flatten()
    experts[packed.route[1]] = 1  # type: ignore[index]
    return experts.view(packed.position.shape)


def _joined(rows: Tensor, lengths: Sequence[int]) -> Tensor:
    return torch.cat([row[:n] for row, n in zip(rows, lengths, strict=True)])


def _sizes(packed: Packed) -> list[list[int]]:
    spans: Visibility = packed.visibility
    return [[int(n) for n in own[own >= 0].unique(return_counts=True)[1]] for own in spans.span]


def judged(lessons: dict[str, Writer], case: Case) -> None:
    """Errors one by one."""
    (text,) = lessons["text"].objective.seen  # type: ignore[attr-defined]
    condition, target, _ = text
    close(target[target >= 0], case.inputs["packed_label_ids"], name="packed_label_ids")
    close(F.cross_entropy(condition, target[target >= 0], reduction="none"), case.outputs["ce"], name="ce")
    pictures = [
        (velocity - (noise - x0)) ** 2
        for condition, target, canvas in lessons["image"].objective.seen  # type: ignore[attr-defined]
        for velocity, x0, noise in zip(condition, target, canvas.memo, strict=True)
    ]
    close(torch.cat(pictures), case.outputs["mse"], name="mse")


def gradients(found: Any, golden: GoldenSet, case: Case) -> None:
    """Of every published tensor that learns; biases that no output depends on have none but rounding."""
    network, official = found.network, {k[5:]: v for k, v in case.outputs.items() if k.startswith("grad.")}
    learning = {n: p for n, p in network.named_parameters() if not n.startswith("tokenizer.")}
    frozen = [n for n in learning if n.endswith(".table")]
    with torch.inference_mode(False), torch.enable_grad():
        for name, parameter in learning.items():
            parameter.requires_grad_(name not in frozen)
        copied = Case({k: v.clone() for k, v in case.inputs.items()}, case.outputs, case.settings)
        taught = lesson(found, golden, copied)
        means = losses(network, found.dialogue.lessons(), taught.rows, recorded(copied, taught))
        (means["image"] + means["text"]).backward()
        grads = {n: p.grad for n, p in learning.items() if p.grad is not None}
        network.zero_grad()
        network.requires_grad_(False)
    layout, norms = Bagel.layout(Bagel.completed(golden.config, {})), case.settings["grad_norms"]
    theirs = layout.write({n: g for n, g in grads.items() if g is not None}, norms)
    assert set(official) <= set(theirs) == set(norms)
    for name, expected in official.items():
        close(theirs[name], expected, name=name)
    largest = max(norms.values())
    for name, norm in norms.items():
        ours = float(theirs[name].norm())
        assert abs(ours - norm) <= 1e-4 * norm + 1e-7 * largest, f"{name}: {ours}, published {norm}"


def dropped(found: Any, golden: GoldenSet, name: str, case: Case) -> None:
    """All that may be left out is left out: in all samples but the last."""
    taught, expected = lesson(found, golden, golden.cases["train"]), case.outputs
    always = {Ids: 1.0, Seen: 1.0, Made: 1.0, Traced: 1.0}
    rows = [leave_out(row, always if i < 2 else {}, Draws([0])) for i, row in enumerate(taught.rows)]
    forwards: list[Packed] = []
    hook = found.network.backbone.register_forward_hook(lambda m, args, out: forwards.append(args[0]))
    losses(found.network, found.dialogue.lessons(), rows, recorded(golden.cases["train"], taught))
    hook.remove()
    (packed,) = forwards
    lengths = [int((v >= 0).sum()) for v in packed.visibility.sample]
    close(torch.tensor(lengths), expected["sample_lens"], name="sample_lens")
    close(_joined(packed.position, lengths), expected["packed_position_ids"], name="packed_position_ids")
    experts = _joined(_experts(packed), lengths)
    close(experts.nonzero()[:, 0], expected["packed_vae_token_indexes"], name="packed_vae_token_indexes")
    assert expected["mse_loss_indexes"].equal(expected["packed_vae_token_indexes"])
    side = found.network.draw.table.side
    places = torch.cat([cells(h, w, side) for h, w in taught.shapes])
    close(places, expected["packed_latent_position_ids"], name="packed_latent_position_ids")
    table = found.network.backbone.embed(expected["packed_text_ids"])
    close(_joined(packed.x, lengths)[expected["packed_text_indexes"]], table, name="packed_text_ids")


CHECKS: dict[str, Check] = {"train": train, "pack_alldropped": dropped}

"""Checks of the cases in which Show-o2 learns."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from diptych.backbone.packing import Segment
from diptych.canvas import Canvas, Step
from diptych.encoders.dual_path import alike
from diptych.models.network import Ids, Made, Piece
from diptych.models.show_o2 import Marks
from diptych.training.batches import Learn, losses
from tests.parity.sets import Case, GoldenSet, close
from tests.parity.show_o2_rows import drawn, hidden, latents, made, omni, slots
from tests.parity.tape import Tape


def sampled(found: Any, case: Case) -> Tensor:
    """The clean latents of a training case [B, C, h, w]."""
    pixels, eps = case.inputs["pixels"], case.inputs["vae_eps"]
    return found.network.tokenizer.encode(pixels.flatten(0, -4)[:, :, None], eps)[:, :, 0]


def corrupted(found: Any, case: Case, clean: Tensor, which: list[int]) -> tuple[Canvas, Step]:
    """Noise as the objective mixes it in, for the pictures that are learned."""
    flow = found.dialogue.lessons()["image"].objective
    noisy, step = flow.corrupt(slots(clean[which]), tuple(clean.shape[2:]), noise(case, which))
    close(step.time, case.outputs["t"][which], name="t")
    close(latents(noisy.value, noisy.grid), case.outputs["xt"][which], name="xt")
    close(clean[which] - latents(noisy.memo, noisy.grid), case.outputs["ut"][which], name="ut")
    return noisy, step


def noise(case: Case, which: list[int]) -> Tape:
    return Tape(normal=[case.inputs["u"][which], slots(case.inputs["noise"][which])])


def train(found: Any, golden: GoldenSet, name: str, case: Case) -> None:
    expected, inputs, marks = case.outputs, case.inputs, found.dialogue.marks
    clean, positions = sampled(found, case), expected["modality_positions"]
    learned = [i for i, mask in enumerate(expected["image_masks_after"]) if mask.any()]
    noisy, step = corrupted(found, case, clean, learned)
    rows = iter(drawn(found, expected["text_tokens"][learned], positions[learned], noisy, step.time))
    segments = [next(rows) if i in learned else None for i in range(len(clean))]
    for i, ids in enumerate(expected["text_tokens"].tolist()):
        if segments[i] is None:
            close(clean[i], expected["xt"][i], name="xt")
            (offset, length) = positions[i, 0].tolist()
            shown = made(clean[i : i + 1], float(expected["t"][i]))
            (segments[i],) = found.network.read([[Ids(ids[:offset]), shown, Ids(ids[offset + length :])]])
    packed, answer = hidden(found, [row for row in segments if row is not None])
    omni(packed, positions)
    close(found.network.backbone.head(answer), expected["logits"], name="logits")
    lesson = [
        *([Ids(found.dialogue.drawn(inputs[f"t2i_text_{i}"].tolist())), picture(clean[i])] for i in learned),
        caption(inputs["cap_text"].tolist(), clean[2:3], marks),
        chat({k: v.tolist() for k, v in inputs.items() if v.ndim == 1 and k.startswith("mmu")}, clean[3:4], marks),
    ]
    for row, ids, labels, spans in zip(
        lesson, expected["text_tokens"], expected["text_labels"], positions.tolist(), strict=True
    ):
        labelled(row, ids, labels, spans)
    means = losses(found.network, found.dialogue.lessons(), lesson, noise(case, learned))
    close(means["image"], expected["loss_flow"], name="loss_flow")
    close(means["text"], expected["loss_ntp"], name="loss_ntp")
    close(0.2 * means["text"] + means["image"], expected["loss"], name="loss")


def picture(clean: Tensor) -> Learn:
    return Learn("image", slots(clean[None])[0], tuple(clean.shape[1:]))


def caption(ids: list[int], clean: Tensor, marks: Marks) -> list[Piece | Learn]:
    """Stage 1: everything but the picture is learned."""
    text = [marks.closing, *ids, marks.end]
    opening, after = (Learn("text", torch.tensor(part)) for part in ([marks.opening], text))
    return [Ids([marks.begin]), opening, made(clean, 1.0), after]


def chat(parts: dict[str, list[int]], clean: Tensor, marks: Marks) -> list[Piece | Learn]:
    """Stage 2: answers are learned. The first id of a question about a picture stands for it."""
    user, assistant = parts["mmu_role_a"], parts["mmu_role_b"]
    row: list[Piece | Learn] = [Ids([marks.begin, *parts["mmu_system"], *user, marks.opening]), made(clean, 1.0)]
    before = [marks.closing, *parts["mmu_q0"][1:], marks.end, *assistant]
    again = [*user, *parts["mmu_q1"], marks.end, *assistant]
    for asked_, answer in ((before, parts["mmu_a0"]), (again, parts["mmu_a1"])):
        row += [Ids(asked_), Learn("text", torch.tensor(answer))]
    return row


def labelled(row: list[Any], ids: Tensor, labels: Tensor, spans: list[list[int]]) -> None:
    """A row of ours is the official one: its ids, its labels (but for the first, which nothing foretells), and where
    the picture is."""
    at = 0
    for piece in row:
        if isinstance(piece, Made) or isinstance(piece, Learn) and piece.writer == "image":
            assert at == spans[0][0]
            own, learned = [], False
            at += spans[0][1]
        else:
            own, learned = (piece.ids, False) if isinstance(piece, Ids) else (piece.target.tolist(), True)
        assert own == ids[at : at + len(own)].tolist()
        assert not at or labels[at : at + len(own)].tolist() == (own if learned else [-100] * len(own))
        at += len(own)
    assert (labels[at:] == -100).all()


def train_interleaved(found: Any, golden: GoldenSet, name: str, case: Case) -> None:
    """One picture is clean, one is learned, and one has no place: its time stands where the row begins. Text is learned
    everywhere, placeholders of pictures too, so that pictures and text are learned from the same hidden states."""
    expected, clean, port = case.outputs, sampled(found, case), found.network.draw
    ids, spans = expected["text_tokens"][0].tolist(), expected["modality_positions"][0].tolist()
    (before, n), (at, _), (idle, none) = spans
    assert (idle, none) == (0, 0)
    noisy, step = corrupted(found, case, clean, [1])
    close(clean[0], expected["xt"][0], name="xt")
    shown = made(clean[:1], float(expected["t"][0]))
    given, after = found.network.read([[Ids(ids[1:before]), shown, Ids(ids[before + n : at])], [Ids(ids[at + n :])]])
    tokens, memo = port.embed(noisy, step)
    clock = found.network.time_in(found.network.clock(expected["t"][2:]))
    first = F.pad(clock, (0, tokens.shape[-1] - clock.shape[-1]))
    packed, answer = hidden(found, [[Segment(first), *given, Segment(tokens[0], port.span), *after]])
    omni(packed, expected["modality_positions"][:, :2])
    logits = found.network.backbone.head(answer)
    close(logits, expected["logits"], name="logits")
    ntp = F.cross_entropy(logits[0, :-1], expected["text_labels"][0, 1:])
    close(ntp, expected["loss_ntp"], name="loss_ntp")
    flow = found.dialogue.lessons()["image"].objective
    velocity = port.head(answer[:, at : at + n], memo)
    mean = flow.loss(velocity, slots(clean[1:2]), noisy, step)
    close(mean, expected["loss_flow"], name="loss_flow")
    close(0.2 * ntp + mean, expected["loss"], name="loss")


def distill(found: Any, golden: GoldenSet, name: str, case: Case) -> None:
    features = found.network.paths.meaning(case.inputs["latents"])
    close(F.normalize(features, dim=-1).flatten(0, 1), case.outputs["features"], name="features")
    close(alike(features, case.inputs["clip_features"]), case.outputs["loss"], name="loss")

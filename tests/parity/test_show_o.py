"""Show-o, with codes and with CLIP as its eyes, against the official code's numbers, case by case."""

import json
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from PIL import Image as Pillow
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import Tensor

import diptych
from diptych.attention import dense
from diptych.backbone.packing import Packed, Segment, Span, pack
from diptych.canvas import Canvas, Draws, Step, Writer
from diptych.encoders.preprocess import to_uint8
from diptych.models.family import Options
from diptych.models.model import Model
from diptych.models.network import Ids, Piece, Seen
from diptych.models.painting import beyond, covered, onward
from diptych.objectives.tokens import OPEN, Masked, Token, argmax, race
from diptych.samplers.conversation import cut, say, write
from diptych.samplers.loop import look, visits
from diptych.samplers.schedules import cosine, linear, reveal
from diptych.training.batches import Learn, losses
from diptych.types import Request
from tests.parity.sets import Case, GoldenSet, close, sets_of
from tests.parity.tape import Tape

SETS = sets_of("show_o")
CODES, CLIP = ([g for g in SETS if g.config["w_clip_vit"] is clip] for clip in (False, True))
CASES = [pytest.param(golden, name, id=f"{golden.name}-{name}") for golden in SETS for name in golden.cases]
MOST = torch.finfo(torch.float32).max


def words(count: int, end: int) -> Tokenizer:
    """Text is numbers, and a number its own id; `end` is <|endoftext|>."""
    vocabulary = {str(i): i for i in range(count) if i != end} | {"<|endoftext|>": end}
    made = Tokenizer(models.WordLevel(vocabulary, unk_token="0"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()  # type: ignore[assignment]
    made.add_special_tokens(["<|endoftext|>"])
    return made


def spoken(golden: GoldenSet, folder: Path) -> Path:
    """The set as a model folder whose text is numbers: the published sets have no tokenizer files."""
    source = golden.folder.resolve()
    for file in source.iterdir():
        if file.name in ("config.json", "pytorch_model.safetensors"):
            (folder / file.name).symlink_to(file)
    llm = golden.config["llm_model_path"]
    (folder / llm).mkdir()
    (folder / llm / "config.json").symlink_to(source / llm / "config.json")
    info = golden.json("tokenizer_info.json")
    words(golden.config["llm_vocab_size"], info["eos"]).save(str(folder / llm / "tokenizer.json"))
    marks = {"bos_token": "<|endoftext|>", "eos_token": "<|endoftext|>"}
    (folder / llm / "tokenizer_config.json").write_text(json.dumps(marks))
    (folder / "magvitv2").symlink_to(source / info["vq_model"])
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Callable[[GoldenSet], Model]:
    @cache
    def load(golden: GoldenSet) -> Model:
        if golden.config["w_clip_vit"]:
            return diptych.load(golden.folder, device="cpu", dtype="float32")
        folder = spoken(golden, tmp_path_factory.mktemp("show_o"))
        found = diptych.load(folder, device="cpu", dtype="float32")
        found.dialogue.prompt_ids = golden.json("tokenizer_info.json")["max_seq_length"]  # type: ignore[attr-defined]
        return found

    return load


def told(ids: list[int]) -> str:
    return " ".join(map(str, ids))


def logits(found: Any, packed: Packed) -> Tensor:
    return found.network.backbone.head(found.network.backbone(packed))


def sees(packed: Packed) -> Tensor:
    return dense(packed.visibility, packed.visibility)[:, 0]


# --- reading -------------------------------------------------------------------------------------------------


def asked(found: Any, case: Case) -> list[Piece]:
    (pixels,), (ids,) = case.inputs["pixels"], case.inputs["text_ids"].tolist()
    return found.dialogue.looked(Seen(pixels), ids)


def answer(found: Any, rows: list[list[Piece]], writer: Writer, steps: int, draws: Draws) -> list[int]:
    """Ids written, the stop among them."""
    context = say(found.network.backbone, found.network.read(rows))
    draws.generators = [torch.Generator()]
    *_, (_, canvas) = write(context, writer, steps, draws)
    return canvas.value[0][canvas.known[0]].tolist()


def understand(found: Any, golden: GoldenSet, name: str, case: Case) -> None:
    pieces, (official,) = asked(found, case), case.inputs["input_ids"]
    packed = pack(found.network.read([pieces]))
    codes = found.network.encode(case.inputs["pixels"])[0] + found.dialogue.first
    ours = [i for p in pieces for i in (p.ids if isinstance(p, Ids) else codes.tolist())]
    assert ours == official.tolist()
    close(sees(packed), case.inputs["attention_allowed"][:, 0].bool(), name="attention_allowed")
    entered: list[Tensor] = []
    hooks = [b.register_forward_pre_hook(lambda m, given: entered.append(given[0])) for b in blocks(found)]
    hidden = found.network.backbone(packed)
    for hook in hooks:
        hook.remove()
    close(torch.stack([*entered, hidden]), case.outputs["hidden_states"], name="hidden_states")
    close(found.network.backbone.head(hidden), case.outputs["logits"], name="logits")
    greedy = case.outputs["greedy_tokens"].tolist()
    endless = replace(found.dialogue.text(Options()), stop=None)
    assert answer(found, [pieces], endless, len(greedy), Draws([0])) == greedy


def blocks(found: Any) -> Any:
    return found.network.backbone.blocks


def understand_eot(found: Any, golden: GoldenSet, name: str, case: Case) -> None:
    """The set names another stop than its end of text."""
    official, stops = case.outputs["tokens"].tolist(), frozenset(case.inputs["eot_token"].tolist())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(found.dialogue, "stops", stops)
        writer = found.dialogue.text(Options())
    limit = golden.settings["understand"]["max_new_tokens"]
    ours = answer(found, [asked(found, golden.cases["understand"])], writer, limit, Draws([0]))
    assert ours == official
    assert cut(torch.tensor(ours), stops) == (official[:-1], official[-1])


def understand_sampled(found: Any, golden: GoldenSet, name: str, case: Case) -> None:
    official = case.outputs["tokens"].tolist()
    writer = replace(found.dialogue.text(Options()), stop=None)
    writer.objective = Token(race(case.settings["temperature"], case.settings["top_k"]))
    tape = Tape(exponential=case.inputs["noise_exponential"])
    assert answer(found, [asked(found, golden.cases["understand"])], writer, len(official), tape) == official


def text(found: Any, golden: GoldenSet, name: str, case: Case) -> None:
    rows = [[Ids(ids.tolist())] for ids in case.inputs["input_ids"]]
    close(found.logits(rows), case.outputs["logits"], name="logits")


# --- writing -------------------------------------------------------------------------------------------------


def prompts(found: Any, golden: GoldenSet, case: Case) -> list[list[Piece]]:
    """The conditional rows, then the unconditional ones; ours must be the official ones without padding."""
    requests = [Request.of(told(ids), "image") for ids in case.settings["prompt_text_ids"]]
    branches = ("full", "no_text") if "uncond_input_ids" in case.inputs else ("full",)
    rows = [found.dialogue.render(request, branch=branch) for branch in branches for request in requests]
    lead, pad = found.dialogue.prompt_ids + 1, found.dialogue.specials["[PAD]"]
    given = [case.inputs[k] for k in ("input_ids", "uncond_input_ids")[: len(branches)]]
    for (piece,), official in zip(rows, torch.cat(given)[:, :lead], strict=True):
        assert isinstance(piece, Ids)
        assert piece.ids == official[official != pad].tolist()
    return rows


def begun(found: Any, case: Case) -> Canvas:
    """The canvas of the official input: masks are open."""
    ids = case.inputs["input_ids"][:, found.dialogue.prompt_ids + 2 : -1]
    known = ids != found.dialogue.mask
    value = torch.where(known, ids - found.dialogue.first, OPEN)
    rank = torch.zeros(ids.shape)
    return Canvas(value, known, rank, found.dialogue.grid(Options()), torch.zeros(len(ids), dtype=torch.bool))


def allowed(found: Any, case: Case, packed: Packed) -> None:
    """Ours sees what the official rows see, and no row that matters sees padding."""
    given = [case.inputs[k] for k in ("input_ids", "uncond_input_ids") if k in case.inputs]
    live = torch.cat(given) != found.dialogue.specials["[PAD]"]
    width = packed.x.shape[1]
    for own, ours, theirs in zip(live, sees(packed), case.inputs["attention_allowed"][:, 0].bool(), strict=True):
        n = int(own.sum())
        assert not theirs[own][:, ~own].any()
        assert torch.equal(ours[width - n :, width - n :], theirs[own][:, own])


def whole(found: Any, rows: list[list[Piece]], port: Any, canvas: Canvas) -> Packed:
    tokens, _ = port.embed(canvas, Step())
    tokens = tokens.repeat(len(rows) // len(tokens), 1, 1)
    read = found.network.read(rows)
    return pack([[*row, Segment(own, port.span)] for row, own in zip(read, tokens, strict=True)])


def t2i_step(found: Any, golden: GoldenSet, name: str, case: Case) -> None:
    rows, canvas = prompts(found, golden, case), begun(found, case)
    writer = found.dialogue.image(Options(guidance=float(case.inputs["guidance_scale"])))
    packed = whole(found, rows, writer.port, canvas)
    allowed(found, case, packed)
    official = torch.cat([case.outputs["cond_logits"], case.outputs["uncond_logits"]])
    for ours, theirs, segments in zip(logits(found, packed), official, packed.starts, strict=True):
        close(ours[segments[0] :], theirs[segments[0] - packed.x.shape[1] :], name="logits")
    context = say(found.network.backbone, found.network.read(rows))
    hidden, memo = look(context, writer, canvas, Step(), 2)
    parts = writer.port.head(hidden, memo).unflatten(0, (2, -1))
    close(writer.guide(parts, canvas, Step()), case.outputs["cfg_image_logits"], name="cfg_image_logits")


class Watched(Masked):
    """Remembers each visit's probabilities of what was drawn, and how sure it was."""

    def __init__(self, pick: Any):
        super().__init__(pick)
        self.seen: list[tuple[Tensor, Tensor]] = []

    def draw(self, parts: Tensor, canvas: Canvas, step: Step, guide: Any, draws: Draws) -> Any:
        drawn = super().draw(parts, canvas, step, guide, draws)
        codes = drawn.values[..., None]
        p = guide(parts, canvas, step).float().softmax(-1).gather(-1, codes)[..., 0]
        assert drawn.score is not None
        self.seen.append((p.masked_fill(canvas.known, MOST), drawn.score.masked_fill(canvas.known, float("inf"))))
        return drawn


def painted(found: Any, golden: GoldenSet, case: Case) -> Tensor:
    """The whole loop: every visit's counts, heat, probabilities and open slots -> codes."""
    rows, canvas = prompts(found, golden, case), begun(found, case)
    allowed(found, case, whole(found, rows, found.dialogue.image(Options()).port, canvas))
    guidance, visits_, heat = (case.inputs[k].item() for k in ("guidance_scale", "timesteps", "temperature"))
    writer = found.dialogue.image(Options(guidance=guidance, steps=visits_, temperature=heat))
    watched = Watched(argmax if case.settings.get("token_choice") == "argmax" else race())
    writer.objective = watched
    writer.schedule = reveal(visits_, {"cosine": cosine, "linear": linear}[case.settings["schedule"]], heat)
    tape = Tape(**{k.removeprefix("noise_"): v for k, v in case.inputs.items() if k.startswith("noise_")})
    context = say(found.network.backbone, found.network.read(rows))
    filled = list(visits(context, writer, canvas, len(rows) // len(canvas.known), tape))
    steps, canvas = [step for step, _ in filled], filled[-1][1]
    expected = case.outputs
    close(torch.tensor([step.heat for step in steps]), expected["temperature"], name="temperature")
    close(torch.stack([step.left for step in steps])[:-1].float(), expected["mask_len"][:-1], 0.0, name="mask_len")
    open_ = torch.stack([~after.known for _, after in filled])
    close(open_[:-1], expected["remask"][:-1].bool(), name="remask")
    probabilities = torch.stack([p for p, _ in watched.seen])
    known = expected["selected_probs"] == MOST
    assert torch.equal(probabilities == MOST, known)
    close(probabilities.masked_fill(known, 0), expected["selected_probs"].masked_fill(known, 0), name="selected_probs")
    close(canvas.value, expected["tokens"], name="tokens")
    left(found, case, canvas.value, watched.seen[-1][1])
    return canvas.value


def left(found: Any, case: Case, codes: Tensor, score: Tensor) -> None:
    """The official input after its last visit, in which the least sure slot is a mask again."""
    least = F.one_hot(score.argmin(1), score.shape[1]).bool()
    close(least, case.outputs["remask"][-1].bool(), name="remask")
    shown = torch.where(least, found.dialogue.mask, codes + found.dialogue.first)
    lead = found.dialogue.prompt_ids + 2
    official = torch.cat([case.inputs["input_ids"][:, :lead], shown, case.inputs["input_ids"][:, -1:]], 1)
    close(official, case.outputs["final_input_ids"], name="final_input_ids")


def shown(found: Any, codes: Tensor, grid: tuple[int, ...], case: Case) -> None:
    pixels = found.network.decode(codes, grid)
    close(pixels, case.outputs["pixels"], name="pixels")
    if "image_u8" in case.outputs:
        pictures = torch.stack([torch.tensor(list(p.getdata())) for p in found.dialogue.pictures(pixels)])
        gap = pictures - case.outputs["image_u8"].flatten(1, 2).int()
        assert gap.abs().max() <= 1
        assert (to_uint8(pixels).int() - case.outputs["image_u8"].int()).abs().max() <= 1


def t2i(found: Any, golden: GoldenSet, name: str, case: Case) -> None:
    shown(found, painted(found, golden, case), found.dialogue.grid(Options()), case)


def inpaint(found: Any, golden: GoldenSet, name: str, case: Case) -> None:
    """The canvas that a picture and a mask leave is the official input."""
    canvas, grid = begun(found, case), found.dialogue.grid(Options())
    mask = torch.stack([covered(own, grid) for own in case.inputs["mask_pixels"][:, 0]]).expand(canvas.known.shape)
    close(mask, case.outputs["token_mask"].bool(), name="token_mask")
    close(~canvas.known, mask, name="open slots")
    codes = found.network.encode(case.inputs["pixels"]).expand(canvas.known.shape)
    official = case.outputs["image_tokens"]
    close(codes, official - found.dialogue.first * (official.min() >= found.dialogue.first), name="image_tokens")
    close(canvas.value, torch.where(mask, OPEN, codes), name="value")
    shown(found, painted(found, golden, case), grid, case)


def extrapolate(found: Any, golden: GoldenSet, name: str, case: Case) -> None:
    """To the right: the right half of the picture is known and stands on the left of the new canvas."""
    assert (case.settings["direction"], case.settings["offset"]) == ("right", 0)
    grid = found.dialogue.grid(Options())
    codes, canvas = found.network.encode(case.inputs["pixels"]), begun(found, case)
    for own, known, value in zip(codes, canvas.known, canvas.value, strict=True):
        ours = beyond(own.view(grid), "right", grid)
        close(ours.known, known, name="known half")
        close(torch.where(ours.known, ours.value, OPEN), value, name="value")
    pairs = zip(codes, painted(found, golden, case), strict=True)
    wide = torch.stack([onward(own.view(grid), new.view(grid), "right") for own, new in pairs])
    close(wide, case.outputs["grid_tokens"], name="grid_tokens")
    shown(found, wide.flatten(1), (grid[0], wide.shape[-1]), case)


# --- learning ------------------------------------------------------------------------------------------------


def lesson(found: Any, case: Case) -> dict[str, list[list[Piece | Learn]]]:
    """The official batch as rows of ours: pictures to draw, text to go on with, pictures to tell about."""
    dialogue, settings, inputs = found.dialogue, case.settings, case.inputs
    end, limit, width = dialogue.end, dialogue.prompt_ids, inputs["input_ids"].shape[1]
    codes = found.network.encode(inputs["t2i_pixels"])
    dropped = inputs["u_cond_dropout"] < settings["cond_dropout_prob"]
    drawn = [
        [Ids(dialogue.drawn([] if blind else ids)), Learn("image", own, dialogue.grid(Options()))]
        for ids, own, blind in zip(settings["t2i_text_ids"], codes, dropped.tolist(), strict=True)
    ]
    lm = [[end, *ids, end][:width] for ids in settings["lm_text_ids"]]
    told_ = [[end, *ids, end] for ids in settings["mmu_text_ids"]]
    told_ = [ids if len(ids) <= limit else [*ids[: limit - 1], end] for ids in told_]
    looked = [dialogue.looked(Seen(own), [])[:-1] for own in inputs["mmu_pixels"]]
    return {
        "t2i": drawn,
        "lm": [[Ids(ids[:1]), Learn("lm", torch.tensor(ids[1:]))] for ids in lm],
        "mmu": [[*pieces, Learn("mmu", torch.tensor(ids))] for pieces, ids in zip(looked, told_, strict=True)],
    }


def loss(found: Any, golden: GoldenSet, name: str, case: Case) -> None:
    rows, lessons = lesson(found, case), found.dialogue.lessons()
    writers = {"image": lessons["image"], "lm": lessons["text"], "mmu": lessons["text"]}
    masks = hidden(found, case)
    tape = Tape(uniform=[case.inputs["u_timestep"], case.inputs["u_permutation"]])
    batch = [row for kind in ("t2i", "lm", "mmu") for row in rows[kind]]
    means = losses(found.network, writers, batch, tape)
    named = {"t2i": means["image"], "lm": means["lm"], "mmu": means["mmu"]}
    for kind, mean in named.items():
        close(mean, case.outputs[f"loss_{kind}"], name=f"loss_{kind}")
    total = sum(case.settings["coeff"][kind] * mean for kind, mean in named.items())
    close(torch.as_tensor(total), case.outputs["loss_total"], name="loss_total")
    live = case.inputs["input_ids"] != found.dialogue.specials["[PAD]"]
    spans = [[*row, *spoken_] for row, spoken_ in zip(*parts(found, rows, masks), strict=True)]
    visible = sees(pack(spans, left=False))
    for ours, theirs, own in zip(visible, case.inputs["attention_allowed"][:, 0].bool(), live, strict=True):
        n = int(own.sum())
        assert torch.equal(ours[:n, :n], theirs[own][:, own])


def hidden(found: Any, case: Case) -> Tensor:
    """The slots hidden for learning are the official ones; so are the codes, and the shares of the schedule."""
    inputs, count = case.inputs["input_ids"], len(case.inputs["t2i_pixels"])
    codes = found.network.encode(case.inputs["t2i_pixels"])
    close(codes + found.dialogue.first, case.outputs["t2i_codes_plus_offset"], name="t2i_codes_plus_offset")
    tape = Tape(uniform=[case.inputs["u_timestep"], case.inputs["u_permutation"]])
    canvas, _ = found.dialogue.lessons()["image"].objective.corrupt(codes, found.dialogue.grid(Options()), tape)
    masks = inputs[:count, found.dialogue.prompt_ids + 2 : -1] == found.dialogue.mask
    close(~canvas.known, masks, name="hidden slots")
    close(torch.cos(case.inputs["u_timestep"] * torch.pi / 2), case.outputs["mask_prob"], name="mask_prob")
    return masks


def parts(found: Any, rows: dict[str, list[list[Piece | Learn]]], masks: Tensor) -> tuple[list[Any], list[Any]]:
    """What of each row is said, and what is learned, as segments."""
    every = [row for kind in ("t2i", "lm", "mmu") for row in rows[kind]]
    said = found.network.read([[piece for piece in row if not isinstance(piece, Learn)] for row in every])
    width = found.network.backbone.config.width
    span = found.dialogue.lessons()["image"].port.span
    targets = [next(piece for piece in row if isinstance(piece, Learn)) for row in every]
    drawn = [t.writer == "image" for t in targets]
    return said, [
        [Segment(torch.zeros(len(t.target) + 2 * image, width), span if image else Span())]
        for t, image in zip(targets, drawn, strict=True)
    ]


# --- with CLIP -----------------------------------------------------------------------------------------------


def clip_asked(found: Any, golden: GoldenSet) -> list[Piece]:
    inputs = golden.cases["understand"].inputs
    seen = Seen(found.dialogue.preprocess(Pillow.fromarray(inputs["image_u8"].numpy())))
    return found.dialogue.looked(seen, inputs["text_ids"][0].tolist(), inputs["system_ids"][0].tolist())


def clip_understand(found: Any, golden: GoldenSet, name: str, case: Case) -> None:
    pieces, expected = clip_asked(found, golden), case.outputs
    pixels = next(piece.pixels for piece in pieces if isinstance(piece, Seen))
    close(pixels, expected["pixel_values"], name="pixel_values")
    close(found.network.eyes["encoder"](pixels[None]), expected["clip_features"], name="clip_features")
    close(torch.stack(found.network.see([pixels])), expected["image_embeddings"], name="image_embeddings")
    ids = [i for piece in pieces if isinstance(piece, Ids) for i in piece.ids]
    assert ids == case.inputs["input_ids_without_image"][0].tolist()
    packed = pack(found.network.read([pieces]))
    assert packed.x.shape[1] == int(expected["seq_len"])
    (visible,) = sees(packed)
    close(visible.sum(1), expected["attention_allowed_rowsum"], name="attention_allowed_rowsum")
    close(visible.sum(0), expected["attention_allowed_colsum"], name="attention_allowed_colsum")
    at = logits(found, packed)[:, case.inputs["logit_positions"]]
    close(at, expected["logits_at_positions"], name="logits_at_positions")
    greedy = expected["greedy_tokens"].tolist()
    endless = replace(found.dialogue.text(Options()), stop=None)
    assert answer(found, [pieces], endless, len(greedy), Draws([0])) == greedy


def clip_loss(found: Any, golden: GoldenSet, name: str, case: Case) -> None:
    """The text about the picture, cut where its labels begin."""
    *before, last = clip_asked(found, golden)
    assert isinstance(last, Ids)
    labels = case.inputs["labels"][0, -len(last.ids) :]
    first = int((labels == -100).sum())
    assert (labels[:first] == -100).all() and labels[first:].tolist() == last.ids[first:]
    row = [*before, Ids(last.ids[:first]), Learn("text", labels[first:])]
    mean = losses(found.network, found.dialogue.lessons(), [row], Draws([0]))["text"]
    close(mean, case.outputs["loss_mmu"], name="loss_mmu")


CHECKS = {
    "understand": understand,
    "understand_eot": understand_eot,
    "understand_sampled": understand_sampled,
    "text": text,
    "t2i_step": t2i_step,
    "t2i_greedy": t2i,
    "t2i_sampled": t2i,
    "t2i_nocfg_linear": t2i,
    "inpaint": inpaint,
    "extrapolate": extrapolate,
    "loss": loss,
}
CLIP_CHECKS = {"understand": clip_understand, "loss": clip_loss}


@torch.inference_mode()
@pytest.mark.parametrize(("golden", "name"), CASES)
def test_case(golden: GoldenSet, name: str, model: Callable[[GoldenSet], Model]) -> None:
    check = (CLIP_CHECKS if golden.config["w_clip_vit"] else CHECKS).get(name)
    assert check is not None, f"no check is written for case {name}"
    check(model(golden), golden, name, golden.cases[name])


def test_sets_are_there() -> None:
    assert CODES and CLIP, "no Show-o sets were found; tests/fixtures/parity must hold them"

"""MMaDA against the official code's numbers, case by case."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from functools import cache
from itertools import groupby
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, decoders, models
from torch import Tensor

import diptych
from diptych.backbone.transformer import Backbone
from diptych.canvas import Canvas, Step
from diptych.encoders.preprocess import to_uint8
from diptych.models import layouts
from diptych.models.family import Options
from diptych.models.mmada import Marks, MMaDADialogue, MMaDANetwork, llada
from diptych.models.model import Model
from diptych.models.network import Ids, Piece
from diptych.objectives.tokens import Masked, any_slot, argmax, gumbel64, race, surest, surest64
from diptych.objectives.weighed import Weighed
from diptych.samplers.conversation import say
from diptych.samplers.guidance import alone, cfg
from diptych.samplers.loop import blank, visits
from diptych.samplers.schedules import blocks, cosine, linear, reveal
from diptych.samplers.stopping import block_ends
from diptych.tokenizers.text import TextTokenizer
from diptych.training.batches import Learn, losses
from diptych.types import Request, Turn
from tests.parity.sets import Case, GoldenSet, close, sets_of
from tests.parity.tape import Tape

SETS = sets_of("mmada")
CASES = [pytest.param(golden, name, id=f"{golden.name}-{name}") for golden in SETS for name in golden.cases]


@cache
def model(golden: GoldenSet) -> Model:
    """With the ids that the set states: it has no tokenizer to name them."""
    loaded = diptych.load(golden.folder, device="cpu", dtype="float32")
    talk(loaded).speak(marks(golden))
    talk(loaded).longest = golden.json("tokenizer_info.json")["max_text_len"]
    return loaded


def marks(golden: GoldenSet) -> Marks:
    info = golden.json("tokenizer_info.json")
    reserved = {name: info["reserved"][f"<|{name}|>"] for name in ("soi", "eoi", "t2i", "mmu")}
    named = {name: info[name] for name in ("bos", "eos", "start_header", "end_header")}
    return Marks(
        **reserved, **named, pad=info["reserved"]["[iPAD]"], eot=info["eot_id"], codes=info["image_code_offset"]
    )


def talk(loaded: Model) -> MMaDADialogue:
    assert isinstance(loaded.dialogue, MMaDADialogue)
    return loaded.dialogue


def dialogue(golden: GoldenSet) -> MMaDADialogue:
    return talk(model(golden))


def network(golden: GoldenSet) -> MMaDANetwork:
    return dialogue(golden).network


def context(golden: GoldenSet, rows: list[list[Piece]]) -> Any:
    return say(network(golden).backbone, network(golden).read(rows))


def live(ids: Tensor, mask: Tensor | None = None) -> list[list[Piece]]:
    """Rows of ids without what the attention mask hides."""
    kept = torch.ones_like(ids).bool() if mask is None else mask.bool()
    return [[Ids(row[own].tolist())] for row, own in zip(ids, kept, strict=True)]


# --- the transformer -----------------------------------------------------------------------------------------


def forward(golden: GoldenSet, name: str, case: Case) -> None:
    ids = case.inputs["input_ids"]
    inside: list[Tensor] = []
    hooks = [
        block.register_forward_pre_hook(lambda _, args: inside.append(args[0]))
        for block in network(golden).backbone.blocks
    ]
    found = context(golden, live(ids))
    for hook in hooks:
        hook.remove()
    close(torch.stack([*inside, found.last_hidden]), case.outputs["hidden_states"], name="hidden_states")
    close(network(golden).backbone.head(found.last_hidden), case.outputs["logits"], name="logits")


def same_rows(ours: Tensor, theirs: Tensor, mask: Tensor, name: str) -> None:
    """Ours are aligned to the right; theirs stand where the mask says."""
    for row, other, kept in zip(ours, theirs, mask.bool(), strict=True):
        close(row[len(row) - int(kept.sum()) :], other[kept], name=name)


def forward_masked(golden: GoldenSet, name: str, case: Case) -> None:
    mask = case.inputs["attention_mask"]
    ids = golden.cases["forward"].inputs["input_ids"]
    same_rows(model(golden).logits(live(ids, mask)), case.outputs["logits"], mask, "logits")


def forward_train_bias(golden: GoldenSet, name: str, case: Case) -> None:
    bias = case.inputs["attention_bias"][:, 0]
    real = bias.bool().any(-1)
    assert torch.equal(bias.bool(), real[:, :, None] & real[:, None])
    span, rows = dialogue(golden).padding(0).span, list[list[Piece]]()
    for ids, own in zip(golden.cases["forward"].inputs["input_ids"].tolist(), real.tolist(), strict=True):
        runs = [(kept, [i for i, _ in run]) for kept, run in groupby(zip(ids, own, strict=True), lambda pair: pair[1])]
        rows.append([Ids(run, None if kept else span) for kept, run in runs])
    close(model(golden).logits(rows), case.outputs["logits"], name="logits")


# --- text ----------------------------------------------------------------------------------------------------


def noise(case: Case, length: int, each: int, block: int, mask: int) -> Iterator[Tensor]:
    """What was drawn for the slots that a visit may settle: first for ids, then for confidences."""
    official = case.outputs["steps_input"][:, :, -length:]
    for k, ids in enumerate(official):
        open_ = (ids == mask) & (torch.arange(length) < (k // each + 1) * block)
        for kind in ("noise_uniform_f64", "noise_confidence"):
            if kind in case.inputs:
                yield case.inputs[kind][k][:, -length:][open_]


def text(golden: GoldenSet, name: str, case: Case) -> None:
    """The whole loop: what the model sees in every visit, and the end."""
    net, prompt, mask = network(golden), case.inputs["prompt_ids"], network(golden).mask
    length, block, steps = case.inputs["gen_block_steps"].tolist()
    weight, temperature = (round(float(case.inputs[key]), 6) for key in ("cfg_scale", "temperature"))
    rows = live(prompt, None if weight else hidden_padding(case))  # guided, the official code hides no padding
    if weight:
        rows += live(torch.full_like(prompt, mask))
    each = steps * block // length
    pick, sure = gumbel64(temperature) if temperature else argmax, any_slot if "random" in name else surest64
    writer = dialogue(golden).text(Options())
    writer.objective, writer.schedule = Weighed(pick, sure, mask), blocks(block, steps)
    writer.guide = cfg(1 + weight) if weight else alone
    writer.stop = block_ends(int(case.inputs["eot_token"]), each) if "eot_token" in case.inputs else None
    tape = Tape(uniform=noise(case, length, each, block, mask))
    start = blank(writer, len(prompt), (length,), tape, "cpu")
    seen = [start, *(c for _, c in visits(context(golden, rows), writer, start, len(rows) // len(prompt), tape))]
    fed = torch.stack([torch.cat([prompt, c.value.where(c.known, mask)], 1) for c in seen])
    close(fed[:-1], case.outputs["steps_input"], name="steps_input")
    close(fed[-1], case.outputs["sequence"], name="sequence")
    assert net.mask == golden.config["mask_token_id"]


def hidden_padding(case: Case) -> Tensor | None:
    mask = case.inputs.get("attention_mask")
    return None if mask is None else mask[:, : case.inputs["prompt_ids"].shape[1]]


def understand(golden: GoldenSet, name: str, case: Case) -> None:
    (pixels,), (ids,) = case.inputs["pixels"], case.outputs["input_ids"].tolist()
    codes = network(golden).encode(pixels[None])[0] + dialogue(golden).marks.codes
    picture = dialogue(golden).seen(pixels)
    opened, closed = (piece.ids for piece in picture if isinstance(piece, Ids))
    told = ids[len(opened) + len(codes) + len(closed) :]
    assert [*opened, *codes.tolist(), *closed, *told] == ids
    blanks = [network(golden).mask] * (case.outputs["logits"].shape[1] - len(ids))
    close(model(golden).logits([[*picture, Ids(told), Ids(blanks)]]), case.outputs["logits"], name="logits")


# --- images --------------------------------------------------------------------------------------------------


def prompts(golden: GoldenSet, case: Case) -> list[list[Piece]]:
    """Ours, branch by branch; they must spell the official ones."""
    texts = golden.cases["t2i_step"].settings if not case.settings else case.settings
    told = [dialogue(golden).drawing(ids) for ids in texts["prompt_text_ids"]]
    blind = [dialogue(golden).drawing([])] * len(told) if "uncond_input_ids" in case.inputs else []
    for ours, prefix in ((told, ""), (blind, "uncond_")):
        for row, ids, mask in zip(ours, *official(case, prefix), strict=False):
            assert row == ids[: -slots(golden) - 2][mask[: -slots(golden) - 2].bool()].tolist()
    return [[Ids(ids)] for ids in [*told, *blind]]


def official(case: Case, prefix: str) -> tuple[Tensor, Tensor]:
    return tuple(case.inputs.get(f"{prefix}{kind}", torch.empty(0)) for kind in ("input_ids", "attention_mask"))  # type: ignore[return-value]


def slots(golden: GoldenSet) -> int:
    return golden.config["num_vq_tokens"]


def started(golden: GoldenSet, case: Case) -> Canvas:
    """The canvas as the official ids have it."""
    ids = case.inputs["input_ids"][:, -slots(golden) - 1 : -1]
    side = math.isqrt(slots(golden))
    canvas = blank(dialogue(golden).image(Options()), len(ids), (side, side), Tape(), "cpu")
    canvas.known = ids != network(golden).mask
    canvas.value = canvas.value.where(~canvas.known, ids - dialogue(golden).marks.codes)
    return canvas


def t2i_step(golden: GoldenSet, name: str, case: Case) -> None:
    rows, canvas, net = prompts(golden, case), started(golden, case), network(golden)
    branches = len(rows) // len(canvas.known)
    guidance = float(case.inputs["guidance_scale"])
    writer = dialogue(golden).image(Options(guidance=guidance))
    tokens, _ = writer.port.embed(canvas, Step())
    tokens = tokens.repeat(branches, 1, 1)
    hidden = context(golden, rows).visit(tokens, writer.port.spans(tokens.shape[1]), False)
    parts = writer.port.head(hidden, None).unflatten(0, (branches, -1))
    close(writer.guide(parts, canvas, Step()), case.outputs["cfg_image_logits"], name="cfg_image_logits")
    for prefix in ("", "uncond_")[:branches]:
        ids, mask = official(case, prefix)
        logits = case.outputs[f"{prefix or 'cond_'}logits"]
        same_rows(model(golden).logits(live(ids, mask)), logits, mask, f"{prefix}logits")
    assert net.codebook == parts.shape[-1]


def open_slots(case: Case, start: Canvas) -> list[Tensor]:
    """Bool[B, N] for each visit: what it may settle, as recorded."""
    return [~start.known, *case.outputs["remask"].bool()[:-1]]


def t2i(golden: GoldenSet, name: str, case: Case) -> None:
    """The whole loop: what stays hidden after every visit, how likely what was drawn is, codes, pixels, pictures."""
    rows, start, settings = prompts(golden, case), started(golden, case), case.settings
    if "pixels" in case.inputs:
        codes = network(golden).encode(case.inputs["pixels"])
        assert torch.equal(codes[start.known], start.value[start.known])
    count = int(case.inputs["timesteps"])
    guidance, heat = (round(float(case.inputs[key]), 6) for key in ("guidance_scale", "temperature"))
    writer = dialogue(golden).image(Options(guidance=guidance, temperature=heat, steps=count))
    sure: list[Tensor] = []

    def watched(logits: Tensor, codes: Tensor, step: Step, draws: Any) -> Tensor:
        sure.append(logits.softmax(-1).gather(-1, codes[..., None])[:, 0, 0])
        return surest(logits, codes, step, draws)

    writer.objective = Masked(race() if "noise_exponential" in case.inputs else argmax, watched)
    writer.schedule = reveal(count, {"cosine": cosine, "linear": linear}[settings["schedule"]], heat)
    open_, size = open_slots(case, start), network(golden).codebook
    drawn = zip(open_, case.inputs.get("noise_exponential", ()), strict=False)
    shaken = zip(open_, case.inputs.get("noise_uniform", ()), strict=False)
    tape = Tape(exponential=(e.view(*o.shape, size)[o] for o, e in drawn), uniform=(u[o] for o, u in shaken))
    branches, steps, after = len(rows) // len(start.known), list[Step](), list[Canvas]()
    for step, canvas in visits(context(golden, rows), writer, start, branches, tape):
        steps.append(step)
        after.append(canvas)
    expected = case.outputs
    close(torch.stack([(~c.known).to(torch.uint8) for c in after[:-1]]), expected["remask"][:-1], name="remask")
    close(torch.stack([s.left for s in steps[:-1]]).float(), expected["mask_len"][:-1], name="mask_len")  # type: ignore
    close(torch.tensor([s.heat for s in steps]), expected["temperature"], name="temperature")
    close(torch.cat(sure), expected["selected_probs"][torch.stack(open_)], name="selected_probs")
    codes = after[-1].value
    close(codes, expected["tokens"], name="tokens")
    ids = expected["final_input_ids"][:, -slots(golden) - 1 : -1]
    close((codes + dialogue(golden).marks.codes).where(ids != network(golden).mask, ids), ids, name="final_input_ids")
    pixels = network(golden).decode(codes, after[-1].grid)
    close(pixels, expected["pixels"], name="pixels")
    assert (to_uint8(pixels, "trunc").int() - expected["image_u8"].int()).abs().max() <= 1


# --- training ------------------------------------------------------------------------------------------------

Rows = list[list[Piece | Learn]]


def given(golden: GoldenSet, case: Case, name: str) -> Any:
    """An input of this case, else of the case that all losses share."""
    return case.inputs.get(name, golden.cases["loss"].inputs[name])


def drawings(golden: GoldenSet, case: Case) -> tuple[Rows, list[Tensor]]:
    codes = network(golden).encode(given(golden, case, "t2i_pixels"))
    dropped = given(golden, case, "u_cond_dropout") < given(golden, case, "cond_dropout_prob")
    side, room, rows = math.isqrt(slots(golden)), dialogue(golden).longest + 1, Rows()
    for text_ids, own, drop in zip(golden.cases["loss"].settings["t2i_text_ids"], codes, dropped, strict=True):
        ids = dialogue(golden).drawing([] if drop else text_ids)
        rows.append([dialogue(golden).padding(room - len(ids)), Ids(ids), Learn("t2i", own, (side, side))])
    return rows, [given(golden, case, "u_timestep_t2i"), given(golden, case, "u_permutation_t2i")]


def framed(golden: GoldenSet, ids: list[int], length: int) -> list[int]:
    """A text with its ends, filled up with end marks, which are learned too."""
    m = dialogue(golden).marks
    ids = [*([] if ids[:1] == [m.bos] else [m.bos]), *ids, m.eos]
    return (ids + [m.eos] * length)[:length]


def asked(golden: GoldenSet, ids: list[int]) -> int:
    """How many of these ids are the prompt: up to the last header."""
    end = dialogue(golden).marks.end_header
    return len(ids) - ids[::-1].index(end) if end in ids else 0


def ragged(rows: list[Tensor]) -> Tensor:
    return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)


def plain(golden: GoldenSet, case: Case) -> tuple[Rows, list[Tensor]]:
    labels = golden.cases["loss"].inputs["labels"]
    texts = golden.cases["loss"].settings["lm_text_ids"]
    rows = [[Learn("lm", torch.tensor(framed(golden, ids, labels.shape[1])))] for ids in texts]
    return rows, [given(golden, case, "u_t_lm"), given(golden, case, "u_mask_lm")]  # type: ignore[return-value]


def chat(golden: GoldenSet, case: Case) -> tuple[Rows, list[Tensor]]:
    u, rows, masks = given(golden, case, "u_mask_chat"), Rows(), list[Tensor]()
    for text_ids, mask in zip(golden.cases["loss_chat"].settings["chat_text_ids"], u, strict=True):
        ids = framed(golden, text_ids, u.shape[1])
        n = asked(golden, ids)
        rows.append([Ids(ids[:n]), Learn("lm", torch.tensor(ids[n:]))])
        masks.append(mask[n:])
    return rows, [given(golden, case, "u_t_chat"), ragged(masks)]


def questions(golden: GoldenSet, case: Case) -> tuple[Rows, list[Tensor]]:
    u, rows, masks = given(golden, case, "u_mask_mmu"), Rows(), list[Tensor]()
    texts = golden.cases["loss"].settings["mmu_text_ids"]
    for pixels, text_ids, mask in zip(given(golden, case, "mmu_pixels"), texts, u, strict=True):
        ids = framed(golden, text_ids, dialogue(golden).longest)
        n = asked(golden, ids)
        rows.append([*dialogue(golden).seen(pixels), Ids(ids[:n]), Learn("mmu", torch.tensor(ids[n:]))])
        masks.append(mask[u.shape[1] - len(ids) + n :])
    return rows, [given(golden, case, "u_t_mmu"), ragged(masks)]


def learned(golden: GoldenSet, case: Case, *parts: tuple[Rows, list[Tensor]], answers: bool) -> dict[str, Tensor]:
    """All parts of a batch in one forward."""
    lessons = dialogue(golden).lessons()
    writers = {
        "t2i": lessons["image"],
        "lm": lessons["text" if answers else "plain"],
        "mmu": lessons["text"],
        "r2i": lessons["plain"],
    }
    return losses(network(golden), writers, [r for rows, _ in parts for r in rows], Tape(uniform=sum_(parts)))


def sum_(parts: tuple[tuple[Rows, list[Tensor]], ...]) -> list[Tensor]:
    return [draw for _, drawn in parts for draw in drawn]


def loss(golden: GoldenSet, name: str, case: Case) -> None:
    parts = drawings(golden, case), plain(golden, case), questions(golden, case)
    found = learned(golden, case, *parts, answers=False)
    weights = case.settings["coeff"]
    found["total"] = torch.as_tensor(sum(weights[key] * found[key] for key in ("t2i", "lm", "mmu")))
    for key in ("t2i", "lm", "mmu", "total"):
        close(found[key], case.outputs[f"loss_{key}"], name=key)
    rows, drawn = parts[0]
    target = torch.stack([piece.target for row in rows for piece in row if isinstance(piece, Learn)])
    canvas, _ = dialogue(golden).lessons()["image"].objective.corrupt(target, (target.shape[1],), Tape(uniform=drawn))
    hidden = (slots(golden) * case.outputs["mask_prob_t2i"]).round().clamp(min=1)
    assert torch.equal((~canvas.known).sum(1), hidden.long())
    assert torch.equal(
        ~canvas.known, case.inputs["input_ids"][: len(rows), -slots(golden) - 1 : -1] == network(golden).mask
    )


def loss_t2i_only(golden: GoldenSet, name: str, case: Case) -> None:
    found = learned(golden, case, drawings(golden, case), answers=False)
    close(found["t2i"], case.outputs["loss_t2i"], name="t2i")


def loss_chat(golden: GoldenSet, name: str, case: Case) -> None:
    parts = drawings(golden, case), chat(golden, case), questions(golden, case)
    found = learned(golden, case, *parts, answers=True)
    for key in ("t2i", "lm", "mmu"):
        close(found[key], case.outputs[f"loss_{key}"], name=key)


def loss_r2i(golden: GoldenSet, name: str, case: Case) -> None:
    """Rows of thoughts and an image: both are the answer, a mean over rows; the marks around the image are given."""
    loss_chat(golden, name, case)
    m, info = dialogue(golden).marks, golden.json("tokenizer_info.json")
    codes = network(golden).encode(given(golden, case, "mmu_pixels")) + m.codes
    found = []
    for k, text_ids in enumerate(case.settings["r2i_text_ids"]):
        ids = framed(golden, text_ids, dialogue(golden).longest)
        n, u, t = asked(golden, ids) or len(ids), given(golden, case, "u_mask_r2i")[k], given(golden, case, "u_t_r2i")
        row: list[Any] = [Ids([info["reserved"]["<|r2i|>"], *ids[:n]])]
        spans = [(torch.tensor(ids[n:]), u[1 + n : 1 + len(ids)])] if n < len(ids) else []
        row += [Learn("r2i", target) for target, _ in spans]
        row += [Ids([m.soi]), Learn("r2i", codes[k]), Ids([m.eoi])]
        spans.append((codes[k], u[len(ids) + 2 : len(ids) + 2 + len(codes[k])]))
        assert sum(len(target) for target, _ in spans) == case.inputs["answer_lengths_r2i"][k, 0]
        tape = Tape(uniform=[t[k].expand(len(spans)), ragged([mask for _, mask in spans])])
        writers = {"r2i": dialogue(golden).lessons()["plain"]}
        found.append(losses(network(golden), writers, [row], tape)["r2i"])
    close(torch.stack(found).mean(), case.outputs["loss_r2i"], name="r2i")


CHECKS = {
    "forward": forward,
    "forward_masked": forward_masked,
    "forward_train_bias": forward_train_bias,
    "text": text,
    "understand": understand,
    "understand_greedy": text,
    "understand_fast": text,
    "t2i_step": t2i_step,
    "t2i": t2i,
    "loss": loss,
    "loss_t2i_only": loss_t2i_only,
    "loss_chat": loss_chat,
    "loss_r2i": loss_r2i,
}


@torch.inference_mode()
@pytest.mark.parametrize(("golden", "name"), CASES)
def test_case(golden: GoldenSet, name: str) -> None:
    kind = name if name in CHECKS else name.split("_")[0]
    assert kind in CHECKS, f"no check is written for case {name}"
    CHECKS[kind](golden, name, golden.cases[name])


@pytest.mark.parametrize("golden", SETS, ids=lambda golden: golden.name)
def test_every_published_tensor_is_claimed(golden: GoldenSet) -> None:
    """At the real sizes, which only the tensors state."""
    for keys in (dict(entry) for entry in golden.full_keys.values() if isinstance(entry, list)):
        width, first = keys["model.transformer.ln_f.weight"][0], "model.transformer.blocks.0."
        heads = golden.config["n_heads"]
        sizes = {
            "d_model": width,
            "n_layers": 1 + max(int(key.split(".")[3]) for key in keys if ".blocks." in key),
            "mlp_hidden_size": keys[first + "ff_proj.weight"][0],
            "embedding_size": keys["model.transformer.wte.weight"][0],
            "n_kv_heads": keys[first + "k_proj.weight"][0] * heads // width,
        }
        with torch.device("meta"):
            backbone = Backbone(llada(golden.config | sizes))
        ours = {name: tensor.shape for name, tensor in backbone.state_dict().items()}
        layouts.LLADA.under("model.transformer.", "").check(keys, ours)


@pytest.mark.parametrize("golden", SETS, ids=lambda golden: golden.name)
def test_prompts(golden: GoldenSet) -> None:
    """Every prompt string of the set, read by a tokenizer of single characters."""
    talks = spelling(golden)
    shown = golden.prompts
    for part in (shown[key] for key in shown if key.startswith(("text_", "understanding", "multi"))):
        part = part if isinstance(part, str) else part["text"]
        (piece,) = talks.render(Request(conversation(part)))
        assert isinstance(piece, Ids) and talks.tokenizer.decode(piece.ids, specials=True) == part
    for plain, thought in (
        ("text_generation", "text_generation_thinking"),
        ("understanding", "understanding_thinking"),
    ):
        plain, thought = (part if isinstance(part, str) else part["text"] for part in (shown[plain], shown[thought]))
        (piece,) = talks.render(talks.thinking(Request(conversation(plain))))
        assert isinstance(piece, Ids) and talks.tokenizer.decode(piece.ids, specials=True) == thought
    for part, branch in ((shown["generation"], "full"), (shown["unconditional"], "no_text")):
        (piece,) = talks.render(Request.of(part["prompt"] or "unread", "image"), branch=branch)
        assert isinstance(piece, Ids)
        told = talks.tokenizer.decode(piece.ids, specials=True)
        assert told == f"<|t2i|><|startoftext|>{part['prompt']}<|endoftext|>"


def conversation(template: str) -> tuple[Turn, ...]:
    """The turns of an official prompt string, without the header that opens the reply."""
    turns = template.removeprefix("<|startoftext|>").split("<|start_header_id|>")[1:-1]
    pairs = [turn.removesuffix("<|eot_id|>").split("<|end_header_id|>\n") for turn in turns]
    return tuple(Turn(role, (said,)) for role, said in pairs)  # type: ignore[arg-type]


def spelling(golden: GoldenSet) -> MMaDADialogue:
    tokenizer = Tokenizer(models.BPE({chr(i): k for k, i in enumerate([10, *range(32, 127)])}, []))
    tokenizer.decoder = decoders.Fuse()
    reserved = golden.json("tokenizer_info.json")["reserved"]
    headers = ["<|startoftext|>", "<|endoftext|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"]
    tokenizer.add_special_tokens([*headers, *reserved])
    talks = copy.copy(dialogue(golden))
    talks.network, talks.tokenizer = copy.copy(talks.network), TextTokenizer(tokenizer)
    talks.longest = len(golden.prompts["generation"]["prompt"]) + 3
    talks.speak(Marks.of(talks.tokenizer))
    return talks


def test_sets_are_there() -> None:
    assert SETS, "no MMaDA set was found; tests/fixtures/parity must hold one"

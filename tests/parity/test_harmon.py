"""Harmon against the official code's numbers, case by case."""

from collections.abc import Sequence
from functools import cache
from itertools import groupby
from typing import Any

import pytest
import torch
from PIL import Image as Pillow
from tokenizers import Tokenizer, decoders, models
from torch import Tensor

import diptych
from diptych.backbone.packing import Segment, pack
from diptych.canvas import Canvas, Draws, Given, Guide, Step, Writer
from diptych.encoders.preprocess import Preprocess, Square
from diptych.models.family import Options
from diptych.models.harmon import GUIDANCE, Harmon, HarmonDialogue, HarmonNetwork
from diptych.models.mar import kl16_names
from diptych.models.model import Model
from diptych.models.network import Ids, Piece, Seen
from diptych.objectives.ddpm import thinned
from diptych.objectives.denoise import Denoised
from diptych.objectives.diffusion_head import Denoising
from diptych.objectives.tokens import whole
from diptych.samplers.conversation import cut, draw, say, write
from diptych.samplers.guidance import alone, cfg, cfg_growing
from diptych.samplers.loop import look
from diptych.samplers.schedules import cosine64, reveal
from diptych.tokenizers.text import TextTokenizer
from diptych.training.batches import Learn, losses
from diptych.types import Request, Turn
from diptych.weights.files import Checkpoint
from tests.parity.sets import Case, GoldenSet, close, sets_of
from tests.parity.tape import Tape

SETS = sets_of("harmon")
CASES = [pytest.param(golden, name, id=f"{golden.name}-{name}") for golden in SETS for name in golden.cases]
EVERY_SET = pytest.mark.parametrize("golden", SETS, ids=lambda golden: golden.name)
IMAGE = -200  # marks a picture's tokens in labelled ids
COARSE = "ddim8"  # the well-conditioned times of the set's README
WARMTH = {"ddim8_nocfg": 0.7, "gen_loop_b": 0.8}  # temperatures that are not 1, of the README


@cache
def model(golden: GoldenSet) -> Model:
    return diptych.load(golden.folder, device="cpu", dtype="float32")


def network(golden: GoldenSet) -> HarmonNetwork:
    found = model(golden).network
    assert isinstance(found, HarmonNetwork)
    return found


def dialogue(golden: GoldenSet) -> HarmonDialogue:
    found = model(golden).dialogue
    assert isinstance(found, HarmonDialogue)
    return found


def denoising(golden: GoldenSet, spacing: str | None = None, temperature: float = 1.0) -> Denoising:
    return Denoising(network(golden).denoiser, spacing or dialogue(golden).spacing, temperature)


def slots(latents: Tensor) -> Tensor:
    """[B, h, w, C] -> [B, N, C]"""
    return latents.flatten(1, 2)


def prompts(case: Case) -> list[list[Piece]]:
    pairs = zip(case.inputs["input_ids"], case.inputs["attention_mask"], strict=True)
    return [[Ids(ids[own].tolist())] for ids, own in pairs]


def canvas_of(latents: Tensor, hidden: Tensor) -> Canvas:
    canvas = whole(slots(latents), tuple(latents.shape[1:3]))
    canvas.known = hidden == 0
    return canvas


# --- reading -------------------------------------------------------------------------------------------------


def preproc(golden: GoldenSet, name: str, case: Case) -> None:
    side = case.outputs["pixels"].shape[-1]
    pixels = Preprocess((Square(side),))(Pillow.fromarray(case.inputs["image"].numpy()))
    close(pixels[None], case.outputs["pixels"], name="pixels")
    assert torch.equal(((pixels + 1) * 127.5).round().to(torch.uint8).movedim(0, -1), case.outputs["uint8"])
    assert dialogue(golden).preprocess.steps == (Square(2 * golden.config["mar"]["img_size"]),)


def vae(golden: GoldenSet, name: str, case: Case) -> None:
    pixels, tokenizer = case.inputs["pixels"], network(golden).tokenizer
    mean, logvar = tokenizer.moments(pixels)
    close(tokenizer.quant_conv(tokenizer.encoder(pixels)), case.outputs["moments"], name="moments")
    close(mean, case.outputs["mean"], name="mean")
    close(logvar, case.outputs["logvar"], name="logvar")
    close(network(golden).encode(pixels), slots(case.outputs["latents"]), name="latents")


def vae_decode(golden: GoldenSet, name: str, case: Case) -> None:
    latents = case.inputs["latents"]
    pixels = network(golden).decode(slots(latents), tuple(latents.shape[1:3]))
    close(pixels, case.outputs["pixels"], name="pixels")


def visual(golden: GoldenSet, name: str, case: Case) -> None:
    canvas = canvas_of(case.inputs["latents"], torch.zeros(slots(case.inputs["latents"]).shape[:2]))
    port = network(golden).draw
    tokens, (encoded, _, grid) = port.embed(canvas, Step())
    close(encoded, case.outputs["x_enc"], name="x_enc")
    close(tokens, case.outputs["z_enc"], name="z_enc")
    autoencoder = port.autoencoder
    tables = {"encoder_pos": autoencoder.encoder_position, "diffusion_pos": autoencoder.out_position}
    for table in tables.keys() & case.outputs.keys():
        close(autoencoder.places(tables[table], grid), case.outputs[table], name=table)


def understand(golden: GoldenSet, name: str, case: Case) -> None:
    """Greedy text at three penalties, and the logits of the prompt."""
    (ids,), (pixels,) = case.inputs["input_ids"], case.inputs["pixels"]
    placeholder = int(ids.mode().values)
    row: list[Piece] = []
    for is_image, run in groupby(ids.tolist(), key=lambda i: i == placeholder):
        row.append(Seen(pixels) if is_image else Ids(list(run)))
    net = network(golden)
    close(torch.cat([s.x for s in net.read([row])[0]])[None], case.outputs["inputs_embeds"], name="inputs_embeds")
    close(model(golden).logits([row]), case.outputs["logits"], name="logits")
    for key in (key for key in case.outputs if key.startswith("tokens")):
        writer = dialogue(golden).text(Options())
        writer.objective.penalty = float(key.removeprefix("tokens").rpartition("penalty_")[2].replace("_", ".") or 1)
        (official,) = case.outputs[key]
        *_, (_, canvas) = write(say(net.backbone, net.read([row])), writer, len(official), Draws([0]))
        assert cut(canvas.value[0][canvas.known[0]], dialogue(golden).stops) == cut(official, dialogue(golden).stops)


def train_i2t(golden: GoldenSet, name: str, case: Case) -> None:
    rows: list[Sequence[Piece | Learn]] = []
    columns = zip(*(case.inputs[key] for key in ("input_ids", "labels", "attention_mask", "pixels")), strict=True)
    for ids, labels, own, pixels in columns:
        row: list[Piece | Learn] = []
        kinds = [
            (i, IMAGE if i == IMAGE else label >= 0)
            for i, label in zip(*(x[own].tolist() for x in (ids, labels)), strict=True)
        ]
        for kind, run in groupby(kinds, key=lambda pair: pair[1]):
            said = [i for i, _ in run]
            row.append(Seen(pixels) if kind == IMAGE else Learn("text", torch.tensor(said)) if kind else Ids(said))
        rows.append(row)
    learned = sum(isinstance(piece, Learn) for row in rows for piece in row)
    found = losses(network(golden), dialogue(golden).lessons(), rows, Draws(range(learned)))
    close(found["text"], case.outputs["loss"], name="loss")


# --- a visit -------------------------------------------------------------------------------------------------


def gen_step(golden: GoldenSet, name: str, case: Case) -> None:
    net, canvas = network(golden), canvas_of(case.inputs["latents"], case.inputs["mask"])
    rows = net.read(prompts(case))
    tokens, (encoded, known, grid) = net.draw.embed(canvas, Step())
    close(encoded, case.outputs["x_enc_mar"], name="x_enc_mar")
    close(tokens, case.outputs["z_enc"], name="z_enc")
    packed = pack([[*row, Segment(own)] for row, own in zip(rows, tokens, strict=True)])
    own, official = packed.visibility.sample >= 0, case.outputs["llm_attention_mask"]
    assert torch.equal(packed.position[own], case.outputs["position_ids"][official])
    hidden, _ = look(say(net.backbone, rows), Writer(net.draw, None, None, alone), canvas, Step(), 1)  # type: ignore[arg-type]
    for key in ("x_enc", "x_enc_cached"):
        close(net.draw.joined(hidden, encoded, known), case.outputs[key], name=key)
    z = net.draw.head(hidden, (encoded, known, grid))
    close(z, case.outputs["z"], name="z")
    noisy, times = case.inputs["noisy"], case.inputs["t"]
    half = len(noisy) // 2
    condition = torch.cat([z[0, :half], z[1, :half]])
    close(torch.cat(net.denoiser(noisy, times, condition), -1), case.outputs["net"], name="net")
    noise, range_ = net.denoiser(noisy[:half].repeat(2, 1), times, condition)
    guided = cfg(GUIDANCE)(noise.unflatten(0, (2, half)), canvas, Step())
    close(torch.cat([guided.repeat(2, 1), range_], -1), case.outputs["net_cfg"], name="net_cfg")


def decoder_xcon(golden: GoldenSet, name: str, case: Case) -> None:
    step = golden.cases["gen_step"]
    canvas = canvas_of(step.inputs["latents"], step.inputs["mask"])
    decode = network(golden).draw.autoencoder.decode
    z = decode(step.outputs["x_enc"], canvas.known, canvas.grid, under=case.inputs["x_con"])
    close(z, case.outputs["z"], name="z")


# --- the diffusion head --------------------------------------------------------------------------------------


def p_step(golden: GoldenSet, name: str, case: Case) -> None:
    """One step at each row's own index; in the last case all begin. The temperature is not told: it is the one number
    that every channel of the recorded samples agrees on."""
    first, head = golden.cases["p_step"], network(golden).denoiser
    diffusion, x = thinned(dialogue(golden).spacing), case.inputs["x"]
    times = torch.tensor(diffusion.times)
    if case is first:
        assert torch.equal(times, case.outputs["timesteps"])
        close(diffusion.betas, case.outputs["betas"], name="betas")
    k = case.inputs.get("index", torch.full((len(x),), len(times) - 1))
    noise, range_ = head(x, times[k], first.inputs["z"][: len(x)])
    back = diffusion.back(x, noise, range_, k)
    added = (back.log_variance / 2).exp() * first.inputs["noise"][: len(x)]
    recorded = first.outputs["sample"] - first.outputs["mean"]
    spread = (first.outputs["log_variance"] / 2).exp() * first.inputs["noise"]
    temperature = (recorded / spread)[first.inputs["index"] > 0].median()
    close(back.clean, case.outputs["pred_xstart"], name="pred_xstart")
    close(back.mean, case.outputs["mean"], name="mean")
    close(back.log_variance, case.outputs["log_variance"], name="log_variance")
    warmth = (temperature if case is first else 1.0) * (k > 0)[:, None]
    close(back.mean + warmth * added, case.outputs["sample"], name="sample")


def taped(flat: Tensor, counts: list[int], rows: int, steps: int, channels: int, branches: int) -> list[Tensor]:
    """The recorded draws of each visit, of which with guidance the first half counts."""
    out = []
    for count in counts:
        own = count * rows // branches
        for size in [own] + [count * rows] * steps:
            out.append(flat[: size * channels].view(size, channels)[:own])
            flat = flat[size * channels :]
    assert not len(flat), "draws are left over"
    return out


def diff_sample(golden: GoldenSet, name: str, case: Case) -> None:
    z = case.inputs["z"]
    assert torch.equal(torch.tensor(thinned(COARSE).times), case.outputs["timesteps_ddim8"])
    for kind in (key for key in case.outputs if not key.startswith("timesteps")):
        guided = "nocfg" not in kind
        branches, guide = (2, cfg(GUIDANCE)) if guided else (1, alone)
        denoiser = denoising(golden, COARSE if kind.startswith(COARSE) else None, WARMTH.get(kind, 1.0))
        steps = len(thinned(denoiser.spacing).times)
        drawn = taped(case.inputs[f"draws_{kind}"], [1], len(z), steps, denoiser.head.channels, branches)
        rows = list(range(len(z) // branches))
        found = denoiser.sample(z.unflatten(0, (branches, -1)), acting(guide), rows, Tape(normal=drawn))
        close(found, case.outputs[kind][: len(rows)], name=kind)


def acting(guide: Guide) -> Any:
    return lambda parts: guide(parts, None, None)  # type: ignore[arg-type]


# --- writing -------------------------------------------------------------------------------------------------


def generate(golden: GoldenSet, name: str, case: Case) -> None:
    """The whole loop: how many slots a visit settles, latents, pixels, bytes."""
    asked = case if "input_ids" in case.inputs else golden.cases[name.removesuffix("_ddim8")]
    official, counts = case.outputs["latents"], case.outputs["tokens_per_iter"].tolist()
    grid, orders = tuple(official.shape[1:3]), asked.inputs["orders"]
    count = len(case.outputs["pixels"])
    branches = len(official) // count
    growing = name.endswith("_ddim8")
    guide = alone if branches == 1 else (cfg_growing if growing else cfg)(GUIDANCE)
    coarse = growing or branches == 1
    denoiser = denoising(golden, COARSE if coarse else None, WARMTH.get(name, 1.0))
    steps, channels = len(thinned(denoiser.spacing).times), denoiser.head.channels
    # a slot's rank is its place in the recorded order: the last of the order are settled first
    tape = Tape(
        uniform=[orders[:count].argsort(1)],
        normal=taped(case.inputs["draws"], counts, len(official), steps, channels, branches),
    )
    tape.generators = [torch.Generator()] * count
    net, objective = network(golden), Denoised(denoiser, channels)
    writer = Writer(net.draw, objective, reveal(len(counts), cosine64), guide, "random")
    settled: list[int] = []
    rows = net.read(prompts(asked))
    canvas = draw(
        say(net.backbone, rows),
        writer,
        grid,
        branches,
        tape,
        lambda number, count, c: settled.append(int(c.known[0].sum())),
    )
    assert [b - a for a, b in zip([0, *settled], settled, strict=False)] == counts
    close(canvas.value.repeat(branches, 1, 1), slots(official), name="latents")
    pixels = net.decode(canvas.value, grid)
    close(pixels, case.outputs["pixels"], name="pixels")
    for picture, bytes_ in zip(dialogue(golden).pictures(pixels), case.outputs["uint8"], strict=True):
        ours = torch.tensor(list(picture.tobytes())).view(*bytes_.shape[1:], 3).movedim(-1, 0)
        assert (ours - bytes_.int()).abs().max() <= 1


def train_t2i(golden: GoldenSet, name: str, case: Case) -> None:
    net, dial = network(golden), dialogue(golden)
    latents = net.encode(case.inputs["pixels"])
    close(latents, case.outputs["target"], name="target")
    side = [n // net.factor for n in case.inputs["pixels"].shape[-2:]]
    hidden, channels = case.outputs["mask"].bool(), latents.shape[-1]

    def learned(recorded: Tensor) -> Tensor:  # [repeats * B * N, ...], repeats outside -> [k, repeats, ...]
        return recorded.unflatten(0, (dial.repeats, -1))[:, hidden.flatten()].movedim(0, 1)

    below = torch.special.ndtr(torch.tensor((dial.least - 1) * 4, dtype=torch.float64))
    share = (torch.special.ndtr((case.inputs["mask_rate"] - 1) * 4) - below) / (0.5 - below)
    chance = {
        "uniform": [share.expand(len(latents)), case.inputs["orders"], (learned(case.inputs["t"]) + 0.5) / 1000],
        "normal": [learned(case.inputs["noise"])],
    }
    rows: list[Sequence[Piece | Learn]] = [
        [*asked, Learn("image", own, (side[0], side[1]))] for asked, own in zip(prompts(case), latents, strict=True)
    ]
    found = losses(net, dial.lessons(), rows, Tape(**chance))
    close(found["image"], case.outputs["loss"], name="loss")

    writer = dial.lessons()["image"]
    tape = Tape(**chance)
    canvas, step = writer.objective.corrupt(latents, (side[0], side[1]), tape)
    assert torch.equal(~canvas.known, hidden)
    z = writer.port.head(*look(say(net.backbone, net.read(prompts(case))), writer, canvas, step, 1))
    close(z, case.outputs["z"], name="z")
    squared, bound = writer.objective.denoiser.terms(latents[hidden], z[hidden], list(range(int(hidden.sum()))), tape)
    close(squared, learned(case.outputs["mse"]).flatten(), name="mse")
    close(bound, learned(case.outputs["vb"]).flatten(), name="vb")
    assert channels == net.denoiser.channels


CHECKS = {
    "preproc": preproc,
    "vae": vae,
    "vae_decode": vae_decode,
    "visual": visual,
    "visual_interp": visual,
    "und": understand,
    "gen_step": gen_step,
    "decoder_xcon": decoder_xcon,
    "p_step": p_step,
    "p_step_last": p_step,
    "diff_sample": diff_sample,
    "gen_loop": generate,
    "gen_loop_b": generate,
    "gen_loop_ddim8": generate,
    "train_i2t": train_i2t,
    "train_t2i": train_t2i,
}


@torch.inference_mode()
@pytest.mark.parametrize(("golden", "name"), CASES)
def test_case(golden: GoldenSet, name: str) -> None:
    assert name in CHECKS, f"no check is written for case {name}"
    CHECKS[name](golden, name, golden.cases[name])


# --- names, prompts, inpainting ------------------------------------------------------------------------------


@EVERY_SET
def test_every_published_tensor_is_claimed(golden: GoldenSet) -> None:
    """At the real sizes: those that configs name, and those of the language model."""
    for name, keys in ((name, dict(keys)) for name, keys in golden.full_keys.items()):
        vae_levels = len({key.split(".")[key.split(".").index("down") + 1] for key in keys if ".down." in key})
        if not any(key.startswith("llm.") for key in keys):
            ours = {key: tensor.shape for key, tensor in network_of(golden, {}).tokenizer.state_dict().items()}
            kl16_names(vae_levels).check(keys, ours)
            continue
        config = real(golden, keys)
        ours = {key: tensor.shape for key, tensor in network_of(golden, config).state_dict().items()}
        claims = Harmon.layout(Harmon.completed(config, {})).check(keys, ours)
        assert [claim.theirs for claim in claims if claim.rule is None] == ["mar.class_emb.weight"], name


def real(golden: GoldenSet, keys: dict[str, list[int]]) -> dict[str, Any]:
    """The config of a published checkpoint: MAR by its type, the language model's sizes from its tensors."""
    width, layer = keys["llm.model.norm.weight"][0], "llm.model.layers.0."
    kinds = {768: "mar_base", 1024: "mar_large", 1280: "mar_huge"}
    llm = {
        "hidden_size": width,
        "intermediate_size": keys[layer + "mlp.up_proj.weight"][0],
        "num_hidden_layers": 1 + max(int(key.split(".")[3]) for key in keys if key.startswith("llm.model.layers.")),
        "num_attention_heads": width // HEAD[width],
        "num_key_value_heads": keys[layer + "self_attn.k_proj.weight"][0] // HEAD[width],
        "vocab_size": keys["llm.model.embed_tokens.weight"][0],
    }
    blocks = [int(key.split(".")[4]) for key in keys if key.startswith("mar.diffloss.net.res_blocks.")]
    mar = {
        "type": kinds[keys["mar.fake_latent"][1]],
        "diffloss_d": max(blocks) + 1,
        "diffloss_w": keys["mar.diffloss.net.input_proj.weight"][0],
    }
    return {"llm": golden.config["llm"] | llm, "mar": mar}


HEAD = {896: 64, 1536: 128}  # width of a head, by the width of Qwen2.5


def network_of(golden: GoldenSet, config: dict[str, Any]) -> HarmonNetwork:
    with torch.device("meta"):
        return Harmon.build(Harmon.completed({"llm": golden.config["llm"], "mar": {"type": "mar_base"}} | config, {}))


@EVERY_SET
def test_weights_are_written_back(golden: GoldenSet) -> None:
    """From official names to ours and back, bit for bit."""
    theirs = Checkpoint(golden.folder / "model.safetensors")
    layout = Harmon.layout(Harmon.completed(golden.config, {}))
    written = layout.write(network(golden).state_dict(), theirs)
    assert set(theirs) - written.keys() == {"mar.class_emb.weight"}
    assert all(torch.equal(written[name], theirs[name]) for name in written)


@EVERY_SET
def test_prompts(golden: GoldenSet) -> None:
    """Every prompt string of the set, read by a tokenizer of single characters."""
    talks, shown = spelling(golden), golden.prompts
    picture = Pillow.new("RGB", (40, 30))
    asked = shown["understanding"]
    assert told(talks, (Turn.user(picture, asked["question"]),)) == asked["string"]
    lines = [said.split("<|im_end|>")[0] for said in shown["multi_turn"]["string"].split("<|im_start|>")[1:]]
    roles = [line.partition("\n")[::2] for line in lines[:-1]]
    turns = [
        Turn(role, (picture, text[6:]) if text.startswith("{IMG}\n") else (text,))  # type: ignore[arg-type]
        for role, text in roles
    ]
    assert told(talks, turns) == shown["multi_turn"]["string"]
    drawn, blind = shown["text_to_image"], shown["text_to_image_unconditional"]
    request = Request.of(drawn["prompt"], "image")
    for branch, string in zip(talks.branches(request, Options()), (drawn["string"], blind["string"]), strict=True):
        (piece,) = talks.render(request, branch=branch)
        assert isinstance(piece, Ids) and talks.tokenizer.decode(piece.ids, specials=True) == string
    assert shown["editing"] is None and "edit" not in talks.can


def told(talks: HarmonDialogue, turns: Sequence[Turn]) -> str:
    pieces = talks.render(Request(tuple(turns)))
    return "".join(
        talks.tokenizer.decode(piece.ids, specials=True) if isinstance(piece, Ids) else "{IMG}" for piece in pieces
    )


def spelling(golden: GoldenSet) -> HarmonDialogue:
    tokenizer = Tokenizer(models.BPE({chr(i): k for k, i in enumerate([10, *range(32, 127)])}, []))
    tokenizer.decoder = decoders.Fuse()
    tokenizer.add_special_tokens(["<|im_start|>", "<|im_end|>"])
    talks = Harmon.dialogue(golden.folder, Harmon.completed(golden.config, {}), network(golden))
    talks.tokenizer = TextTokenizer(tokenizer)
    return talks


@EVERY_SET
@torch.inference_mode()
def test_known_slots_stay(golden: GoldenSet) -> None:
    """A canvas that begins with some slots known, a different number in each row; each row as if it were alone."""
    net, writer = network(golden), dialogue(golden).image(Options(steps=3))
    side = net.draw.autoencoder.config.side
    grid, channels = (side, side), net.denoiser.channels
    value = torch.randn(2, side * side, channels, generator=torch.Generator().manual_seed(0))
    known = torch.arange(side * side) < torch.tensor([[2], [side + 3]])
    rows: list[list[Piece]] = [[Ids([1, 2, 3])], [Ids([4])]]

    def drawn(which: list[int]) -> Tensor:
        context = say(net.backbone, net.read([rows[i] for i in which] * 2))
        return draw(context, writer, grid, 2, Draws(which), given=Given(value[which], known[which])).value

    both = drawn([0, 1])
    assert torch.equal(both[known], value[known]) and not torch.isclose(both, value)[~known].all()
    for i in (0, 1):
        close(drawn([i])[0], both[i], name="alone")


def test_sets_are_there() -> None:
    assert SETS, "no Harmon set was found; tests/fixtures/parity must hold one"

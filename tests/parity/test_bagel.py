"""BAGEL's reading: pictures, texts and what is answered, against the official code's numbers, case by case."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor

from diptych.attention import dense
from diptych.backbone.context import Context
from diptych.backbone.packing import pack
from diptych.canvas import Draws, Writer
from diptych.encoders.grids import cells, sincos, stretched_cells
from diptych.encoders.native import Native
from diptych.encoders.preprocess import normalise
from diptych.images import open_image
from diptych.models.family import Options
from diptych.models.latents import patched
from diptych.models.model import Model
from diptych.models.network import Ids, Piece
from diptych.objectives.flow import waves
from diptych.samplers.conversation import cut, say, write
from diptych.types import Request, Text, Turn
from tests.parity.bagel import SETS, Check, begin, loaded, marks, render, seen, shot, told, traced, turns
from tests.parity.bagel_images import CHECKS as IMAGES
from tests.parity.bagel_training import CHECKS as TRAINING
from tests.parity.sets import Case, GoldenSet, close

CASES = [pytest.param(golden, name, id=f"{golden.name}-{name}") for golden in SETS for name in golden.cases]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Callable[[GoldenSet], Model]:
    return cache(lambda golden: loaded(golden, tmp_path_factory.mktemp("bagel")))


# --- pictures ------------------------------------------------------------------------------------------------


def transform(found: Any, golden: GoldenSet, name: str, case: Case) -> None:
    image, dialogue = shot(case.inputs["image"]), found.dialogue
    close(normalise(dialogue.written(image)), case.outputs["vae"], name="vae")
    close(normalise(dialogue.seen(image)), case.outputs["vit"], name="vit")
    close(normalise(dialogue.seen(dialogue.written(image))), case.outputs["vae_then_vit"], name="vae_then_vit")


def rgba(found: Any, golden: GoldenSet, name: str, case: Case) -> None:
    ours = torch.tensor(list(open_image(shot(case.inputs["image"])).getdata())).view(*case.outputs["image"].shape)
    close(ours.to(torch.uint8), case.outputs["image"], name="image")


def resize(found: Any, golden: GoldenSet, name: str, case: Case) -> None:
    rule = Native(*(int(n) for n in name.split("_")[2:]))
    several = replace(rule, pictures=4)
    ours = [rule.size(*wh) for wh in case.inputs["wh"].tolist()]
    four = [several.size(*wh) for wh in case.inputs["wh"].tolist()]
    again = [rule.size(*wh) for wh in ours]
    for sizes, official in ((ours, "hw"), (four, "hw_img_num4"), (again, "hw_second_pass")):
        close(torch.tensor(sizes).flip(1), case.outputs[official], name=official)


def posids(found: Any, golden: GoldenSet, name: str, case: Case) -> None:
    height, width, patch, side = case.inputs["hw_patch_max"].tolist()
    shape = height // patch, width // patch
    close(cells(*shape, side), case.outputs["extrapolate"], name="extrapolate")
    close(stretched_cells(*shape, side), case.outputs["interpolate"], name="interpolate")


def table(found: Any, golden: GoldenSet, name: str, case: Case) -> None:
    width, side = case.inputs["dim_grid"].tolist()
    close(sincos(side, width), case.outputs["table"], name="table")
    for stored in (found.network.eyes["places"], found.network.draw.table):
        close(sincos(stored.side, stored.table.shape[1]), stored.table, name="stored")


def time_embed(found: Any, golden: GoldenSet, name: str, case: Case) -> None:
    wave = waves(case.inputs["t"], case.outputs["sinusoid"].shape[1])
    close(wave, case.outputs["sinusoid"], name="sinusoid")
    close(found.network.draw.time(wave), case.outputs["embed"], name="embed")


def vit(found: Any, golden: GoldenSet, name: str, case: Case) -> None:
    pictures = [case.inputs[k] for k in sorted(case.inputs)]
    eyes, patch = found.network.eyes, golden.config["vit_config"]["patch_size"]
    shapes = [(p.shape[1] // patch, p.shape[2] // patch) for p in pictures]
    tokens = torch.cat([patched(p[None], patch)[0] for p in pictures])
    close(tokens, case.outputs["tokens"], name="tokens")
    places = torch.cat([cells(*shape, eyes["places"].side) for shape in shapes])
    close(places, case.outputs["position_ids"], name="position_ids")
    close(torch.tensor([h * w for h, w in shapes]).int(), case.outputs["seqlens"], name="seqlens")
    features = [eyes["encoder"](p[None])[0] for p in pictures]
    close(torch.cat(features), case.outputs["features"], name="features")
    close(torch.cat([eyes["project"](f) for f in features]), case.outputs["connector"], name="connector")
    embeds = torch.cat([block[1:-1] for block in found.network.see(pictures)])
    close(embeds, case.outputs["embeds"], name="embeds")


def vae_enc(found: Any, golden: GoldenSet, name: str, case: Case) -> None:
    tokenizer = found.network.tokenizer
    if "moments" in case.outputs:
        close(torch.cat(tokenizer.moments(case.inputs["pixels"]), 1), case.outputs["moments"], name="moments")
    close(tokenizer.encode(case.inputs["pixels"], case.inputs["noise"]), case.outputs["latent"], name="latent")


def vae_dec(found: Any, golden: GoldenSet, name: str, case: Case) -> None:
    close(found.network.tokenizer.decode(case.inputs["latent"]), case.outputs["pixels"], name="pixels")


def vae_patchify(found: Any, golden: GoldenSet, name: str, case: Case) -> None:
    patch = golden.config["latent_patch_size"]
    close(patched(case.inputs["latent"][None], patch)[0], case.outputs["tokens"], name="tokens")


# --- contexts and answers ------------------------------------------------------------------------------------


def context(found: Any, golden: GoldenSet, name: str, case: Case) -> None:
    """Said piece by piece: keys, values and hidden states after each."""
    network, texts = found.network, [found.dialogue.segment(case.inputs[f"text{i}"].tolist()) for i in (0, 1)]
    picture = case.inputs["image"]
    pieces = [texts[0], traced(found, picture, case.inputs["vae_noise"]), seen(found, picture), texts[1]]
    said = Context(network.backbone, [[]])
    for i, (piece, kind) in enumerate(zip(pieces, ("text", "vae", "vit", "text"), strict=True)):
        (hidden,) = said.extend(network.read([[piece]]))
        close(hidden, case.outputs[f"s{i}_hidden"], name=f"s{i}_hidden")
        step, kept = f"s{i}_{kind}", said.cache
        assert (kept.length, int(kept.next_position)) == tuple(
            int(case.outputs[f"{step}.{n}"]) for n in ("kv_len", "rope")
        )
        for layer in range(network.backbone.config.depth):
            for letter, ours in (("k", kept.k), ("v", kept.v)):
                official = f"{step}.{letter}{layer}"
                close(ours[layer, 0, :, : kept.length].transpose(0, 1), case.outputs[official], name=official)
    prepared(found, golden, pieces[1], case)


def prepared(found: Any, golden: GoldenSet, piece: Any, case: Case) -> None:
    """A picture's latents behind keys that are there, at the position they begin."""
    official = {k.removeprefix("prep_vae."): v for k, v in case.outputs.items() if k.startswith("prep_vae.")}
    (row,), kept = found.network.read([[piece]]), int(official["key_values_lens"])
    rope = int(official["packed_position_ids"][0])
    packed = pack([row], start=[rope], base=kept)
    n = packed.x.shape[1]
    assert n == int(official["packed_seqlens"])
    close(packed.position[0], official["packed_position_ids"], name="packed_position_ids")
    close(torch.arange(kept), official["packed_key_value_indexes"], name="packed_key_value_indexes")
    close(kept + torch.arange(n), official["packed_indexes"], name="packed_indexes")
    assert torch.equal(packed.visibility.horizon[0], torch.full((n,), kept + n))
    close(packed.route[0], official["packed_text_indexes"], name="packed_text_indexes")
    close(packed.route[1], official["packed_vae_token_indexes"], name="packed_vae_token_indexes")
    close(torch.tensor(found.network.draw.marks), official["packed_text_ids"], name="packed_text_ids")
    table_ = found.network.draw.table
    (made,) = found.network.trace([piece])
    close(cells(*made.grid, table_.side), official["packed_vae_position_ids"], name="packed_vae_position_ids")
    assert not official["packed_timesteps"].any()


def answered(found: Any, rows: list[list[Piece]], length: int, writer: Writer | None = None) -> Tensor:
    """Ids written greedily after each row, Int[R, length]."""
    writer = writer or replace(found.dialogue.text(Options()), stop=None)
    said = say(found.network.backbone, found.network.read(rows), room=length)
    *_, (_, canvas) = write(said, writer, length, Draws(range(len(rows))))
    return canvas.value


def spoken(found: Any, golden: GoldenSet, pieces: list[Piece], case: Case) -> Tensor:
    """Ids, with the mark that begins them, are the official ones. -> logits of everything fed, [T, vocabulary]."""
    official = case.outputs["tokens"]
    assert pieces[-1] == begin(golden) and int(official[0]) == marks(golden)[0]
    close(answered(found, [pieces], len(official) - 1)[0], official[1:], name="tokens")
    if "text" in case.settings:
        assert found.dialogue.tokenizer.decode(official[1:].tolist()) == case.settings["text"].strip()
    return found.logits([[*pieces, Ids(official[1:].tolist())]])[0]


def understood(found: Any, case: Case) -> list[Piece]:
    return render(found, Request(turns(case.inputs["image"], case.inputs["question"])), case)


def und(found: Any, golden: GoldenSet, name: str, case: Case) -> None:
    pieces = understood(found, case)
    close(spoken(found, golden, pieces, case), case.outputs["logits"], name="logits")
    packed = pack(found.network.read([[*pieces, Ids(case.outputs["tokens"][1:].tolist())]]))
    close(found.network.backbone(packed)[0], case.outputs["hidden"], name="hidden")
    assert int(case.outputs["prefill_len"]) == packed.x.shape[1] - len(case.outputs["tokens"])


def und_full(found: Any, golden: GoldenSet, name: str, case: Case) -> None:
    whole = golden.cases["und"]
    pieces = [*understood(found, whole), Ids(whole.outputs["tokens"][1:].tolist())]
    close(pieces[0].pixels, case.inputs["pixels"], name="pixels")  # type: ignore[union-attr]
    packed = pack(found.network.read([pieces]))
    close(packed.x[0], case.outputs["inputs_embeds"], name="inputs_embeds")
    close(packed.position[0], case.inputs["position_ids"], name="position_ids")
    close(dense(packed.visibility, packed.visibility)[0, 0], case.inputs["mask"], name="mask")
    ids = [i for piece in pieces[1:] for i in piece.ids]  # type: ignore[union-attr]
    official = case.inputs["token_ids"]
    assert official[official >= 0].tolist() == [*found.network.draw.marks, *ids]
    hidden = found.network.backbone(packed)[0]
    close(hidden, case.outputs["hidden"], name="hidden")
    close(found.network.backbone.head(hidden), case.outputs["logits"], name="logits")


def several(found: Any, golden: GoldenSet) -> list[Piece]:
    """Pictures and texts in turn, without the first resizing."""
    inputs = golden.cases["und_multi"].inputs
    pieces: list[Piece] = []
    for i in (0, 1):
        pieces += [seen(found, inputs[f"image{i}"]), found.dialogue.segment(inputs[f"text{i}"].tolist())]
    return [*pieces, begin(golden)]


def und_multi(found: Any, golden: GoldenSet, name: str, case: Case) -> None:
    pieces = several(found, golden)
    logits = spoken(found, golden, pieces, case)
    close(logits[-len(case.outputs["tokens"]) :], case.outputs["logits"], name="logits")
    said = say(found.network.backbone, found.network.read([pieces[:-1]]))
    assert said.cache.length == int(case.outputs["kv_len"])
    assert int(said.cache.next_position) == int(case.outputs["rope"])


def und_stop(found: Any, golden: GoldenSet, name: str, case: Case) -> None:
    """The set names another stop than its own end mark."""
    official, stops = case.outputs["tokens"].tolist(), frozenset({int(case.inputs["end_token_id"])})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(found.dialogue, "stops", stops)
        writer = found.dialogue.text(Options())
    (ids,) = answered(found, [several(found, golden)], len(golden.cases["und_multi"].outputs["tokens"]), writer)
    found_, stop = cut(ids, stops)
    assert [marks(golden)[0], *found_] == official and stop in stops


def chat(found: Any, golden: GoldenSet, name: str, case: Case) -> None:
    pictures = [seen(found, case.inputs[k]) for k in ("image0", "image1")]
    spoken(found, golden, [*pictures, found.dialogue.segment(case.inputs["text"].tolist()), begin(golden)], case)


def text_b2(found: Any, golden: GoldenSet, name: str, case: Case) -> None:
    """Two conversations of two turns in one batch."""
    spoken_ = [[case.inputs[f"b{b}_turn{t}"].tolist() for t in (0, 1)] for b in (0, 1)]
    requests = [Request((Turn.user(told(a)), Turn.assistant(told(b)))) for a, b in spoken_]
    rows, official = [found.dialogue.render(request) for request in requests], case.outputs["tokens"]
    close(answered(found, rows, official.shape[1] - 1), official[:, 1:], name="tokens")
    logits = found.logits([[*row, Ids(ids[1:].tolist())] for row, ids in zip(rows, official, strict=True)])
    close(logits[:, -official.shape[1] :], case.outputs["logits"], name="logits")


def think_und(found: Any, golden: GoldenSet, name: str, case: Case) -> None:
    system = Turn("system", (Text(told(case.inputs["system"].tolist())),))
    request = Request((system, *turns(case.inputs["image"], case.inputs["question"])))
    spoken(found, golden, render(found, request, case), case)


CHECKS: dict[str, Check] = {
    **{f"transform{i}": transform for i in range(3)},
    **{f"posids_{letter}": posids for letter in "abc"},
    "rgba": rgba,
    "sincos": table,
    "time_embed": time_embed,
    "vit": vit,
    "vae_enc": vae_enc,
    "vae_enc_padded": vae_enc,
    "vae_dec": vae_dec,
    "vae_patchify": vae_patchify,
    "cache": context,
    "und": und,
    "und_full": und_full,
    "und_multi": und_multi,
    "und_stop": und_stop,
    "chat": chat,
    "text_b2": text_b2,
    "think_und": think_und,
    **IMAGES,
    **TRAINING,
}


@torch.inference_mode()
@pytest.mark.parametrize(("golden", "name"), CASES)
def test_case(golden: GoldenSet, name: str, model: Callable[[GoldenSet], Model]) -> None:
    check = resize if name.startswith("resize_") else CHECKS.get(name)
    assert check is not None, f"no check is written for case {name}"
    check(model(golden), golden, name, golden.cases[name])


def test_sets_are_there() -> None:
    assert SETS, "no BAGEL set was found"

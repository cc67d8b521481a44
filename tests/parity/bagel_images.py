"""BAGEL's drawing and editing against the official code's numbers."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor

from diptych.backbone.context import Context
from diptych.backbone.foreseen import Foresight
from diptych.backbone.packing import Segment, pack
from diptych.canvas import Canvas, Draws, Step, Writer
from diptych.encoders.grids import cells
from diptych.models.family import Options
from diptych.models.latents import unpatched
from diptych.models.network import Ids, Piece
from diptych.models.thinking import think as think_first
from diptych.samplers.conversation import say
from diptych.samplers.guidance import Renorm, Within, cfg_text_image
from diptych.samplers.loop import look, visits
from diptych.samplers.schedules import euler
from diptych.types import Request, Text, Turn
from tests.parity.bagel import Check, marks, render, told, turns
from tests.parity.sets import Case, GoldenSet, close

BRANCHES = ("full", "no_text", "no_image")


def begun(noise: Tensor, grid: tuple[int, ...]) -> Canvas:
    """Canvases [B, N, C] of noise."""
    known = torch.zeros(noise.shape[:2], dtype=torch.bool)
    return Canvas(noise, known, torch.zeros(noise.shape[:2]), grid, torch.zeros(len(noise), dtype=torch.bool))


def asked(case: Case) -> Request:
    """The pictures, then the instruction, behind the system prompt where there is one."""
    inputs = case.inputs
    pictures = [inputs[k] for k in sorted(inputs) if k in ("image", "image0", "image1")]
    text = inputs.get("instruction", inputs.get("prompt"))
    assert text is not None
    system = (Turn("system", (Text(told(inputs["system"].tolist())),)),) if "system" in inputs else ()
    return Request((*system, *turns(*pictures, text)), "image")


def grid_of(found: Any, request: Request, case: Case) -> tuple[int, ...]:
    """As stated, or the last picture's; where there is neither, that of what was drawn."""
    size = case.settings.get("image_shapes") if isinstance(case.settings, dict) else None
    if size is None and not any(turn.images for turn in request.turns):
        size = [side * found.network.tokenizer.factor for side in case.outputs["latent"].shape[-2:]]
    options = Options() if size is None else Options(size=tuple(size))
    return found.dialogue.grid(found.dialogue.fitted(request, options))


def writer(found: Any, settings: Any, renorm: Renorm | None = None) -> Writer:
    """The family's writer with the case's guidance, interval and times."""
    text, image = settings["cfg_text_scale"], settings["cfg_img_scale"]
    kind = renorm or settings["cfg_renorm_type"]
    within = Within(cfg_text_image(text, image, kind, settings["cfg_renorm_min"]), *settings["cfg_interval"])
    schedule = euler(settings["num_timesteps"] - 1, settings["timestep_shift"])
    ours = found.dialogue.image(Options(guidance=text, image_guidance=image))
    return replace(ours, schedule=schedule, guide=within, needs=within.needs)


class Path(NamedTuple):
    """A whole loop: the canvas before each visit, the guided velocity, the times, and the last canvas."""

    x: Tensor
    v: Tensor
    times: list[float]
    canvas: Canvas


def followed(context: Context, ours: Writer, start: Canvas, branches: int) -> Path:
    x, v, times, last = [], [], [], start
    guide = ours.guide

    def watched(parts: Tensor, canvas: Canvas, step: Step) -> Tensor:
        x.append(canvas.value)
        v.append(guide(parts, canvas, step))
        return v[-1]

    for step, canvas in visits(context, replace(ours, guide=watched), start, branches, Draws([])):
        times.append(float(step.time))
        last = canvas
    return Path(torch.stack(x), torch.stack(v), times, last)


def drawn(found: Any, case: Case, said: Sequence[Piece] = (), foresight: Foresight | None = None) -> None:
    request = asked(case)
    branches = BRANCHES[: 3 if case.settings["cfg_img_scale"] > 1 else 2]
    options = Options(guidance=case.settings["cfg_text_scale"], image_guidance=case.settings["cfg_img_scale"])
    assert found.dialogue.branches(request, options) == branches
    rows = [render(found, request, case, said, branch) for branch in branches]
    grid = grid_of(found, request, case)
    context = say(found.network.backbone, found.network.read(rows))
    ours = replace(writer(found, case.settings), foresight=foresight)
    path = followed(context, ours, begun(case.inputs["init_noise"][None], grid), len(branches))
    expected = case.outputs
    close(path.v[:, 0], expected["v"], name="v")
    latent = unpatched(path.canvas.value, grid, found.network.patch)
    close(latent, expected["latent"], name="latent")
    if "x" in expected:
        close(path.x[:, 0], expected["x"], name="x")
        close(torch.tensor(path.times), expected["timesteps"], name="timesteps")
        pixels = found.network.decode(path.canvas.value, grid)
        close(pixels, expected["pixels"], name="pixels")
        (picture,) = found.dialogue.pictures(pixels)
        bytes_ = torch.tensor(list(picture.getdata())).view(expected["image"].shape)
        assert (bytes_ - expected["image"].int()).abs().max() <= 1


def loop(found: Any, golden: GoldenSet, name: str, case: Case) -> None:
    drawn(found, case)


def foreseen(found: Any, golden: GoldenSet, name: str, case: Case) -> None:
    """Most visits are extrapolated, by a plan that the published code writes into its source."""
    drawn(found, case, foresight=Foresight())


def think(found: Any, golden: GoldenSet, name: str, case: Case) -> None:
    """What is thought first stands in the full branch only."""
    official, request = case.outputs["think_tokens"], asked(case)
    rows = [render(found, Request(request.turns, "any"), case)]
    assert rows[0][-1] == Ids(marks(golden)[:1]) and len(rows[0]) == len(render(found, request, case)) + 1
    thought = Ids([*official[1:].tolist(), marks(golden)[1]])
    with pytest.MonkeyPatch.context() as patch:  # the recorded noise of the autoencoder
        patch.setattr(found.dialogue, "render", lambda request: rows[0])
        limit = Options(max_tokens=case.settings["max_think_token_n"] - 1)
        assert think_first(found.network, found.dialogue, [request], limit, Draws([0])) == [thought]
    text = found.dialogue.tokenizer.decode(official[1:].tolist())
    assert text == case.settings["think_text"].strip()
    drawn(found, case, [thought])


def step(found: Any, golden: GoldenSet, name: str, case: Case) -> None:
    """One velocity from each branch, and every way to combine them."""
    request = asked(case)
    grid = found.dialogue.grid(Options(size=tuple(case.inputs["image_hw"].tolist())))
    assert grid == grid_of(found, request, case)
    rows = [render(found, request, case, branch=branch) for branch in BRANCHES]
    context = say(found.network.backbone, found.network.read(rows))
    text, image, time = (float(case.inputs[k]) for k in ("cfg_text_scale", "cfg_img_scale", "t"))
    canvas, at = begun(case.inputs["x_t"][None], grid), Step(time=time)
    ours = found.dialogue.image(Options())
    hidden, memo = look(context, ours, canvas, at, len(BRANCHES))
    parts = ours.port.head(hidden, memo)[:, None]
    for part, official in zip(parts, ("v_cond", "v_text_uncond", "v_img_uncond"), strict=True):
        close(part[0], case.outputs[official], name=official)
    close(cfg_text_image(1.0, image)(parts, canvas, at)[0], case.outputs["v_textscale1_img2"], name="v_textscale1_img2")
    checked = 0
    for official, expected in case.outputs.items():
        renorm, found_, rest = official.removeprefix("v_").partition("_min")
        if not found_:
            continue
        least, _, scales = rest.partition("_")
        guide = cfg_text_image(text, image if scales == "ti" else 1.0, renorm, float(least))  # type: ignore[arg-type]
        close(guide(parts, canvas, at)[0], expected, name=official)
        checked += 1
    assert checked == len([k for k in case.outputs if "_min" in k]) > 0
    prepared(found, rows, canvas, {k: v for k, v in case.outputs.items() if k.startswith("prep")})


def prepared(found: Any, rows: list[list[Piece]], canvas: Canvas, official: dict[str, Tensor]) -> None:
    """Where a picture's tokens stand behind each branch's context."""
    port, reads = found.dialogue.image(Options()).port, found.network.read(rows)
    tokens, _ = port.embed(canvas, Step(time=1.0))
    n = tokens.shape[1]
    ((_, span),) = port.spans(n)
    for kind, read, prefix in (("prep", reads[0], ""), ("prep_text", reads[1], "cfg_")):
        kept, begin = sum(len(s.x) for s in read), int(pack([read]).end)
        packed = pack([[Segment(tokens[0], span)]], start=[begin], base=kept)
        expected = {k.split(".")[1].removeprefix(prefix): v for k, v in official.items() if k.startswith(f"{kind}.")}
        close(packed.position[0], expected["packed_position_ids"], name=f"{kind} positions")
        close(torch.tensor([kept]).int(), expected["key_values_lens"], name=f"{kind} kept")
        queries = expected.get("packed_indexes", expected.get("packed_query_indexes"))
        assert queries is not None
        close(kept + torch.arange(n), queries, name=f"{kind} queries")
        if kind == "prep":
            close(packed.route[1], expected["packed_vae_token_indexes"], name="packed_vae_token_indexes")
            close(packed.route[0], expected["packed_text_indexes"], name="packed_text_indexes")
            close(torch.tensor(found.network.draw.marks), expected["packed_text_ids"], name="packed_text_ids")
            places = cells(*canvas.grid, found.network.draw.table.side)  # type: ignore[call-arg]
            close(places, expected["packed_vae_position_ids"], name="packed_vae_position_ids")


def two(found: Any, golden: GoldenSet, name: str, case: Case) -> None:
    """Two prompts of different length and shape in one batch; "global" is over both together, as published."""
    network, settings = found.network, case.settings
    grids = [tuple(side // network.stride for side in hw) for hw in case.inputs["hw"].tolist()]
    requests = [Request(turns(case.inputs[f"prompt{i}"]), "image") for i in (0, 1)]
    rows = [found.dialogue.render(request, branch=branch) for branch in BRANCHES[:2] for request in requests]
    noise = torch.stack([case.inputs[f"noise{i}"] for i in (0, 1)])
    places = torch.stack([network.draw.table(*grid) for grid in grids])
    renorm = {"global": "batch"}.get(settings["cfg_renorm_type"], settings["cfg_renorm_type"])
    context = say(network.backbone, network.read(rows))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(network.draw, "places", lambda grid: places)
        path = followed(context, writer(found, settings, renorm), begun(noise, grids[0]), 2)
    for i in (0, 1):
        close(path.canvas.value[i], case.outputs[f"latent{i}"], name=f"latent{i}")
    together(found, rows[:2], grids, {k[5:]: v for k, v in case.outputs.items() if k.startswith("prep.")})


def together(found: Any, rows: list[list[Piece]], grids: list[tuple[int, ...]], official: dict[str, Tensor]) -> None:
    """The official batch lies in one row: keys of a sample, its queries, then the next sample."""
    if not official:
        return
    side, total = found.network.draw.table.side, 0
    ours: dict[str, list[Tensor]] = {}

    def add(name: str, numbers: Tensor) -> None:
        ours.setdefault(name, []).append(numbers)

    for i, (read, grid) in enumerate(zip(found.network.read(rows), grids, strict=True)):
        n, kept = grid[0] * grid[1] + 2, sum(len(s.x) for s in read)
        inside = torch.arange(n) + i * n
        add("packed_position_ids", pack([read]).end.expand(n))
        add("packed_key_value_indexes", total + torch.arange(kept))
        add("packed_indexes", total + kept + torch.arange(n))
        add("packed_vae_position_ids", cells(*grid, side))
        add("packed_vae_token_indexes", inside[1:-1])
        add("packed_text_indexes", inside[[0, -1]])
        add("packed_text_ids", torch.tensor(found.network.draw.marks))
        add("key_values_lens", torch.tensor([kept]).int())
        add("packed_seqlens", torch.tensor([n]).int())
        total += kept + n
    for name, expected in official.items():
        close(torch.cat(ours[name]), expected, name=name)


CHECKS: dict[str, Check] = {
    **{f"t2i_{kind}": loop for kind in ("global", "channel", "text_channel", "img15")},
    **{f"edit_{kind}": loop for kind in ("global", "channel", "text_channel", "two")},
    "think_t2i": think,
    "think_edit": think,
    "step": step,
    "t2i_taylorseer": foreseen,
    "t2i_b2_channel": two,
    "t2i_b2_global": two,
}

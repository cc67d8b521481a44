"""`diptych extend` and `diptych infill`: pictures that go on beyond their edge, texts and pictures with gaps."""

import time
from typing import Annotated

import typer

from diptych.cli import options
from diptych.cli.console import bar, command, load_model, places, show_json, write
from diptych.cli.pictures import finish


@command
def extend(
    image: Annotated[str, typer.Argument(metavar="IMAGE", help="The picture that is to go on.")],
    prompts: Annotated[list[str], typer.Argument(metavar="PROMPT...", help="What the whole shows; or one a side.")],
    sides: Annotated[
        list[str] | None, typer.Option("--side", help="right, left, top or bottom; several make it larger still.")
    ] = None,
    out: options.Out = ".",
    n: options.Count = 1,
    seed: options.Seed = 0,
    model: options.Model = options.DEFAULT_MODEL,
    as_json: options.Json = False,
    *,
    filling: options.Filling,
    placing: options.Placing,
) -> None:
    """Let a picture go on beyond its edge, with models that paint over (Show-o, MMaDA ...)."""
    from diptych.images import Image

    source = Image.open(image)
    said = " / ".join(prompts)
    labels, seeds = [said] * n, [seed + k for k in range(n)]
    targets = places(out, labels, seeds)
    painter = load_model(model, placing)
    began = time.perf_counter()
    told = prompts[0] if len(prompts) == 1 else prompts
    with bar("extending") as progress:
        pictures = painter.extend(
            source, told, side=sides or "right", n=n, seed=seed, progress=progress, **filling.chosen()
        )
    finish(pictures, targets, labels, seeds, painter.name, time.perf_counter() - began, as_json)


@command
def infill(
    image: Annotated[str, typer.Argument(metavar="IMAGE", help="The picture the text goes with.")],
    text: Annotated[str, typer.Argument(metavar="TEXT", help="With <m> for a missing token, <m3> for three.")],
    mask: Annotated[
        str | None, typer.Option(help="A picture of the same size, white where the picture is missing too.")
    ] = None,
    out: options.Out = ".",
    seed: options.Seed = 0,
    model: options.Model = options.DEFAULT_MODEL,
    as_json: options.Json = False,
    *,
    filling: options.Filling,
    placing: options.Placing,
) -> None:
    """Fill in a text and its picture together, with models that write both at once (UniDisc)."""
    from diptych.images import Image, save_png

    source, hidden = Image.open(image), None if mask is None else Image.open(mask)
    (target,) = places(out, [text], [seed])
    writer = load_model(model, placing)
    with bar("filling in") as progress:
        reply = writer.infill(text, source, mask=hidden, seed=seed, progress=progress, **filling.chosen())
    save_png(reply.images[0], target, prompt=text, seed=seed, model=writer.name)
    if as_json:
        show_json({"model": writer.name, "text": reply.text, "file": str(target), "seed": seed})
        return
    write(reply.text)
    print(f"\n{target}")

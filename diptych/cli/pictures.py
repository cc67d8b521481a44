"""`diptych generate` and `diptych edit`: pictures out."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from diptych.cli import options
from diptych.cli.console import bar, command, load_model, places, show_json
from diptych.errors import InputError

if TYPE_CHECKING:
    import PIL.Image


@command
def generate(
    prompts: Annotated[list[str] | None, typer.Argument(metavar="PROMPT...", help="What to draw.")] = None,
    file: Annotated[str | None, typer.Option("--prompts", help="A text file with one prompt a line.")] = None,
    out: options.Out = ".",
    n: options.Count = 1,
    seed: options.Seed = 0,
    film: options.Film = None,
    model: options.Model = options.DEFAULT_MODEL,
    as_json: options.Json = False,
    *,
    drawing: options.Drawing,
    placing: options.Placing,
) -> None:
    """Draw prompts as PNG files, which remember prompt, seed and model."""
    wanted = [*(prompts or []), *_lines(file)]
    if not wanted:
        raise InputError('nothing to draw; say what, such as: diptych generate "a red apple"')
    chosen = drawing.chosen()
    labels = [prompt for prompt in wanted for _ in range(n)]
    seeds = [seed + k for _ in wanted for k in range(n)]
    targets = places(out, labels, seeds)
    painter = load_model(model, placing)
    began = time.perf_counter()
    watching = filming(film)
    with bar("drawing") as progress:
        pictures = painter.generate(wanted, n=n, seed=seed, progress=progress, **watching, **chosen)
    _develop(film, watching)
    finish(pictures, targets, labels, seeds, painter.name, time.perf_counter() - began, as_json)


@command
def edit(
    image: Annotated[str, typer.Argument(metavar="IMAGE", help="The picture to change.")],
    instruction: Annotated[str, typer.Argument(metavar="INSTRUCTION", help="Such as: make it green.")],
    more: Annotated[
        list[str] | None, typer.Option("--image", help="Another picture to draw on; may be repeated.")
    ] = None,
    mask: Annotated[
        str | None, typer.Option(help="Inpainting: a picture of the same size, white where to paint anew.")
    ] = None,
    out: options.Out = ".",
    n: options.Count = 1,
    seed: options.Seed = 0,
    image_guidance: Annotated[float | None, typer.Option(help="Strength of holding on to the picture.")] = None,
    film: options.Film = None,
    model: options.Model = options.DEFAULT_MODEL,
    as_json: options.Json = False,
    *,
    drawing: options.Drawing,
    placing: options.Placing,
) -> None:
    """Change a picture as instructed; the picture itself is left as it is."""
    from diptych.images import Image

    sources = [Image.open(path) for path in [image, *(more or [])]]
    chosen = drawing.chosen() | options.given(image_guidance=image_guidance)
    labels, seeds = [instruction] * n, [seed + k for k in range(n)]
    targets = places(out, labels, seeds)
    painter = load_model(model, placing)
    began = time.perf_counter()
    source = sources[0] if len(sources) == 1 else sources
    watching = filming(film)
    if mask is not None:
        watching["mask"] = Image.open(mask)
    with bar("editing") as progress:
        pictures = painter.edit(source, instruction, n=n, seed=seed, progress=progress, **watching, **chosen)
    _develop(film, watching)
    finish(pictures, targets, labels, seeds, painter.name, time.perf_counter() - began, as_json)


def filming(film: str | None) -> dict[str, Any]:
    """What `generate` and `edit` are told where a film is wanted."""
    from diptych.cli.film import Film

    return {} if film is None else {"preview": Film(), "every": 1}


def _develop(film: str | None, watching: dict[str, Any]) -> None:
    from diptych.cli.film import FRAMES, chosen, strip
    from diptych.images import save_png

    if film is not None and (frames := watching["preview"].frames):
        save_png(strip(chosen(frames, FRAMES)), Path(film))


def finish(
    pictures: "list[PIL.Image.Image]",
    targets: list[Path],
    prompts: list[str],
    seeds: list[int],
    model: str,
    seconds: float,
    as_json: bool,
) -> None:
    """Writes the pictures and says where."""
    from diptych.images import save_png

    rows: list[dict[str, Any]] = []
    for picture, target, prompt, seed in zip(pictures, targets, prompts, seeds, strict=True):
        save_png(picture, target, prompt=prompt, seed=seed, model=model)
        rows.append(
            {"file": str(target), "prompt": prompt, "seed": seed, "width": picture.width, "height": picture.height}
        )
    if as_json:
        show_json({"model": model, "seconds": round(seconds, 3), "images": rows})
        return
    for row in rows:
        print(row["file"])


def _lines(file: str | None) -> list[str]:
    if file is None:
        return []
    try:
        return [line.strip() for line in Path(file).read_text(encoding="utf-8").splitlines() if line.strip()]
    except FileNotFoundError:
        raise InputError(f"{Path(file).name}: no such file") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{Path(file).name}: is no UTF-8 text") from error

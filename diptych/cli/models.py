"""`diptych models` and `diptych convert`: what there is to load, and pickled weights made safe."""

from typing import Annotated

import typer

from diptych.cli import options
from diptych.cli.console import command, show_json


@command
def models(as_json: options.Json = False) -> None:
    """List built-in models and the families whose published checkpoints load."""
    from diptych.models.registry import FAMILIES, builtin

    if as_json:
        show_json({"builtin": {name: str(path) for name, path in builtin().items()}, "families": list(FAMILIES)})
        return
    print("Built-in models:")
    for name in builtin():
        print(f"  {name}")
    print("Families (load with a folder in the published layout, or a hub id):")
    for name in FAMILIES:
        print(f"  {name}")


@command
def convert(
    folder: Annotated[str, typer.Argument(help="A folder with .bin, .pt, .pth or .ckpt files, or one such file.")],
    entry: Annotated[str, typer.Option(help="Which part to take where a file holds several, such as model.ema.")] = "",
    as_json: options.Json = False,
) -> None:
    """Rewrite pickled weights as safetensors, once, in a process of its own."""
    from diptych.weights.convert import convert as rewrite

    files = [str(file) for file in rewrite(folder, entry)]
    if as_json:
        show_json({"files": files})
        return
    for file in files:
        print(file)

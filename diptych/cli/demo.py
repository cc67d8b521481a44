"""`diptych demo`: a model at work, as a report on the terminal and as a page to look at."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from diptych.cli import options
from diptych.cli.console import command, load_model

if TYPE_CHECKING:
    from diptych.cli.page import Section
    from diptych.models.model import Model


@command
def demo(
    out: Annotated[str, typer.Option("--out", "-o", help="Folder for index.html and the pictures.")] = "demo",
    images: Annotated[list[str] | None, typer.Option("--image", help="A picture of yours; may be repeated.")] = None,
    prompts: Annotated[list[str] | None, typer.Option("--prompt", help="Something to draw; may be repeated.")] = None,
    seed: options.Seed = 0,
    model: options.Model = options.DEFAULT_MODEL,
    *,
    placing: options.Placing,
) -> None:
    """Show what a model can do: it answers, draws, edits and tells a story; writes OUT/index.html."""
    from diptych.cli.showcase import sections
    from diptych.images import Image

    own = [Image.open(path) for path in images or []]
    began = time.perf_counter()
    shown = load_model(model, placing)
    print(_facts(shown))
    acts = []
    for section in sections(shown, own, prompts or [], seed):
        _report(section)
        _keep(section, Path(out), shown.name, seed)
        acts.append(section)
    _write_page(acts, shown, Path(out), time.perf_counter() - began)
    if not own:
        print("Ask about a picture of your own with --image FILE, draw with --prompt TEXT.")


def _facts(model: "Model") -> str:
    from diptych.models.network import parameter_count

    size = parameter_count(model.network)
    height, width = model.image_size
    kind = str(model.dtype).removeprefix("torch.")
    return (
        f"{model.name}: {size / 1e6:.1f} million parameters, writes {width}x{height} pictures, {kind} on {model.device}"
    )


def _report(section: "Section") -> None:
    from rich.console import Console

    console = Console(highlight=False, markup=False, soft_wrap=True)
    facts = ", ".join(part for part in (section.score, f"{section.seconds:.1f} s") if part)
    console.print(f"\n{section.title}", style="bold", end="  ")
    console.print(facts, style="dim")
    for card in section.cards:
        mark, style = {True: ("✓", "green"), False: ("✗", "red"), None: ("·", "dim")}[card.ok]
        console.print(f"  {mark} ", style=style, end="")
        console.print("  ".join(part for part in (card.asked, card.answer and f"→ {card.answer}") if part), end="")
        console.print(f"  ({card.truth})" if card.truth else "", style="dim")


def _keep(section: "Section", out: Path, model: str, seed: int) -> None:
    """The pictures the model made, as files; those it was shown are on the page."""
    from diptych.images import save_png

    if section.name not in ("draw", "edit", "story"):
        return
    for number, card in enumerate(section.cards, 1):
        for shown in card.pictures[-1:]:
            file = out / "pictures" / f"{section.name}-{number}.png"
            save_png(shown.picture, file, prompt=card.asked, seed=seed, model=model)


def _write_page(sections: "list[Section]", model: "Model", out: Path, seconds: float) -> None:
    from diptych.cli.page import page
    from diptych.storage import replacing

    text = page(f"Diptych: {model.name}", f"{_facts(model)}; everything here in {seconds:.0f} s.", sections)
    with replacing(out / "index.html") as draft:
        draft.write_text(text, encoding="utf-8")
    print(f"\n{out / 'index.html'} shows all of it ({seconds:.0f} s).")

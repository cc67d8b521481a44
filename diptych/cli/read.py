"""`diptych ask`: a question about pictures, answered in text."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from diptych.cli import options
from diptych.cli.console import command, load_model, show_json, write
from diptych.errors import InputError

if TYPE_CHECKING:
    from diptych.models.model import Model
    from diptych.types import Turn


@command
def ask(
    images: Annotated[list[str], typer.Argument(metavar="IMAGE... QUESTION", help="Pictures, then the question.")],
    model: options.Model = options.DEFAULT_MODEL,
    as_json: options.Json = False,
    *,
    talking: options.Talking,
    placing: options.Placing,
) -> None:
    """Ask about one or several pictures: diptych ask cat.png "What is this?" """
    from diptych.images import Image
    from diptych.types import Turn

    *paths, question = images
    if not paths:
        raise InputError('ask takes a picture and a question, such as: diptych ask cat.png "What is this?"')
    turn = Turn.user(*(Image.open(path) for path in paths), question)
    chosen, reader = talking.chosen(), load_model(model, placing)
    if as_json:
        reply = reader.chat([turn], **chosen)
        show_json({"model": reader.name, "answer": reply.text, "seed": talking.seed, "timings": reply.timings})
        return
    _say(reader, turn, chosen)


def _say(reader: "Model", turn: "Turn", chosen: dict[str, Any]) -> None:
    """The answer, word by word as it comes."""
    from diptych.types import Text

    for part in reader.chat([turn], stream=True, **chosen):
        if isinstance(part, Text):
            write(part.text)
    print()

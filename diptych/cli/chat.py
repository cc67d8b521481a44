"""`diptych chat`: a conversation in the terminal, with pictures in both directions."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from diptych.cli import options
from diptych.cli.console import command, complain, load_model, places, write
from diptych.errors import DiptychError

if TYPE_CHECKING:
    from diptych.models.model import Model
    from diptych.types import Part, Turn

HELP = """\
/image FILE   add a picture to your next message      /draw PROMPT   answer with a picture
/new          forget the conversation                 /quit          leave (as Ctrl-D does)
Pictures are saved in {out}. Ctrl-C stops an answer."""


@command
def chat(
    out: Annotated[str, typer.Option("--out", "-o", help="Folder for the pictures of the replies.")] = "chat",
    model: options.Model = options.DEFAULT_MODEL,
    *,
    talking: options.Talking,
    placing: options.Placing,
) -> None:
    """Talk with a model; it answers in text and, where it can, in pictures."""
    conversation = Conversation(load_model(model, placing), out, talking.chosen())
    if sys.stdin.isatty():
        import readline  # noqa: F401  line editing and history for input()

        print(HELP.format(out=out))
    while (line := _line()) is not None:
        try:
            if not conversation.hear(line):
                return
        except DiptychError as error:  # one wrong message does not end a conversation
            complain(str(error))


class Conversation:
    """What was said so far, and what the person is about to say."""

    def __init__(self, model: "Model", out: str, chosen: dict[str, Any]) -> None:
        self.model, self.out, self.chosen = model, out, chosen
        self.turns: list[Turn] = []
        self.pending: list[Part] = []

    def hear(self, line: str) -> bool:
        """One line of the person: a command or a message. False ends the conversation."""
        from diptych.images import Image

        word, _, rest = line.strip().partition(" ")
        if word in ("/quit", "/exit"):
            return False
        if word == "/image":
            self.pending.append(Image.open(rest.strip().strip("'\"")))
        elif word == "/new":
            self.turns, self.pending = [], []
        elif word == "/draw":
            self.answer(rest, "image")
        elif word.startswith("/"):
            print(HELP.format(out=self.out))
        elif line.strip():
            self.answer(line.strip(), "any" if "interleave" in self.model.can else "text")
        return True

    def answer(self, text: str, want: str) -> None:
        """Says the model's reply as it comes, and keeps both sides. A reply that fails or is stopped is not kept."""
        from diptych.types import Turn

        question = Turn.user(*self.pending, text)
        parts: list[Part] = []
        try:
            for part in self.model.chat([*self.turns, question], want=want, stream=True, **self.chosen):  # type: ignore[call-overload]
                self._show(part, text)
                parts.append(part)
        except KeyboardInterrupt:
            print()
            complain("stopped; this message is forgotten")
            return
        print()
        self.turns += [question, Turn.assistant(*parts)]
        self.pending = []

    def _show(self, part: "Part", prompt: str) -> None:
        from diptych.images import Image

        if not isinstance(part, Image):
            write(part.text)
            return
        target: Path = places(self.out, [prompt], [self.chosen["seed"]])[0]
        part.save(target, prompt=prompt, seed=self.chosen["seed"], model=self.model.name)
        print(f"[{target}]")


def _line() -> str | None:
    """The person's next line; None when there are no more."""
    try:
        return input("> " if sys.stdin.isatty() else "")
    except EOFError:
        return None

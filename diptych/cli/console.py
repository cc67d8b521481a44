"""What commands say and how they fail: answers on stdout, progress and one-line errors on stderr."""

import functools
import inspect
import json
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import typer

from diptych.cli.options import Placing
from diptych.errors import DiptychError, InputError

if TYPE_CHECKING:
    from diptych.models.model import Model

R = TypeVar("R")
Progress = Callable[[int, int], None]
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def command(function: Callable[..., R]) -> Callable[..., R]:
    """A command whose foreseeable failures end in one line and an exit code, never in a traceback; its parameters that
    are groups of options (dataclasses) are those options, one by one, on the command line."""
    function = _ungrouped(function)

    @functools.wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> R:
        try:
            return function(*args, **kwargs)
        except DiptychError as error:
            complain(str(error))
            raise typer.Exit(2) from error
        except KeyboardInterrupt:
            complain("interrupted")
            raise typer.Exit(130) from None
        except BrokenPipeError:  # whoever read us has gone, as with `| head`; stdout must not be flushed again
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(1) from None
        except OSError as error:
            complain(f"{error.filename or 'file'}: {(error.strerror or str(error)).lower()}")
            raise typer.Exit(1) from error
        except Exception as error:
            if "OutOfMemory" not in type(error).__name__ and not isinstance(error, MemoryError):
                raise
            complain("out of memory; try fewer pictures at once (--n), a smaller model, or --dtype bfloat16")
            raise typer.Exit(1) from error

    return wrapped


def _ungrouped(function: Callable[..., R]) -> Callable[..., R]:
    """The function, told its groups of options one by one."""
    asked = inspect.signature(function).parameters.values()
    groups: dict[str, Any] = {one.name: one.annotation for one in asked if is_dataclass(one.annotation)}

    @functools.wraps(function)
    def flat(**told: Any) -> R:
        made = {name: kind(**{one.name: told.pop(one.name) for one in fields(kind)}) for name, kind in groups.items()}
        return function(**told, **made)

    parameters = [
        own.replace(kind=own.KEYWORD_ONLY)
        for one in asked
        for own in (inspect.signature(groups[one.name]).parameters.values() if one.name in groups else [one])
    ]
    flat.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # what typer reads
    flat.__annotations__ = {one.name: one.annotation for one in parameters}
    return flat


def complain(message: str) -> None:
    """One line on stderr."""
    print(f"diptych: {' '.join(message.split())}", file=sys.stderr, flush=True)


def write(text: str) -> None:
    """A piece of a model's answer, at once. Control characters, which could command the terminal, become U+FFFD."""
    sys.stdout.write(_CONTROL.sub("\ufffd", text))
    sys.stdout.flush()


def show_json(value: Any) -> None:
    print(json.dumps(value, ensure_ascii=False, default=str))


def load_model(name: str, placing: Placing) -> "Model":
    """The model, with a word on the terminal while it loads."""
    from rich.console import Console

    console = Console(stderr=True)
    if not console.is_terminal:
        return _load(name, **vars(placing))
    with console.status(f"loading {name}"):
        return _load(name, **vars(placing))


@contextmanager
def bar(label: str, unit: str = "tokens") -> Iterator[Progress | None]:
    """A progress bar with rate and time left, while the block runs; None where stderr is no terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, ProgressColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task: Any) -> Text:
            speed = task.finished_speed or task.speed
            return Text(f"{speed:.0f} {unit}/s" if speed else "", style="progress.data.speed")

    console = Console(stderr=True)
    if not console.is_terminal:
        yield None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), Rate(), TimeRemainingColumn())
    with Bars(*columns, console=console, transient=True) as bars:
        line = bars.add_task(label, total=None)
        yield lambda done, total: bars.update(line, completed=done, total=total)


def places(out: str, labels: list[str], seeds: list[int]) -> list[Path]:
    """Where pictures go: the one .png file that `out` names (numbered if there are several), or new files in a folder.

    Files in a folder are named after prompt and seed; what is there already is never overwritten.
    Raises InputError for a file of another kind.
    """
    target = Path(out)
    if target.suffix.lower() == ".png":
        if len(labels) == 1:
            return [target]
        return [target.with_stem(f"{target.stem}-{number}") for number in range(1, len(labels) + 1)]
    if target.suffix and not target.is_dir():
        raise InputError(f"--out {target.name}: pictures are written as .png; name a .png file or a folder")
    if target.exists() and not target.is_dir():
        raise InputError(f"--out {target.name}: is a file; name a .png file or a folder")
    chosen: list[Path] = []
    for label, seed in zip(labels, seeds, strict=True):
        chosen.append(_free(target / f"{slug(label)}-{seed}.png", chosen))
    return chosen


def slug(text: str) -> str:
    """The beginning of a text as a file name: letters, digits and hyphens."""
    words = re.findall(r"\w+", text.lower())
    name = "-".join(words)[:48].strip("-")
    return name or "picture"


def _free(path: Path, taken: Sequence[Path]) -> Path:
    number, candidate = 1, path
    while candidate in taken or candidate.exists():
        number += 1
        candidate = path.with_stem(f"{path.stem}-{number}")
    return candidate


def _load(name: str, **placing: Any) -> "Model":
    from diptych.models.loading import load

    return load(name, **placing)

"""How far a training is, for people: a bar on a terminal, a callback elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

Progress = Callable[[int, int], None]
Tell = Callable[[int, float, float], None]


@contextmanager
def shown(progress: Progress | None, steps: int, start: int) -> Iterator[Tell]:
    """A function (step, share done in [0, 1], loss) to call after each step."""
    if progress is not None:
        yield lambda step, _share, _loss: progress(step, steps)
        return
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda _step, _share, _loss: None
        return
    columns = (
        TextColumn("step {task.fields[step]}/{task.fields[steps]}"),
        BarColumn(),
        TextColumn("loss {task.fields[loss]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Bar(*columns, console=console, refresh_per_second=2) as bar:
        line = bar.add_task("training", total=1.0, step=start, steps=steps, loss="")
        yield lambda step, share, loss: bar.update(line, completed=share, step=step, loss=f"{loss:.4f}")

"""A model at work on a run's rows: a batch at a time, each stored before the next begins."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from diptych.evaluation.benchmark import Benchmark, Row
from diptych.evaluation.runs.folder import Run, picture_name
from diptych.evaluation.runs.journal import Record, appending
from diptych.evaluation.runs.rows import check_pictures
from diptych.evaluation.runs.settings import seed_of
from diptych.images import save_png
from diptych.types import Request

Progress = Callable[[int, int], None]
WHOLE = (0, 1)


def ability(request: Request) -> str:
    """Which of chat, generate and edit a row needs."""
    if request.want == "text":
        return "chat"
    return "edit" if any(turn.images for turn in request.turns) else "generate"


def make(
    model: Any,
    benchmark: Benchmark,
    run: Run,
    batch: int = 16,
    shard: tuple[int, int] = WHOLE,
    progress: Progress | None = None,
) -> None:
    """Answers the rows of this process's share (shard i of n: every n-th from i) that have no answer yet.

    model: a `Model`. What comes out depends neither on `batch` nor on `shard`, nor on how often it was stopped.
    Raises `BenchmarkError` where pictures of rows are missing or another process has the same share.
    """
    with appending(run.answers_file(shard)) as journal:
        own, done = run.rows[shard[0] :: shard[1]], run.answers()
        todo = [row for row in own if row.id not in done]
        check_pictures(todo)
        _sweep(run, todo, shard)
        model.batch = batch
        several = max(1, batch // max(1, run.settings["pictures_per_prompt"]))
        count = len(own) - len(todo)
        for part in _chunks(todo, several):
            journal.add(_answer(model, benchmark, run, part))
            count += len(part)
            if progress is not None:
                progress(count, len(own))


def _answer(model: Any, benchmark: Benchmark, run: Run, rows: Sequence[Row]) -> list[Record]:
    requests = [benchmark.ask(row) for row in rows]
    seed, options = run.settings["seed"], _options(run.settings["options"])
    if requests[0].want == "text":
        seeds = [seed_of(seed, row.id) for row in rows]
        replies = model.chat_batch([request.turns for request in requests], seed=seeds, **options)
        said = zip(rows, replies, seeds, strict=True)
        return [{"id": row.id, "answer": reply.text, "seed": own} for row, reply, own in said]
    jobs = [(row, request, k) for row, request in zip(rows, requests, strict=True) for k in range(_pictures(run))]
    seeds = [seed_of(seed, row.id, k) for row, _, k in jobs]
    drawn = _draw(model, [request for _, request, _ in jobs], seeds, options)
    found: dict[str, Record] = {row.id: {"id": row.id, "images": [], "seeds": []} for row in rows}
    for (row, _, k), own, picture in zip(jobs, seeds, drawn, strict=True):
        name = picture_name(row.id, k)
        save_png(picture, run.path / name, prompt=row.prompt, seed=own, model=run.settings["model"])
        found[row.id]["images"].append(name)
        found[row.id]["seeds"].append(own)
    return list(found.values())


def _draw(model: Any, requests: Sequence[Request], seeds: Sequence[int], options: Mapping[str, Any]) -> list[Any]:
    """One picture a request. Rows with a picture to change and rows without are told apart by the request."""
    texts = [request.turns[-1].text for request in requests]
    if ability(requests[0]) == "generate":
        return model.generate(texts, seed=seeds, **options)
    sources = [request.turns[-1].images for request in requests]
    return model.edit([own[0] if len(own) == 1 else own for own in sources], texts, seed=seeds, **options)


def _pictures(run: Run) -> int:
    return run.settings["pictures_per_prompt"]


def _options(stored: Mapping[str, Any]) -> dict[str, Any]:
    """As they were given: JSON has no tuples."""
    return {name: tuple(value) if isinstance(value, list) else value for name, value in stored.items()}


def _chunks(rows: Sequence[Row], size: int) -> Iterator[Sequence[Row]]:
    """Neighbours that are asked for the same thing, at most so many."""
    begin = 0
    for end in range(1, len(rows) + 1):
        full = end - begin == size
        if end == len(rows) or full or bool(rows[end].images) != bool(rows[begin].images):
            yield rows[begin:end]
            begin = end


def _sweep(run: Run, todo: Sequence[Row], shard: tuple[int, int]) -> None:
    """Removes half-written files that a kill left (`storage.replacing` names them): all of them, but of several
    processes each only those of its own pictures, for the others may be at work."""
    own = {Path(picture_name(row.id, k)).stem[:80] for row in todo for k in range(_pictures(run))}
    for path in [*run.path.glob(".*.*.*"), *(run.path / "images").glob(".*.*.*")]:
        if shard == WHOLE or path.name[1:].rsplit(".", 2)[0] in own:
            path.unlink(missing_ok=True)

"""From what a run stored to its table. Scored again it is the same one: nothing here depends on chance or machine."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from diptych.errors import BenchmarkError
from diptych.evaluation.benchmark import Benchmark
from diptych.evaluation.judges import Judge
from diptych.evaluation.runs import journal
from diptych.evaluation.runs.figures import figures, headline, marks
from diptych.evaluation.runs.folder import Run

Progress = Callable[[int, int], None]
REPLY = "the reply"


def needs_judge(benchmark: Benchmark) -> bool:
    """Whether somebody must look at what the model made before it can be scored."""
    return benchmark.evidence != REPLY


def unanswered(run: Run) -> int:
    """How many rows wait for an answer."""
    return len(run.rows) - len(run.answers())


def judged(run: Run) -> bool:
    """Whether a judge saw every row already."""
    name = (run.settings.get("judge") or {}).get("id")
    return name is not None and len(journal.records(run.evidence_file(name))) == len(run.rows)


def see(run: Run, judge: Judge, progress: Progress | None = None) -> None:
    """What the judge sees in every row, stored as it goes, so that no row is judged twice by the same judge."""
    with journal.appending(run.evidence_file(judge.id)) as file:
        answers = _whole(run)
        done = {record["id"] for record in journal.records(run.evidence_file(judge.id))}
        count = len(done)
        for row in run.rows:
            if row.id in done:
                continue
            answer = answers[row.id]
            images = [run.path / name for name in answer.get("images", ())]
            file.add([{"id": row.id, "evidence": judge.see(row, images, reply=answer.get("answer", ""))}])
            count += 1
            if progress is not None:
                progress(count, len(run.rows))
    run.note(judge={"id": judge.id, "official": judge.official})


def evidence(run: Run, benchmark: Benchmark) -> dict[str, Any]:
    """By row: the replies themselves, or what the run's judge saw. Raises `BenchmarkError` if it is not complete."""
    if not needs_judge(benchmark):
        return {name: record["answer"] for name, record in _whole(run).items()}
    if not judged(run):
        raise BenchmarkError(f"{run.path} was not judged to the end; run: diptych score {run.path} --judge JUDGE")
    path = run.evidence_file(run.settings["judge"]["id"])
    return {record["id"]: record["evidence"] for record in journal.records(path)}


def score(run: Run, benchmark: Benchmark) -> dict[str, Any]:
    """The table of a run that is complete, written to score.json as well.

    `figure` names the number people report, `value` is it. `right` and `marked`: rows that are right, of those that can
    be right or wrong by themselves.
    """
    found = evidence(run, benchmark)
    table = benchmark.score(run.rows, found)
    numbers = figures(table, run.rows)
    figure = headline(benchmark, numbers)
    given = [mark for mark in marks(benchmark, run.rows, found).values() if mark is not None]
    result = {
        "benchmark": benchmark.name,
        "scorer": benchmark.version,
        "verified": benchmark.verified,
        "model": run.settings["model"],
        "judge": judge_of(run.settings, benchmark),
        "rows": len(run.rows),
        "figure": figure,
        "value": numbers[figure],
        "right": sum(mark == 1 for mark in given),
        "marked": len(given),
        "table": table,
    }
    run.write_score(result)
    return run.score()


def judge_of(settings: Mapping[str, Any], benchmark: Benchmark) -> dict[str, Any] | None:
    """Who judged; None where the official rule needs nobody."""
    return settings.get("judge") if needs_judge(benchmark) else None


def _whole(run: Run) -> dict[str, dict[str, Any]]:
    answers = run.answers()
    if missing := len(run.rows) - len(answers):
        raise BenchmarkError(
            f"{run.path}: {missing} of {len(run.rows)} rows have no answer yet; "
            "give diptych eval again as it was, and it goes on"
        )
    return answers

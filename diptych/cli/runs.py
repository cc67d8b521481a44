"""What `diptych eval` and `diptych score` do alike: find files, let a judge see, score, say what came of it."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diptych.cli.console import bar
from diptych.errors import InputError

if TYPE_CHECKING:
    from diptych.evaluation.benchmark import Benchmark
    from diptych.evaluation.runs.folder import Run

HOME = "evaluations"  # where runs go


def folder_of(benchmark: "Benchmark", data: str | None) -> Path:
    """The benchmark's files: `data` (`hub:OWNER/NAME` is fetched), or the folder of its name there; those of the
    package where it has them."""
    if benchmark.name.startswith("emoji-") and data is None:
        from diptych.evaluation.benchmarks.emoji import HOME as shipped

        return shipped
    if data is None:
        raise InputError(
            f"{benchmark.name} needs its published files; give their folder: --data DIR (or hub:OWNER/NAME)"
        )
    if data.startswith("hub:"):
        from diptych.evaluation.hub import fetched

        return fetched(data.removeprefix("hub:"))
    own = Path(data) / benchmark.name
    return own if own.is_dir() else Path(data)


def judged_and_scored(run: "Run", benchmark: "Benchmark", judge: str | None, model: Any = None) -> dict[str, Any]:
    """Lets the judge see what it has not seen, scores the run and writes its page."""
    from diptych.catalogue import load
    from diptych.catalogue.published import published
    from diptych.cli.report import write_report
    from diptych.evaluation.runs.scoring import judged, needs_judge, score, see

    if needs_judge(benchmark) and (judge is not None or not judged(run)):
        found = _judge(run, benchmark, judge, model)
        if found is None:
            return {"folder": str(run.path), "benchmark": benchmark.name, "unjudged": benchmark.evidence}
        with bar("judging", "rows") as progress:
            see(run, found, progress)
    result = score(run, benchmark)
    page = write_report(run, benchmark, result, published(load(), benchmark.name, result["model"]))
    return {"folder": str(run.path), "report": str(page), **result}


def _judge(run: "Run", benchmark: "Benchmark", spec: str | None, model: Any) -> Any:
    if spec is not None:
        from diptych.evaluation.judges import find

        return find(spec, benchmark, Path(run.settings["data"]))
    if not benchmark.name.startswith("emoji-"):
        return None
    from diptych.evaluation.benchmarks.emoji import JUDGES

    if benchmark.name == "emoji-self" and model is None:
        return None
    return JUDGES[benchmark.name](model)


def show_result(result: Mapping[str, Any]) -> None:
    """A run's number on the terminal, or what it waits for."""
    folder = result["folder"]
    if "missing" in result:
        print(result.get("note") or f"{folder}: {result['missing']} rows wait for other processes; then it is scored")
    elif "unjudged" in result:
        print(
            f"{folder}: all pictures and answers are there, but nobody judged them ({result['unjudged']}); "
            f"score them with: diptych score {folder} --judge JUDGE"
        )
    else:
        judge = result["judge"]
        by = "" if judge is None else f", judged by {judge['id']}" + ("" if judge["official"] else " (a stand-in)")
        by += "" if result["verified"] else ", by a scorer not verified against the official one"
        print(f"{result['benchmark']}: {result['figure']} {result['value']:.4f} ({result['rows']} rows{by})")
        print(f"  {result['report']}")

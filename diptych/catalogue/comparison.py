"""Models side by side."""

from collections.abc import Sequence

from diptych.catalogue.columns import lines
from diptych.catalogue.records import Model

LEFT_OUT = ("id", "name", "date_precision", "in_survey", "scores", "sources")


def compare(models: Sequence[Model]) -> list[dict[str, str]]:
    """A row a fact: its name under `fact`, and each model's under the model's name; then a row a benchmark.

    Facts that are unknown of all of them are left out.
    """
    known = [lines(model) for model in models]
    names = [name for name in known[0] if name not in LEFT_OUT]
    rows = [_row(name.replace("_", " "), models, [facts[name] for facts in known]) for name in names]
    benchmarks = dict.fromkeys(score.benchmark for model in models for score in model.scores)
    rows += [_row(name, models, [_scores(model, name) for model in models]) for name in benchmarks]
    return [row for row in rows if any(row[model.name] for model in models)]


def _row(fact: str, models: Sequence[Model], values: Sequence[str]) -> dict[str, str]:
    return {"fact": fact} | {model.name: value for model, value in zip(models, values, strict=True)}


def _scores(model: Model, benchmark: str) -> str:
    return "; ".join(str(score) for score in model.scores if score.benchmark == benchmark)

"""The leaderboard: runs of one's own, models beside each other, and every published score with its source."""

from collections.abc import Sequence

from diptych.catalogue.catalogue import Catalogue
from diptych.catalogue.records import Model
from diptych.catalogue.site import scores
from diptych.catalogue.site.markup import Markup, Part, join, tag
from diptych.catalogue.site.own_runs import OwnRun
from diptych.catalogue.site.page import Page
from diptych.catalogue.site.tables import sortable


def leaderboard(page: Page, catalogue: Catalogue, own: Sequence[OwnRun]) -> Markup:
    names = scores.counted(catalogue.models)
    ways = [tag("li", tag("a", name, href=f"#{scores.anchor(name)}", class_="chip")) for name in names]
    return join(
        _own(page, catalogue, own) if own else None,
        tag("p", page.say("leaderboard note"), class_="lead"),
        scores.beside(page, catalogue.models),
        tag("h2", page.say("all scores")),
        tag("ul", ways, class_="chips"),
        scores.sections(page, catalogue.models, catalogue.benchmarks),
    )


def _own(page: Page, catalogue: Catalogue, own: Sequence[OwnRun]) -> Markup:
    heads = [page.say(key) for key in ("model", "benchmark", "numbers", "settings")]
    rows = [tag("tr", [tag("td", part) for part in _cells(page, catalogue, run)]) for run in own]
    note = tag("p", page.say("own note"))
    return tag("section", tag("h2", page.say("own runs")), note, sortable(page, heads, rows, "own"), id="own")


def _cells(page: Page, catalogue: Catalogue, run: OwnRun) -> tuple[Part, ...]:
    known = _model(run.model, catalogue.models)
    name = page.link(f"models/{known.id}.html", run.model) if known else run.model
    benchmark = scores.benchmark_of(run.benchmark, catalogue.benchmarks)
    on = page.link(f"benchmarks/{benchmark.id}.html", run.benchmark) if benchmark else run.benchmark
    numbers = tag("ul", [tag("li", f"{key}: ", tag("b", f"{value:.4g}")) for key, value in run.numbers.items()])
    said = [(tag("dt", key), tag("dd", value)) for key, value in run.settings.items()]
    return name, on, numbers, tag("details", tag("summary", run.name), tag("dl", said))


def _model(name: str, models: Sequence[Model]) -> Model | None:
    """The model whose weights a run names, by their hub id or by a folder that is called as they are."""
    last = name.rstrip("/").rpartition("/")[2]
    named = (model for model in models if last in {weights.rpartition("/")[2] for weights in model.weights})
    return next((model for model in models if name in model.weights), None) or next(named, None)

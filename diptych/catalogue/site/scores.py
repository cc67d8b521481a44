"""Scores as tables: of a model, of a benchmark, and of all models beside each other."""

from collections import Counter
from collections.abc import Iterator, Sequence

from diptych.catalogue.addresses import address
from diptych.catalogue.catalogue import plain
from diptych.catalogue.records import Benchmark, Model, Score
from diptych.catalogue.running import runs
from diptych.catalogue.site.markup import EMPTY, Markup, join, tag
from diptych.catalogue.site.page import Page, outside, record_path
from diptych.catalogue.site.tables import sortable

COLUMNS = 9  # of the table that compares models: the benchmarks most reported


def counted(models: Sequence[Model]) -> list[str]:
    """The benchmarks that have published scores, those of most models first, then by name."""
    count = Counter(name for model in models for name in {score.benchmark for score in model.scores})
    return sorted(count, key=lambda name: (-count[name], name.casefold()))


def published(models: Sequence[Model], benchmark: str) -> list[tuple[Model, Score]]:
    """All scores of a benchmark, the best first."""
    found = [(model, score) for model in models for score in model.scores if score.benchmark == benchmark]
    return sorted(found, key=lambda pair: (-pair[1].value, pair[0].name.casefold(), pair[1].variant or ""))


def benchmark_of(name: str, benchmarks: Sequence[Benchmark]) -> Benchmark | None:
    """The benchmark that a score's name means: the same name, or a part of it, as GEdit-Bench-EN of GEdit-Bench."""
    same = (one for one in benchmarks if plain(one.name) == plain(name))
    return next(same, None) or next((one for one in benchmarks if name.startswith(f"{one.name}-")), None)


def of_benchmark(page: Page, models: Sequence[Model], name: str) -> Markup:
    """A row a published score."""
    found = published(models, name)
    top = max(score.value for _, score in found)
    rows = [
        tag(
            "tr",
            tag("td", _named(page, model), _variant(score)),
            _value(page, score, top),
            _source(page, score),
        )
        for model, score in found
    ]
    heads = (page.say("model"), page.say("score"), page.say("source"))
    return sortable(page, heads, rows, "scores")


def of_model(page: Page, model: Model, benchmarks: Sequence[Benchmark]) -> Markup:
    """A row a published score of one model."""
    rows = [
        tag(
            "tr",
            tag("td", _benchmark(page, score.benchmark, benchmarks), _variant(score)),
            _value(page, score),
            _source(page, score),
        )
        for score in model.scores
    ]
    heads = (page.say("benchmark"), page.say("score"), page.say("source"))
    return sortable(page, heads, rows, "scores")


def beside(page: Page, models: Sequence[Model]) -> Markup:
    """A row a model and a column a benchmark: each model's best published score by its authors, else by others."""
    names = counted(models)[:COLUMNS]
    shown = [model for model in models if any(score.benchmark in names for score in model.scores)]
    ranked = sorted(shown, key=lambda model: _rank(model, names))
    rows = [tag("tr", tag("td", _named(page, model)), _best(page, model, names)) for model in ranked]
    return sortable(page, [page.say("model"), *names], rows, "matrix")


def _variant(score: Score) -> Markup | None:
    return tag("small", score.variant) if score.variant else None


def _named(page: Page, model: Model) -> Markup:
    return page.record(model, class_="here" if runs(model) else None)


def _best(page: Page, model: Model, names: Sequence[str]) -> Iterator[Markup]:
    for name in names:
        scores = [score for score in model.scores if score.benchmark == name]
        best = max(scores, key=lambda score: (not score.remeasured, score.value), default=None)
        if best is None:
            yield tag("td", "", data_sort="-1")
        else:
            mark = tag("span", "*", title=page.say("re-measured")) if best.remeasured else EMPTY
            yield tag("td", f"{best.value:g}", mark, data_sort=best.value, title=best.variant)


def _rank(model: Model, names: Sequence[str]) -> tuple[float, ...]:
    """Models that report the first benchmark come first, by their score."""
    first = [score.value for score in model.scores if score.benchmark == names[0]]
    return (-max(first, default=-1.0),)


def _benchmark(page: Page, name: str, benchmarks: Sequence[Benchmark]) -> Markup:
    known = benchmark_of(name, benchmarks)
    return page.record(known) if known and known.name == name else page.link(f"leaderboard.html#{anchor(name)}", name)


def anchor(name: str) -> str:
    """Where a benchmark's scores stand on the leaderboard."""
    return f"scores-{plain(name)}"


def _value(page: Page, score: Score, top: float | None = None) -> Markup:
    others = " others" if score.remeasured else ""
    bar = tag("span", style=f"width:{max(0.0, 100 * score.value / top):.1f}%", class_=f"bar{others}") if top else None
    mark = tag("small", page.say("re-measured")) if score.remeasured else None
    number = tag("span", f"{score.value:g}", class_="number")
    return tag("td", number, tag("span", bar, class_="track") if bar else None, mark, data_sort=score.value)


def _source(page: Page, score: Score) -> Markup:
    where = address(score.source)
    said = score.source.removesuffix(" (re-measured)").removeprefix("github:").removeprefix("https://")
    return tag("td", outside(where, said) if where else said, class_="source")


def sections(page: Page, models: Sequence[Model], benchmarks: Sequence[Benchmark]) -> Markup:
    """All benchmarks with published scores, each with all of them."""
    parts = []
    for name in counted(models):
        known = benchmark_of(name, benchmarks)
        heading = tag("h3", page.link(record_path(known), name) if known else name, id=anchor(name))
        parts.append(tag("section", heading, of_benchmark(page, models, name)))
    return join(parts)

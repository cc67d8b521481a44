"""A page a record: what it is, where its facts are from, and of a model how it works and how to run it here."""

from collections.abc import Iterable, Iterator

from diptych.catalogue.addresses import HUB, address, addresses
from diptych.catalogue.catalogue import Catalogue, plain
from diptych.catalogue.formats import bibtex
from diptych.catalogue.lanes import lanes
from diptych.catalogue.records import Application, Benchmark, Dataset, Entry, Model
from diptych.catalogue.running import Running, commands, runs
from diptych.catalogue.scored import scorers
from diptych.catalogue.site import scores
from diptych.catalogue.site.diagrams import architecture, legend
from diptych.catalogue.site.markup import Markup, Part, join, tag
from diptych.catalogue.site.page import Page, outside

# Facts of each kind in the order they are read; those of a table of words are explained.
FACTS: dict[type[Entry], tuple[str, ...]] = {
    Model: (
        "paradigm", "encoding", "mechanism", "attention", "backbone", "understanding_encoder", "generation_encoder",
        "generation_decoder", "sizes", "inputs", "outputs", "tasks", "resolution", "licence_code", "licence_weights",
    ),
    Benchmark: ("task", "metrics", "judge", "size", "licence_data"),
    Dataset: ("section", "size", "format", "storage", "licence"),
    Application: ("topic", "licence_code"),
}  # fmt: skip
WORDS = {
    "paradigm": "paradigm", "encoding": "encoding", "mechanism": "mechanism", "attention": "attention",
    "inputs": "modality", "outputs": "modality", "tasks": "can", "task": "task", "section": "section",
}  # fmt: skip


def sheet(page: Page, record: Entry, catalogue: Catalogue) -> Markup:
    """All that is known of a record."""
    parts: list[Part] = [_subtitle(page, record)]
    facts = tag("section", tag("dl", [_fact(page, *one) for one in _facts(page, record)]))
    if isinstance(record, Model):
        drawn = tag("figure", architecture(record, page), legend(page))
        parts += [_running(page, record), tag("div", facts, drawn, class_="beside"), _scores(page, record, catalogue)]
    else:
        parts.append(facts)
    if isinstance(record, Benchmark):
        parts += [_scorers(page, record), _scored(page, record, catalogue)]
    if record.notes:
        parts.append(_section(page, "notes", tag("p", record.notes, lang="en")))
    parts += [_related(page, record, catalogue), _sources(page, record), _citation(page, record)]
    return join(parts)


def _section(page: Page, head: str, *body: Part) -> Markup:
    return tag("section", tag("h2", page.say(head)), *body)


def _subtitle(page: Page, record: Entry) -> Markup:
    title = tag("p", record.title, class_="title", lang="en") if record.title and record.title != record.name else None
    facts = [tag("time", record.date, datetime=record.date), record.venue]
    links = [outside(where, page.say(f"to {name}")) for name, where in addresses(record)]
    links += [outside(where, page.say(name)) for name in ("demo", "url") if (where := getattr(record, name, None))]
    listed = page.say("in the survey" if record.in_survey else "not in the survey")
    return join(title, tag("p", [tag("span", one) for one in (*facts, listed) if one], links, class_="facts"))


def _facts(page: Page, record: Entry) -> Iterator[tuple[str, Part]]:
    for field in FACTS[type(record)]:
        value = getattr(record, field)
        if not value:
            continue
        listed = value if isinstance(value, tuple) else (value,)
        table = WORDS.get(field)
        yield field.replace("_", " "), page.words(table, listed) if table else ", ".join(listed)
    for field, prefix in (("weights", ""), ("data", None)):
        if found := getattr(record, field, ()):
            yield field, tag("ul", [tag("li", _placed(one, prefix)) for one in found])


def _placed(name: str, prefix: str | None) -> Markup:
    """Weights by their hub id (prefix: ''), data by their address where they have one."""
    where = address(name) if prefix is None else f"{HUB}/{name}"
    return outside(where, name) if where else join(name)


def _fact(page: Page, name: str, value: Part) -> Markup:
    return join(tag("dt", page.say(name)), tag("dd", value))


def _running(page: Page, model: Model) -> Markup | None:
    found = runs(model)
    if not found:
        return None
    return tag("section", tag("h2", page.say("runs here")), [_family(page, one) for one in found], class_="running")


def _family(page: Page, running: Running) -> Markup:
    layout = page.say("layout", layout=running.layout) if running.layout else ""
    said = page.say("family", family=running.family, layout=layout)
    known = running.cases and running.worst is not None
    parity = page.say("parity", cases=running.cases, worst=f"{running.worst:.1g}") if known else page.say("no parity")
    names = [tag("li", outside(f"{HUB}/{name}", name)) for name in running.checkpoints]
    lines = tag("pre", tag("code", "\n".join(commands(running))))
    return join(tag("p", said, " ", parity), tag("ul", names, class_="inline") if names else None, lines)


def _scores(page: Page, model: Model, catalogue: Catalogue) -> Markup | None:
    if not model.scores:
        return None
    return _section(page, "published scores", scores.of_model(page, model, catalogue.benchmarks))


def _scorers(page: Page, benchmark: Benchmark) -> Markup | None:
    """The scorers of a benchmark, and how to have it scored."""
    found = scorers(benchmark)
    if not found:
        return None
    names = [
        tag("li", tag("b", one.name), " ", page.say("verified scorer" if one.verified else "unverified scorer"))
        for one in found
    ]
    lines = tag("pre", tag("code", "\n".join(one.command for one in found)))
    return tag("section", tag("h2", page.say("scored here")), tag("ul", names), lines, class_="running")


def _scored(page: Page, benchmark: Benchmark, catalogue: Catalogue) -> Markup | None:
    names = [
        name
        for name in scores.counted(catalogue.models)
        if scores.benchmark_of(name, catalogue.benchmarks) is benchmark
    ]
    tables = [(tag("h3", name), scores.of_benchmark(page, catalogue.models, name)) for name in names]
    return _section(page, "published scores", tables) if tables else None


def _related(page: Page, record: Entry, catalogue: Catalogue) -> Markup | None:
    """What builds on a model and what works as it does; what an application builds on."""
    if isinstance(record, Application):
        return _linked(page, "builds on", [_base(page, name, catalogue) for name in record.base_models])
    if not isinstance(record, Model):
        return None
    upon = [one for one in catalogue.applications if any(_base_of(name, record) for name in one.base_models)]
    lane = next(lane for lane in lanes(catalogue.models) if record in lane.models)
    alike = [page.chip(one) for one in lane.models if one is not record]
    return join(
        _linked(page, "built upon", [page.record(one) for one in upon]),
        _linked(page, "same class", alike),
    )


def _base_of(name: str, model: Model) -> bool:
    """Whether an application's word for its base, such as Janus-Pro-7B, means a model."""
    return plain(name) in (plain(model.name), *(plain(f"{model.name}{size}") for size in model.sizes))


def _base(page: Page, name: str, catalogue: Catalogue) -> Markup:
    known = next((model for model in catalogue.models if _base_of(name, model)), None)
    return page.link(f"models/{known.id}.html", name) if known else join(name)


def _linked(page: Page, head: str, links: Iterable[Markup]) -> Markup | None:
    items = [tag("li", one) for one in links]
    return _section(page, head, tag("ul", items, class_="chips")) if items else None


def _sources(page: Page, record: Entry) -> Markup:
    items = [tag("li", outside(where, one) if (where := address(one)) else one) for one in record.sources]
    return _section(page, "sources", tag("ul", items, class_="sources"))


def _citation(page: Page, record: Entry) -> Markup | None:
    entry = bibtex([record])
    return tag("details", tag("summary", "BibTeX"), tag("pre", tag("code", entry.strip()))) if entry else None

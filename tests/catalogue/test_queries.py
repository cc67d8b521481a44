"""What is asked for is what is found: by class, time, ability and words."""

import dataclasses

import pytest

from diptych.catalogue import load
from diptych.catalogue.queries import Query, closeness, select, texts
from diptych.catalogue.running import runs
from diptych.errors import InputError


@pytest.fixture(scope="module")
def models():
    return load().models


@pytest.mark.parametrize(
    ("classed", "holds"),
    [
        ({"paradigm": ["hybrid"]}, lambda m: m.paradigm == "hybrid"),
        ({"paradigm": ["hybrid", "diffusion"]}, lambda m: m.paradigm in ("hybrid", "diffusion")),
        ({"encoding": ["pixel"], "paradigm": ["autoregressive"]}, lambda m: (m.encoding, m.paradigm)[0] == "pixel"),
        ({"mechanism": ["flow-matching"]}, lambda m: "flow-matching" in m.mechanism),
        ({"can": ["edit", "interleave"]}, lambda m: {"edit", "interleave"} <= set(m.tasks)),
        ({"attention": ["mot"]}, lambda m: m.attention == "mot"),
        ({"can": []}, lambda m: True),
    ],
)
def test_classes(models, classed, holds):
    found = select(models, Query(classed))
    if "paradigm" in classed and "encoding" in classed:
        assert found == [m for m in models if m.encoding == "pixel" and m.paradigm == "autoregressive"]
    else:
        assert found == [m for m in models if holds(m)]
    assert found


@pytest.mark.parametrize(
    ("date", "since", "until", "within"),
    [
        ("2025-05-20", "2025-05-20", "2025-05-20", True),
        ("2025-05-20", "2025-05-21", None, False),
        ("2025-05-20", None, "2025-05-19", False),
        ("2025-05-20", "2025", "2025", True),
        ("2025-05", "2025-05-31", None, True),  # some day of that month
        ("2025-05", None, "2025-05-01", True),
        ("2025-05", "2025-06-01", None, False),
        ("2025-05", None, "2024", False),
    ],
)
def test_dates_are_compared_as_exactly_as_both_are_known(models, date, since, until, within):
    record = dataclasses.replace(models[0], date=date)
    assert bool(select([record], Query(since=since, until=until))) is within


@pytest.mark.parametrize(
    ("classed", "dates", "said"),
    [
        ({"paradigm": ["hybird"]}, {}, "--paradigm 'hybird': did you mean 'hybrid'? choose from diffusion, "),
        ({"encoding": ["hybrid"]}, {}, "did you mean 'hybrid-pseudo' or 'hybrid-joint'?"),
        ({"can": ["fly"]}, {}, "--can 'fly': choose from understand, generate, edit"),
        ({}, {"since": "May"}, "--since 'May': give a year, month or day, such as 2025"),
        ({}, {"until": "2025-13"}, "--until '2025-13'"),
    ],
)
def test_unknown_words_come_with_those_that_are_known(classed, dates, said):
    with pytest.raises(InputError) as raised:
        Query(classed, **dates)
    assert said in str(raised.value)


def test_what_runs_here(models):
    found = select(models, Query(here=True))
    assert {"janus-pro", "bagel", "mmada"} <= {model.id for model in found} and all(runs(model) for model in found)
    scored = {benchmark.id for benchmark in select(load().benchmarks, Query(here=True))}
    assert {"geneval", "wise"} <= scored and "heim" not in scored
    assert select(load().datasets, Query(here=True)) == []


@pytest.mark.parametrize(
    ("search", "first"),
    [("janus pro", "janus-pro"), ("BAGEL", "bagel"), ("showo2", "show-o2"), ("tokenflow", "tokenflow")],
)
def test_names_are_closest(models, search, first):
    assert select(models, Query(search=search))[0].id == first


def test_every_word_must_stand_in_a_record(models):
    found = select(models, Query(search="siglip flux"))
    assert found and all("siglip" in said(model) and "flux" in said(model) for model in found)
    assert select(models, Query(search="siglip zzzzz")) == []
    assert select(models, Query(search="   ")) == list(models)


def test_accents_and_case_do_not_matter(models):
    record = dataclasses.replace(models[0], notes="Émile's Größe")
    assert closeness(record, "emile GROSSE")


def said(model) -> str:
    return " ".join(texts(dataclasses.asdict(model))).casefold()

"""Awesome lists: read in the forms they are published in, compared with the catalogue, and written so that nothing is
lost."""

import dataclasses

import pytest

from diptych.catalogue import load
from diptych.catalogue.updating.awesome import read
from diptych.catalogue.updating.differences import compare
from diptych.catalogue.updating.listing import awesome
from tests.catalogue.recorded import fixture


@pytest.fixture(scope="module")
def catalogue():
    return load()


@pytest.fixture(scope="module")
def tables():
    return read(fixture("list_tables.md").decode())


@pytest.fixture(scope="module")
def bullets():
    return read(fixture("list_bullets.md").decode())


def test_tables(tables):
    papers = {entry.name: entry for entry in tables if entry.name}
    assert list(papers) == ["Janus-Pro", "Brand New", "BAGEL", "GenEval", "Echo-4o-Image"]
    new = dataclasses.asdict(papers["Brand New"])
    assert new == {
        "line": 13,
        "table": "models",
        "classes": (("paradigm", "autoregressive"), ("encoding", "hybrid-pseudo")),
        "name": "Brand New",
        "title": "Brand New: a | b, and [c]",
        "arxiv": "2601.00002",
        "venue": "NeurIPS",
        "date": "2026-01-05",
        "code": "a-lab/brand.new",
        "code_path": "sub/folder",
        "demo": "https://new.example/",
        "url": None,
        "size": None,
    }
    assert (papers["Janus-Pro"].venue, papers["Janus-Pro"].demo) == (None, None)
    assert papers["BAGEL"].classes == (("paradigm", "hybrid"),)
    assert (papers["GenEval"].table, papers["GenEval"].classes) == ("benchmarks", ())
    data = papers["Echo-4o-Image"]
    assert (data.table, data.classes, data.size) == ("datasets", (("section", "other"),), "73K")
    assert data.url == "https://huggingface.co/datasets/Yejy53/Echo-4o-Image"


def test_bullets(bullets):
    listed = [(one.title, one.arxiv, one.venue, one.date, one.code) for one in bullets]
    assert listed == [
        ("Show-o2: Improved Native Unified Multimodal Models", "2506.15564", None, "2025-06", "showlab/Show-o"),
        ("Newer Than Ours: A Title", "2601.00005", "CVPR Best Student Paper", "2026-01", "a-lab/newer"),
        ("A Bold One", "2601.00006", None, None, "a-lab/bold"),
    ]
    assert {one.table for one in bullets} == {"models"}


def test_what_only_one_of_them_has_and_where_they_disagree(tables, catalogue):
    found = compare([one for one in tables if one.name], catalogue)
    assert [one.name for one in found.there] == ["Brand New"]
    assert ("models", "janus") in [(table, record.id) for table, record in found.here]
    assert "applications" not in {table for table, _ in found.here}, "a list without them says nothing of them"
    assert {(one.id, one.field, one.there, one.here) for one in found.disagreements} == {
        ("bagel", "arxiv", "2505.99999", "2505.14683"),
        ("bagel", "date", "2024-05-20", "2025-05-20"),
        ("bagel", "code", "elsewhere/BAGEL", "ByteDance-Seed/Bagel"),
        ("bagel", "venue", "ICCV", None),
    }
    assert found.same == 3
    sizes = len(catalogue.models) + len(catalogue.benchmarks) + len(catalogue.datasets)
    assert len(found.here) == sizes - 4


def test_only_the_tables_that_are_asked_for(tables, catalogue):
    found = compare(tables, catalogue, ["benchmarks"])
    assert (found.same, len(found.here)) == (1, len(catalogue.benchmarks) - 1)
    assert [one.title for one in found.there] == ["The survey"], "its heading says no table"


def test_an_entry_under_a_heading_that_says_nothing_is_looked_for_everywhere(catalogue):
    text = "## Papers\n- [GenEval: An Object-Focused Framework](https://arxiv.org/abs/2310.11513) (Oct. 2023)\n"
    found = compare(read(text), catalogue)
    assert [(one.id, one.field) for one in found.disagreements] == [("geneval", "title")]
    assert {table for table, _ in found.here} == {"benchmarks"}


def test_papers_are_found_without_their_names(bullets, catalogue):
    found = compare(bullets, catalogue)
    assert found.same == 1 and len(found.there) == 2


def test_what_is_written_is_read_back_without_a_difference(catalogue):
    text = awesome(catalogue)
    entries = read(text)
    found = compare(entries, catalogue)
    count = sum(len(catalogue.table(name)) for name in catalogue.__dict__)
    assert (found.same, found.there, found.here, found.disagreements) == (count, [], [], [])
    classed = {entry.name: dict(entry.classes) for entry in entries if entry.table == "models"}
    for model in catalogue.models:
        expected = {"paradigm": model.paradigm} | ({"encoding": model.encoding} if model.encoding != "none" else {})
        assert classed[model.name] == expected


def test_every_field_comes_back(catalogue):
    model = dataclasses.replace(
        catalogue.model("show-o2"),
        name="A|B [c] *d* _e_ <f>\\ `g`",
        title="A_b: *c* | d [e] <f> and $x^2$",
        venue="CVPR",
        code_path="some/where",
        demo="https://demo.example/a?b=c#d",
        date="2025-06",
    )
    only = dataclasses.replace(catalogue, models=(model,), benchmarks=(), datasets=(), applications=())
    (entry,) = read(awesome(only))
    for field in ("name", "title", "arxiv", "venue", "date", "code", "code_path", "demo"):
        assert getattr(entry, field) == getattr(model, field)


def test_the_same_records_give_the_same_text(catalogue):
    assert awesome(catalogue) == awesome(load())


def test_a_change_is_seen(catalogue):
    text = awesome(catalogue).replace("2505.14683", "2505.14684").replace("Emerging Properties", "Vanishing Properties")
    found = compare(read(text), catalogue)
    assert {(one.id, one.field) for one in found.disagreements} == {("bagel", "arxiv"), ("bagel", "title")}

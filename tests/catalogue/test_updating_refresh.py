"""What sources say against what records say; and the patch that follows, which git takes."""

import json
import shutil
import subprocess

import pytest

from diptych.catalogue import load
from diptych.catalogue.catalogue import DATA, KINDS
from diptych.catalogue.reading import made as record_of
from diptych.catalogue.records import Model
from diptych.catalogue.updating.fetching import Answer, Polite
from diptych.catalogue.updating.lines import blank, lines_of
from diptych.catalogue.updating.patching import patch
from diptych.catalogue.updating.refreshing import Report, refresh
from diptych.errors import NetworkError
from tests.catalogue.recorded import (
    ARXIV,
    DATASETS,
    GITHUB,
    MODELS,
    NAMING,
    NAMING_OF,
    Recorded,
    fixture,
    offline,
)

PAPER = {ARXIV.format("2601.00001", 1): fixture("arxiv.xml")}
GOOD = {
    **PAPER,
    GITHUB.format("some-lab/newest"): fixture("github.json"),
    MODELS.format("some-lab/Newest-7B"): fixture("hub_model.json"),
    NAMING_OF.format("2601.00001", "some-lab"): b"[" + fixture("hub_model.json") + b"]",
    "https://newest.example/": 200,
}


def model(**changes) -> Model:
    known = {
        "id": "newest",
        "name": "Newest",
        "title": "Newest: One Model that Reads and Writes & Edits",
        "arxiv": "2601.00001",
        "date": "2026-01-02",
        "date_precision": "day",
        "in_survey": False,
        "paradigm": "hybrid",
        "encoding": "pixel",
        "code": "some-lab/newest",
        "weights": ["some-lab/Newest-7B"],
        "licence_code": "Apache-2.0",
        "licence_weights": "MIT",
        "demo": "https://newest.example/",
        "sources": ["https://arxiv.org/abs/2601.00001"],
    }
    return record_of(blank("models") | known | changes, Model)


def said(report: Report) -> list[tuple[str, str]]:
    return [(one.kind, one.said) for one in report.findings]


def test_a_record_that_is_up_to_date():
    pages = Recorded(GOOD)
    report = refresh([model()], pages)
    assert (report.records, report.answers, report.findings, report.changes) == (1, len(GOOD), [], {})
    assert {method for url, method in pages.asked if url == "https://newest.example/"} == {"HEAD"}


@pytest.mark.parametrize(
    ("page", "answer", "kind", "words", "change"),
    [
        (GITHUB.format("some-lab/newest"), 404, "gone", "GitHub has no some-lab/newest", {"code": None}),
        (
            GITHUB.format("some-lab/newest"),
            fixture("github.json").replace(b"some-lab/newest", b"new-lab/newest"),
            "moved",
            "some-lab/newest is new-lab/newest now",
            {"code": "new-lab/newest"},
        ),
        (
            GITHUB.format("some-lab/newest"),
            fixture("github.json").replace(b'"archived": false', b'"archived": true'),
            "archived",
            "read-only now",
            {},
        ),
        (
            GITHUB.format("some-lab/newest"),
            fixture("github.json").replace(b"Apache-2.0", b"MIT"),
            "licence",
            "licence of code is Apache-2.0 here, MIT at the source",
            {"licence_code": "MIT"},
        ),
        (
            MODELS.format("some-lab/Newest-7B"),
            401,
            "gone",
            "the hub has no some-lab/Newest-7B",
            {"weights": []},
        ),
        (
            MODELS.format("some-lab/Newest-7B"),
            fixture("hub_model.json").replace(b"license:mit", b"license:llama2"),
            "licence",
            "licence of weights is MIT here, llama2 at the source",
            {},
        ),
        (
            NAMING_OF.format("2601.00001", "some-lab"),
            b'[{"id": "some-lab/Newest-14B", "createdAt": "2026-02-01T00:00:00.000Z"}]',
            "weights",
            "new on the hub: some-lab/Newest-14B, 2026-02-01",
            {"weights": ["some-lab/Newest-7B", "some-lab/Newest-14B"]},
        ),
        ("https://newest.example/", 404, "gone", "demo https://newest.example/ answers with", {"demo": None}),
        ("https://newest.example/", 503, "unchecked", "demo https://newest.example/ answers with status 503", {}),
        (ARXIV.format("2601.00001", 1), fixture("arxiv_empty.xml"), "gone", "arXiv has no paper 2601.00001", {}),
        (
            ARXIV.format("2601.00001", 1),
            fixture("arxiv.xml").replace(b"arxiv:comment>", b"arxiv:journal_ref>"),
            "paper",
            "arXiv has a journal reference, and the record no venue: Accepted to ICLR 2026",
            {},
        ),
    ],
)
def test_what_a_source_says(page, answer, kind, words, change):
    report = refresh([model()], Recorded(GOOD | {page: answer}))
    assert [(found, words in text) for found, text in said(report)] == [(kind, True)]
    assert report.changes.get(("models", "newest"), {}) == change


@pytest.mark.parametrize(
    ("recorded", "change"),
    [(None, {"licence_code": "Apache-2.0"}), ("MIT", {"licence_code": "Apache-2.0"}), ("own words (LICENSE)", {})],
)
def test_only_unknown_and_plain_licences_are_changed(recorded, change):
    report = refresh([model(licence_code=recorded)], Recorded(GOOD))
    assert [kind for kind, _ in said(report)] == ["licence"]
    assert report.changes.get(("models", "newest"), {}) == change


@pytest.mark.parametrize("recorded", ["Apache-2.0 (parts MIT)", "apache-2.0"])
def test_words_that_name_the_licence_agree(recorded):
    assert refresh([model(licence_code=recorded)], Recorded(GOOD)).findings == []


def test_a_licence_in_words_as_the_hub_writes_it():
    card = fixture("hub_model.json").replace(b"license:mit", b"license:llama2")
    pages = Recorded(GOOD | {MODELS.format("some-lab/Newest-7B"): card})
    assert refresh([model(licence_weights="Llama 2 license")], pages).findings == []
    assert [kind for kind, _ in said(refresh([model(licence_weights="limited")], Recorded(GOOD)))] == ["licence"]


def test_weights_of_others_are_said_and_not_taken_over():
    other = b'[{"id": "someone/newest-quantised"}]'
    report = refresh([model(weights=[])], Recorded(GOOD | {NAMING.format("2601.00001"): other}))
    assert said(report) == [
        ("weights", "on the hub these name the paper; are they the authors'? someone/newest-quantised")
    ]
    assert report.changes == {}


def test_a_source_that_fails_leaves_the_others_checked():
    pages = Recorded(GOOD | {GITHUB.format("some-lab/newest"): 500, "https://newest.example/": 404})
    report = refresh([model()], pages)
    assert [kind for kind, _ in said(report)] == ["unchecked", "gone"]
    assert "GitHub answered with status 500" in report.findings[0].said


def test_without_a_network_there_is_one_line():
    with pytest.raises(NetworkError, match="nothing can be reached"):
        refresh([model(), model(arxiv=None, code=None, weights=[])], Polite(offline, 0))
    assert refresh([], offline).records == 0


def test_every_table_of_the_catalogue_can_be_asked():
    catalogue = load()
    records = [record for name in KINDS for record in catalogue.table(name)]

    def answers(url: str, method: str) -> Answer:
        if "export.arxiv.org" in url:
            return Answer(200, url, fixture("arxiv_empty.xml"))
        if "?filter=" in url:
            return Answer(200, url, b"[]")
        return Answer(404, url)

    report = refresh(records, answers, sources=True)
    kinds = {one.kind for one in report.findings}
    assert kinds == {"gone"} and {one.table for one in report.findings} == set(KINDS)
    gone = {(one.table, one.id) for one in report.findings}
    assert gone == {(name, one.id) for name in KINDS for one in catalogue.table(name)}


def test_data_sets_and_benchmarks():
    catalogue = load()
    (dataset,) = [one for one in catalogue.datasets if one.id == "echo-4o-image"]
    (benchmark,) = [one for one in catalogue.benchmarks if one.id == "genexam"]
    moved = b'{"id": "new-owner/Echo-4o-Image", "tags": ["license:apache-2.0"]}'
    pages = {
        ARXIV.format("2508.09987,2509.14232", 2): fixture("arxiv_empty.xml"),
        DATASETS.format(dataset.hub_id): moved,
        str(dataset.url): 410,
        GITHUB.format(benchmark.code): b'{"full_name": "OpenGVLab/GenExam", "license": null}',
        "https://huggingface.co/datasets/OpenGVLab/GenExam": 401,
        "https://github.com/OpenGVLab/GenExam/blob/HEAD/data": 200,
    }
    report = refresh([dataset, benchmark], Recorded(pages))
    assert [one.kind for one in report.findings if one.id == "genexam"] == ["gone", "gone"]
    assert report.changes["datasets", "echo-4o-image"] == {
        "hub_id": "new-owner/Echo-4o-Image",
        "licence": "Apache-2.0",
        "url": None,
    }


def test_the_patch_is_one_that_git_takes_and_leaves_records(tmp_path):
    report = Report(changes={("models", "bagel"): {"demo": None}, ("datasets", "redcaps"): {"licence": "CC-BY-4.0"}})
    before = {name: (DATA / f"{name}.jsonl").read_bytes() for name in KINDS}
    text = patch(report)
    assert {name: (DATA / f"{name}.jsonl").read_bytes() for name in KINDS} == before
    assert text.count("\n+{") == text.count("\n-{") == 2
    copy = tmp_path / "diptych" / "catalogue" / "data"
    shutil.copytree(DATA, copy)
    (tmp_path / "change.patch").write_text(text, "utf-8")
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    subprocess.run(["git", "apply", "change.patch"], cwd=tmp_path, check=True)
    changed = load(copy)
    assert changed.model("bagel").demo is None
    assert [one["licence"] for one in lines_of("datasets", copy) if one["id"] == "redcaps"] == ["CC-BY-4.0"]
    assert sum(one != two for one, two in zip(load().models, changed.models, strict=True)) == 1


def test_a_patch_has_no_change_that_the_schema_forbids():
    assert patch(Report(changes={("models", "bagel"): {"weights": ["no-owner"]}})) == ""
    assert patch(Report()) == ""


def test_lines_are_written_as_they_stand():
    for name in KINDS:
        written = "".join(json.dumps(one, ensure_ascii=False) + "\n" for one in lines_of(name))
        assert written == (DATA / f"{name}.jsonl").read_text("utf-8")

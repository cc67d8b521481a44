"""Drafts hold what arXiv, the hub and GitHub say, and nothing else."""

import json

import pytest

from diptych.catalogue import load
from diptych.catalogue.catalogue import DATA, KINDS
from diptych.catalogue.reading import read, wrong
from diptych.catalogue.updating import arxiv, github, hub
from diptych.catalogue.updating.drafts import draft
from diptych.catalogue.updating.fetching import Answer
from diptych.catalogue.updating.lines import add, blank
from diptych.errors import InputError, NetworkError
from tests.catalogue.recorded import ARXIV, DATASETS, GITHUB, MODELS, NAMING, Recorded, fixture, offline

PAGES = {
    ARXIV.format("2601.00001", 1): fixture("arxiv.xml"),
    ARXIV.format("2601.99999", 1): fixture("arxiv_empty.xml"),
    GITHUB.format("some-lab/newest"): fixture("github.json"),
    MODELS.format("some-lab/Newest-7B"): fixture("hub_model.json"),
    DATASETS.format("some-lab/newest-pairs"): fixture("hub_dataset.json"),
    NAMING.format("2601.00001"): b"[" + fixture("hub_model.json") + b"]",
}


@pytest.fixture(scope="module")
def catalogue():
    return load()


@pytest.mark.parametrize(
    "source",
    ["2601.00001", "arXiv:2601.00001v2", "https://arxiv.org/abs/2601.00001", "arxiv.org/pdf/2601.00001v1.pdf"]
    + ["https://huggingface.co/papers/2601.00001"],
)
def test_a_paper_becomes_a_draft(catalogue, source):
    made = draft(source, Recorded(PAGES), catalogue)
    known = {name: value for name, value in made.record.items() if value not in (None, [])}
    assert known == {
        "id": "newest",
        "name": "Newest",
        "title": "Newest: One Model that Reads and Writes & Edits",
        "arxiv": "2601.00001",
        "date": "2026-01-02",
        "date_precision": "day",
        "in_survey": False,
        "code": "some-lab/newest",
        "licence_code": "Apache-2.0",
        "sources": ["https://arxiv.org/abs/2601.00001", "https://github.com/some-lab/newest"],
    }
    assert list(made.record) == list(json.loads((DATA / "models.jsonl").read_text("utf-8").splitlines()[0]))
    assert made.needed == ["paradigm", "encoding"]
    remarks = " ".join(made.remarks)
    for said in ("'Accepted to ICLR 2026'", "some-lab/Newest-7B", "'Newest' is what the title begins with"):
        assert said in remarks


def test_a_model_on_the_hub_brings_its_paper(catalogue):
    made = draft("https://huggingface.co/some-lab/Newest-7B/tree/main", Recorded(PAGES), catalogue)
    assert (made.record["weights"], made.record["licence_weights"]) == (["some-lab/Newest-7B"], "MIT")
    assert (made.record["arxiv"], made.record["code"]) == ("2601.00001", "some-lab/newest")


def test_a_data_set_on_the_hub(catalogue):
    made = draft("hf.co/datasets/some-lab/newest-pairs", Recorded(PAGES), catalogue)
    assert made.table == "datasets" and made.record["hub_id"] == "some-lab/newest-pairs"
    assert made.record["url"] == "https://huggingface.co/datasets/some-lab/newest-pairs"
    assert made.record["licence"] == "newest-research"
    assert set(made.needed) == {"date", "date_precision", "section"} and made.record["title"] is None


def test_a_repository_says_its_name_and_licence_alone(catalogue):
    made = draft("https://github.com/some-lab/newest.git", Recorded(PAGES), catalogue, name="Newest+")
    assert (made.record["id"], made.record["name"], made.record["licence_code"]) == (
        "newest-plus",
        "Newest+",
        "Apache-2.0",
    )
    assert made.record["date"] is None


def test_a_draft_that_is_completed_is_a_record(catalogue, tmp_path):
    made = draft("2601.00001", Recorded(PAGES), catalogue)
    assert [one.partition(":")[0] for one in wrong(made.record, KINDS["models"])] == ["paradigm", "encoding"]
    file = tmp_path / "models.jsonl"
    add(file, made.record | {"paradigm": "hybrid", "encoding": "pixel"})
    assert [model.id for model in read(file, KINDS["models"])] == ["newest"]


def test_drafts_stand_in_order_and_once(catalogue, tmp_path):
    file = tmp_path / "models.jsonl"
    for number, date in enumerate(["2026-02-01", "2025-01", None, "2026-01-31"]):
        add(file, blank("models") | {"id": f"m{number}", "name": f"M{number}", "date": date})
    assert [json.loads(line)["id"] for line in file.read_text("utf-8").splitlines()] == ["m1", "m3", "m0", "m2"]
    before = file.read_bytes()
    with pytest.raises(InputError, match="models.jsonl has a record 'm0' already"):
        add(file, blank("models") | {"id": "m0"})
    assert file.read_bytes() == before and [one.name for one in tmp_path.iterdir()] == ["models.jsonl"]


def test_the_catalogue_takes_no_drafts(tmp_path):
    with pytest.raises(InputError, match="models.jsonl is the catalogue's own; complete the draft in another file"):
        add(DATA / "models.jsonl", blank("models"))
    (tmp_path / "notes.txt").write_text("not records\n")
    with pytest.raises(InputError, match="notes.txt is no file of records"):
        add(tmp_path / "notes.txt", blank("models"))


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("2501.17811", "2501.17811 is in the catalogue already: diptych survey show models/janus-pro"),
        ("2601.99999", "arXiv has no paper 2601.99999"),
        ("something", "'something' is none of these: an arXiv id such as"),
        ("https://example.org/2601.00001", "is none of these"),
        ("https://huggingface.co/spaces/a/b", "is none of these"),
        ("https://huggingface.co/some-lab/gone", "the hub has no some-lab/gone, or it is private"),
        ("https://huggingface.co/deepseek-ai/Janus-Pro-1B", "already: diptych survey show models/janus-pro"),
        ("https://huggingface.co/datasets/kdexd/red_caps", "already: diptych survey show datasets/redcaps"),
        ("", "is none of these"),
        ("https://[", "is none of these"),
    ],
)
def test_what_cannot_be_drafted(catalogue, source, said):
    with pytest.raises(InputError, match=said):
        draft(source, Recorded(PAGES | {MODELS.format("some-lab/gone"): 401}), catalogue)


def test_several_papers_or_repositories_are_a_persons_choice(catalogue):
    two = fixture("arxiv.xml").replace(b"some-lab/newest.", b"some-lab/newest and https://github.com/other/thing")
    made = draft("2601.00001", Recorded(PAGES | {ARXIV.format("2601.00001", 1): two}), catalogue)
    assert made.record["code"] is None
    assert any("several repositories: some-lab/newest, other/thing" in one for one in made.remarks)
    card = fixture("hub_model.json").replace(b'"license:mit"', b'"arxiv:2505.14683", "license:mit"')
    made = draft("huggingface.co/a/b", Recorded({MODELS.format("a/b"): card}), catalogue)
    assert made.record["arxiv"] is None and any("several papers" in one for one in made.remarks)


def test_without_a_network_there_is_one_line(catalogue):
    with pytest.raises(NetworkError, match="nothing can be reached"):
        draft("2601.00001", offline, catalogue)


def test_arxiv_refuses_in_its_own_words():
    with pytest.raises(NetworkError, match="arXiv: incorrect id format for 1234.1234x"):
        arxiv.read(fixture("arxiv_error.xml"))
    with pytest.raises(NetworkError, match="not an Atom feed: 'Rate exceeded.'"):
        arxiv.read(b"Rate exceeded.")
    with pytest.raises(NetworkError, match="not an Atom feed"):
        arxiv.read(b'<!DOCTYPE feed [<!ENTITY a "aaaa">]>' + fixture("arxiv.xml").partition(b"?>")[2])


def test_arxiv_is_asked_for_as_many_papers_as_are_wanted():
    pages = Recorded({}, Answer(200, "", fixture("arxiv_empty.xml")))
    assert arxiv.papers((f"2601.{number:05}" for number in range(150)), pages) == {}
    assert [url.rpartition("=")[2] for url, _ in pages.asked] == ["100", "50"]


def test_the_hubs_licences_and_answers():
    def of(**said):
        return hub.repository("a/b", Recorded({MODELS.format("a/b"): json.dumps({"id": "a/b"} | said).encode()}))

    for tags, licence in ((["license:cc-by-nc-4.0"], "CC-BY-NC-4.0"), (["license:llama2"], "llama2"), ([], None)):
        assert of(tags=tags).licence == licence
    assert of(tags=["license:other"], cardData={"license": "other"}).licence is None
    assert of(tags=["license:unknown"], cardData=None).licence is None
    for body in (b"[]", b'{"id": 3}'):
        with pytest.raises(NetworkError, match="describes no repository"):
            hub.repository("a/b", Recorded({MODELS.format("a/b"): body}))
    with pytest.raises(NetworkError, match="status 500"):
        hub.repository("a/b", Recorded({MODELS.format("a/b"): 500}))


def test_repositories_named_in_a_text():
    text = (
        "See https://github.com/a-b/c.d/tree/main/e/f, https://github.com/a/b.git; (https://github.com/x/y/issues/1)."
    )
    assert github.named_in(text) == [("a-b/c.d", "e/f"), ("a/b", None), ("x/y", None)]

"""eval, score and compare as commands: what they write and say, and how they fail."""

import json
import re
from html.parser import HTMLParser

import pytest
from PIL import Image as Pillow

from tests.evaluation import published
from tests.evaluation.fake_model import FakeModel

CARDS = re.compile(r"<article")


class Page(HTMLParser):
    """Whether a page is well formed, what it loads, and its texts."""

    VOID = frozenset(("meta", "input", "img"))

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.loads: list[str] = []
        self.texts: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.loads += [value for name, value in attrs if name in ("src", "href")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)


@pytest.fixture
def teller(monkeypatch) -> FakeModel:
    fake = FakeModel()
    monkeypatch.setattr("diptych.cli.console._load", lambda name, **placing: fake)
    return fake


def test_a_benchmark_of_words_ends_in_a_number_and_a_page(run, teller, tmp_path):
    published.pope(tmp_path / "files")
    result = run("eval", "showlab/show-o", "--bench", "pope", "--data", "files", "--batch", 5, "--max-tokens", 9)
    assert result.code == 0, result.err
    assert re.search(r"pope: f1 0\.\d{4} \(18 rows\)", result.out)
    folder = tmp_path / "evaluations" / "showlab-show-o-pope"
    page = Page((folder / "report.html").read_text("utf-8"))
    assert all(address.startswith("data:image/png") for address in page.loads) and len(page.loads) == 18
    assert any("Is there a random cat 0?" in text for text in page.texts)
    assert any("github:" in text for text in page.texts) and "Show-o (256)" in page.texts
    before = (folder / "score.json").read_bytes()
    teller.batches.clear()
    assert run("eval", "showlab/show-o", "--bench", "pope", "--data", "files", "--max-tokens", 9).code == 0
    assert teller.batches == [] and (folder / "score.json").read_bytes() == before
    again = json.loads(run("score", folder, "--json").out)
    assert again["value"] == json.loads(before)["value"] and again["rows"] == 18


def test_pictures_wait_for_a_judge_who_is_named_as_a_stand_in(run, teller, tmp_path):
    published.geneval(tmp_path / "files" / "geneval")
    result = run("eval", "fake", "--bench", "geneval", "--data", "files", "--guidance", 2)
    assert result.code == 0 and "nobody judged them" in result.out
    assert "diptych score evaluations/fake-geneval --judge JUDGE" in result.out
    folder = tmp_path / "evaluations" / "fake-geneval"
    assert len(list((folder / "images").glob("*.png"))) == 12
    records = [{"id": f"0000{i}", "evidence": [published.seen()] * 4, "judge": "x"} for i in range(3)]
    (tmp_path / "seen.jsonl").write_text(published.lines(records))
    result = run("score", folder, "--judge", "replay:seen.jsonl")
    assert "geneval: overall 1.0000 (3 rows" in result.out and "stand-in" in result.out
    assert "stand-in" in (folder / "report.html").read_text("utf-8")
    assert json.loads((folder / "run.json").read_text())["judge"]["official"] is False
    assert json.loads(run("score", folder, "--json").out)["value"] == 1


def test_pictures_and_answers_of_others(run, tmp_path):
    published.geneval(tmp_path / "files")
    for row in range(3):
        (tmp_path / "drawn" / f"0000{row}" / "samples").mkdir(parents=True)
        Pillow.new("RGB", (300, 200)).save(tmp_path / "drawn" / f"0000{row}" / "samples" / "0000.png")
    (tmp_path / "seen.json").write_text(json.dumps({f"0000{i}": [published.seen(0.9 if i else 0)] for i in range(3)}))
    common = ("--data", "files", "--judge", "replay:seen.json")
    result = run("score", "geneval", "--images", "drawn", *common, "--name", "Theirs <b>")
    assert "overall 0.6667" in result.out, result.err
    folder = next((tmp_path / "evaluations").iterdir())
    text = (folder / "report.html").read_text("utf-8")
    Page(text)
    assert "Theirs &lt;b&gt;" in text and "<b>" not in text
    assert len(CARDS.findall(text)) == 3 and text.count('"answer good"') == 2 and text.count("image/jpeg") == 3
    assert "expected bench&gt;=1, found 0" in text


def test_shares_are_joined_by_the_last(run, teller, tmp_path, monkeypatch):
    published.pope(tmp_path / "files")
    first = run("eval", "fake", "--bench", "pope", "--data", "files", "--shard", "0/2")
    assert "9 rows wait for other processes" in first.out
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    second = run("eval", "fake", "--bench", "pope", "--data", "files")
    assert "(18 rows)" in second.out
    names = {path.name for path in (tmp_path / "evaluations" / "fake-pope").glob("answers*")}
    assert names == {"answers-0-of-2.jsonl", "answers-1-of-2.jsonl"}


def test_compare_tables(run, teller, tmp_path):
    published.pope(tmp_path / "files", pictures=8)
    for name, skill in (("a", 128), ("b", 255)):
        teller.skill = skill
        assert run("eval", name, "--bench", "pope", "--data", "files").code == 0
    runs = [tmp_path / "evaluations" / f"{name}-pope" for name in "ab"]
    result = run("compare", *runs, "--resamples", 100)
    assert "f1" in result.out and "48 rows that both answered" in result.out and "McNemar" in result.out
    assert max(map(len, result.out.splitlines()[2:-2])) <= 80
    assert result.out.startswith("first: ") and result.out.splitlines()[0].endswith("a-pope")
    found = json.loads(run("compare", *runs, "--resamples", 100, "--json").out)["comparisons"][0]
    f1 = found["differences"][0]
    assert f1["figure"] == "f1" and f1["low"] <= f1["second"] - f1["first"] <= f1["high"] and 0 < f1["p"] <= 1


def test_the_builtin_benchmarks_need_no_files(run, teller, tmp_path):
    teller.image_size = (64, 64)
    result = run("eval", "fake", "--bench", "emoji-ask", "--limit", 2)
    assert result.code == 0 and "emoji-ask: accuracy" in result.out
    run_json = json.loads((tmp_path / "evaluations" / "fake-emoji-ask" / "run.json").read_text())
    assert run_json["options"] == {"max_tokens": 16} and run_json["rows"] == 2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("eval", "fake", "--bench", "popp"), "unknown benchmark 'popp'; did you mean 'pope'?"),
        (("eval", "fake", "--bench", ","), "names no benchmark"),
        (("eval", "fake", "--bench", "pope"), "--data DIR"),
        (("eval", "fake", "--bench", "pope", "--data", "nowhere"), "holds no coco_pope_random.json"),
        (("eval", "fake", "--bench", "pope", "--data", "files", "--shard", "2/2"), "--shard 2/2"),
        (("eval", "fake", "--bench", "pope", "--data", "files", "--steps", "9"), "--steps says nothing to pope"),
        (("eval", "fake", "--on", "emojis"), "unknown suite 'emojis'"),
        (("score", "nowhere"), "neither the folder of a run nor a benchmark"),
        (("score", "files"), "no folder of a run"),
        (("score", "pope"), "--images DIR or --answers FILE"),
        (("score", "pope", "--images", "files", "--data", "files"), "pope asks for words: --answers FILE"),
        (("score", "pope", "--answers", "none.json", "--data", "files"), "cannot read none.json"),
        (("score", "pope", "--answers", "a", "--images", "b"), "not both"),
        (("compare", "files"), "two runs or more"),
        (("compare", "files", "files"), "no folder of a run"),
    ],
)
def test_wrong_use_is_one_line(run, teller, tmp_path, arguments, said):
    published.pope(tmp_path / "files")
    result = run(*arguments)
    assert result.code == 2 and said in result.err and result.err.count("\n") == 1
    assert not (tmp_path / "evaluations").exists()


def test_a_model_that_cannot_draw_is_told_before_any_work(run, teller, tmp_path):
    teller.can = frozenset({"chat"})
    published.geneval(tmp_path / "files")
    result = run("eval", "fake", "--bench", "geneval", "--data", "files")
    assert result.code == 2 and "geneval takes a model that can generate; fake can chat" in result.err

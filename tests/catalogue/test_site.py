"""The site: whole, in both languages, without the network, never over anything else; and what its drawings say."""

import dataclasses
import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from string import Formatter
from urllib.parse import unquote, urlsplit

import pytest
import torch

from diptych.attention import LATER, Visibility, dense
from diptych.catalogue import load
from diptych.catalogue.addresses import address
from diptych.catalogue.catalogue import KINDS
from diptych.catalogue.site import build
from diptych.catalogue.site.chinese import TERMS
from diptych.catalogue.site.diagrams import SEQUENCE, architecture, sees
from diptych.catalogue.site.language import CODES, TABLES, Language
from diptych.catalogue.site.markup import VOID, Markup, join, tag
from diptych.catalogue.site.own_runs import own_runs
from diptych.catalogue.site.page import SECTIONS
from diptych.catalogue.site.svg import wrapped
from diptych.catalogue.site.texts import TEXTS
from diptych.errors import InputError
from tests.catalogue.drawings import FOLDER, drawings

LOADS = ("src", "srcset", "data", "poster", "background", "action")
RUN = {"benchmark": "geneval", "model": "deepseek-ai/Janus-Pro-1B", "seed": 3, "options": {}, "size": [384, 384]}
SCORE = {"benchmark": "geneval", "figure": "overall", "value": 0.5, "rows": 9, "judge": None, "table": {"overall": 0.5}}


class Reader(HTMLParser):
    """A page's elements, ids and addresses. Raises where elements are not closed in the order they were opened."""

    def __init__(self, text: str):
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.lang = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, name, pairs):
        found = dict(pairs)
        assert len(found) == len(pairs), f"an attribute of <{name}> stands there twice"
        if name not in VOID:
            self.open.append(name)
        self.ids += [found["id"]] if "id" in found else []
        self.links += [found["href"]] if name == "a" else []
        self.loaded += [found[key] for key in LOADS if key in found] + ([found["href"]] if name == "link" else [])
        self.lang = found["lang"] if name == "html" else self.lang

    def handle_endtag(self, name):
        assert self.open.pop() == name


def run_folder(folder: Path, settings: object, score: object) -> None:
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(json.dumps(settings))
    (folder / "score.json").write_text(json.dumps(score))


@pytest.fixture(scope="module")
def catalogue():
    return load()


@pytest.fixture(scope="module")
def said():
    """The keys of all texts that the site says."""
    return set()


@pytest.fixture(scope="module")
def site(catalogue, said, tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("site")
    run_folder(root / "runs" / "one", RUN, SCORE)
    say = Language.say
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Language, "say", lambda self, key, **values: (said.add(key), say(self, key, **values))[1])
        built = build(catalogue, root / "out", root / "runs")
    assert built.pages == len(list(built.folder.rglob("*.html"))) and built.runs == 1
    assert built.bytes == sum(path.stat().st_size for path in built.folder.rglob("*.*"))
    return built.folder


@pytest.fixture(scope="module")
def pages(site) -> dict[str, Reader]:
    return {path.relative_to(site).as_posix(): Reader(path.read_text("utf-8")) for path in site.rglob("*.html")}


def test_every_record_has_a_page_in_both_languages(catalogue, pages):
    for code in CODES:
        expected = {f"{code}/{name}.html" for name in ("index", *SECTIONS)}
        expected |= {f"{code}/{table}/{record.id}.html" for table in KINDS for record in catalogue.table(table)}
        assert {name for name in pages if name.startswith(f"{code}/")} == expected
    assert {reader.lang for name, reader in pages.items() if name.startswith("zh/")} == {"zh-CN"}


def test_every_link_inside_the_site_leads_somewhere(site, pages):
    count = 0
    for name, reader in pages.items():
        assert len(set(reader.ids)) == len(reader.ids), name
        for link in reader.links:
            parts = urlsplit(link)
            if parts.scheme:
                assert parts.scheme in ("http", "https"), link
                continue
            target = (site / name).parent.joinpath(unquote(parts.path)).resolve() if parts.path else site / name
            relative = target.relative_to(site).as_posix()
            assert relative in pages, f"{name}: {link}"
            if parts.fragment and "=" not in parts.fragment:  # those with = are what a table is filtered by
                assert parts.fragment in pages[relative].ids, f"{name}: {link}"
            count += 1
    assert count > 10_000


def test_filters_that_are_linked_exist(site, pages):
    text = (site / "en" / "models.html").read_text("utf-8")
    asked = {tuple(one.split("=")) for reader in pages.values() for link in reader.links if "#" in link and "=" in link
             for one in link.partition("#")[2].split("&")}  # fmt: skip
    assert len(asked) > 20
    for option, word in asked - {("here", "yes")}:
        assert f'data-filter="{option}"' in text and f'<option value="{word}">' in text


def test_nothing_is_loaded_from_elsewhere(site, pages):
    for name, reader in pages.items():
        for path in reader.loaded:
            assert not urlsplit(path).scheme and not path.startswith("//"), f"{name}: {path}"
            assert (site / name).parent.joinpath(path).resolve().is_file(), f"{name}: {path}"
    for name in ("style.css", "site.js"):
        assert not re.search(r"https?:|//[a-z]|@import|url\(|fetch\(|XMLHttpRequest", (site / name).read_text("utf-8"))


def test_the_same_input_gives_the_same_bytes(catalogue, site, tmp_path):
    other = build(catalogue, tmp_path / "out", site.parent / "runs").folder
    digests = [
        {p.relative_to(root): hashlib.sha256(p.read_bytes()).digest() for p in root.rglob("*") if p.is_file()}
        for root in (site, other)
    ]
    assert digests[0] == digests[1] and len(digests[0]) > 500


def test_both_languages_say_everything(site, said):
    for key, (english, chinese) in TEXTS.items():
        fields = [{name for _, name, _, _ in Formatter().parse(text) if name} for text in (english, chinese)]
        assert english and chinese and fields[0] == fields[1], key
        assert english == chinese or re.search(r"[\u4e00-\u9fff]", english + chinese), key
    assert said == set(TEXTS)
    assert {table: list(words) for table, words in TERMS.items()} == {name: list(one) for name, one in TABLES.items()}
    assert all(re.search(r"[\u4e00-\u9fff]", meaning) for words in TERMS.values() for _, meaning in words.values())


def test_texts_are_escaped(catalogue, tmp_path):
    sharp = "<script>alert('x')</script>&\""
    record = dataclasses.replace(
        catalogue.models[-1],
        name=sharp,
        title=sharp,
        backbone=sharp,
        notes=sharp,
        sources=(sharp,),
        generation_decoder=sharp,
    )
    hostile = dataclasses.replace(catalogue, models=(*catalogue.models[:-1], record))
    run_folder(tmp_path / "runs" / "one", RUN | {"options": sharp, "model": sharp}, SCORE | {"table": {sharp: 1.0}})
    folder = build(hostile, tmp_path / "out", tmp_path / "runs").folder
    for path in folder.rglob("*.html"):
        assert "<script>alert" not in path.read_text("utf-8")
    Reader((folder / "en" / "models" / f"{record.id}.html").read_text("utf-8"))
    assert "&lt;script&gt;" in (folder / "en" / "leaderboard.html").read_text("utf-8")


def test_markup():
    assert tag("a", "<", Markup("<b>"), None, ["x", tag("br")], href='"', data_x=1, hidden=True, id=None) == (
        '<a href="&quot;" data-x="1" hidden>&lt;<b>x<br></a>'
    )
    assert join() == ""


def test_a_model_that_runs_here_says_how(site):
    text = (site / "en" / "models" / "bagel.html").read_text("utf-8")
    assert "diptych edit picture.png &quot;Make it blue.&quot; --model ByteDance-Seed/BAGEL-7B-MoT" in text
    assert (
        "cases, worst relative error" in text and "github.com/ByteDance-Seed/Bagel" in text and "@misc{bagel," in text
    )
    assert "Runs here" not in (site / "en" / "models" / "chameleon.html").read_text("utf-8")


def test_a_benchmark_that_is_scored_here_says_how(site):
    text = (site / "en" / "benchmarks" / "geneval.html").read_text("utf-8")
    assert "equal to the official scorer" in text and "diptych eval MODEL --bench geneval" in text
    assert "unverified" in (site / "en" / "benchmarks" / "drawbench.html").read_text("utf-8")
    assert "--bench" not in (site / "zh" / "benchmarks" / "heim.html").read_text("utf-8")
    table = (site / "en" / "benchmarks.html").read_text("utf-8")
    assert "scored here" in table and 'id="here"' in table


def test_own_runs_are_on_the_leaderboard(site):
    text = (site / "en" / "leaderboard.html").read_text("utf-8")
    shown = text[text.index('id="own"') : text.index('class="lead"')]
    assert "models/janus-pro.html" in shown and "benchmarks/geneval.html" in shown and "overall: <b>0.5</b>" in shown
    assert "<dt>rows</dt><dd>9</dd>" in shown and "<dt>size</dt><dd>[384, 384]</dd>" in shown


def test_folders_that_are_no_finished_runs_are_passed_over(tmp_path):
    run_folder(
        tmp_path / "b" / "good", {"settings": {"model": {"id": "m"}, "benchmark": {"name": "n"}}}, {"x": {"y": 1}}
    )
    run_folder(tmp_path / "a", RUN, {"table": {"fine": {"share": 0.25, "total": 4}, "bad": float("nan"), "flag": True}})
    run_folder(tmp_path / "no-numbers", RUN, {})
    run_folder(tmp_path / "no-model", {"benchmark": "pope"}, SCORE)
    run_folder(tmp_path / "a-list", [], [])
    (tmp_path / "no-score").mkdir()
    (tmp_path / "no-score" / "run.json").write_text("{")
    found = own_runs(tmp_path)
    assert [(run.name, run.model, run.benchmark, run.numbers) for run in found] == [
        ("a", RUN["model"], "geneval", {"fine": 0.25}),
        ("b/good", "m", "n", {"x/y": 1.0}),
    ]
    with pytest.raises(InputError, match="no such folder"):
        own_runs(tmp_path / "nowhere")


def test_a_site_is_replaced_and_nothing_else_is(catalogue, site, tmp_path):
    few = dataclasses.replace(catalogue, models=catalogue.models[:2])
    out = tmp_path / "out"
    build(few, out)
    (out / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match=r"out holds mine\.txt, which is not of a site"):
        build(catalogue, out)
    assert (out / "mine.txt").read_text() == "mine"
    (out / "mine.txt").unlink()
    build(dataclasses.replace(few, models=catalogue.models[:1]), out)
    assert len(list((out / "en" / "models").iterdir())) == 1
    (out / "site.json").write_text("{}")
    with pytest.raises(InputError, match="is not of a site"):
        build(few, out)
    with pytest.raises(InputError, match="is a file"):
        build(few, out / "index.html")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]  # nothing half-written beside it


def test_a_site_that_cannot_be_put_in_place_leaves_the_old_one(catalogue, tmp_path, monkeypatch):
    few = dataclasses.replace(catalogue, models=catalogue.models[:1])
    build(few, tmp_path / "out")
    rename = Path.rename

    def failing(self, target):
        if self.name == "new":
            raise PermissionError("no")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(PermissionError):
        build(few, tmp_path / "out")
    assert (tmp_path / "out" / "index.html").is_file() and len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("attention", TABLES["attention"])
def test_masks_are_drawn_by_the_rule_of_attention(attention):
    tokens, image = len(SEQUENCE), slice(3, 7)
    assert SEQUENCE[image] == "IIII" and SEQUENCE.count("I") == 4
    span = torch.tensor([[0, 0, 0, 1, 1, 1, 1, 2, 2]])
    horizon = torch.arange(tokens)[None] + 1  # causal
    if attention == "bidirectional":
        horizon[:] = tokens
    elif attention != "causal":
        horizon[:, image] = 7  # an image looks as far as its own end
    view = Visibility(torch.zeros_like(span), span, horizon, torch.full_like(span, LATER))
    drawn = torch.tensor([[sees(attention, query, key) for key in range(tokens)] for query in range(tokens)])
    assert torch.equal(drawn, dense(view, view)[0, 0])


def test_a_drawing_names_the_parts_of_its_model(catalogue):
    for lang in map(Language, CODES):
        for model in catalogue.models:
            drawn = re.sub(r"\s|</text><text[^>]*>", "", architecture(model, lang))
            for part in (model.backbone, model.understanding_encoder, model.generation_decoder):
                assert re.sub(r"\s", "", join(part)) in drawn, model.name
            assert ("cellunseen" in drawn or "cellseen" in drawn or "cellimage" in drawn) == bool(model.attention)
            outside = "external-diffusion-decoder" in model.mechanism and model.generation_decoder
            assert ("boxoutside" in drawn) == bool(outside)


def test_texts_fit_their_boxes():
    assert wrapped("a " * 40, 204)[0].count("a") == 13 and len(wrapped("x" * 80, 204)) > 2
    assert len(wrapped("外部扩散解码器外部扩散解码器", 120)[0]) < 9


@pytest.mark.parametrize(
    ("source", "where"),
    [
        ("survey list", "https://github.com/AIDC-AI/Awesome-Unified-Multimodal-Models"),
        ("github:a/b#docs/c.md (re-measured)", "https://github.com/a/b/blob/HEAD/docs/c.md"),
        ("github:a/b", "https://github.com/a/b"),
        ("hf:a/b", "https://huggingface.co/datasets/a/b"),
        ("hf-space:a/b", "https://huggingface.co/spaces/a/b"),
        ("https://a.org/b (survey list)", "https://a.org/b"),
        ("javascript:alert(1)", None),
        ("built by the repository", None),
    ],
)
def test_addresses_of_sources(source, where):
    assert address(source) == where


def test_the_docs_show_the_drawings_as_they_are_drawn():
    assert {path.name: path.read_text("utf-8") for path in FOLDER.glob("*.svg")} == drawings()

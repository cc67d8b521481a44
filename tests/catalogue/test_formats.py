"""The catalogue as CSV, Markdown, BibTeX, comparisons and pictures."""

import csv
import dataclasses
import io
import re

import PIL.Image
import pytest

from diptych.catalogue import load
from diptych.catalogue.catalogue import KINDS
from diptych.catalogue.columns import COLUMNS, facts, line, lines
from diptych.catalogue.comparison import compare
from diptych.catalogue.formats import bibtex, table_csv, table_markdown
from diptych.catalogue.plots import draw
from diptych.catalogue.records import Score
from diptych.errors import InputError


@pytest.fixture(scope="module")
def catalogue():
    return load()


def test_values_as_lines():
    assert [line(value) for value in (None, True, 0.8, 84.0, ("a", "b"), (), "two\nlines")] == [
        "", "yes", "0.8", "84", "a; b", "", "two lines",
    ]  # fmt: skip
    score = Score(benchmark="GenEval", value=0.8, variant="7B", source="github:a/b#c (re-measured)")
    assert line((score, dataclasses.replace(score, variant=None, source="x"))) == (
        "GenEval 0.8 (7B, re-measured); GenEval 0.8"
    )


@pytest.mark.parametrize("table", KINDS)
def test_csv_reads_back(catalogue, table):
    records = catalogue.table(table)
    rows = list(csv.DictReader(io.StringIO(table_csv(records))))
    assert rows == [lines(record) for record in records]
    assert [row["id"] for row in rows] == [record.id for record in records]


def test_nothing_is_no_csv():
    assert table_csv([]) == ""


@pytest.mark.parametrize("table", KINDS)
def test_markdown_has_a_row_a_record(catalogue, table):
    records = catalogue.table(table)
    rows = table_markdown(table, records).splitlines()
    assert len(rows) == len(records) + 2
    assert {len(re.split(r"(?<!\\)\|", row)) for row in rows} == {len(COLUMNS[table]) + 2}


def test_markdown_escapes(catalogue):
    record = dataclasses.replace(catalogue.models[0], name="a|b", arxiv=None, backbone="<i>")
    assert table_markdown("models", [record]).splitlines()[2].startswith(r"| a\|b |")


def test_bibtex_of_a_paper(catalogue):
    assert bibtex([catalogue.model("janus-pro")]) == (
        "@misc{janus-pro,\n"
        "  title = {{Janus-Pro: Unified Multimodal Understanding and Generation with Data and Model Scaling}},\n"
        "  year = {2025},\n  month = jan,\n  eprint = {2501.17811},\n  archivePrefix = {arXiv},\n"
        "  url = {https://arxiv.org/abs/2501.17811},\n}\n"
    )


@pytest.mark.parametrize("table", KINDS)
def test_bibtex_names_every_paper_once(catalogue, table):
    records = [record for record in catalogue.table(table) if record.title]
    entries = re.findall(r"^@misc\{(.+),$", bibtex(records), re.M)
    assert len(entries) == len(set(entries)) == len({record.arxiv or record.title for record in records})
    assert bibtex(records).count("{") == bibtex(records).count("}")


def test_bibtex_escapes(catalogue):
    record = dataclasses.replace(catalogue.models[0], title="50% of {A & B}_$2$", venue="R&D")
    assert r"{{50\% of \{A \& B\}\_\$2\$}}" in bibtex([record]) and r"note = {R\&D}" in bibtex([record])


def test_facts_say_what_runs_here(catalogue):
    found = facts(catalogue.model("mmada"))
    assert found["table"] == "models" and found["runs_here"][0]["family"] == "mmada"
    assert "runs_here" not in facts(catalogue.datasets[0])


def test_comparison_has_a_row_a_fact(catalogue):
    rows = compare([catalogue.model("janus-pro"), catalogue.model("bagel")])
    by_fact = {row["fact"]: row for row in rows}
    assert by_fact["paradigm"] == {"fact": "paradigm", "Janus-Pro": "autoregressive", "BAGEL": "hybrid"}
    assert by_fact["GenEval"]["Janus-Pro"].startswith("0.73 (1B); 0.8 (7B)")
    assert by_fact["MME"]["Janus-Pro"] == "" and by_fact["runs here"]["BAGEL"] == "bagel"
    assert all(row["Janus-Pro"] or row["BAGEL"] for row in rows)


@pytest.mark.parametrize("what", ["timeline", "taxonomy", "scores"])
def test_plots_are_pictures(catalogue, tmp_path, what):
    chosen = [catalogue.model(name) for name in ("show-o", "janus", "janus-pro", "harmon", "bagel", "m2-omni")]
    file = draw(chosen, what, tmp_path / "new" / "plot.png")
    with PIL.Image.open(file) as picture:
        assert picture.width > 300 and len(set(picture.convert("RGB").resize((64, 64)).getdata())) > 8


def test_plots_of_vectors_hold_the_names(catalogue, tmp_path):
    file = draw([catalogue.model("bagel")], "scores", tmp_path / "plot.svg", ["geneval"])
    assert "<!-- BAGEL -->" in file.read_text("utf-8") and "<!-- GenEval: 1 model -->" in file.read_text("utf-8")


@pytest.mark.parametrize(
    ("what", "out", "benchmarks", "said"),
    [
        ("trend", "a.png", (), "no plot is called 'trend'; choose one of timeline, taxonomy, scores"),
        ("scores", "a.bmp", (), "--out a.bmp: a plot is written as .png, .svg or .pdf"),
        ("scores", "a.png", ("IQ",), "no scores of 'IQ'; there are some of DPG-Bench"),
        ("timeline", "a.png", ("GenEval",), "--benchmark chooses among scores"),
    ],
)
def test_plots_that_cannot_be(catalogue, tmp_path, what, out, benchmarks, said):
    with pytest.raises(InputError) as raised:
        draw(catalogue.models, what, tmp_path / out, benchmarks)
    assert said in str(raised.value)
    assert list(tmp_path.iterdir()) == []

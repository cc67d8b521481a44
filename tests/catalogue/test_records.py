"""The catalogue's records: all of ours are right, and what would be wrong is found with file and line."""

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from diptych.catalogue import load
from diptych.catalogue.catalogue import DATA, KINDS
from diptych.catalogue.reading import made, rules, wrong
from diptych.catalogue.records import Model, Score
from diptych.errors import CatalogueError, InputError

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def catalogue():
    return load()


@pytest.fixture
def line():
    """A record that nothing is wrong with, as it stands in its file."""
    return json.loads((DATA / "models.jsonl").read_text("utf-8").splitlines()[-1])


def test_every_line_is_a_record(catalogue):
    for name in KINDS:
        assert len(catalogue.table(name)) == len((DATA / f"{name}.jsonl").read_text("utf-8").splitlines()) > 0


def test_nothing_is_lost_on_the_way(catalogue):
    for name, kind in KINDS.items():
        lines = (DATA / f"{name}.jsonl").read_text("utf-8").splitlines()
        for record, text in zip(catalogue.table(name), lines, strict=True):
            assert made(json.loads(text), kind) == record
            assert set(json.loads(text)) == set(rules(kind))


def test_schema_names_every_field():
    said = (DATA / "SCHEMA.md").read_text("utf-8")
    for kind in (*KINDS.values(), Score):
        assert [name for name in rules(kind) if f"`{name}`" not in said and name not in said] == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"paradigm": "difusion"}, "paradigm: 'difusion' is none of diffusion, autoregressive"),
        ({"mechanism": ["next-token", "magic"]}, "mechanism: 'magic' is none of"),
        ({"tasks": "edit"}, 'tasks: must be a list, not "edit"'),
        ({"tasks": ["edit", "edit"]}, "tasks: names something twice"),
        ({"arxiv": "25051234"}, "arxiv: '25051234' does not look like"),
        ({"weights": ["https://huggingface.co/a/b"]}, "weights: 'https://huggingface.co/a/b' does not look like"),
        ({"date": "2025-13"}, "date: '2025-13' does not look like"),
        ({"date": "2025-05", "date_precision": "day"}, "date: '2025-05' is not of the precision 'day'"),
        ({"in_survey": 1}, "in_survey: must be true or false, not 1"),
        ({"name": None}, "name: must be a text, not null"),
        ({"name": ""}, "name: must be a text without blanks around it, not ''"),
        ({"sources": []}, "sources: must name where the facts are from"),
        ({"colour": "red"}, "has colour, which no Model has"),
        ({"scores": [{"benchmark": "GenEval"}]}, "scores: without value, variant, source"),
        (
            {"scores": [{"benchmark": "GenEval", "value": "0.8", "variant": None, "source": "x"}]},
            'scores: value: must be a number, not "0.8"',
        ),
    ],
)
def test_what_is_wrong_with_a_record_is_said(line, change, said):
    assert list(wrong(line, Model)) == []
    (found,) = wrong(line | change, Model)
    assert found.startswith(said)


def test_a_field_that_is_not_there(line):
    del line["venue"]
    assert list(wrong(line, Model)) == ["without venue; unknown is null or []"]


def test_faults_are_found_in_one_go_with_file_and_line(tmp_path):
    lines = spoiled(tmp_path, "datasets")
    lines[2] = lines[2].replace('"in_survey": true', '"in_survey": "yes"')
    lines[4] = lines[4][:-3]
    lines[5] = lines[5].replace('"name"', '"id": "x", "name"', 1)
    lines[6] = "[]"
    lines[7] = lines[7].replace('"size_value": ', '"size_value": NaN, "x": ')
    (tmp_path / "datasets.jsonl").write_text("\n".join(lines), "utf-8")
    with pytest.raises(CatalogueError, match=r"^datasets.jsonl:3: in_survey: .* \(and 4 more\); SCHEMA.md") as raised:
        load(tmp_path)
    assert [fault.line for fault in raised.value.faults] == [3, 5, 6, 7, 8]
    assert [str(fault).split(": ", 2)[1] for fault in raised.value.faults][1:] == [
        "not valid JSON",
        "not valid JSON",
        "must be a JSON object",
        "not valid JSON",
    ]


def test_lines_among_each_other(tmp_path):
    lines = spoiled(tmp_path, "benchmarks")
    lines[3], lines[4] = lines[4], lines[3]
    lines.append(lines[-1])
    table = json.loads(lines[0])
    lines[0] = json.dumps({"name": table.pop("name"), **table})
    (tmp_path / "benchmarks.jsonl").write_text("\n".join(lines), "utf-8")
    with pytest.raises(CatalogueError) as raised:
        load(tmp_path)
    said = [str(fault) for fault in raised.value.faults]
    assert any("benchmarks.jsonl:5: stands behind a later one" in one for one in said)
    assert any(f"benchmarks.jsonl:{len(lines)}: id: " in one and "already" in one for one in said)
    assert any("benchmarks.jsonl:2: its keys stand in another order" in one for one in said)


def test_a_missing_file_names_the_remedy(tmp_path):
    with pytest.raises(CatalogueError, match="models.jsonl cannot be read; install the package anew"):
        load(tmp_path)


def test_names(catalogue):
    for name in ("Janus-Pro", "janus pro", "JANUSPRO", "janus-pro"):
        assert [found.record.id for found in catalogue.find(name)] == ["janus-pro"]
    assert [found.record.id for found in catalogue.find("illume+")] == ["illume-plus"]
    assert [found.record.id for found in catalogue.find("ILLUME")] == ["illume"]
    assert [found.table for found in catalogue.find("AnyEdit")] == ["benchmarks", "datasets"]
    assert [found.table for found in catalogue.find("datasets/anyedit")] == ["datasets"]
    assert catalogue.model("bagel").name == "BAGEL"


@pytest.mark.parametrize(
    ("name", "hint"), [("bagle", "did you mean BAGEL"), ("datasets/any", "AnyEdit"), ("qqqq", "--search"), ("", "")]
)
def test_unknown_names_come_with_suggestions(catalogue, name, hint):
    with pytest.raises(InputError, match="nothing in the catalogue is called") as raised:
        catalogue.find(name)
    assert hint in str(raised.value)


def test_a_benchmark_is_no_model(catalogue):
    with pytest.raises(InputError, match="nothing in the catalogue is called 'GenEval'"):
        catalogue.model("GenEval")


def test_loading_is_quick_and_needs_no_torch():
    seconds = []
    for _ in range(3):
        start = time.process_time()
        load()
        seconds.append(time.process_time() - start)
    assert min(seconds) < 0.05
    code = "import sys, diptych.catalogue as c; c.load(); print([m for m in ('torch', 'numpy') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def spoiled(folder: Path, name: str) -> list[str]:
    """A copy of the catalogue's files, and the lines of one that is to be spoiled."""
    for kind in KINDS:
        shutil.copy(DATA / f"{kind}.jsonl", folder)
    return (DATA / f"{name}.jsonl").read_text("utf-8").splitlines()

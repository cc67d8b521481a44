"""`diptych survey`: what it lists, shows, compares and draws, in which forms, and how it fails; the docs' examples."""

import csv
import io
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from diptych.catalogue import load, terms
from diptych.catalogue.running import runs

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "survey.md").read_text("utf-8")
EXAMPLES = [line for block in re.findall(r"^```sh\n(.*?)^```", PAGE, re.M | re.S) for line in block.splitlines()]


@pytest.mark.parametrize("line", EXAMPLES)
def test_examples_of_the_docs(run, tmp_path, line):
    result = run(*shlex.split(line)[1:])
    assert result.code == 0 and result.out.strip() and not result.err
    if "--out" in line:
        assert (tmp_path / result.out.strip()).stat().st_size > 1000


def test_examples_name_every_command():
    commands = ("models", "benchmarks", "datasets", "applications", "show", "compare", "plot", "site")
    assert {line.split()[2] for line in EXAMPLES} == set(commands)


def test_the_docs_explain_every_word_and_name_files_that_exist():
    tables = (terms.PARADIGMS, terms.ENCODINGS, terms.MECHANISMS, terms.ATTENTION)
    for table in (*tables, terms.SECTIONS, terms.BENCHMARK_TASKS):
        assert [word for word in table if f"| `{word}` |" not in PAGE] == []
    files = set(re.findall(r"`(diptych/[\w/.]+)`", PAGE))
    drawn = re.findall(r"\]\((drawings/[\w.]+)\)", PAGE)
    assert len(drawn) == 7 and [name for name in drawn if not (ROOT / "docs" / name).is_file()] == []
    assert len(files) > 10 and [name for name in files if not (ROOT / name).exists()] == []


def test_the_docs_python_runs(capsys):
    (program,) = re.findall(r"^```python\n(.*?)^```", PAGE, re.M | re.S)
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "Show-o2" in done.stdout and "showlab/show-o2-7B" in done.stdout


def test_a_list_is_a_line_a_model_and_their_number(run):
    result = run("survey", "models", "--runs-here")
    here = [model for model in load().models if runs(model)]
    assert all(re.search(rf"^{re.escape(model.name)} .*{model.date}", result.out, re.M) for model in here)
    assert result.out.splitlines()[-1] == f"{len(here)} models, of which {len(here)} run here"


def test_a_narrow_terminal_gets_fewer_columns(run, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    out = run("survey", "models", "--runs-here").out
    assert "images by" not in out and "runs here" in out and max(map(len, out.splitlines())) <= 80


def test_json_is_one_object(run):
    found = json.loads(run("survey", "models", "--runs-here", "--encoding", "pixel", "--json").out)
    assert (found["table"], found["count"]) == ("models", len(found["records"]))
    harmon = next(record for record in found["records"] if record["id"] == "harmon")
    assert harmon["runs_here"][0]["checkpoints"] == ["wusize/Harmon-0_5B", "wusize/Harmon-1_5B"]


def test_filters_and_forms(run):
    rows = list(csv.DictReader(io.StringIO(run("survey", "datasets", "--section", "editing", "--csv").out)))
    assert rows and {row["section"] for row in rows} == {"editing"}
    assert run("survey", "benchmarks", "--task", "unified", "--markdown").out.count("\n") == 3
    assert run("survey", "models", "-s", "janus-pro", "--bibtex").out.startswith("@misc{janus-pro,")
    both = run("survey", "models", "--encoding", "pixel", "--encoding", "hybrid-joint", "--json").out
    assert {record["encoding"] for record in json.loads(both)["records"]} == {"pixel", "hybrid-joint"}


def test_nothing_found_is_no_failure(run):
    result = run("survey", "models", "--since", "2099")
    assert (result.code, result.out.strip()) == (0, "0 models")
    assert run("survey", "models", "--since", "2099", "--csv").out == ""


def test_show_says_how_to_run_a_model_here(run):
    out = run("survey", "show", "janus pro").out
    assert "Janus-Pro-7B" in out and "relative error" in out and "deepseek-community/Janus-Pro-1B" in out
    assert 'diptych generate "a red apple" --model deepseek-ai/Janus-Pro-1B' in out
    assert "diptych edit" not in out
    assert "no: what a family needs" in run("survey", "show", "chameleon").out


def test_show_of_a_name_in_two_tables(run):
    assert [word for word in ("[benchmark]", "[dataset]") if word in run("survey", "show", "AnyEdit").out] == [
        "[benchmark]",
        "[dataset]",
    ]
    assert "[benchmark]" not in run("survey", "show", "datasets/anyedit").out


def test_compare(run):
    rows = list(csv.DictReader(io.StringIO(run("survey", "compare", "bagel", "Show-o2", "--csv").out)))
    assert next(row for row in rows if row["fact"] == "attention") == {
        "fact": "attention",
        "BAGEL": "mot",
        "Show-o2": "mixed",
    }
    found = json.loads(run("survey", "compare", "bagel", "Show-o2", "--json").out)
    assert [model["id"] for model in found["models"]] == ["bagel", "show-o2"]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("show bagle", "nothing in the catalogue is called 'bagle'; did you mean BAGEL"),
        ("compare bagel qqqq", "nothing in the catalogue is called 'qqqq'; look for it with: diptych survey models"),
        ("compare bagel BAGEL", "compare takes two models or more"),
        ("models --paradigm hybird", "--paradigm 'hybird': did you mean 'hybrid'?"),
        ("models --since May", "--since 'May': give a year, month or day"),
        ("models --json --csv", "give one of --json and --csv, not several"),
        ("plot trend --out a.png", "no plot is called 'trend'"),
        ("plot scores --out a.txt", "a plot is written as .png, .svg or .pdf"),
    ],
)
def test_wrong_use_is_one_line_and_exit_code_2(run, line, said):
    result = run("survey", *line.split())
    assert (result.code, result.out, result.err.count("\n")) == (2, "", 1)
    assert said in result.err


def test_a_list_needs_no_torch():
    code = (
        "import sys; from diptych.cli import main\n"
        "try: main(['survey', 'models', '--runs-here', '--csv'])\n"
        "except SystemExit as end: print(end.code)\n"
        "print([name for name in ('torch', 'numpy', 'matplotlib', 'PIL') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-2:] == ["0", "[]"]

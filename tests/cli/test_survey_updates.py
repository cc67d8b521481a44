"""`diptych survey add | refresh | import-awesome | export-awesome | check`, and the examples of docs/catalogue.md, on
recorded answers."""

import json
import re
import shlex
from pathlib import Path

import pytest
import yaml

from diptych.catalogue.catalogue import DATA, KINDS
from diptych.catalogue.updating.fetching import Answer
from tests.catalogue import recorded
from tests.catalogue.recorded import Recorded, fixture
from tests.catalogue.test_updating_drafts import PAGES

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "catalogue.md").read_text("utf-8")
EXAMPLES = [line for block in re.findall(r"^```sh\n(.*?)^```", PAGE, re.M | re.S) for line in block.splitlines()]
WORKFLOW = ROOT / ".github" / "workflows" / "catalogue.yml"


@pytest.fixture
def network(monkeypatch):
    """Sources that know the paper of the fixtures and have nothing to say of what the catalogue names."""
    pages = Recorded(PAGES, Answer(404, ""))

    def answers(url: str, method: str = "GET") -> Answer:
        if "export.arxiv.org" in url and url not in PAGES:
            return Answer(200, url, fixture("arxiv_empty.xml"))
        if "?filter=" in url and url not in PAGES:
            return Answer(200, url, b"[]")
        return pages(url, method)

    monkeypatch.setattr("diptych.cli.survey_updates._network", lambda: answers)


@pytest.fixture
def cut_off(monkeypatch):
    monkeypatch.setattr("diptych.cli.survey_updates._network", lambda: recorded.offline)


def test_examples_of_the_docs(run, network, tmp_path):
    assert {line.split()[2] for line in EXAMPLES} == {"check", "add", "refresh", "import-awesome", "export-awesome"}
    for line in EXAMPLES:  # in their order: what one writes another reads
        result = run(*shlex.split(line)[1:])
        assert result.code == 0 and result.out.strip(), line
    assert {one.name for one in tmp_path.iterdir()} == {"drafts-models.jsonl", "catalogue.patch", "awesome.md"}


def test_add_prints_the_record_and_says_what_is_missing(run, network):
    result = run("survey", "add", "2601.00001")
    record = json.loads(result.out)
    assert result.out.count("\n") == 1 and record["title"].startswith("Newest: ") and record["paradigm"] is None
    assert all(line.startswith("diptych: ") for line in result.err.splitlines())
    assert "(paradigm, encoding must be filled in)" in result.err.splitlines()[-1]


def test_add_writes_a_file_of_drafts_once(run, network, tmp_path):
    assert run("survey", "add", "2601.00001", "--write", "drafts-models.jsonl").out.strip() == "drafts-models.jsonl"
    (line,) = (tmp_path / "drafts-models.jsonl").read_text("utf-8").splitlines()
    assert json.loads(line)["arxiv"] == "2601.00001"
    again = run("survey", "add", "2601.00001", "--write", "drafts-models.jsonl")
    assert (again.code, again.out) == (2, "") and "has a record 'newest' already" in again.err
    checked = run("survey", "check", "drafts-models.jsonl")
    assert checked.code == 2 and "drafts-models.jsonl:1: paradigm: must be a text, not null" in checked.err


def test_refresh_reports_and_leaves_the_data(run, network, tmp_path):
    before = {name: (DATA / f"{name}.jsonl").read_bytes() for name in KINDS}
    result = run("survey", "refresh", "--only", "applications", "--patch", "a.patch")
    lines = result.out.splitlines()
    assert "applications/unigame: gone: GitHub has no AIFrontierLab/UniGame, or it is private" in lines
    assert re.fullmatch(r"4 records, \d+ answers, \d+ findings, 0 not checked, \d+ records to change", lines[-1])
    assert "--- a/diptych/catalogue/data/applications.jsonl" in (tmp_path / "a.patch").read_text("utf-8")
    assert {name: (DATA / f"{name}.jsonl").read_bytes() for name in KINDS} == before


def test_refresh_as_json_and_since(run, network):
    found = json.loads(run("survey", "refresh", "--only", "applications", "--since", "2025-11", "--json").out)
    assert found["records"] == 1 and {one["id"] for one in found["findings"]} == {"unigame"}
    assert {one["kind"] for one in found["findings"]} == {"gone"}
    assert run("survey", "refresh", "--since", "2099").out.startswith("0 records, 0 answers, 0 findings")


def test_import_shows_the_difference(run, tmp_path):
    (tmp_path / "list.md").write_bytes(fixture("list_tables.md"))
    result = run("survey", "import-awesome", "list.md")
    assert "only there: line 13: Brand New arXiv 2601.00002" in result.out
    assert "differs: line 21: models/bagel: arxiv is 2505.99999 there, 2505.14683 here" in result.out
    found = json.loads(run("survey", "import-awesome", "list.md", "--json").out)
    assert [one["name"] for one in found["only_there"] if one["name"]] == ["Brand New"]
    assert {one["field"] for one in found["disagreements"]} == {"arxiv", "date", "code", "venue"}
    assert {"table": "models", "id": "janus", "name": "Janus"} in found["only_here"]


def test_what_is_exported_is_imported_without_a_difference(run, tmp_path):
    text = run("survey", "export-awesome").out
    assert run("survey", "export-awesome", "--out", "list.md").out == "list.md\n"
    assert (tmp_path / "list.md").read_text("utf-8") == text
    result = run("survey", "import-awesome", "list.md")
    assert re.fullmatch(r"\d+ the same, 0 only there, 0 only here, 0 fields that differ\n", result.out)


def test_check_names_every_fault_by_file_and_line(run, tmp_path):
    assert run("survey", "check").out.splitlines() == [
        f"{name}.jsonl: {len((DATA / f'{name}.jsonl').read_text('utf-8').splitlines())} records" for name in KINDS
    ]
    lines = (DATA / "models.jsonl").read_text("utf-8").splitlines()
    lines[4] = lines[4].replace('"paradigm": "', '"paradigm": "semi-')
    lines[9] = lines[9][:-1]
    (tmp_path / "models.jsonl").write_text("\n".join(lines), "utf-8")
    result = run("survey", "check", "models.jsonl")
    assert (result.code, result.out, result.err.count("\n")) == (2, "", 2)
    assert "models.jsonl:5: paradigm: 'semi-" in result.err and "models.jsonl:10: not valid JSON" in result.err


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("add nothing", "'nothing' is none of these: an arXiv id such as 2501.17811"),
        ("add 2601.00001 --table papers", "no table is called 'papers'; choose from models, benchmarks"),
        ("add 2501.17811", "in the catalogue already: diptych survey show models/janus-pro"),
        ("refresh --only papers", "no table is called 'papers'"),
        ("refresh --since May", "--since 'May': give a year, month or day"),
        ("import-awesome missing.md", "missing.md cannot be read as text"),
        ("import-awesome empty.md", "empty.md lists no papers"),
        ("check empty.md", "the name of a file of records ends in one of models"),
        ("check missing-models.jsonl", "missing-models.jsonl is no file"),
    ],
)
def test_wrong_use_is_one_line_and_exit_code_2(run, network, tmp_path, line, said):
    (tmp_path / "empty.md").write_text("# Nothing\n", "utf-8")
    result = run("survey", *line.split())
    assert (result.code, result.out, result.err.count("\n")) == (2, "", 1)
    assert said in result.err


@pytest.mark.parametrize("line", ["add 2601.00001 --write d-models.jsonl", "refresh --patch a.patch"])
def test_without_a_network_there_is_one_line_and_no_file(run, cut_off, tmp_path, line):
    result = run("survey", *line.split())
    assert (result.code, result.out, result.err.count("\n")) == (2, "", 1)
    assert "is the network there?" in result.err and list(tmp_path.iterdir()) == []


def test_the_workflow_runs_commands_that_there_are_and_pins_what_it_uses():
    text = WORKFLOW.read_text("utf-8")
    workflow = yaml.safe_load(text)
    assert workflow["permissions"] == {"contents": "read"} and "secrets." not in text
    assert workflow[True]["schedule"][0]["cron"].split()[2:] == ["*", "*", "1"]  # YAML reads `on` as true
    (job,) = workflow["jobs"].values()
    used = [step["uses"] for step in job["steps"] if "uses" in step]
    assert len(used) == 3 and all(re.fullmatch(r"actions/[\w-]+@[0-9a-f]{40}", one) for one in used)
    commands = re.findall(r"diptych survey ([\w-]+)", text)
    from diptych.cli.survey_updates import COMMANDS

    assert set(commands) == {"check", "refresh", "import-awesome"} <= set(COMMANDS)

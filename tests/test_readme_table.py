"""The READMEs' table of models says what the families say, and its figures are the measured ones."""

import types

import pytest

from diptych.catalogue import load
from diptych.catalogue.running import runs
from diptych.models.janus import Janus
from tests.parity import report, survey, table
from tests.parity.sets import GoldenSet


@pytest.mark.parametrize("name", table.READMES)
def test_readmes_hold_the_table(name: str) -> None:
    text = (table.ROOT / name).read_text(encoding="utf-8")
    assert table.written(text, table.READMES[name]) == text, "write it anew: python -m tests.parity.table"


@pytest.mark.parametrize("name", survey.PAGES)
def test_the_pages_of_all_models_are_the_catalogue_joined_with_the_code(name: str) -> None:
    text = (table.ROOT / name).read_text(encoding="utf-8")
    assert survey.page(survey.PAGES[name]) == text, "write it anew: python -m tests.parity.table"


def test_pages_and_counts_name_every_model_that_runs_here() -> None:
    models = load().models
    here = [model for model in models if runs(model)]
    for lang in ("en", "zh"):
        lines = survey.page(lang).splitlines()
        counted = survey.counts(lang).splitlines()
        for model in models:
            (line,) = [line for line in lines if line.startswith((f"| [{model.name}](", f"| {model.name} |"))]
            assert line.endswith("| - | - |") == (model not in here)
        assert all(any(model.name in line for line in counted) for model in here)
        assert f"| {len(models)} | {len(here)} |" in counted[-3]


def test_a_new_family_is_found_by_its_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("newest", "Newest (arXiv 2601.00001): everything at once.\n\nMore of it.")
    classes = {"__module__": "newest", "checkpoints": ("lab/Newest-1B", "lab/Newest-7B", "other/Newest")}
    newest = type("Newest", (Janus,), classes)
    monkeypatch.setitem(table.sys.modules, "newest", module)
    monkeypatch.setattr(table, "FAMILIES", {"newest": "newest:Newest"})
    monkeypatch.setattr(table, "family", lambda name: newest)
    errors = {"one": 0.0, "two": 2.34e-6}
    figures = {"sets": {"n": {"family": "newest", "cases": 3, "errors": errors}}}
    first, _, line, *_ = table.table("en", figures).split("\n")
    assert first.count("|") == line.count("|")
    for part in ("Newest ([2601.00001]", "everything at once |", "chat, generate", "lab/Newest-1B, Newest-7B; other/"):
        assert part in line
    assert line.endswith("| 2/3 cases, worst 2e-6 |")
    assert "everything at once" in table.table("zh", figures)
    assert "Newest" not in table.table("en", {"sets": {}}), "nothing was measured"


def test_every_layout_belongs_to_its_family() -> None:
    (janus,) = table.rows({"sets": {"janus": {"family": "janus", "cases": 1, "errors": {"one": 0.0}}}})
    assert janus.name == "janus" and list(janus.layouts) == ["transformers"]


SUITE = """
import pytest, torch
from tests.parity.sets import close, sets_of
golden = sets_of("janus")[0]

@pytest.mark.parametrize(("golden", "name"), [(golden, name) for name in sorted(golden.cases)[:2]])
def test_case(golden, name):
    close(torch.tensor([1.0, 2.0001]), torch.tensor([1.0, 2.0]))
    close(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 2.0]))

@pytest.mark.parametrize("golden", [golden])
def test_other(golden):
    close(torch.tensor([1.0]), torch.tensor([1.00001]))
    assert {PASSES}
"""


@pytest.mark.parametrize("passes", [True, False])
def test_the_report_notes_the_largest_error_of_each_case(passes: bool, tmp_path, capsys) -> None:
    file = tmp_path / f"test_that_{'passes' if passes else 'fails'}.py"
    file.write_text(SUITE.replace("{PASSES}", str(passes)))
    recorder = report.Recorder()
    code = pytest.main([str(file), "-q", "-p", "no:cacheprovider", "--rootdir", str(tmp_path)], plugins=[recorder])
    assert (code == 0, recorder.failed == []) == (passes, passes)
    ((golden, errors),) = recorder.errors.items()
    assert isinstance(golden, GoldenSet) and list(errors) == sorted(golden.cases)[:2]
    assert all(error == pytest.approx(5e-5, rel=1e-2) for error in errors.values())
    assert report.facts(recorder.errors)["sets"][golden.name]["family"] == "janus"

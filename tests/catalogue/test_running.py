"""What runs here, as the catalogue reads it from source, is what the families say of themselves."""

import subprocess
import sys
from pathlib import Path
from typing import get_type_hints

import pytest

from diptych.catalogue import load
from diptych.catalogue.running import families, parity, runs
from diptych.models.registry import FAMILIES, family

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", FAMILIES)
def test_families_are_read_as_they_are(name):
    (read,) = [one for one in families() if one.family == name]
    assert read.checkpoints == family(name).checkpoints
    assert set(read.can) == get_type_hints(family(name).dialogue)["return"].can


def test_every_family_whose_paper_is_listed_is_joined():
    catalogue = load()
    papers = {model.arxiv for model in catalogue.models}
    joined = {running.family for model in catalogue.models for running in runs(model)}
    assert len(joined) >= 11
    assert [one.family for one in families() if papers & set(one.papers) and one.family not in joined] == []


def test_every_checkpoint_of_such_a_family_has_its_record():
    joined = [running for model in load().models for running in runs(model)]
    names = {name for running in joined for name in running.checkpoints}
    loads = {name for one in families() if one.family in {own.family for own in joined} for name in one.checkpoints}
    assert loads - names == set(), "add them to `weights` in diptych/catalogue/data/models.jsonl"


def test_models_have_their_own_checkpoints():
    catalogue = load()
    assert [(one.family, one.checkpoints) for one in runs(catalogue.model("janus"))] == [
        ("janus", ("deepseek-ai/Janus-1.3B",))
    ]
    pro = {one.layout: one.checkpoints for one in runs(catalogue.model("janus-pro"))}
    assert pro[None] == ("deepseek-ai/Janus-Pro-1B", "deepseek-ai/Janus-Pro-7B")
    assert pro["transformers"] == ("deepseek-community/Janus-Pro-1B", "deepseek-community/Janus-Pro-7B")
    assert runs(catalogue.model("janus-4o")) == ()


def test_parity_is_that_of_the_docs():
    for one in families():
        errors = [error for of in parity().values() if of["family"] == one.family for error in of["errors"].values()]
        assert (one.cases, one.worst) == (len(errors), max(errors) if errors else None)
    assert sum(one.cases for one in families()) > 50


def test_joining_needs_no_torch():
    code = (
        "import sys; from diptych.catalogue import load; from diptych.catalogue.running import runs\n"
        "print(sum(bool(runs(model)) for model in load().models) > 5, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "False"]

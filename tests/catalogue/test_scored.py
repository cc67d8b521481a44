"""Which benchmarks are scored here, as the catalogue reads it from source, is what the scorers say of themselves."""

from diptych.catalogue import load
from diptych.catalogue.scored import SCORERS, homes, scorers, unverified
from diptych.evaluation.benchmarks import find, names

# Scored here and not in the survey's list, or only under another year's name.
BEYOND = {"pope", "mme", "vqav2", "textvqa", "mathvista", "rise", "caption", "ai2d", "scienceqa", "mmstar"}
BEYOND |= {"realworldqa", "docvqa", "infovqa", "chartqa", "ocrbench", "hallusionbench"}


def test_scorers_are_read_as_they_are():
    assert list(homes()) == names()
    assert unverified() == {name for name in names() if not find(name).verified}


def test_every_scorer_has_its_record_or_is_known_to_have_none():
    ids = {benchmark.id for benchmark in load().benchmarks}
    joined = {name for names_ in SCORERS.values() for name in names_}
    assert set(SCORERS) <= ids
    assert {name for name in names() if not name.startswith("emoji-")} == joined | BEYOND and not joined & BEYOND


def test_records_say_who_scores_them():
    by_id = {benchmark.id: benchmark for benchmark in load().benchmarks}
    assert [(one.name, one.verified) for one in scorers(by_id["wise"])] == [("wise", True), ("wise-verified", True)]
    assert [one.verified for one in scorers(by_id["drawbench"])] == [False]
    assert scorers(by_id["heim"]) == scorers(load().models[0]) == ()

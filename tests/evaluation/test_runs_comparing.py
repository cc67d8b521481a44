"""Runs side by side: intervals that hold what they promise, refusals, and the gap between reading and drawing."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from diptych.errors import BenchmarkError
from diptych.evaluation.benchmark import Row, copied
from diptych.evaluation.benchmarks import find, pope
from diptych.evaluation.runs import comparing
from diptych.evaluation.runs.comparing import clusters, coin, compare, mcnemar
from diptych.evaluation.runs.figures import figures, headline, mark
from diptych.evaluation.runs.folder import Run
from diptych.evaluation.runs.given import take_in
from diptych.evaluation.runs.scoring import score
from tests.evaluation import published


def scored(folder: Path, data: Path, said: dict[str, str]) -> Run:
    benchmark = find("pope")
    rows = benchmark.rows(data)
    run = take_in(folder, benchmark, rows, data, said, folder.name)
    score(run, benchmark)
    return run


def truths(data: Path, wrong: int) -> dict[str, str]:
    """Right answers, but for the first `wrong` rows of each split."""
    return {
        row.id: row.facts["label"].title()
        if int(row.id.rpartition("-")[2]) >= wrong
        else "No"
        if row.facts["label"] == "yes"
        else "Yes"
        for row in find("pope").rows(data)
    }


def test_a_better_run_is_seen_to_be_better(tmp_path):
    data = published.pope(tmp_path / "data", pictures=20)
    first, second = scored(tmp_path / "a", data, truths(data, 20)), scored(tmp_path / "b", data, truths(data, 4))
    found = compare(first, second, find("pope"), resamples=400)
    accuracy = next(one for one in found.differences if one.figure == "accuracy")
    assert (accuracy.first, accuracy.second) == (0.5, 0.9) and found.rows == 120 and found.figure == "f1"
    assert 0.1 < accuracy.low < accuracy.difference < accuracy.high < 0.7 and accuracy.p < 0.02
    assert found.mcnemar == comparing.McNemar(0, 48, coin(0, 48)) and found.mcnemar.p < 1e-12
    assert compare(first, second, find("pope"), resamples=400) == found
    assert found.differences[0].figure == "f1"


def test_a_run_does_not_differ_from_itself(tmp_path):
    data = published.pope(tmp_path / "data", pictures=5)
    run = scored(tmp_path / "a", data, truths(data, 3))
    for one in compare(run, run, find("pope"), resamples=100).differences:
        assert (one.difference, one.low, one.high, one.p) == (0, 0, 0, 1)


def test_the_interval_of_a_mean_is_that_of_theory():
    """Of independent rows, the bootstrap's spread is the standard error of the mean difference."""
    rng = np.random.default_rng(1)
    a, b = rng.random(400) < 0.5, rng.random(400) < 0.6
    rows = [Row(str(i), "?", (), {}) for i in range(400)]
    benchmark = replace(find("textvqa"), judge=lambda row, said: said)
    drawn = comparing._bootstrap(benchmark, rows, [a.astype(float), b.astype(float)], ["accuracy"], 2000, 0, None)
    expected = (b.astype(float) - a).std() / 20
    assert drawn.std() == pytest.approx(expected, rel=0.06)
    assert drawn.mean() == pytest.approx(b.mean() - a.mean(), abs=4 * expected / 2000**0.5)


def test_rows_about_one_picture_are_drawn_together():
    picture, other = (Path("1.png"),), (Path("2.png"),)
    rows = [Row("a", "?", picture), Row("b", "?", other), Row("c", "?", picture), Row("d", "?"), Row("e", "?")]
    assert clusters(rows) == [[0, 2], [1], [3], [4]]


@pytest.mark.parametrize(("one", "other", "p"), [(0, 0, 1.0), (5, 5, 1.0), (0, 5, 0.0625), (1, 9, 22 / 1024)])
def test_mcnemar_is_exact(one, other, p):
    assert coin(one, other) == pytest.approx(p)
    marks = [(1.0, 0.0)] * one + [(0.0, 1.0)] * other + [(1.0, 1.0)] * 3
    if marks:
        found = mcnemar(*zip(*marks, strict=True))
        assert found is not None and (found.first_only, found.second_only) == (one, other)
    assert mcnemar([0.5], [1.0]) is None


def test_what_cannot_be_compared_is_refused(tmp_path):
    data = published.pope(tmp_path / "data")
    first = scored(tmp_path / "a", data, truths(data, 1))
    other = scored(tmp_path / "b", data, truths(data, 2))
    with pytest.raises(BenchmarkError, match="version 2"):
        compare(first, other, replace(find("pope"), version=2))
    other.write_score(other.score() | {"scorer": 0})
    with pytest.raises(BenchmarkError, match="their scorer version is 1 and 0"):
        compare(first, other, find("pope"))
    other.write_score(other.score() | {"scorer": 1})
    other.settings["benchmark"] = "mme"
    with pytest.raises(BenchmarkError, match="their benchmark is 'pope' and 'mme'"):
        compare(first, other, find("pope"))
    edition = published.pope(tmp_path / "other", pictures=4)
    (edition / "coco_pope_random.json").write_text(
        published.lines([{"question_id": i, "image": "0.png", "text": "Other?", "label": "no"} for i in range(6)])
    )
    with pytest.raises(BenchmarkError, match="random-0 is another one"):
        compare(first, scored(tmp_path / "c", edition, truths(edition, 1)), find("pope"))


def test_a_copy_counts_as_a_row_of_its_own():
    """MMBench asks a question in rotations that must all be right: copies are two questions, not one."""
    facts = {"l2-category": "x", "category": "y", "choices": {}, "answer": "A"}
    rows = [Row(index, "?", (), {"index": index, **facts}) for index in ("7", "1000007")]
    twice = [copied(row, number) for number in range(2) for row in rows]
    right, wrong = ("A", "A"), ("B", "A")
    mmbench = find("mmbench")
    assert mmbench.tally(twice, [right, right, right, right])["Overall"] == 1
    assert mmbench.tally([*twice, *(copied(row, 2) for row in rows)], [right] * 5 + [wrong])["Overall"] == 2 / 3


def test_figures_leave_out_counts_and_what_stands_by_row():
    table = {"n": 3, "by": {"x": 0.5, "n": 1}, "rows": {"a": 1.0, "b": 0.0}, "list": [0.1], "mean": 0.5, "ok": True}
    assert figures(table, [Row("a", ""), Row("b", "")]) == {"by/x": 0.5, "mean": 0.5}
    assert headline(find("pope"), {"accuracy": 1.0, "f1": 0.5}) == "f1"
    assert headline(find("pope"), {"accuracy": 1.0}) == "accuracy"
    with pytest.raises(BenchmarkError, match="no figures"):
        headline(find("pope"), {})


def test_marks_of_verdicts():
    row = Row("a", "?", (), {"label": "no", "answer": "x", "questions": [{"answer": "1"}, {"answer": "2"}]})
    assert mark(find("pope"), row, pope.read_answer("No.")) == 1 and mark(find("pope"), row, "yes") == 0
    assert mark(find("mme"), row, True) == 1 and mark(find("vqav2"), row, 0.3) == 0.3
    assert mark(find("tifa"), row, ["1", "3"]) == 0.5
    assert mark(find("caption"), row, "a dog") is None

"""Tables of scores, and answers in words."""

import json

import pytest

from diptych.data.worlds.emoji import render
from diptych.errors import InputError
from diptych.evaluation.emoji.answers import is_accepted, normalise
from diptych.evaluation.emoji.judge import Judge
from diptych.evaluation.emoji.scoring import score_answers, score_drawings, score_edits, tabulate
from diptych.evaluation.emoji.sets import read_edits, read_prompts, read_questions


@pytest.fixture(scope="module")
def judge() -> Judge:
    return Judge()


def test_tables_count_by_kind_and_split() -> None:
    table = tabulate([("a", "seen", True), ("a", "heldout", False), ("b", "seen", True), ("b", "seen", False)])
    assert table == {
        "a": {
            "seen": {"passed": 1, "total": 1, "share": 1.0},
            "heldout": {"passed": 0, "total": 1, "share": 0.0},
            "all": {"passed": 1, "total": 2, "share": 0.5},
        },
        "b": {"seen": {"passed": 1, "total": 2, "share": 0.5}, "all": {"passed": 1, "total": 2, "share": 0.5}},
        "all": {
            "seen": {"passed": 2, "total": 3, "share": 2 / 3},
            "heldout": {"passed": 0, "total": 1, "share": 0.0},
            "all": {"passed": 2, "total": 4, "share": 0.5},
        },
    }


def test_the_sets_hold_what_they_should() -> None:
    for items, total, heldout in ((read_prompts(), 600, 200), (read_questions(), 600, 200), (read_edits(), 300, 100)):
        assert len(items) == total
        assert sum(item.split == "heldout" for item in items) == heldout
        assert len({item.id for item in items}) == total


def test_a_missing_set_is_named(tmp_path) -> None:
    with pytest.raises(InputError, match="vqa_eval.jsonl"):
        read_questions(tmp_path)


@pytest.mark.parametrize(
    ("answer", "accepted", "right"),
    [
        ("The Top Left.", ("top left", "左上角"), True),
        ("左上角。", ("top left", "左上角"), True),
        ("a cat", ("cat", "猫"), True),
        ("T-shirt", ("t shirt",), True),
        ("Grey!", ("gray",), True),
        ("３", ("3",), True),
        ("top", ("top left",), False),
        ("", ("cat",), False),
        ("cat dog", ("cat",), False),
    ],
)
def test_answers(answer: str, accepted: tuple[str, ...], right: bool) -> None:
    assert is_accepted(answer, accepted) == right


def test_no_answer_is_lost_in_normalising() -> None:
    assert all(normalise(answer) for item in read_questions() for answer in item.accepted)


def test_right_answers_score_all_and_a_constant_scores_little() -> None:
    items = read_questions()
    assert score_answers([item.answer for item in items], items)["all"]["all"]["share"] == 1.0
    assert score_answers([item.answer_zh for item in items], items)["all"]["all"]["share"] == 1.0
    table = score_answers(["yes"] * len(items), items)
    assert table["color"]["all"]["passed"] == 0 and 0.3 < table["existence"]["all"]["share"] < 0.7


def test_drawings_and_styles_are_scored_apart(judge: Judge) -> None:
    items = read_prompts()[::25]
    tables = score_drawings([render(item.reference) for item in items], items, judge)
    assert tables["drawings"]["all"]["all"]["share"] >= 0.9
    assert tables["styles"]["all"]["all"]["total"] == sum(item.graph.style is not None for item in items)
    shifted = score_drawings([render(item.reference) for item in items[1:] + items[:1]], items, judge)
    assert shifted["drawings"]["all"]["all"]["passed"] == 0
    assert json.loads(json.dumps(tables)) == tables


def test_returning_the_source_scores_nothing(judge: Judge) -> None:
    items = read_edits()
    table = score_edits([render(item.source) for item in items], items, judge)
    assert table["all"]["all"] == {"passed": 0, "total": 300, "share": 0.0}


def test_unequal_lengths_are_refused(judge: Judge) -> None:
    with pytest.raises(InputError, match="one for each item"):
        score_answers(["yes"], read_questions())
    with pytest.raises(InputError, match="0 pictures for 300 items"):
        score_edits([], read_edits(), judge)

"""The published files themselves are read, and the right answers to what they ask score as nothing can score better."""

from collections.abc import Callable
from typing import Any

import pytest

from diptych.evaluation.benchmark import Row
from diptych.evaluation.benchmarks import find
from tests.goldens.sets import FIXTURES, root

BEST_RATINGS = dict.fromkeys(("readability", "logical_consistency", "spelling"), 2)


def letters(row: Row) -> dict[str, list[str]]:
    return {str(question["QA_id"]): [f"({question['answer']})"] * 4 for question in row.facts["QAs"]}


# What a model or a judge says when everything is right, and where the table shows it.
RIGHT: dict[str, tuple[Callable[[Row], Any], str, float]] = {
    "pope": (lambda row: row.facts["label"], "accuracy", 1),
    "dsg": (lambda row: dict.fromkeys(row.facts["item"]["questions"], "yes"), "with_dependency", 1),
    "tifa": (lambda row: [question["answer"] for question in row.facts["questions"]], "tifa_average", 1),
    "unieval": (letters, "tag-L1-UniScore", 1),
    "genexam": (
        lambda row: {"answers": [1] * len(row.facts["points"]), "ratings": BEST_RATINGS},
        "strict_score",
        100,
    ),
}


@pytest.mark.parametrize("folder", sorted({root(), FIXTURES}), ids=lambda folder: folder.name)
@pytest.mark.parametrize("name", RIGHT)
def test_right_answers_to_published_rows(name, folder):
    place = folder if (folder / name / "data").is_dir() else FIXTURES
    say, figure, best = RIGHT[name]
    benchmark = find(name)
    rows = benchmark.rows(place / name)
    assert len({row.id for row in rows}) == len(rows)
    assert benchmark.score(rows, {row.id: say(row) for row in rows})[figure] == pytest.approx(best)


@pytest.mark.parametrize("name", ["geneval", "t2icompbench"])
def test_prompts_are_asked_for_pictures(name):
    benchmark = find(name)
    rows = benchmark.rows(FIXTURES / name)
    assert {benchmark.ask(row).want for row in rows} == {"image"}
    assert all(row.prompt == row.prompt.strip() != "" for row in rows)
    assert benchmark.score(rows, {row.id: [] for row in rows})

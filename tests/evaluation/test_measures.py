"""Measures on features and words: what they are of simple things, and what they refuse."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from diptych.errors import BenchmarkError
from diptych.evaluation import features
from diptych.evaluation.levenshtein import levenshtein
from diptych.evaluation.ptb import tokenize
from diptych.evaluation.vqa_answers import normalise, soft_accuracy


def test_a_set_has_no_distance_to_itself_even_if_singular():
    rows = np.random.default_rng(0).normal(size=(5, 9))
    assert features.frechet_distance(rows, rows) == pytest.approx(0, abs=1e-6)
    assert features.frechet_distance(rows, rows + 2) == pytest.approx(9 * 4, abs=1e-6)


def test_features_of_another_shape_are_told():
    with pytest.raises(BenchmarkError, match=r"\[N, D\]"):
        features.frechet_distance(np.zeros(3), np.zeros(3))
    with pytest.raises(BenchmarkError, match="two rows"):
        features.frechet_distance(np.zeros((1, 3)), np.zeros((4, 3)))
    with pytest.raises(BenchmarkError, match="subsets of 1000"):
        features.kernel_distance_of_subsets(np.zeros((4, 3)), np.zeros((4, 3)))


def test_inception_score_is_the_number_of_classes_at_best():
    assert features.inception_score(np.eye(4) * 1e3, splits=1, shuffle=False).mean == pytest.approx(4)
    assert features.inception_score(np.ones((8, 4)), splits=2).mean == pytest.approx(1)


def test_pictures_are_compared_at_the_targets_size():
    white = np.full((4, 6, 3), 255, np.uint8)
    assert features.pixel_distances(white, np.zeros((2, 3, 3), np.uint8)) == {"l1": 1.0, "l2": 1.0}


@given(st.text(alphabet="abc", max_size=6), st.text(alphabet="abc", max_size=6))
def test_edit_distance_is_a_distance(a, b):
    distance = levenshtein(a, b)
    assert distance == levenshtein(b, a)
    assert (distance == 0) == (a == b)
    assert abs(len(a) - len(b)) <= distance <= max(len(a), len(b))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Don't touch Mr. Smith's dog!", "do n't touch mr. smith 's dog"),
        ("A $5.99 sign (50% off)", "a $ 5.99 sign -lrb- 50 % off -rrb-"),
        ("At 5 p.m., 1/2 of them cannot go", "at 5 p.m. 1\\/2 of them can not go"),
    ],
)
def test_captions_become_treebank_words(text, words):
    assert tokenize(text) == words


@given(st.text(max_size=20))
def test_any_caption_and_answer_can_be_read(text):
    assert tokenize(text) == " ".join(tokenize(text).split())
    assert normalise(text) == " ".join(normalise(text).split())


@pytest.mark.parametrize(("right", "share"), [(0, 0), (1, 0.3), (2, 0.6), (3, 0.9), (4, 1), (10, 1)])
def test_people_who_agree_with_an_answer(right, share):
    assert soft_accuracy("a", ["a"] * right + ["b"] * (10 - right)) == pytest.approx(share)

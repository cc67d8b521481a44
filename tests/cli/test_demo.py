"""The demo: every act a model can play, a page that needs nothing else, and pictures as files."""

import re

import PIL.Image
from PIL import Image

from diptych.cli.page import Card, Section, Shown, page
from diptych.cli.showcase import _said


def test_demo_plays_all_acts(run, model, photo, tmp_path):
    result = run("demo", "--out", "out", "--image", photo)
    assert result.code == 0
    for title in ("It reads", "It reads your pictures", "It draws", "It edits", "It tells a story"):
        assert re.search(rf"^{title}\b", result.out, re.M), title
    text = (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    assert text.count("<section>") == 5
    assert text.count("data:image/png;base64,") > 15
    files = sorted(file.name for file in (tmp_path / "out" / "pictures").iterdir())
    assert {name.split("-")[0] for name in files} == {"draw", "edit", "story"}
    with Image.open(tmp_path / "out" / "pictures" / files[0]) as picture:
        assert picture.info["model"] == "fake" and picture.info["prompt"]


def test_answers_and_drawings_are_judged(run, model):
    """The model repeats the question and draws black squares: nothing of that is right."""
    result = run("demo", "--out", "out")
    assert re.search(r"It reads  0 of \d+ right", result.out)
    assert re.search(r"It draws  0 of \d+ right", result.out)
    assert "truth: " in result.out and "✗" in result.out and "✓" not in result.out


def test_only_what_the_model_can(run, model):
    model.can = frozenset({"generate"})
    result = run("demo", "--out", "out", "--prompt", "a blue cat")
    assert "It draws your prompts" in result.out and "a blue cat" in result.out
    assert "It reads" not in result.out and "It edits" not in result.out


def test_a_wrong_picture_is_found_before_anything_runs(run, model):
    result = run("demo", "--image", "no.png")
    assert result.code == 2 and model.calls == []


def test_the_page_needs_nothing_from_outside():
    picture = PIL.Image.new("RGB", (4, 4))
    card = Card("<script>alert(1)</script>", (Shown(picture, "before"),), answer="a & b", truth="c", ok=False)
    text = page("Title <b>", "facts", [Section("It draws", "about", (card,), 1.5)])
    assert "<script" not in text and "&lt;script&gt;" in text and "a &amp; b" in text
    assert not re.search(r'(src|href)="(?!data:image/png)', text)
    assert "0 of 1 right · 1.5 s" in text
    assert 'name="viewport"' in text and "prefers-color-scheme: dark" in text


def test_cards_nobody_can_judge_have_no_score():
    assert Section("t", "a", (Card("asked", ()),), 1.0).score == ""


def test_small_pictures_are_shown_as_squares_and_pairs_get_room():
    small, large = (Shown(PIL.Image.new("RGB", (side, side))) for side in (64, 384))
    text = page("t", "f", [Section("It edits", "about", (Card("a", (small, large)), Card("b", (large,))), 1.0)])
    assert text.count('<img class="small"') == 1 and text.count("<img ") == 3
    assert text.count('<article class="wide">') == 1 and text.count("<article") == 2
    assert '<article class="film">' in page("t", "f", [Section("Film", "about", (Card("a", (small,) * 4),), 1.0)])


def test_what_is_said_of_several_things_is_said_once():
    assert _said(["a flame is missing", "the rest moved", "a flame is missing"]) == (
        "a flame is missing (2 times); the rest moved"
    )
    assert _said([]) == "as asked"

"""Questions about a model's own pictures: what is asked, what is right, how the gap is counted."""

from dataclasses import asdict

import pytest

from diptych.data.worlds.emoji import Graph, Mention, Scene, Thing, render
from diptych.evaluation.benchmarks import find
from diptych.evaluation.emoji.answers import is_accepted
from diptych.evaluation.emoji.own_pictures import OwnEyes, answers, as_seen, question
from diptych.evaluation.emoji.sets import FOLDER, read_prompts
from diptych.images import open_image, save_png
from diptych.types import Reply, Text
from tests.evaluation.fake_model import FakeModel

ITEMS = {item.kind: item for item in read_prompts()}
KINDS = {
    "single": "what",
    "two": "existence",
    "count": "count",
    "color": "color",
    "binding": "color",
    "position": "position",
    "relation": "relation",
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_question_has_an_answer_on_the_true_picture(kind):
    item = ITEMS[kind]
    asked = question(item, None)
    assert asked["type"] == KINDS[kind] and asked["text"].endswith("?") and "{" not in asked["text"]
    assert answers(asked, as_seen(item.reference))


def scene(*things: Thing) -> Scene:
    return Scene("twemoji", "white", things)


def test_answers_follow_the_picture_and_not_the_prompt():
    apple, bone = Thing("hippo", "blue", 60, 60, 90), Thing("bone", None, 200, 60, 90)
    seen = as_seen(scene(apple, bone))
    for kind, names, expected in [
        ("existence", ["bone"], ["yes"]),
        ("existence", ["pill"], ["no"]),
        ("count", ["bone"], ["one", "1"]),
        ("count", ["pill"], []),
        ("color", ["hippo"], ["blue"]),
        ("color", ["pill"], []),
        ("position", ["bone"], ["top right"]),
        ("relation", ["hippo", "bone"], ["left"]),
        ("what", [], []),
    ]:
        assert answers({"type": kind, "objects": names}, seen) == expected
    assert is_accepted("A hippo.", answers({"type": "what", "objects": []}, as_seen(scene(apple))))


class Reader(FakeModel):
    """Reads every picture as the exact judge does; draws nothing."""

    image_size = (64, 64)

    def __init__(self, says: dict[bytes, str]) -> None:
        super().__init__()
        self.says = says

    def chat_batch(self, conversations, *, seed=0, progress=None, max_tokens=512, temperature=0.0):
        return [Reply((Text(self.says[turn.images[0].tobytes()]),)) for turn in conversations]


def test_the_gap_is_what_is_read_and_not_drawn(tmp_path):
    right, wrong = scene(Thing("hippo", None, 128, 128, 156)), scene(Thing("bone", None, 128, 128, 156))
    graph = Graph((Mention("hippo"),)).to_json()
    benchmark = find("emoji-self")
    row = benchmark.rows(FOLDER)[0]
    facts = {"question": {"type": "what", "objects": ["hippo"], "text": "What is in the image?"}, "graph": graph}
    rows = [type(row)(name, "a hippo", (), facts | {"reference": right.to_json()}) for name in ("a", "b")]
    paths = [tmp_path / "a.png", tmp_path / "b.png"]
    for path, shown in zip(paths, (right, wrong), strict=True):
        save_png(open_image(render(shown, 64)), path)
    says = {open_image(render(right, 64)).tobytes(): "hippo", open_image(render(wrong, 64)).tobytes(): "a bone"}
    eyes = OwnEyes(Reader(says))
    found = {row.id: eyes.see(row, [path]) for row, path in zip(rows, paths, strict=True)}
    table = benchmark.score(rows, found)
    assert {name: table[name] for name in ("drawn", "read", "gap", "own", "askable", "both")} == {
        "drawn": 0.5,
        "read": 1.0,
        "gap": 0.5,
        "own": 1.0,
        "askable": 1.0,
        "both": 0.5,
    }
    assert benchmark.told is not None
    assert benchmark.told(rows[0], found["a"]).endswith("of the true one: 'hippo' (right). Drawn right")
    assert "its own picture: 'a bone' (right; it shows: bone" in benchmark.told(rows[1], found["b"])
    assert "Drawn wrong: 0 of 1: hippo" in benchmark.told(rows[1], found["b"])
    blind = OwnEyes(Reader(dict.fromkeys(says, "a bone")))
    found = {row.id: blind.see(row, [path]) for row, path in zip(rows, paths, strict=True)}
    assert (benchmark.score(rows, found)["gap"], benchmark.score(rows, found)["own"]) == (-0.5, 0.5)


def test_the_sets_are_whole_and_their_judge_passes_true_pictures(tmp_path):
    from diptych.evaluation.benchmarks.emoji import JUDGES

    sizes = {name: len(find(name).rows(FOLDER)) for name in ("emoji-draw", "emoji-ask", "emoji-edit", "emoji-self")}
    assert sizes == {"emoji-draw": 600, "emoji-ask": 600, "emoji-edit": 300, "emoji-self": 600}
    benchmark, judge = find("emoji-draw"), JUDGES["emoji-draw"](None)
    rows = benchmark.rows(FOLDER)[::100]
    found = {}
    for row, item in zip(rows, read_prompts()[::100], strict=True):
        save_png(open_image(render(item.reference, 128)), tmp_path / f"{row.id}.png")
        found[row.id] = judge.see(row, [tmp_path / f"{row.id}.png"])
    assert benchmark.score(rows, found)["accuracy"] == 1
    swapped = dict(zip(found, [*list(found.values())[1:], found[rows[0].id]], strict=True))
    assert benchmark.score(rows, swapped)["accuracy"] == 0
    assert set(asdict(judge.judge.read(open_image(tmp_path / f"{rows[0].id}.png")))) == {"background", "objects"}


def test_a_right_edit_passes(tmp_path):
    from diptych.evaluation.benchmarks.emoji import JUDGES

    benchmark = find("emoji-edit")
    row = benchmark.rows(FOLDER)[0]
    judge = JUDGES["emoji-edit"](None)
    marks = []
    for name in ("target", "source"):
        save_png(open_image(render(Scene.from_json(row.facts[name]), 128)), tmp_path / "e.png")
        marks.append(benchmark.score([row], {row.id: judge.see(row, [tmp_path / "e.png"])})["accuracy"])
    assert marks == [1, 0]

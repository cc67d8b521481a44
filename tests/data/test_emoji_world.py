"""What the world shows: repeatable, within its rules, never what is held out."""

import zlib
from collections import Counter
from itertools import combinations

import pytest

from diptych.data.worlds.emoji import EmojiWorld, Scene, pixel_box, place_of, relation_of, straightened
from diptych.data.worlds.emoji.holdout import color_held, count_held, pair_held, scene_held
from diptych.data.worlds.emoji.rules import BACKGROUNDS, OBJECTS, STYLES, compatible, visible
from diptych.data.worlds.emoji.sampling import KINDS
from diptych.errors import InputError

MANY = 1500
TASKS = ("scene", "drawing", "question", "caption", "edit", "story")


def scenes_of(world: EmojiWorld, task: str, index: int) -> list[Scene]:
    sample = getattr(world, task)(index)
    if task == "scene":
        return [sample]
    if task == "edit":
        return [sample.source, sample.target]
    if task == "story":
        return [scene for _, scene in sample]
    return [sample.scene]


def assert_nothing_held(scene: Scene) -> None:
    """Straight from the definition, not through the library's own check."""

    def held(text: str) -> bool:
        return zlib.crc32(text.encode()) % 8 == 0

    counts = Counter(thing.id for thing in scene.objects)
    assert not any(thing.color and held(f"color|{thing.id}|{thing.color}") for thing in scene.objects)
    assert not any(number > 1 and held(f"count|{name}|{number}") for name, number in counts.items())
    assert not any(held(f"pair|{a}|{b}") for a, b in combinations(sorted(counts), 2))


def assert_within_rules(scene: Scene) -> None:
    names = sorted({thing.id for thing in scene.objects})
    assert all(compatible(a, b) for a, b in combinations(names, 2))
    assert all(visible(scene.style, scene.bg, thing.id, thing.color) for thing in scene.objects)
    assert all(OBJECTS[thing.id].recolorable for thing in scene.objects if thing.color)


@pytest.mark.parametrize("task", TASKS)
def test_training_never_shows_a_held_out_composition(task: str) -> None:
    world = EmojiWorld(3)
    for index in range(MANY):
        for scene in scenes_of(world, task, index):
            assert_nothing_held(scene)
            assert_within_rules(scene)


@pytest.mark.parametrize("task", ("scene", "drawing", "question", "caption"))
def test_heldout_scenes_always_hold_one(task: str) -> None:
    world = EmojiWorld(3, split="heldout")
    assert all(scene_held(scene) for index in range(200) for scene in scenes_of(world, task, index))


def test_heldout_edits_and_stories_end_held_out() -> None:
    world = EmojiWorld(3, split="heldout")
    for index in range(100):
        edit = world.edit(index)
        assert scene_held(edit.target) and not scene_held(edit.source)
        assert scene_held(world.story(index).frames[-1][1])


def test_the_definition_of_held_out() -> None:
    assert zlib.crc32(b"color|car|red") == 1731106676
    assert not color_held("car", "red")
    assert pair_held("cat", "dog") == pair_held("dog", "cat")
    assert not any(count_held(name, 1) for name in OBJECTS)
    names = list(OBJECTS)
    pairs = [(a, b) for a, b in combinations(names, 2)]
    assert (len(pairs), sum(pair_held(a, b) for a, b in pairs)) == (77421, 9628)
    assert sum(count_held(name, number) for name in names for number in range(2, 7)) == 245


@pytest.mark.parametrize("task", TASKS)
def test_same_index_same_sample_whatever_came_before(task: str) -> None:
    first, second = EmojiWorld(5), EmojiWorld(5)
    ahead = [getattr(first, task)(index) for index in range(20)]
    assert [getattr(second, task)(index) for index in reversed(range(20))] == ahead[::-1]
    assert [getattr(EmojiWorld(6), task)(index) for index in range(20)] != ahead


@pytest.mark.parametrize("kind", KINDS)
def test_tidy_scenes_have_no_jitter(kind: str) -> None:
    world = EmojiWorld(1)
    for index in range(50):
        scene = world.scene(index, kind, tidy=True)
        assert scene.style == "noto"
        others = list(BACKGROUNDS)[: list(BACKGROUNDS).index(scene.bg)]
        for bg in others:
            assert not all(visible("noto", bg, thing.id, thing.color) for thing in scene.objects)
        if kind in ("single", "color"):
            assert [(thing.x, thing.y, thing.s) for thing in scene.objects] == [(112, 112, 96)]
        if kind in ("position", "two", "relation", "binding", "multi"):
            assert all({thing.x, thing.y} <= {48, 112, 208} and thing.s == 96 for thing in scene.objects)


def test_straightened_scenes_show_the_same_in_fewer_ways() -> None:
    world = EmojiWorld(4)
    for index in range(200):
        scene = world.scene(index)
        straight = straightened(scene)
        assert straightened(straight) == straight
        assert [(t.id, t.color) for t in straight.objects] == [(t.id, t.color) for t in scene.objects]
        if len(scene.objects) < 5:
            places = [[place_of(t.x, t.y) for t in s.objects] for s in (scene, straight)]
            assert places[0] == places[1]
        boxes = [pixel_box(t, straight.style, 64) for t in straight.objects]
        for i, (left, top, right, bottom) in enumerate(boxes):
            assert left >= 0 and top >= 0 and right <= 64 and bottom <= 64
            assert all(a >= right or b >= bottom or c <= left or d <= top for a, b, c, d in boxes[i + 1 :])


def test_style_and_background_can_be_asked_for() -> None:
    scene = EmojiWorld(1).scene(0, "two", tidy=True, style="fluent-3d", bg="cream")
    assert (scene.style, scene.bg) == ("fluent-3d", "cream")


def test_drawings_name_style_and_background_about_a_third_of_the_time() -> None:
    drawings = [EmojiWorld(2).drawing(index) for index in range(1000)]
    for drawing in drawings:
        assert drawing.graph.style in (None, drawing.scene.style)
        assert drawing.graph.bg in (None, drawing.scene.bg)
        if drawing.graph.style is None:
            assert drawing.scene.style == STYLES[0]
    assert 0.25 < sum(drawing.graph.style is not None for drawing in drawings) / 1000 < 0.35
    assert 0.30 < sum(drawing.graph.bg is not None for drawing in drawings) / 1000 < 0.40
    assert {drawing.kind for drawing in drawings} == set(KINDS)


def test_drawings_are_right_for_their_graph() -> None:
    for index in range(500):
        drawing = EmojiWorld(2).drawing(index, tidy=index % 2 == 0)
        things = list(drawing.scene.objects)
        for mention in drawing.graph.objects:
            own = [thing for thing in things if thing.id == mention.id]
            assert len(own) == mention.count
            assert {thing.color for thing in own} == {mention.color}
            assert mention.pos is None or place_of(own[0].x, own[0].y) == mention.pos
        assert len(things) == sum(mention.count for mention in drawing.graph.objects)
        for i, relation, j in drawing.graph.relations:
            assert relation_of((things[i].x, things[i].y), (things[j].x, things[j].y)) == relation


def test_core_keeps_to_the_common_classes() -> None:
    world = EmojiWorld(0, core=True)
    names = {thing.id for index in range(600) for thing in world.scene(index).objects}
    assert len(names) > 140
    assert all(OBJECTS[name].core for name in names)


def test_edits_change_only_what_they_say() -> None:
    world = EmojiWorld(4)
    for index in range(400):
        edit = world.edit(index)
        before, after = edit.source, edit.target
        assert before != after
        assert (before.style != after.style) == (edit.op == "restyle")
        assert (before.bg != after.bg) == (edit.op == "background")
        kept = len(set(before.objects) & set(after.objects))
        lost = {"recolor": 1, "replace": 1, "remove": 1, "move": 1}.get(edit.op, 0)
        assert edit.op == "count" or kept == len(before.objects) - lost


def test_wrong_options_are_refused() -> None:
    with pytest.raises(InputError, match="train"):
        EmojiWorld(0, split="training")
    with pytest.raises(InputError, match="single"):
        EmojiWorld(0).scene(0, "singel")
    with pytest.raises(InputError, match="en"):
        EmojiWorld(0).caption(0, lang="de")
    with pytest.raises(InputError, match="never held out"):
        EmojiWorld(0, split="heldout").scene(0, "single")


def test_plain_drawings_name_neither_style_nor_background() -> None:
    drawings = [EmojiWorld(2).drawing(index, odds={"single": 1, "multi": 3}, plain=True) for index in range(200)]
    assert {drawing.kind for drawing in drawings} == {"single", "multi"}
    assert sum(drawing.kind == "multi" for drawing in drawings) > 120
    for drawing in drawings:
        assert drawing.graph.style is None and drawing.graph.bg is None
        assert all(thing.color is None for thing in drawing.scene.objects)
    nouns = [OBJECTS[drawing.graph.objects[0].id].noun for drawing in drawings]
    bare = {noun.name for noun in nouns} | {f"{noun.article} {noun.name}" for noun in nouns}
    assert all(d.prompt in bare for d in drawings if d.kind == "single" and d.lang == "en")

"""The grammar of the texts, against sentences written by hand and against every evaluation item."""

import re

import pytest

from diptych.data.worlds.emoji import EmojiWorld, Graph, Mention
from diptych.data.worlds.emoji.edits import destination, words
from diptych.data.worlds.emoji.questions import QUESTION_ODDS
from diptych.data.worlds.emoji.rules import OBJECTS, TEMPLATES, WORLD
from diptych.data.worlds.emoji.scene import place_of
from diptych.data.worlds.emoji.text import Fill, fill
from diptych.evaluation.emoji.answers import is_accepted
from diptych.evaluation.emoji.sets import EditItem, PromptItem, read_edits, read_prompts, read_questions

LEFTOVER = re.compile(r"[{}]|None")


def all_prompts(item: PromptItem, lang: str) -> set[str]:
    """Every text the templates allow for a graph."""
    graph = item.graph
    slots = {"rel": WORLD["relations"][graph.relations[0][1]][lang]} if graph.relations else {}
    texts = {fill(form, Fill(graph.objects, words=slots), lang) for form in TEMPLATES["t2i"][item.kind][lang]}
    for about, name in (("background", graph.bg), ("style", graph.style)):
        if name is not None:
            slot = {"bg" if about == "background" else "style": WORLD[f"{about}s"][name][lang]}
            forms = TEMPLATES["suffix"][about][lang]
            texts = {fill(form, Fill(words={"cap": text, **slot}), lang) for text in texts for form in forms}
    return texts


def test_every_evaluation_prompt_can_be_written() -> None:
    for item in read_prompts():
        assert item.prompt in all_prompts(item, "en")
        assert item.prompt_zh in all_prompts(item, "zh")


def all_instructions(item: EditItem, lang: str) -> set[str]:
    """Every instruction the templates allow between two scenes."""
    counts = (len(item.source.objects), len(item.target.objects))
    equal = len({thing.id for thing in item.source.objects}) == 1
    number = counts[0] if equal else 1
    mentions = [Mention(thing.id, thing.color, number) for thing in item.source.objects]
    fresh = [thing for thing in item.target.objects if thing not in item.source.objects]
    new, slots = None, {"en": {}, "zh": {}}
    if fresh:
        thing = fresh[0]
        count = counts[1] if item.op == "count" else 1
        new = Mention(thing.id, thing.color, count, place_of(thing.x, thing.y))
        if item.op == "recolor":
            slots = words("new", "colors", str(thing.color))
        if item.op == "move":
            slots = destination(place_of(thing.x, thing.y))
    if item.op == "restyle":
        slots = words("style", "styles", item.target.style)
    if item.op == "background":
        slots = words("bg", "backgrounds", item.target.bg)
    forms = TEMPLATES["edit"][item.op][lang]
    return {fill(form, Fill((mention,), new, slots[lang]), lang) for mention in mentions for form in forms}


def test_every_evaluation_instruction_can_be_written() -> None:
    for item in read_edits():
        assert item.instruction in all_instructions(item, "en"), item
        assert item.instruction_zh in all_instructions(item, "zh"), item


@pytest.mark.parametrize(
    ("mention", "form", "en", "zh"),
    [
        (Mention("car", "orange"), "{A}", "an orange car", "一辆橙色的汽车"),
        (Mention("elephant"), "{A}", "an elephant", "一头大象"),
        (Mention("elephant", "red"), "{A}", "a red elephant", "一头红色的大象"),
        (Mention("cat", count=2), "{A.n}", "two cats", "两只猫"),
        (Mention("cat", "blue", 1), "{A.n}", "one blue cat", "一只蓝色的猫"),
        (Mention("cat", "blue", 3), "{A.the}", "the blue cats", "蓝色的猫"),
        (Mention("dog", pos="top left"), "{list.np_pos}", "a dog in the top left corner", "一只狗在左上角"),
    ],
)
def test_phrases(mention: Mention, form: str, en: str, zh: str) -> None:
    assert fill(form, Fill((mention,)), "en") == en
    assert fill(form, Fill((mention,)), "zh") == zh


def test_lists_and_capitals() -> None:
    three = tuple(Mention(name, pos=pos) for name, pos in (("cat", "top left"), ("owl", "left"), ("dog", "right")))
    assert fill("{list.np}", Fill(three), "en") == "a cat, an owl and a dog"
    assert fill("{list.np}", Fill(three), "zh") == "一只猫、一只猫头鹰和一只狗"
    assert fill("here is {B}. it is {B.pos}.", Fill(three), "en") == "Here is an owl. It is on the left."
    assert fill("{B}", Fill(three), "en") == "an owl"


@pytest.mark.parametrize("split", ("train", "heldout"))
@pytest.mark.parametrize("lang", ("en", "zh"))
def test_no_slot_is_left_open_and_languages_do_not_mix(split: str, lang: str) -> None:
    world = EmojiWorld(9, split=split)
    for index in range(300):
        question, caption, story = world.question(index, lang), world.caption(index, lang), world.story(index, lang)
        texts = [
            world.drawing(index, lang).prompt,
            question.question,
            question.answer,
            world.edit(index, lang).instruction,
        ]
        texts += [caption.prompt, caption.caption, story.prompt, *(text for text, _ in story)]
        for text in texts:
            assert not LEFTOVER.search(text), text
            assert any("\u4e00" <= letter <= "\u9fff" for letter in text) == (lang == "zh") or text in (
                "Noto",
                "Twemoji",
            )


def test_captions_are_sentences_that_name_every_object() -> None:
    world = EmojiWorld(9)
    for index in range(300):
        caption = world.caption(index, "en")
        assert caption.caption[0].isupper() and caption.caption.endswith(".")
        assert not caption.caption.startswith(("Draw", "Please", "Show", "Put"))
        for thing in caption.scene.objects:
            noun = OBJECTS[thing.id].noun
            assert noun.name.lower() in caption.caption.lower() or noun.plural.lower() in caption.caption.lower()
            assert thing.color is None or thing.color in caption.caption.lower()


def test_questions_are_answered_by_the_scene() -> None:
    world = EmojiWorld(9)
    seen_types = set()
    for index in range(600):
        question = world.question(index)
        seen_types.add(question.type)
        assert is_accepted(question.answer, question.accepted)
        if question.type == "style":
            assert WORLD["styles"][question.scene.style][question.lang] == question.answer
        if question.type == "count":
            assert str(len(question.scene.objects)) in question.accepted
        if question.type == "color":
            assert any(
                WORLD["colors"][thing.color][question.lang] == question.answer for thing in question.scene.objects
            )
    assert seen_types == set(QUESTION_ODDS)


def test_several_questions_about_one_scene() -> None:
    world = EmojiWorld(9)
    for index in range(300):
        first, *more = asked = world.questions(index, number=3)
        assert first == world.question(index)
        assert len(asked) == 3 and len({question.type for question in asked}) == 3
        for question in more:
            assert question.scene is first.scene and question.lang == first.lang
            assert is_accepted(question.answer, question.accepted)
            if question.type == "what":
                assert len(question.scene.objects) == 1
            if question.type == "count":
                assert str(len(question.scene.objects)) in question.accepted


def test_a_question_of_one_type() -> None:
    for index in range(50):
        (asked,) = EmojiWorld(9).questions(index, number=1, first="what")
        assert asked.type == "what" and len(asked.scene.objects) == 1


def test_accepted_answers_are_those_of_the_evaluation_set() -> None:
    for item in read_questions():
        assert is_accepted(item.answer, item.accepted) and is_accepted(item.answer_zh, item.accepted)
    counts = {item.answer: set(item.accepted) for item in read_questions() if item.type == "count"}
    ours = {}
    for index in range(400):
        question = EmojiWorld(9).question(index, "en")
        if question.type == "count" and question.answer in counts:
            ours[question.answer] = {answer for answer in question.accepted if len(answer) == 1 or answer.isascii()}
    for answer, accepted in ours.items():
        assert accepted <= counts[answer]


def test_stories_change_from_frame_to_frame() -> None:
    lengths = set()
    for index in range(300):
        story = EmojiWorld(9).story(index)
        scenes = [scene for _, scene in story]
        lengths.add(len(scenes))
        assert all(a != b for a, b in zip(scenes, scenes[1:], strict=False))
    assert lengths == {2, 3, 4}


def test_graphs_survive_their_json_form() -> None:
    for item in read_prompts():
        assert Graph.from_json(item.graph.to_json()) == item.graph
        assert type(item.reference).from_json(item.reference.to_json()) == item.reference

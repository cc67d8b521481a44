"""Every way of writing a conversation comes to the same turns; what is none is refused with a word on what to do."""

import numpy as np
import PIL.Image
import pytest

from diptych import Image, Reply, Request, Text, Turn
from diptych.errors import ImageError, InputError
from diptych.images import data_uri
from diptych.types import conversation

RED = PIL.Image.new("RGB", (3, 2), (255, 0, 0))
QUESTION = Turn("user", (Text("What is this?"), Image(RED)))


@pytest.mark.parametrize(
    "written",
    [
        QUESTION,
        [QUESTION],
        ("What is this?", RED),
        ["What is this?", np.asarray(RED)],
        (Text("What is this?"), Image(RED)),
        {"role": "user", "content": ["What is this?", RED]},
        [
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "What is this?"},
                    {"type": "image_url", "image_url": {"url": data_uri(RED)}},
                ],
            }
        ],
        [
            {
                "role": "user",
                "content": ({"type": "input_text", "text": "What is this?"}, {"type": "image", "image": RED}),
            }
        ],
    ],
)
def test_all_forms_say_the_same(written):
    assert conversation(written) == (QUESTION,)


def test_a_string_is_one_question():
    assert conversation("Hi") == (Turn.user("Hi"),)


def test_a_path_is_a_picture_and_a_string_is_text(tmp_path):
    RED.save(tmp_path / "red.png")
    turn = Turn.user(tmp_path / "red.png", str(tmp_path / "red.png"))
    assert turn.images == [RED]
    assert turn.text.endswith("red.png")


def test_a_whole_conversation_keeps_its_order():
    turns = [Turn.system("Be brief."), {"role": "user", "content": "Hi"}, Turn.assistant("Hello"), Turn.user("Bye")]
    assert [turn.role for turn in conversation(turns)] == ["system", "user", "assistant", "user"]


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ([], "empty"),
        ([Turn.user("Hi"), "and more"], "Turn.user"),
        ({"role": "robot", "content": "Hi"}, "robot"),
        ({"role": "user"}, "content"),
        ({"role": "user", "content": None}, "string or a list"),
        (({"type": "audio", "audio": "x"},), "audio"),
        (({"type": "text"},), "text"),
        (({"type": "image_url", "image_url": {"url": "/etc/hostname"}},), "data:"),
        ((3.5,), "float"),
    ],
)
def test_nonsense_is_refused(written, message):
    with pytest.raises(InputError, match=message):
        conversation(written)


def test_addresses_are_not_fetched():
    with pytest.raises(InputError, match="data:"):
        conversation([{"role": "user", "content": [{"type": "image_url", "image_url": "http://127.0.0.1/x.png"}]}])
    with pytest.raises(ImageError, match="not fetched"):
        conversation([{"role": "user", "content": [{"type": "image", "url": "http://127.0.0.1/x.png"}]}])


def test_request_checks_what_is_wanted():
    assert Request.of("Hi", "any").turns == (Turn.user("Hi"),)
    with pytest.raises(InputError, match="video"):
        Request.of("Hi", "video")  # type: ignore[arg-type]


def test_reply_gives_texts_and_pictures_apart_and_goes_on_as_a_turn():
    reply = Reply((Text("First "), Image(RED), Text("then.")), seed=3)
    assert (reply.text, reply.images, reply.seed) == ("First then.", [RED], 3)
    assert reply.as_turn() == Turn.assistant("First ", RED, "then.")

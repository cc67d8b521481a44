"""Commands: what they pass on, what they write, what they say, and how they fail."""

import io
import json
import re

import PIL.Image
import pytest

from diptych.cli.console import places, slug
from diptych.cli.options import parse_size
from diptych.errors import InputError


def test_generate_writes_pictures_that_remember_how_they_were_made(run, model, tmp_path):
    result = run("generate", "A red apple!", "two dogs", "-n", 2, "--seed", 5, "--guidance", 3, "--size", "64x32")
    assert result.code == 0
    names = ["a-red-apple-5.png", "a-red-apple-6.png", "two-dogs-5.png", "two-dogs-6.png"]
    assert result.out.split() == names
    assert model.calls == [("generate", ["A red apple!", "two dogs"], 2, 5, {"guidance": 3.0, "size": (32, 64)})]
    with PIL.Image.open(tmp_path / names[1]) as picture:
        facts = {name: picture.info[name] for name in ("prompt", "seed", "model")}
        assert facts == {"prompt": "A red apple!", "seed": "6", "model": "fake"}
        assert picture.getpixel((0, 0)) == (6, 6, 6)


def test_nothing_is_overwritten_in_a_folder(run, model, tmp_path):
    first, second = (run("generate", "a cat", "--out", "pictures").out.strip() for _ in range(2))
    assert (first, second) == ("pictures/a-cat-0.png", "pictures/a-cat-0-2.png")
    assert sorted(file.name for file in (tmp_path / "pictures").iterdir()) == ["a-cat-0-2.png", "a-cat-0.png"]


def test_one_named_file_or_several_numbered(run, model):
    assert run("generate", "a cat", "--out", "x/cat.png").out.split() == ["x/cat.png"]
    assert run("generate", "a cat", "--out", "x/cat.png", "-n", 2).out.split() == ["x/cat-1.png", "x/cat-2.png"]


def test_prompts_from_a_file(run, model, tmp_path):
    (tmp_path / "list.txt").write_text("a cat\n\n 一只狗 \n", encoding="utf-8")
    assert run("generate", "--prompts", "list.txt").code == 0
    assert model.calls[0][1] == ["a cat", "一只狗"]


def test_json_is_one_object(run, model):
    found = json.loads(run("generate", "a cat", "--json").out)
    assert found["model"] == "fake"
    assert found["images"] == [{"file": "a-cat-0.png", "prompt": "a cat", "seed": 0, "width": 64, "height": 64}]


def test_edit_leaves_the_picture_alone(run, model, photo):
    before = photo.read_bytes()
    result = run("edit", photo, "make it blue", "--image-guidance", 1.5)
    assert result.out.split() == ["make-it-blue-0.png"]
    assert photo.read_bytes() == before
    _, image, instruction, n, seed, options = model.calls[0]
    assert (image.size, instruction, n, seed, options) == ((40, 30), "make it blue", 1, 0, {"image_guidance": 1.5})


def test_inpainting_and_a_film_of_it(run, model, photo, tmp_path):
    result = run("edit", photo, "a cat", "--mask", photo, "--film", "film.png")
    assert result.code == 0 and model.calls[0][5]["mask"].size == (40, 30)
    with PIL.Image.open(tmp_path / "film.png") as film:
        assert film.size == (7 * 64 + 6 * 4, 64)  # 20 visits, every third shown
        assert film.getpixel((0, 0)) == (1, 1, 1) and film.getpixel((film.width - 1, 0)) == (19, 19, 19)
    assert run("generate", "a cat", "a dog", "--film", "other.png").code == 0
    with PIL.Image.open(tmp_path / "other.png") as other:
        assert other.size == film.size


def test_edit_of_several_pictures(run, model, photo):
    assert run("edit", photo, "join them", "--image", photo).code == 0
    assert len(model.calls[0][1]) == 2


def test_options_of_flow_and_of_memory_are_passed_on(run, model, photo):
    flow = ["--interval", "0.4-1", "--renorm", "channel", "--shift", 3, "--foresee", 2, "--think", "--steps", 4]
    memory = ["--quantize", "int8", "--offload", "--device", "cuda", "--dtype", "bfloat16"]
    told = {"steps": 4, "interval": (0.4, 1.0), "renorm": "channel", "shift": 3.0, "foresee": 2, "think": True}
    assert run("generate", "a cat", *flow, *memory).code == run("edit", photo, "greener", *flow, *memory).code == 0
    assert [call[-1] for call in model.calls if call[1] == ["a cat"] or call[0] == "edit"] == [told, told]
    assert run("ask", photo, "What?", "--think", "--json", *memory).code == 0 and model.calls[-1][-1]["think"] is True
    assert model.loaded == [("janus-emoji", "cuda", "bfloat16", "int8", True)] * 3
    assert run("generate", "a cat").code == 0 and model.calls[-1][-1] == {}
    for wrong in ("0.4", "a-b", "1..2-3"):
        assert "0.4-1.0" in run("generate", "a cat", "--interval", wrong).err


def test_extend_names_its_sides(run, model, photo):
    result = run("extend", photo, "a field", "-n", 2, "--side", "left", "--side", "left", "--steps", 4)
    assert result.out.split() == ["a-field-0.png", "a-field-1.png"]
    assert model.calls == [("extend", "a field", ["left", "left"], 2, 0, {"steps": 4})]


def test_infill_says_and_shows(run, model, photo, tmp_path):
    result = run("infill", photo, "a <m> cat", "--mask", photo, "--out", "cat.png", "--seed", 3)
    assert result.out.split("\n")[:2] == ["a red cat", "cat.png"] and (tmp_path / "cat.png").is_file()
    assert model.calls[0][1] == "a <m> cat" and model.calls[0][2].size == (40, 30)
    found = json.loads(run("infill", photo, "a <m> cat", "--json").out)
    assert found["text"] == "a red cat" and (tmp_path / found["file"]).is_file()


def test_ask_streams_the_answer(run, model, photo):
    assert run("ask", photo, photo, "What is this?").out == "2 pictures, What is this?\n"
    found = json.loads(run("ask", photo, "What?", "--json").out)
    assert (found["answer"], found["seed"]) == ("1 pictures, What?", 0)


def test_answers_cannot_command_the_terminal(run, model, photo):
    assert "\x1b" not in run("ask", photo, "say \x1b[2J").out


def chatting(run, monkeypatch, *lines: str):
    monkeypatch.setattr("sys.stdin", io.StringIO("".join(line + "\n" for line in lines)))
    return run("chat", "--out", "replies")


def test_chat_keeps_the_conversation_and_saves_pictures(run, model, photo, monkeypatch, tmp_path):
    result = chatting(run, monkeypatch, "Hello", f"/image {photo}", "and this?", "/draw a cat", "/quit", "never")
    assert result.code == 0
    lengths = [(len(turns), want) for _, turns, want, _ in model.calls]
    assert lengths == [(1, "any"), (3, "any"), (5, "image")]
    assert len(model.calls[1][1][-1].images) == 1
    assert model.calls[2][1][3].images, "the model's own picture is part of the conversation"
    assert [file.name for file in sorted((tmp_path / "replies").iterdir())] == [
        "a-cat-0.png",
        "and-this-0.png",
        "hello-0.png",
    ]


def test_chat_goes_on_after_mistakes_and_forgets_when_told(run, model, monkeypatch):
    result = chatting(run, monkeypatch, "Hi", "/image no.png", "/what", "/new", "Hi again")
    assert result.code == 0 and "no.png: no such file" in result.err
    assert "/draw PROMPT" in result.out
    assert [len(turns) for _, turns, _, _ in model.calls] == [1, 1]


def test_chat_speaks_only_text_where_the_model_does(run, model, monkeypatch):
    model.can = frozenset({"chat"})
    chatting(run, monkeypatch, "Hi")
    assert model.calls[0][2] == "text"


def test_convert_names_the_new_files(run, tmp_path):
    import torch

    torch.save({"w": torch.ones(2)}, tmp_path / "a.pt")
    assert run("convert", tmp_path / "a.pt").out.strip() == str(tmp_path / "a.safetensors")


def test_models_lists_families(run):
    assert "janus" in run("models").out
    assert "janus" in json.loads(run("models", "--json").out)["families"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("generate",), "nothing to draw"),
        (("generate", "a cat", "--size", "big"), "512x384"),
        (("generate", "a cat", "--size", "0x12"), "512x384"),
        (("generate", "a cat", "--out", "cat.jpg"), "written as .png"),
        (("generate", "--prompts", "no.txt"), "no.txt: no such file"),
        (("ask", "question"), "takes a picture and a question"),
        (("ask", "no.png", "What?"), "no.png: no such file"),
        (("ask", "text.png", "What?"), "not a PNG, JPEG, WebP or GIF"),
        (("edit", "no.png", "paint it"), "no.png: no such file"),
        (("ask", "http://127.0.0.1/a.png", "What?"), "not fetched; download"),
        (("convert", "nowhere"), "no such file"),
        (("train", "no.toml"), "no recipe at no.toml"),
        (("train", "no.toml", "--resume", "maybe"), "yes, no, older, changed"),
        (("eval", "fake", "--on", "nothing"), "emoji"),
    ],
)
def test_wrong_input_is_one_line_and_exit_2(run, model, tmp_path, arguments, message):
    (tmp_path / "text.png").write_text("no picture")
    result = run(*arguments)
    assert result.code == 2
    assert message in result.err
    assert len(result.err.splitlines()) == 1 and result.err.startswith("diptych: ")
    assert model.calls == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("genrate", "a cat"), "generate"),
        (("generate", "a cat", "--seeds", "3"), "--seed"),
        (("generate", "a cat", "-n", "0"), "equal to 1"),
        (("edit", "a.png"), "INSTRUCTION"),
    ],
)
def test_wrong_use_is_exit_2_with_a_hint(run, model, arguments, message):
    result = run(*arguments)
    assert result.code == 2 and message in re.sub(r"\x1b\[[0-9;]*m", "", result.err)


def test_unknown_models_are_exit_2(run):
    result = run("generate", "a cat", "--model", "no-such-model")
    assert result.code == 2 and "unknown model 'no-such-model'" in result.err


def test_what_the_model_cannot_do(run, model):
    model.can = frozenset({"chat"})
    result = run("generate", "a cat")
    assert (result.code, result.err) == (2, "diptych: this model cannot generate; it can chat\n")


def test_interrupted_is_exit_130_without_traceback(run, model):
    model.interrupt = True
    result = run("generate", "a cat")
    assert (result.code, result.err) == (130, "diptych: interrupted\n")


def test_out_of_memory_has_a_remedy(run, model, monkeypatch):
    def generate(*args, **kwargs):
        raise MemoryError

    monkeypatch.setattr(model, "generate", generate)
    result = run("generate", "a cat")
    assert result.code == 1 and "--n" in result.err


def test_a_folder_that_cannot_be_written(run, model, tmp_path):
    (tmp_path / "file").touch()
    assert run("generate", "a cat", "--out", "file").code == 2
    result = run("generate", "a cat", "--out", "file/below")
    assert result.code == 1 and len(result.err.splitlines()) == 1


def test_mistakes_of_ours_are_not_hidden(model, monkeypatch, tmp_path):
    from diptych.cli import main

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(model, "generate", lambda *args, **kwargs: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        main(["generate", "a cat"])


@pytest.mark.parametrize(
    ("text", "size"), [("384", (384, 384)), ("512x384", (384, 512)), ("5X7", (7, 5)), (None, None)]
)
def test_sizes_are_width_by_height(text, size):
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "x", "12x", "-3", "3x4x5", "1e3", "0", "999999"])
def test_other_sizes_are_refused(text):
    with pytest.raises(InputError, match="512x384"):
        parse_size(text)


def test_file_names_are_safe():
    assert slug("../../etc/passwd") == "etc-passwd"
    assert slug("Ein Apfel, 一个苹果!") == "ein-apfel-一个苹果"
    assert slug("?!") == "picture" and len(slug("word " * 99)) <= 48


def test_equal_prompts_get_files_of_their_own(tmp_path):
    assert len(set(places(str(tmp_path), ["a", "a", "a"], [0, 0, 0]))) == 3

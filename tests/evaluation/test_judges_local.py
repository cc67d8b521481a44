"""Local judges on random models of transformers' own classes: what they are shown, what becomes of what they say."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

pytest.importorskip("transformers")
pytest.importorskip("scipy")

from diptych.errors import BenchmarkError
from diptych.evaluation.benchmark import Row
from diptych.evaluation.benchmarks import find as benchmark
from diptych.evaluation.judges import asking, detecting, find, ours
from diptych.evaluation.judges.answering import Blip, Chat
from diptych.evaluation.judges.detecting import Detector, Found, colors, crop
from diptych.evaluation.networks import Clip
from tests.evaluation import tiny_models

RED = Image.new("RGB", (40, 24), "red")
ITEM = {"questions": {"1": "Is there a dog?"}, "parents": {"1": [0]}, "tuples": {}}
DSG = Row("x", "a dog", (), {"item": ITEM})


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Folders of random models by name."""
    home = tmp_path_factory.mktemp("models")
    return {name: str(getattr(tiny_models, name)(home / name)) for name in ("clip", "blip", "llava", "mask2former")}


@pytest.fixture
def small_pictures(monkeypatch):
    """The detector's pictures, small enough for a test."""
    monkeypatch.setattr(detecting, "SHORT", 64)
    monkeypatch.setattr(detecting, "LONG", 128)


@pytest.fixture
def picture(tmp_path) -> Path:
    RED.save(tmp_path / "made.png")
    return tmp_path / "made.png"


def scripted(detector, picture, objects):
    """Lets a detector see these objects: (class number, sureness of the class, box in pixels of the picture)."""
    pixels, (height, width) = detecting._prepared(picture)
    logits, masks = torch.full((1, len(objects), 4), -20.0), torch.full((1, len(objects), *pixels.shape[-2:]), -9.0)
    across, down = width / picture.width, height / picture.height
    for query, (label, share, (left, top, right, bottom)) in enumerate(objects):
        logits[0, query, label], logits[0, query, 3] = np.log(share), np.log(1 - share)
        masks[0, query, round(top * down) : round(bottom * down), round(left * across) : round(right * across)] = 9.0
    seen = SimpleNamespace(class_queries_logits=logits, masks_queries_logits=masks)
    detector.model = type("Network", (), {"device": torch.device("cpu"), "__call__": lambda self, pixel_values: seen})()


def test_boxes_are_in_pixels_of_the_picture_and_names_are_geneval_s(folders, small_pictures):
    detector = Detector(folders["mask2former"])
    assert detector.names == ["person", "computer mouse", "bench"]
    scripted(detector, RED, [(2, 0.5, (0, 0, 40, 24)), (1, 0.9, (10, 6, 20, 18))])
    first, second, *_ = detector.find(RED)
    assert (first.name, first.box) == ("computer mouse", (10, 6, 20, 18))
    assert (second.name, second.box) == ("bench", (0, 0, 40, 24))
    assert first.score == pytest.approx(0.9, rel=0.01), "sureness of the class times that of the mask"
    assert first.mask.shape == (24, 40) and first.mask[6:18, 10:20].all() and first.mask.sum() == 120


def test_pictures_are_scaled_and_padded_as_mmdet_does():
    pixels, size = detecting._prepared(Image.new("RGB", (512, 512)))
    assert size == (800, 800) and pixels.shape == (1, 3, 800, 800)
    pixels, size = detecting._prepared(Image.new("RGB", (2000, 500), "white"))
    assert size == (333, 1333) and pixels.shape == (1, 3, 352, 1344)
    assert pixels[0, 0, 0, 0] == pytest.approx((1 - 0.485) / 0.229) and pixels[0, :, 340].abs().max() == 0


def test_an_object_is_cut_out_on_grey():
    mask = np.zeros((24, 40), bool)
    mask[6:18, 10:15] = True
    alone = crop(RED, Found("dog", (10, 6, 20, 18), 0.9, mask))
    assert alone.size == (10, 12)
    assert alone.getpixel((0, 0)) == (255, 0, 0) and alone.getpixel((9, 0)) == (0x99, 0x99, 0x99)


def test_colours_are_the_nearest_of_ten_texts(folders, monkeypatch):
    clip = Clip(folders["clip"])
    asked = []

    def texts(said):
        asked.extend(said)
        return np.repeat(np.eye(10), 3, 0)

    monkeypatch.setattr(clip, "texts", texts)
    monkeypatch.setattr(clip, "images", lambda crops: np.eye(10)[[3, 0]][: len(crops)])
    everything = np.ones((24, 40), bool)
    found = [Found("dog", (0, 0, 40, 24), 0.9, everything)] * 2
    assert colors(clip, RED, found) == ["green", "red"]
    assert asked[:3] == ["a photo of a red dog", "a photo of a red-colored dog", "a photo of a red object"]
    assert len(asked) == 30


def test_geneval_from_pictures_to_verdict(folders, small_pictures, picture):
    spec = f"local:mask2former={folders['mask2former']},{folders['clip']}"
    judge, geneval = find(spec, benchmark("geneval")), benchmark("geneval")
    scripted(judge.detector, RED, [(2, 0.95, (2, 2, 12, 12)), (2, 0.4, (20, 2, 30, 12)), (0, 0.2, (0, 0, 9, 9))])
    include = [{"class": "bench", "count": 1, "color": "red"}]
    row = Row("00000", "a red bench", (), {"tag": "colors", "include": include})
    seen = judge.see(row, [picture] * 2)
    assert len(seen) == 2 and set(seen[0]) == {"bench"}, "what is less sure than 0.3 is not there"
    assert [entry["box"] for entry in seen[0]["bench"]] == [[2, 2, 12, 12], [20, 2, 30, 12]]
    assert all(entry["color"] in detecting.COLORS for entry in seen[0]["bench"])
    counting = Row("1", "two benches", (), {"tag": "counting", "include": [{"class": "bench", "count": 2}]})
    verdict = geneval.judge(counting, judge.see(counting, [picture]))[0]
    assert not verdict.correct and verdict.kept == {"bench": 1}, "counting needs 0.9"
    assert "color" not in judge.see(counting, [picture])[0]["bench"][0]
    assert not judge.official and "stands in for mmdet's Mask2Former" in judge.id


def test_a_random_detector_gives_well_formed_findings(folders, small_pictures):
    found = Detector(folders["mask2former"]).find(RED)
    assert 0 < len(found) <= 15
    for one in found:
        left, top, right, bottom = one.box
        assert 0 <= left < right <= 40 and 0 <= top < bottom <= 24 and 0 < one.score < 1
    assert [one.score for one in found] == sorted((one.score for one in found), reverse=True)


def test_blip_answers_questions_and_is_sure_of_them(folders, picture):
    judge = find(f"local:blip-vqa={folders['blip']}", benchmark("dsg"))
    answer = judge.see(DSG, [picture])["1"]
    assert answer == judge.see(DSG, [picture])["1"] and isinstance(answer, str)
    sure = find(f"local:blip-vqa={folders['blip']}", benchmark("genai-bench"))
    values = sure.see(Row("0", "a dog"), [picture, picture])
    assert values[0] == values[1] and 0 < values[0] < 1 and "clip-flant5-xxl" in sure.id
    blip = Blip(folders["blip"])
    with pytest.raises(BenchmarkError, match="answers about one picture, not 2"):
        blip.answer([RED, RED, "?"], "", {}, 0)


def test_the_probability_of_yes_is_that_of_the_first_token(folders):
    """Its greedy answer is "yes" only where no other token is likelier: checked by lifting the bias of one."""
    blip = Blip(folders["blip"])
    token = blip.tokenizer("yes", add_special_tokens=False)["input_ids"][0]
    head = blip.model.text_decoder.cls.predictions
    bias = head.decoder.bias if head.decoder.bias is not None else head.bias
    before = blip.yes(RED, "is there a dog?")
    with torch.no_grad():
        bias[token] += 20
    assert before < 0.5 < blip.yes(RED, "is there a dog?")
    assert blip.answer([RED, "is there a dog?"], "", {"max_tokens": 1}, 0) == "yes"


def test_a_chat_model_answers_and_is_sure(folders, picture):
    judge = find(f"local:qwen2.5-vl={folders['llava']}", benchmark("dsg"))
    assert isinstance(judge.see(DSG, [picture])["1"], str)
    chat = Chat(folders["llava"])
    assert 0 < chat.yes(RED, "Is there a dog ?") < 1
    inputs = chat._inputs(["Is this", RED, "or", RED], "")
    assert inputs["pixel_values"].shape[0] == 2, "pictures stand where they were put"
    assert (inputs["input_ids"] == chat.model.config.image_token_id).sum() == 2 * 4


def test_clip_matches_pictures_with_prompts(folders, picture):
    judge = find(f"local:clip={folders['clip']}", benchmark("drawbench"))
    values = judge.see(Row("0", "a red dog"), [picture, picture])
    assert values[0] == pytest.approx(values[1]) and -1 <= values[0] <= 1 and not judge.official
    assert judge.id == "local:clip (stands in for openai/clip-vit-base-patch32)", "a folder is called by its name"


@pytest.mark.parametrize(
    ("spec", "name", "said"),
    [
        ("local:mask2former=/nowhere", "geneval", "takes 2 models"),
        ("local:blip-vqa=", "dsg", "takes 1 models"),
        ("local:blip-vqa=/nowhere/at/all", "dsg", "cannot be loaded as BlipForQuestionAnswering"),
    ],
)
def test_models_that_cannot_be_had_are_told(spec, name, said):
    with pytest.raises(BenchmarkError, match=said) as error:
        find(spec, benchmark(name))
    assert "\n" not in str(error.value)


def test_only_safetensors_are_read_and_no_code_of_a_model_is_run(tmp_path):
    with pytest.raises(BenchmarkError, match="cannot be loaded"):
        Clip(str(tiny_models.pickled(tmp_path / "pickled")))
    canary = tmp_path / "canary"
    Clip(str(tiny_models.with_code(tmp_path / "code", canary)))
    assert not canary.exists()


def test_a_model_of_our_own_as_judge(monkeypatch, picture):
    asked = []

    class Fake:
        can = frozenset({"chat"})

        def chat(self, turns, **options):
            asked.append((turns, options))
            return SimpleNamespace(text="Yes")

    monkeypatch.setattr(ours, "load", lambda name: Fake())
    judge = find("model:janus-emoji", benchmark("dsg"))
    assert judge.see(DSG, [picture]) == {"1": "yes"}
    assert judge.id.startswith("model:janus-emoji (stands in for") and not judge.official
    (turn,), options = asked[0]
    assert turn.text.startswith("Is there a dog?") and len(turn.images) == 1
    assert options == {"temperature": 0.0, "max_tokens": 16}
    Fake.can = frozenset({"generate"})
    with pytest.raises(BenchmarkError, match="only draws"):
        find("model:janus-emoji", benchmark("dsg"))


def test_what_is_no_picture_is_an_error(tmp_path):
    (tmp_path / "no.png").write_text("no picture")
    with pytest.raises(Exception, match="no.png"):
        asking.opened(tmp_path / "no.png")

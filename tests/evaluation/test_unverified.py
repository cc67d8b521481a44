"""Scorers written by their rule alone: on values worked out by hand, and on small files in the published form."""

import base64
import io
import json

import pyarrow
import pyarrow.parquet
import pytest
from PIL import Image

from diptych.errors import BenchmarkError
from diptych.evaluation import hub
from diptych.evaluation.benchmark import Row
from diptych.evaluation.benchmarks import documents, find, hallusion, lettered, names


def encoded() -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (4, 4), "red").save(stream, format="PNG")
    return stream.getvalue()


PNG = encoded()
CELL = {"bytes": PNG, "path": "1.png"}


def store(path, *records):
    path.parent.mkdir(parents=True, exist_ok=True)
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(list(records)), path)


def score(name, folder, *replies):
    benchmark = find(name)
    rows = benchmark.rows(folder)
    assert len(rows) == len(replies)
    return rows, benchmark.score(rows, {row.id: reply for row, reply in zip(rows, replies, strict=True)})


def test_letters_by_each_rule():
    assert lettered.is_ai2d(" B. the moon", "B") and lettered.is_ai2d("(b)", "B") and not lettered.is_ai2d("B the", "B")
    assert lettered.is_scienceqa("b", "B") and lettered.is_scienceqa("B. yes", "B")
    assert not lettered.is_scienceqa("b. yes", "B") and not lettered.is_scienceqa("", "B")
    assert all(lettered.is_mmstar(said, "C") for said in ("c", "(C)", "Option C", "The answer is C.", "Cats"))
    assert not lettered.is_mmstar("It is C", "C")
    assert lettered.is_realworldqa("Downhill. ", "downhill") and not lettered.is_realworldqa("a.b", "ab")


def test_numbers_within_five_percent():
    assert documents.relaxed("105", "100") and documents.relaxed("95", "100") and not documents.relaxed("105.1", "100")
    assert documents.relaxed("5%", "0.05") and documents.relaxed("Yes", "yes") and not documents.relaxed("yes.", "yes")
    assert documents.relaxed("0", "0") and not documents.relaxed("0.0", "0"), "a gold 0 is compared as text"


def test_similarity_of_the_nearest_answer():
    assert documents.anls(" 12  MAIN st", ["12 main st", "x"]) == 1
    assert documents.anls("abcd", ["abxd"]) == 0.75 and documents.anls("ab", ["xb"]) == 0.5
    assert documents.anls("abc", ["xyc"]) == 0 and documents.anls("", [""]) == 1


def test_text_that_is_contained():
    assert documents.holds("It says ＯＰＥＮ now", ["open"], "IIIT5K") and not documents.holds(
        "op en", ["open"], "IIIT5K"
    )
    assert documents.holds("x ^ 2\n+ 1", ["x^2 +1"], "HME100k") and not documents.holds("X^2", ["x^2"], "HME100k")


def test_lettered_sets_from_hub_files(tmp_path):
    ai2d = {"question": "Which?", "options": ["sun", "moon"], "answer": "1", "image": CELL}
    store(tmp_path / "ai2d" / "data" / "test-00000-of-00002.parquet", ai2d)
    store(tmp_path / "ai2d" / "data" / "test-00001-of-00002.parquet", ai2d | {"answer": "0"})
    rows, table = score("ai2d", tmp_path / "ai2d", "B. moon", "B")
    assert rows[0].prompt == f"Which?\nA. sun\nB. moon\n{lettered.DIRECTLY}" and rows[0].images == (PNG,)
    assert table == {"accuracy": 50}
    science = {"question": "Q", "choices": ["a", "b"], "answer": 0, "hint": "H", "image": CELL, "subject": "natural"}
    store(tmp_path / "sqa" / "test.parquet", science, science | {"subject": "social"}, science | {"subject": "social"})
    rows, table = score("scienceqa", tmp_path / "sqa", "A", "A", "B")
    assert rows[0].prompt.startswith("Context: H\nQ\nA. a")
    assert table["kinds"] == {"natural": 100, "social": 50} and table["average"] == 75
    star = {"index": 3, "question": "Q\nOptions: A: x", "image": PNG, "answer": "A", "category": "math"}
    store(tmp_path / "star" / "mmstar.parquet", star)
    assert score("mmstar", tmp_path / "star", "(A")[1]["accuracy"] == 100
    store(tmp_path / "rw" / "test-0.parquet", {"question": "Q", "answer": "Two", "image": CELL})
    assert score("realworldqa", tmp_path / "rw", "two.")[1]["accuracy"] == 100


def test_documents_from_hub_files(tmp_path):
    chart = {"type": "human_test", "question": "How many?", "answer": "100", "image": CELL}
    store(tmp_path / "chart" / "test-0.parquet", chart, chart | {"type": "augmented_test"})
    table = score("chartqa", tmp_path / "chart", "98", "3")[1]
    assert table == {"relaxed_overall": 50, "relaxed_human_split": 100, "relaxed_augmented_split": 0}
    page = {"questionId": "7", "question": "Who?", "answers": ["abcd", "x"], "image": CELL}
    store(tmp_path / "docs" / "DocVQA" / "validation-0.parquet", page)
    store(tmp_path / "docs" / "InfographicVQA" / "validation-0.parquet", page, page | {"questionId": "8"})
    assert score("docvqa", tmp_path / "docs", "abxd")[1] == {"anls": 0.75}
    assert score("infovqa", tmp_path / "docs", "abcd", "nothing")[1] == {"anls": 0.5}
    text = {"dataset": "IIIT5K", "question": "What?", "question_type": "Regular", "answer": ["CENTRE"], "image": CELL}
    store(tmp_path / "ocr" / "test.parquet", text, text | {"question_type": "Doc"})
    assert score("ocrbench", tmp_path / "ocr", "centre", "center")[1] == {"score": 1, "kinds": {"Regular": 1, "Doc": 0}}


def test_hallusion_figures_and_questions(tmp_path):
    picture = base64.b64encode(PNG).decode()
    lines = ["index\timage\tquestion\tanswer\tcategory\tl2-category"]
    for figure, question, gold in ((0, 0, "Yes"), (0, 1, "No"), (1, 0, "No"), (1, 1, "No")):
        lines.append(f"VD_chart_x_5_{figure}_{question}\t{picture}\tIs it?\t{gold}\tVD\tchart")
    (tmp_path / "HallusionBench.tsv").write_text("\n".join(lines))
    _, table = score("hallusionbench", tmp_path, "Yes, it is.", "no", "no!", "yes and no")
    assert (table["aAcc"], table["fAcc"], table["qAcc"]) == (75, 50, 50)
    assert table["categories"]["VD"]["aAcc"] == 75
    assert [hallusion.read_answer(said) for said in ("", "not", "NO.", "yes")] == [None, None, "No", "Yes"]


def test_matched_prompts(tmp_path):
    (tmp_path / "genai_image.json").write_text(
        json.dumps({"00000": {"id": "00000", "prompt": "a"}, "00001": {"prompt": "b"}})
    )
    (tmp_path / "genai_skills.json").write_text(json.dumps({"basic": [0], "count": [0, 1]}))
    _, table = score("genai-bench", tmp_path, [0.2, 0.4], [0.9])
    assert table["vqascore"] == pytest.approx(0.5)
    assert table["skills"] == {"basic": pytest.approx(0.3), "count": pytest.approx(0.5)}
    (tmp_path / "drawbench.csv").write_text('Prompt,Category\n"A red car, fast.",Colors\nTwo dogs.,Counting\n')
    rows, table = score("drawbench", tmp_path, [0.4], [-0.2])
    assert rows[0].prompt == "A red car, fast."
    assert (table["cosine"], table["clipscore"]) == (pytest.approx(0.1), pytest.approx(0.5))
    with pytest.raises(BenchmarkError, match="needs a number for each"):
        find("drawbench").judge(Row("0", ""), [])


def test_verified_sets_from_hub_files(tmp_path):
    question = {"question_id": "OCR/1.jpg", "image": CELL, "question": "Is it? Please answer yes or no."}
    asked = [question | {"answer": "Yes", "category": "OCR"}, question | {"answer": "No", "category": "OCR"}]
    store(tmp_path / "mme" / "data" / "test-0.parquet", *asked)
    rows, table = score("mme", tmp_path / "mme", "yes", "yes")
    assert rows[0].images == (PNG,) and table["tasks"]["OCR"] == 50
    mmmu = {"id": "validation_Art_1", "question": "Who? <image 1>", "options": "['a', 'b']", "answer": "B"}
    mmmu |= {"image_1": CELL} | {f"image_{number}": None for number in range(2, 8)}
    store(tmp_path / "mmmu" / "Art" / "validation-0.parquet", mmmu)
    rows, table = score("mmmu", tmp_path / "mmmu", "(B)")
    assert rows[0].images == (PNG,) and rows[0].facts["subject"] == "Art" and table["acc"] == 1


def test_unverified_ones_say_so():
    unverified = {name for name in names() if not find(name).verified}
    assert {"ai2d", "chartqa", "genai-bench"} <= unverified
    assert not unverified & {"pope", "geneval", "wise", "dpgbench", "mmmu"}


def test_files_that_are_no_data_sets_are_told(tmp_path):
    (tmp_path / "test.parquet").write_bytes(b"PAR1 but not really")
    with pytest.raises(BenchmarkError, match="is no parquet file"):
        find("chartqa").rows(tmp_path)
    store(tmp_path / "test.parquet", {"question": "Q"})
    with pytest.raises(BenchmarkError, match="has no column type, answer, image"):
        find("chartqa").rows(tmp_path)
    store(
        tmp_path / "test.parquet", {"type": "x", "question": "Q", "answer": "1", "image": {"bytes": None, "path": "1"}}
    )
    with pytest.raises(BenchmarkError, match="its picture is not in the file"):
        find("chartqa").rows(tmp_path)
    assert hub.listed("['a', 'b']", "") == ["a", "b"] and hub.listed(["c"], "") == ["c"]
    for wrong in ("__import__('os')", "{", "3", None):
        with pytest.raises(BenchmarkError, match="is no list"):
            hub.listed(wrong, "row")


def test_a_repository_that_cannot_be_fetched_is_told(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    for wrong in ("no such/name", "nobody/nothing-at-all"):
        with pytest.raises(BenchmarkError, match="cannot be fetched"):
            hub.fetched(wrong)

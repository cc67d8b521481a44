"""Benchmarks as a whole: published files in, rows asked, evidence judged, a table out; and what wrong files say."""

import json
from pathlib import Path

import pytest

from diptych.errors import BenchmarkError
from diptych.evaluation import benchmarks
from diptych.evaluation.benchmark import Benchmark, Row
from diptych.evaluation.benchmarks import unieval

PIXEL = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de0000000c4944415478da63f8ffff3f0005fe02fe33129ce5"
    "0000000049454e44ae426082"
)


def lines(*records: dict) -> str:
    return "".join(json.dumps(record) + "\n" for record in records)


def pope_files(folder: Path) -> None:
    for split in ("random", "popular", "adversarial"):
        record = {"question_id": 1, "image": "a.jpg", "text": "Is there a dog in the image?", "label": "yes"}
        (folder / f"coco_pope_{split}.json").write_text(lines(record, record | {"question_id": 2, "label": "no"}))
    (folder / "val2014").mkdir()
    (folder / "val2014" / "a.jpg").write_bytes(PIXEL)


def test_pope_from_files_to_table(tmp_path):
    pope_files(tmp_path)
    pope = benchmarks.find("pope")
    rows = pope.rows(tmp_path)
    assert [row.id for row in rows[:2]] == ["random-1", "random-2"]
    request = pope.ask(rows[0])
    assert (request.want, request.turns[0].text) == ("text", "Is there a dog in the image?")
    assert len(request.turns[0].images) == 1
    table = pope.score(rows, {row.id: "Yes, there is." if row.id.endswith("1") else "No." for row in rows})
    assert table["accuracy"] == table["f1"] == 1.0
    assert set(table["splits"]) == {"random", "popular", "adversarial"}


def test_mmbench_rotations_share_a_picture(tmp_path):
    import base64

    header = "index\tquestion\thint\tA\tB\tanswer\tcategory\tl2-category\timage\n"
    encoded = base64.b64encode(PIXEL).decode()
    rows = f"7\tWhat?\t\tcat\tdog\tA\tocr\tlogic_reasoning\t{encoded}\n"
    rows += "1000007\tWhat?\tLook.\tdog\tcat\tB\tocr\tlogic_reasoning\t7\n"
    (tmp_path / "MMBench_DEV_EN.tsv").write_text(header + rows)
    mmbench = benchmarks.find("mmbench")
    rows = mmbench.rows(tmp_path)
    assert [row.images for row in rows] == [(PIXEL,), (PIXEL,)]
    assert rows[1].prompt.startswith("Hint: Look.\nQuestion: What?\nOptions:\nA. dog\nB. cat\n")
    assert mmbench.score(rows, {"7": "A", "1000007": "B"}) == {"Overall": 1.0, "LR": 1.0, "ocr": 1.0}
    assert mmbench.score(rows, {"7": "A", "1000007": "A"})["Overall"] == 0.0


def test_gqa_entailed_questions_outside_the_file_are_left_out(tmp_path):
    question = {
        "question": "Is it red?",
        "imageId": "1",
        "answer": "yes",
        "isBalanced": True,
        "groups": {"global": None},
    }
    question |= {"types": {"structural": "verify", "semantic": "attr"}, "entailed": ["1", "9"]}
    (tmp_path / "testdev_balanced_questions.json").write_text(json.dumps({"1": question}))
    gqa = benchmarks.find("gqa")
    table = gqa.score(gqa.rows(tmp_path), {"1": "Yes."})
    assert (table["accuracy"], table["binary"], table["open"], table["consistency"]) == (100.0, 100.0, 0, 0)


def test_geneval_counts_pictures_and_prompts(tmp_path):
    record = {"tag": "counting", "include": [{"class": "cup", "count": 2}], "prompt": "a photo of two cups"}
    (tmp_path / "evaluation_metadata.jsonl").write_text(lines(record))
    geneval = benchmarks.find("geneval")
    cup = {"box": [0, 0, 9, 9], "score": 0.95}
    table = geneval.score(geneval.rows(tmp_path), {"00000": [{"cup": [cup, cup]}, {"cup": [cup]}]})
    assert (table["n_images"], table["n_prompts"], table["overall"]) == (2, 1, 0.5)
    assert table["correct_prompts_pct"] == 100


def test_dsg_reads_the_words_among_published_parents(tmp_path):
    header = "item_id,text,keywords,proposition_id,dependency,tuple,question_natural_language\n"
    body = 'x,a dog,k,1,0,entity - whole (dog),Is there a dog?\nx,a dog,k,2,"1, right",relation (dog),Is it right?\n'
    (tmp_path / "dsg-1k-anns.csv").write_text(header + body)
    dsg = benchmarks.find("dsg")
    rows = dsg.rows(tmp_path)
    assert dsg.ask(rows[0]).want == "image"
    assert dsg.score(rows, {"x": {"1": "no", "2": "yes"}}) == {"with_dependency": 0.0, "without_dependency": 0.5}


def test_wise_names_the_scores_it_needs():
    wise = benchmarks.find("wise")
    row = Row("5", "a prompt", (), {"prompt_id": 5})
    assert wise.score([row], {"5": {"consistency": 2, "realism": 2, "aesthetic_quality": 2}})["categories"] == {
        "CULTURE": pytest.approx(1.0)
    }
    with pytest.raises(BenchmarkError, match="aesthetic_quality"):
        wise.score([row], {"5": {"consistency": 2, "realism": "1"}})


def test_gedit_wants_scores_in_both_replies():
    row = Row("k", "an edit", (), {"group": "color_alter", "language": "en", "common": True})
    gedit = benchmarks.find("gedit")
    table = gedit.score([row], {"k": {"SC": "[9, 4]", "PQ": '{"score": [9, 9]}'}})
    assert table["en"]["O"]["color_alter"] == 6.0
    with pytest.raises(BenchmarkError, match="ask it again"):
        gedit.score([row], {"k": {"SC": "sorry", "PQ": "[9, 9]"}})


def test_unieval_reads_options_out_of_the_question():
    question = "Question: What?\nOptions: (A) a cat, (B) Huawei, Inc., (C) N/A or Unknown\nBased on the image, answer."
    assert unieval.options(question) == ["a cat", "Huawei, Inc.", "N/A or Unknown"]


@pytest.mark.parametrize("name", benchmarks.names())
def test_every_benchmark_is_found_and_names_missing_files(name, tmp_path):
    found = benchmarks.find(name)
    assert isinstance(found, Benchmark)
    assert (found.name, found.version >= 1, bool(found.source), bool(found.evidence)) == (name, True, True, True)
    with pytest.raises(BenchmarkError, match="holds no"):
        found.rows(tmp_path)


def test_unknown_names_and_missing_answers_are_told():
    with pytest.raises(BenchmarkError, match="choose one of pope, mme"):
        benchmarks.find("popo")
    with pytest.raises(BenchmarkError, match=r"1 of 1 rows have no answer \(a\)"):
        benchmarks.find("pope").score([Row("a", "?")], {})
    with pytest.raises(BenchmarkError, match="no rows"):
        benchmarks.find("pope").score([], {})


@pytest.mark.parametrize(
    ("name", "file", "text", "said"),
    [
        ("pope", "coco_pope_random.json", "{", "line 1 is no JSON"),
        ("pope", "coco_pope_random.json", '{"question_id": 1}\n', "no 'image'"),
        ("pope", "coco_pope_random.json", "[1]\n", "is no object"),
        ("mme", "existence.txt", "a.jpg Is it?\n", "apart by tabs"),
        ("mmbench", "MMBench_DEV_EN.tsv", "index\tquestion\n", "no column A"),
        ("mmvet", "mm-vet.json", "[]", "not a dict"),
        ("dsg", "dsg-1k-anns.csv", "item_id,text\n", "no column proposition_id"),
        ("geneval", "evaluation_metadata.jsonl", '{"tag": 3}\n', "of another kind"),
    ],
)
def test_wrong_files_are_told(name, file, text, said, tmp_path):
    (tmp_path / file).write_text(text)
    with pytest.raises(BenchmarkError, match=said):
        benchmarks.find(name).rows(tmp_path)


def test_files_that_are_no_text_are_told(tmp_path):
    (tmp_path / "mm-vet.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(BenchmarkError, match="no UTF-8 text"):
        benchmarks.find("mmvet").rows(tmp_path)

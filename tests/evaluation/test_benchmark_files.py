"""Benchmarks whose files may not be shipped, on small files in the published form: read, asked, answered rightly."""

import json
from pathlib import Path
from typing import Any

import pytest

from diptych.evaluation.benchmarks import find

CHOICES = {"choice_a": "cat", "choice_b": "dog", "choice_c": "cow", "choice_d": "pig"}
SEED = {"question_id": "9_1", "question_type_id": 9, "data_id": "a.jpg", "question": "What?", "answer": "B"} | CHOICES
SAID = [{"answer": "a dog", "answer_id": number} for number in range(1, 11)]
NOTE = {"question_id": 7, "answers": SAID, "answer_type": "other", "question_type": "what"}
PROBLEM = {"question": "How many?", "image": "1.jpg", "choices": None, "precision": None, "answer": "3"}
PROBLEM |= {"question_type": "free_form", "answer_type": "integer", "metadata": {"task": "counting"}}
OPEN = {"id": "validation_Art_1", "question": "How many?", "options": [], "answer": "3", "image_1": "1.png"}
DPG = "item_id,text,proposition_id,dependency,tuple,question_natural_language\n"
DPG += "skipped,no one,1,0,entity - whole (a),Is it?\nx,a dog,1,0,entity - whole (dog),Is there a dog?\n"
BEST = dict.fromkeys(("consistency_score", "quality_score", "instruction_score", "knowledge_score"), 5)
RISE = {"index": "t_1", "category": "temporal_reasoning", "instruction": "Later?", "image": "t/1.png"}
KRIS = {"id": "1", "type": "biology", "ori_img": "1.jpg", "ins_en": "Grow it."}
COCO = {"images": [{"id": 1, "file_name": "1.jpg"}, {"id": 2, "file_name": "2.jpg"}]}
COCO |= {"annotations": [{"image_id": 1, "caption": "A dog runs home."}, {"image_id": 2, "caption": "Two cats."}]}
WISE = {"Prompt": "A moon cake", "prompt_id": 1}
WISE_FILES = ("cultural_common_sense", "spatio-temporal_reasoning", "natural_science")
EDIT = {"prompt": "Make it red.", "id": "fullset/color_alter/en/k.png", "edit_type": "color_alter"}

# Files by name, what is said to each row, a figure of the table, and its value.
CASES: dict[str, tuple[dict[str, Any], list[Any], str, float]] = {
    "seedbench": (
        {"SEED-Bench.json": {"questions": [SEED, SEED | {"question_type_id": 10}]}},
        ["B. dog"],
        "total",
        100,
    ),
    "mmvet": (
        {"mm-vet.json": {"v1_0": {"imagename": "a.jpg", "question": "?", "answer": "a", "capability": ["ocr"]}}},
        [[1.0, 0.5]],
        "total",
        75,
    ),
    "vqav2": (
        {
            "v2_OpenEnded_mscoco_val2014_questions.json": {
                "questions": [{"question_id": 7, "image_id": 42, "question": "What?"}]
            },
            "v2_mscoco_val2014_annotations.json": {"annotations": [NOTE]},
        },
        ["a dog"],
        "overall",
        100,
    ),
    "textvqa": (
        {
            "TextVQA_0.5.1_val.json": {
                "data": [{"question_id": 1, "image_id": "f", "question": "?", "answers": ["a dog"] * 10}]
            }
        },
        ["Dog."],
        "accuracy",
        1,
    ),
    "mathvista": ({"testmini.json": {"1": PROBLEM}}, ["3.0"], "accuracy", 1),
    "mmmu": ({"validation.jsonl": OPEN}, ["The answer is 3."], "acc", 1),
    "dpgbench": ({"dpg_bench.csv": DPG}, [None, [{"Is there a dog?": "yes"}] * 4], "dpg_score", 100),
    "wise": (
        {f"legacy_{name}.json": [WISE | {"prompt_id": number}] for number, name in enumerate(WISE_FILES, 1)},
        [{"consistency": 2, "realism": 2, "aesthetic_quality": 2}] * 3,
        "overall",
        0.4,
    ),
    "wise-verified": (
        {f"{name}_verified.json": [WISE | {"prompt_id": number}] for number, name in enumerate(WISE_FILES, 1)},
        [1, 0, 1],
        "overall",
        0.4 * 2 / 3,
    ),
    "imgedit": ({"basic_edit.json": {"1": EDIT}}, ["A: 4\nB: 5"], "overall", 4.5),
    "caption": ({"captions_val2017.json": COCO}, ["a dog runs home", "two cats!"], "rouge_l", 1),
}


def write(folder: Path, files: dict[str, Any]) -> None:
    for name, content in files.items():
        text = content if isinstance(content, str) else json.dumps(content)
        (folder / name).write_text(text, encoding="utf-8")


@pytest.mark.parametrize("name", CASES)
def test_from_files_to_table(name, tmp_path):
    files, said, figure, value = CASES[name]
    write(tmp_path, files)
    benchmark = find(name)
    rows = benchmark.rows(tmp_path)
    assert len(rows) == len(said)
    table = benchmark.score(rows, {row.id: reply for row, reply in zip(rows, said, strict=True)})
    assert table[figure] == pytest.approx(value)


def test_edits_from_files_to_tables(tmp_path):
    write(tmp_path, {"gedit_edit.json": {"k": EDIT}, "final_data.json": [KRIS], "data_total.json": [RISE]})
    gedit, kris, rise = (find(name) for name in ("gedit", "kris", "rise"))
    row = gedit.rows(tmp_path)[0]
    assert row.images == (tmp_path / EDIT["id"],)
    assert gedit.score([row], {"k": {"SC": "[9, 9]", "PQ": "[4, 5]"}})["en"]["O"]["color_alter"] == 6
    assert kris.score(kris.rows(tmp_path), {"biology-1": BEST})["overall"] == {"AVG": 100}
    scores = {"Reasoning": 5, "ApprConsistency": 5, "VisualPlausibility": 5}
    assert rise.score(rise.rows(tmp_path), {"t_1": scores})["overall"] == {"score": 100, "accuracy": 100}

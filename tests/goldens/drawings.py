"""What each golden group of the benchmarks of drawn pictures calls in the library."""

from typing import Any

from diptych.evaluation import boxes, question_graphs
from diptych.evaluation.benchmarks import geneval, questions, wise


def dpg_score(rows: list[dict[str, Any]], answers: dict[str, Any], pic_num: int) -> dict[str, Any]:
    items = questions.read_propositions(rows, skip=1)
    judged = {name: questions.score_dpg_item(items.get(name), crops[:pic_num]) for name, crops in answers.items()}
    return questions.report_dpg(judged)


def tifa_score(questions_: list[dict[str, Any]]) -> dict[str, Any]:
    hits = [q["vqa_answer"] == q["answer"] for q in questions_]
    return questions.report_tifa([q["id"] for q in questions_], [q["element_type"] for q in questions_], hits)


def judge_image(metadata: dict[str, Any], detections: dict[str, Any]) -> dict[str, Any]:
    verdict = geneval.judge_picture(metadata, detections)
    return {"correct": verdict.correct, "kept": verdict.kept, "n_reasons": len(verdict.reasons)}


def geneval_summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    return geneval.summarise(*([row[key] for row in rows] for key in ("tag", "prompt_key", "correct")))


def wise_legacy(rows: list[str]) -> dict[str, Any]:
    return printed(wise.LEGACY.report(range(1, len(rows) + 1), [wise.wiscore(*map(int, row)) for row in rows]))


def wise_verified(rows: str) -> dict[str, Any]:
    return printed(wise.VERIFIED.report(range(1, len(rows) + 1), [int(row) for row in rows]))


def printed(report: dict[str, Any]) -> dict[str, Any]:
    return {"overall_printed" if key == "overall" else key: value for key, value in report.items()}


KNOWN = {
    "dsg": {
        "score": lambda answers, dependency, gt: questions.score_dsg(answers, dependency, gt),
        "parse_dependency": lambda text: {"parsed": question_graphs.parse_dependency(text)},
    },
    "dpgbench": {"score": dpg_score},
    "tifa": {"score": lambda **case: tifa_score(case["questions"])},
    "geneval": {
        "judge_image": judge_image,
        "relative_position": lambda box_a, box_b: {"relations": geneval.relations(box_a, box_b)},
        "iou": lambda box_a, box_b: {"iou": boxes.overlap(box_a, box_b, edge=1)},
        "summary": geneval_summary,
    },
    "wise": {
        "wiscore": lambda **scores: {"wiscore": wise.wiscore(**scores)},
        "legacy_overall": wise_legacy,
        "verified_overall": wise_verified,
        "category_of_prompt": lambda prompt_id: {
            "legacy": wise.LEGACY.category(prompt_id),
            "verified": wise.VERIFIED.category(prompt_id),
        },
        "row_filter": lambda row: {"counted_in": wise.counted_in(row)},
    },
}

"""What each golden group of the benchmarks of edits and of composed pictures calls in the library."""

from typing import Any

import numpy as np

from diptych.evaluation.benchmark import mean
from diptych.evaluation.benchmarks import gedit, genexam, imgedit, kris, oneig, rise, t2icompbench
from diptych.evaluation.benchmarks.t2icompbench import Detected
from diptych.evaluation.levenshtein import levenshtein


def position_2d(relation: str, box1: list[float], box2: list[float], case: str = "") -> dict[str, Any]:
    return {"score": t2icompbench.position_score(relation, box1, box2)}


def position_3d(relation: str, box1: list[float], box2: list[float], depth: list[list[float]]) -> dict[str, Any]:
    return {"score": t2icompbench.position_score(relation, box1, box2, np.array(depth, float))}


def image_2d(prompt: str, nouns: list[str], detections: list[dict[str, Any]]) -> dict[str, Any]:
    return {"score": t2icompbench.spatial_score(prompt, nouns, [Detected(**found) for found in detections])}


def image_numeracy(prompt: str, detections: list[dict[str, Any]]) -> dict[str, Any]:
    return {"score": t2icompbench.numeracy_score(prompt, [Detected(**found) for found in detections])}


def three_in_one(kinds: list[str], attribute: list[float], spatial: list[float], action: list[float]) -> dict[str, Any]:
    of_picture = [kind for kind in kinds for _ in range(t2icompbench.PICTURES)]
    pictures = zip(of_picture, attribute, spatial, action, strict=True)
    scores = [t2icompbench.complex_score(*picture) for picture in pictures]
    return {"scores": scores, "average": mean(scores)}


def imgedit_aggregate(edit_type: dict[str, str], replies: dict[str, str]) -> dict[str, Any]:
    table = imgedit.aggregate(edit_type, replies)
    del table["overall"]  # the mean over kinds, which the official scripts leave to the reader
    return table


def gedit_reply(reply: str) -> dict[str, Any]:
    found = gedit.read_reply(reply)
    return {"result": {"score": found["score"]} if isinstance(found, dict) and "score" in found else found}


def gedit_statistics(rows: dict[str, list[dict[str, Any]]], language: str) -> dict[str, Any]:
    groups = {
        name: [
            (gedit.viescore([row["sementics_score"]], [row["quality_score"]]), row["intersection_exist"])
            for row in found
            if row["instruction_language"] == language
        ]
        for name, found in rows.items()
    }
    return gedit.statistics(groups)


def genexam_score(scoring_points: Any, answers: Any, global_evaluation: Any) -> dict[str, Any]:
    ratings = {name: global_evaluation[long]["score"] for name, long in genexam.RATINGS.items()}
    return genexam.score([p["score"] for p in scoring_points], [a["answer"] for a in answers], ratings)


KNOWN = {
    "t2icompbench": {
        "position_2d": position_2d,
        "position_3d": position_3d,
        "image_2d": image_2d,
        "image_numeracy": image_numeracy,
        "attribute_binding": lambda yes_prob_per_noun_phrase: {
            "score": t2icompbench.attribute_score(yes_prob_per_noun_phrase)
        },
        "three_in_one": three_in_one,
    },
    "oneig": {
        "preprocess": lambda text: {"text": oneig.clean(text)},
        "levenshtein": lambda a, b: {"distance": levenshtein(a, b)},
        "word_match": lambda gt, ocr: dict(
            zip(("matched", "ratio", "gt_count"), oneig.match_words(gt, ocr), strict=True)
        ),
        "text_score": lambda pairs_gt_ocr, max_edit_distance: oneig.text_score(pairs_gt_ocr, max_edit_distance),
        "alignment": lambda answers, dependency: oneig.align(answers, dependency),
    },
    "imgedit": {
        "parse_reply": lambda reply: {"average": imgedit.read_reply(reply)},
        "aggregate": imgedit_aggregate,
    },
    "gedit": {
        "parse_reply": gedit_reply,
        "viescore": lambda SC, PQ: gedit.viescore(SC, PQ)._asdict(),
        "statistics": gedit_statistics,
    },
    "kris": {"summary": kris.summarise},
    "rise": {
        "extract": lambda reply: {"numbers": rise.read_reply(reply)},
        "score": lambda **judged: rise.score(judged),
        "logical_binary": lambda final_numbers_judge: rise.from_binary(final_numbers_judge),
    },
    "genexam": {"score": genexam_score},
}

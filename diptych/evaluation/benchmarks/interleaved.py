"""Answers that mix text and pictures: OpenING, ISG-Bench, MMIE, MME-Unify (understanding). Aggregation only.

Official: LanceZPF/OpenING `calculate_model_winrate.py` (arXiv:2411.18499), Dongping-Chen/ISG
`calculate_performance.py` (arXiv:2411.17188), Lillianwei-h/MMIE `main.py` (arXiv:2410.10139),
MME-Benchmarks/MME-Unify `Evaluate_Understanding.py` (arXiv:2504.03641). Their judges are models of their own.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from diptych.evaluation.benchmark import Table, grouped, mean

SCORE = re.compile(r"### Score.*?(-?\d+(\.\d+)?)", re.DOTALL)
MOST = 6
ISG_CATEGORIES = {
    "Style Transer": ("Art Style Transfer", "Scene Attribute Transfer", "Photo Variation", "Portrait Variation"),
    "Progressive": ("Animation Images", "Animation Text-Image", "Attribute Transfer"),
    "3D Scene": ("3D_object", "multi-Perspective Scene Generation"),
    "Image Decomposition": ("Realistic Object Detection", "Imaginary Object Detection"),
    "Image-Text Complementation": ("HowTo", "Scientific"),
    "Temporal Prediction": ("Prediction", "painting"),
    "Visual Story Telling": ("visual storytelling text-image", "visual storytelling image", "visual storytelling text"),
    "VQA": ("Object_VQA", "Historical"),
}
ISG_CATEGORY = {kind: category for category, kinds in ISG_CATEGORIES.items() for kind in kinds}
# What a win and each kind of tie bring A, by policy; None: the match does not count.
POLICIES: dict[str, dict[str, float | None]] = {
    "force_dividing_tie": {"A": 1, "B": 0, "Tie(A)": 1, "Tie(B)": 0},
    "without_tie": {"A": 1, "B": 0, "Tie(A)": None, "Tie(B)": None},
    "tie_0": {"A": 1, "B": 0},
    "tie_half": {"A": 1, "B": 0},
}
TIES = {"tie_0": 0.0, "tie_half": 0.5}


def win_rates(matches: Sequence[tuple[str, str, str]]) -> dict[str, dict[str, float]]:
    """Percent of matches won by model, under four ways to count ties. A match is model A, model B, and who won."""
    table = {}
    for policy, worth in POLICIES.items():
        points: dict[str, list[float]] = {}
        for a, b, winner in matches:
            won = worth.get(winner)
            if won is not None:
                points.setdefault(a, []).append(won)
                points.setdefault(b, []).append(1 - won)
            elif policy != "without_tie":
                for model in (a, b):
                    points.setdefault(model, []).append(TIES.get(policy, 0.0))
        table[policy] = {model: 100 * mean(won) for model, won in points.items()}
    return table


def aggregate_isg(items: Sequence[Mapping[str, Any]]) -> dict[str, Table]:
    """By category: share of right structures, of pictures judged yes, and mean scores 1 to 10 of blocks and the whole.

    What is missing counts as 1, or as 0 for pictures; blocks that a right structure lacks do not count at all.
    """
    known = [item for item in items if item["Category"] in ISG_CATEGORY]
    groups = grouped([ISG_CATEGORY[item["Category"]] for item in known], known)
    return {category: _isg(groups[category]) for category in ISG_CATEGORIES if category in groups}


def _isg(items: Sequence[Mapping[str, Any]]) -> Table:
    results = [item.get("result") or {} for item in items]
    blocks = [_blocks(result) for result in results]
    return {
        "total": len(items),
        "structure": mean([bool(result.get("structure")) for result in results]),
        "image": mean([_pictures(result.get("image") or []) for result in results]),
        "block": mean([score for score in blocks if score is not None]),
        "holistic": mean([_whole(item) for item in items]),
    }


def _blocks(result: Mapping[str, Any]) -> float | None:
    if not result.get("structure"):
        return 1.0
    if not result.get("block"):
        return None
    judged = [block.get("VQA_judge_Score", {}) for block in result["block"]]
    scores = [found["Judge"] for found in judged if "Judge" in found]
    return mean(scores) if scores else 1.0


def _pictures(pictures: Sequence[Mapping[str, Any]]) -> float:
    said = [(picture.get("judge") or {}).get("Judge", "") for picture in pictures]
    return mean([word.lower() == "yes" for word in said])


def _whole(item: Mapping[str, Any]) -> float:
    """1 where the answer's first part is empty, whatever the judge said."""
    output = item.get("output")
    if not output or output[0]["content"] == "":
        return 1.0
    return ((item.get("result") or {}).get("holistic") or {}).get("overall_score", 1.0)


def read_mmie(reply: str) -> int | None:
    """The number after "### Score", rounded (halves to even); None if there is none. Only 0 to 6 counts."""
    found = SCORE.search(reply)
    return round(float(found[1])) if found else None


def counts_mmie(score: int | None) -> bool:
    return score is not None and 0 <= score <= MOST


def average_mmie(scores: Sequence[float]) -> float | None:
    return round(mean(scores), 3) if scores else None


def understanding_mme_unify(predictions: Sequence[Mapping[str, Any]]) -> Table:
    """Shares of replies that are exactly the right letter, over all and by category."""
    hits = [found["output"] == found["answer"] for found in predictions]
    groups = grouped([found.get("category", "unknown") for found in predictions], hits)
    return {"overall": mean(hits), "per_category": {name: mean(found) for name, found in groups.items()}}

"""GenEval: are the objects there, as many, in the colours and places asked for? (Ghosh et al. 2023, arXiv:2310.11513)

Official: djghosh13/geneval `evaluate_images.py` (Mask2Former by mmdet, colours by CLIP) and `summary_scores.py`. What
the detector and the colour classifier saw is the evidence; another detector must be named with the score.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from diptych.evaluation.benchmark import Benchmark, Row, Table, ask_picture, grouped, mean
from diptych.evaluation.boxes import Box
from diptych.evaluation.files import find_file, read_json_lines, take

THRESHOLD = np.float32(0.3)
COUNTING_THRESHOLD = np.float32(0.9)
MOST = 16  # objects of a class that count
REACH = 0.1  # of both objects' sizes: so much of the distance between centres does not count
PICTURES = 4  # a prompt
Detections = Mapping[str, Sequence[Mapping[str, Any]]]


class Verdict(NamedTuple):
    """Whether all clauses hold, how many objects of each class were kept, and what failed."""

    correct: bool
    kept: dict[str, int]
    reasons: list[str]


def relations(a: Box, b: Box) -> set[str]:
    """Where A is from B: left of, right of, above, below; none or two of them. Computed in float32, as recorded."""
    (low_a, high_a), (low_b, high_b) = np.array([a, b], np.float32).reshape(2, 2, 2)
    offset = (low_a + high_a) / np.float32(2) - (low_b + high_b) / np.float32(2)
    reach = np.float32(REACH) * (np.abs(high_a - low_a) + np.abs(high_b - low_b))
    beyond = np.maximum(np.abs(offset) - reach, 0) * np.sign(offset)
    if np.all(np.abs(beyond) < 1e-3):
        return set()
    dx, dy = beyond / np.linalg.norm(offset)
    found = {"left of": dx < -0.5, "right of": dx > 0.5, "above": dy < -0.5, "below": dy > 0.5}
    return {name for name, holds in found.items() if holds}


def keep(detections: Detections, tag: str) -> dict[str, list[Mapping[str, Any]]]:
    """By class the surest objects above the threshold, which is higher for counting; at most 16."""
    threshold = COUNTING_THRESHOLD if tag == "counting" else THRESHOLD
    kept = {}
    for name, found in detections.items():
        scores = np.array([detection["score"] for detection in found], np.float32)
        order = [i for i in np.argsort(scores)[::-1] if scores[i] > threshold][:MOST]
        if order:
            kept[name] = [found[i] for i in order]
    return kept


def judge_picture(metadata: Mapping[str, Any], detections: Detections) -> Verdict:
    """All `include` clauses and none of `exclude`. `detections`: by class, `box`, `score` and, if asked, `color`."""
    kept = keep(detections, metadata["tag"])
    reasons: list[str] = []
    matched: list[list[Mapping[str, Any]] | None] = []
    for clause in metadata.get("include", ()):
        found = kept.get(clause["class"], [])[: clause["count"]]
        failures = _failures(clause, found, matched)
        reasons += failures
        matched.append(None if failures else found)
    for clause in metadata.get("exclude", ()):
        if (number := len(kept.get(clause["class"], ()))) >= clause["count"]:
            reasons.append(f"expected {clause['class']}<{clause['count']}, found {number}")
    return Verdict(not reasons, {name: len(found) for name, found in kept.items()}, reasons)


def _failures(
    clause: Mapping[str, Any], found: Sequence[Mapping[str, Any]], matched: Sequence[Sequence[Mapping[str, Any]] | None]
) -> list[str]:
    """Why a clause does not hold; nothing if it does. Place is only looked at where number and colour are right."""
    name, count = clause["class"], clause["count"]
    if len(found) < count:
        return [f"expected {name}>={count}, found {len(found)}"]
    if color := clause.get("color"):
        number = sum(detection["color"] == color for detection in found)
        if number < count:
            return [f"expected {color} {name}>={count}, found {number}"]
    if "position" not in clause:
        return []
    relation, target = clause["position"]
    others = matched[target]
    if others is None:
        return [f"no target for {name} to be {relation}"]
    pairs = ((one, other) for one in found for other in others)
    if all(relation in relations(one["box"], other["box"]) for one, other in pairs):
        return []
    return [f"expected {name} {relation} target"]


def summarise(tags: Sequence[str], prompts: Sequence[str], hits: Sequence[bool]) -> Table:
    """Percent of pictures, of prompts with any right picture, and by task; `overall` is the tasks' mean, 0 to 1."""
    tasks = {tag: mean(found) for tag, found in grouped(tags, hits).items()}
    by_prompt = grouped(prompts, hits)
    return {
        "n_images": len(hits),
        "n_prompts": len(by_prompt),
        "correct_images_pct": 100 * mean(hits),
        "correct_prompts_pct": 100 * mean([any(found) for found in by_prompt.values()]),
        "tasks_pct": {tag: 100 * share for tag, share in tasks.items()},
        "overall": mean(list(tasks.values())),
    }


def rows(folder: Path) -> list[Row]:
    """`evaluation_metadata.jsonl`, a row a prompt; four pictures are drawn of each."""
    path = find_file(folder, "evaluation_metadata.jsonl")
    records = read_json_lines(path)
    for record in records:
        for key, kind in (("tag", str), ("include", list)):
            take(record, key, path, kind)
    return [Row(f"{i:05}", take(record, "prompt", path, str), (), record) for i, record in enumerate(records)]


def judge(row: Row, pictures: Sequence[Detections]) -> list[Verdict]:
    return [judge_picture(row.facts, detections) for detections in pictures]


def tally(rows: Sequence[Row], verdicts: Sequence[Sequence[Verdict]]) -> Table:
    flat = [(row, verdict.correct) for row, found in zip(rows, verdicts, strict=True) for verdict in found]
    return summarise([row.facts["tag"] for row, _ in flat], [row.id for row, _ in flat], [hit for _, hit in flat])


BENCHMARKS = {
    "geneval": Benchmark(
        name="geneval",
        version=1,
        source="djghosh13/geneval@af4902f2",
        evidence="of each picture, detections by class: box, score, color",
        rows=rows,
        judge=judge,
        tally=tally,
        ask=ask_picture,
        pictures=PICTURES,
        figure="overall",
    ),
}

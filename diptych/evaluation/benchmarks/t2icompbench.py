"""T2I-CompBench: attributes, places, numbers and all at once (Huang et al. 2023, arXiv:2307.06350).

Official: Karine-Huang/T2I-CompBench: UniDet with rules for places and numbers, BLIP-VQA for attributes, CLIP for the
rest, their mean for complex prompts. Depth is looked up with x as the row, as there. Nouns come from a tagger outside.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from diptych.evaluation.benchmark import Benchmark, Row, Table, ask_picture, grouped, mean
from diptych.evaluation.benchmarks.t2icompbench_nouns import PLURAL_OF, SINGULAR_OF
from diptych.evaluation.boxes import Box, center, overlap, shared
from diptych.evaluation.boxes import area as box_area
from diptych.evaluation.files import find_file, read_text

OVERLAP = 0.1  # above it a relation in the plane counts less
OVERLAP_IN_DEPTH = 0.5
NEAR = 150  # pixels
BESIDE = ("next to", "on side of", "near")
RELATIONS = ("on side of", "next to", "near", "on the left of", "on the right of", "on the bottom of", "on the top of")
DIRECTIONS = {
    "on the right of": (0, -1),
    "on the left of": (0, 1),
    "on the bottom of": (1, -1),
    "on the top of": (1, 1),
}
PEOPLE = ("girl", "boy", "man", "woman")
SAME = 0.9  # overlap or containment above which two boxes of a label are one object
DETECTED_AS = dict.fromkeys(PEOPLE, "person") | {
    "ship": "boat",
    "telivision": "tv",
    "goldfish": "fish",
    "painting": "picture",
}
ONE = ("a", "an", "one")
NUMBERS = {"two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8}
PICTURES = 10  # a prompt
CATEGORIES = ("color", "shape", "texture", "spatial", "3d_spatial", "numeracy", "non_spatial", "complex")


class Detected(NamedTuple):
    """One object that a detector saw; scores are float32, as it gives them."""

    label: str
    box: Box
    score: float = 1.0


def position_score(relation: str | None, a: Box, b: Box, depth: np.ndarray | None = None) -> float:
    """How well A is so placed to B, 0 to 1. `depth` is 0 to 255, larger nearer; "in front of" and "behind" need it."""
    (ax, ay), (bx, by) = center(a), center(b)
    offset = (bx - ax, by - ay)
    share = overlap(a, b)
    if relation in BESIDE:
        return 1.0 if min(map(abs, offset)) < NEAR else NEAR / max(map(abs, offset))
    if relation in DIRECTIONS:
        axis, sign = DIRECTIONS[relation]
        placed = sign * offset[axis] > 0 and abs(offset[axis]) > abs(offset[1 - axis])
        return (1.0 if share < OVERLAP else OVERLAP / share) if placed else 0.0
    if depth is not None and relation in ("in front of", "behind", "hidden"):
        nearer = _mean_depth(depth, a) - _mean_depth(depth, b)
        if (nearer > 0) if relation == "in front of" else (nearer < 0):
            return 1.0 if share > OVERLAP_IN_DEPTH else share / OVERLAP_IN_DEPTH if share != OVERLAP_IN_DEPTH else 0.0
    return 0.0


def _mean_depth(depth: np.ndarray, box: Box) -> float:
    left, top, right, bottom = map(int, box)
    area = depth[left:right, top:bottom]  # x along the rows: a slip of the official code that scores depend on
    return float(area.mean()) if area.size else float("nan")


def spatial_score(prompt: str, nouns: Sequence[str], detected: Sequence[Detected]) -> float:
    """Sureness of both objects and their places; below a half it is 0. The first and last noun are the objects."""
    relation = next((word for word in RELATIONS if word in prompt), None)
    first, second = ("person" if noun in PEOPLE else noun for noun in (nouns[0], nouns[-1]))
    labels = [found.label for found in detected]
    seen = [detected[labels.index(name)] for name in (first, second) if name in labels]
    score = sum(0.25 * float(np.float32(found.score)) for found in seen)
    if len(seen) == 2:
        score += position_score(relation, seen[0].box, seen[1].box) / 2
    return score if score >= 0.5 else 0.0


def numeracy_score(prompt: str, detected: Sequence[Detected]) -> float:
    """Of each kind of object asked for, half for being there and half for the right number; 0 to 1."""
    names, numbers = wanted(prompt)
    labels = [found.label for found in without_doubles(detected)]
    score = 0.0
    for i, asked in enumerate(names):
        name = DETECTED_AS.get(asked, asked)
        if name not in labels:
            labels = [name if name in label else label for label in labels]
        if name in labels:
            right = i < len(numbers) and labels.count(name) == numbers[i]
            score += (1.0 if right else 0.5) / len(names)
    return score


def wanted(prompt: str) -> tuple[list[str], list[int]]:
    """The objects a prompt counts, in the singular, and their numbers."""
    words = re.findall(r"\w+|[^\w\s]", prompt)
    names, numbers = [], []
    for i, word in enumerate(words[:-1]):
        one = word in ONE
        if not one and word not in NUMBERS:
            continue
        pair = " ".join(words[i + 1 : i + 3])
        if i < len(words) - 2 and (pair in PLURAL_OF or pair in SINGULAR_OF):
            plural = pair in SINGULAR_OF and not one
            names.append(SINGULAR_OF[pair] if plural else pair)
            numbers.append(NUMBERS[word] if plural else 1)
        elif words[i + 1] in PLURAL_OF and one:
            names.append(words[i + 1])
            numbers.append(1)
        elif words[i + 1] in SINGULAR_OF:
            names.append(SINGULAR_OF[words[i + 1]])
            numbers += [NUMBERS[word]] if word in NUMBERS else [1] * (word == "one")
    return names, numbers


def without_doubles(detected: Sequence[Detected]) -> list[Detected]:
    """The objects, each once: a later box of the same label that covers or is covered by an earlier one goes."""
    kept: list[Detected] = []
    for found in detected:
        if not any(found.label == other.label and _same(found.box, other.box) for other in kept):
            kept.append(found)
    return kept


def _same(a: Box, b: Box) -> bool:
    both = shared(a, b, 1)
    return max(overlap(a, b, 1), both / box_area(a, 1), both / box_area(b, 1)) > SAME


def attribute_score(yes: Sequence[float]) -> float:
    """The product of the yes-probabilities of a prompt's noun phrases, to four decimals; 1 where it has none."""
    return round(float(np.prod(np.asarray(yes, np.float32))), 4)


def complex_score(kind: str, attribute: float, spatial: float, action: float) -> float:
    """The mean of what a prompt of this kind (spatial, action or both) is about."""
    parts = {"spatial": (spatial, attribute), "action": (action, attribute)}
    return mean(parts.get(kind, (attribute, spatial, action)))


def _rows(folder: Path, category: str) -> list[Row]:
    lines = read_text(find_file(folder, f"{category}_val.txt")).splitlines()
    prompts = [line.strip() for line in lines if line.strip()]
    return [Row(f"{category}-{i}", prompt, (), {"category": category}) for i, prompt in enumerate(prompts)]


def rows(folder: Path) -> list[Row]:
    """`<category>_val.txt`, a prompt a line; ten pictures are drawn of each."""
    return [row for category in CATEGORIES for row in _rows(folder, category)]


def judge(row: Row, findings: Sequence[Any]) -> list[float]:
    """Numeracy from detections; in the other categories the scores of the functions here, which need a tagger."""
    if row.facts["category"] != "numeracy":
        return [float(score) for score in findings]
    return [numeracy_score(row.prompt, [Detected(d["label"], d["box"]) for d in detections]) for detections in findings]


def tally(rows: Sequence[Row], scores: Sequence[Sequence[float]]) -> Table:
    groups: Mapping[str, list[Sequence[float]]] = grouped([row.facts["category"] for row in rows], scores)
    return {name: mean([score for given in found for score in given]) for name, found in groups.items()}


BENCHMARKS = {
    "t2icompbench": Benchmark(
        name="t2icompbench",
        version=1,
        source="Karine-Huang/T2I-CompBench@1b709499",
        evidence="of each picture, its score; for numeracy, its detections: label and box",
        rows=rows,
        judge=judge,
        tally=tally,
        ask=ask_picture,
        pictures=10,
    ),
}

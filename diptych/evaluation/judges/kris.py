"""KRIS-Bench's judge: consistency, quality, instruction and, where knowledge counts, knowledge; 1 to 5 each.

Official: ByteDance-Seed/Bagel `eval/gen/kris/metrics_*.py`, after mercurystraw/Kris_Bench. What is said before each
picture is kept, a slip included: most kinds call the edit "the original image" when they ask for its quality.
"""

import json
import re
from collections.abc import Sequence
from pathlib import Path

from diptych.evaluation.benchmark import Row
from diptych.evaluation.benchmarks.kris import KNOWLEDGE, TYPES
from diptych.evaluation.judges.asking import Examination, Examiner, Part, only
from diptych.evaluation.judges.prompts import fill

ORIGINAL, EDITED = "This is the original image:", "This is the edited image:"
TRUTH, ALONE = "This is the ground truth image:", "This is the image to evaluate:"
NEEDS_KNOWLEDGE = {task for kind in KNOWLEDGE for task in TYPES[kind]}
SEVERAL = "multi-element_composition"
FRAMES = "temporal_prediction"
VIEW = "viewpoint_change"


def kris(examiner: Examiner, row: Row, images: Sequence[Path], reply: str) -> dict[str, int]:
    """Scores by name, as `summarize.py` reads them."""
    task, made = row.facts["task"], only(row, images)
    shown, numbered = _shown(row, made)
    texts = examiner.texts
    values = {"instruct": row.prompt, "explanation": row.facts["explanation"], "N": numbered}
    ending = {SEVERAL: "_multi", FRAMES: "_temporal"}.get(task, "")
    scores = {"consistency_score": _score(examiner, fill(texts["prompt_consist" + ending], **values), shown)}
    if task in NEEDS_KNOWLEDGE:
        scores |= examiner.read(read_both, fill(texts["prompt_dual_evaluation"], **values), *shown)
    else:
        name, seen = "prompt_instruction_following", shown
        if ending:
            name = "prompt_instruction" + ending
        elif task == VIEW:
            name, seen = "prompt_view_instruction_following", [*shown, TRUTH, Path(row.facts["truth"])]
        scores["instruction_score"] = _score(examiner, fill(texts[name], **values), seen, "instruction_score")
    label = ALONE if ending else EDITED if task in NEEDS_KNOWLEDGE or task == VIEW else ORIGINAL
    scores["quality_score"] = _score(examiner, texts["prompt_quality"], [label, made], "quality_score")
    return scores


def _shown(row: Row, made: Path) -> tuple[list[Part], int]:
    """The pictures with what is said before each, and the number of the frame that was drawn (0: no frames)."""
    sources = [Path(str(image)) for image in row.images]
    if row.facts["task"] == SEVERAL:
        pairs = [(f"Reference Image {number}:", source) for number, source in enumerate(sources, 1)]
        return _flat([*pairs, ("Predicted Image:", made)]), 0
    if row.facts["task"] == FRAMES:
        return _frames(sources, made)
    return _flat([(ORIGINAL, sources[0]), (EDITED, made)]), 0


def _frames(sources: Sequence[Path], made: Path) -> tuple[list[Part], int]:
    """Frames in order of time: the drawn one is that of 1 to 4 which the files `<item>-<frame>` leave out."""
    numbers = [int(match[2]) for source in sources if (match := re.search(r"(\d+)-(\d+)", source.name))]
    missing = {1, 2, 3, 4} - set(numbers)
    drawn = missing.pop() if len(missing) == 1 else max(numbers, default=0) + 1
    frames = [(number, "Reference", source) for number, source in zip(numbers, sources, strict=False)]
    frames = sorted([*frames, (drawn, "Generated", made)], key=lambda frame: frame[0])
    return _flat([(f"Frame {number} ({kind}):", picture) for number, kind, picture in frames]), drawn


def _flat(pairs: Sequence[tuple[str, Path]]) -> list[Part]:
    return [part for pair in pairs for part in pair]


def _score(examiner: Examiner, prompt: str, shown: Sequence[Part], name: str = "consistency_score") -> int:
    return examiner.read(lambda reply: read_score(reply, name), prompt, *shown)


def read_score(reply: str, name: str) -> int | None:
    """A score from the object that names it, else the first digit 1 to 5 that stands where scores stand."""
    block = re.search(rf"\{{[^{{}}]*{name}[^{{}}]*\}}", reply, re.DOTALL)
    if block and (score := _of_object(block[0], name)) is not None:
        return score
    words = name.removesuffix("_score")
    for pattern in (
        rf"{words}[_\s]*score\"?\s*[:：]?\s*([1-5])",
        r"([1-5])\s*/\s*5",
        r"([1-5])\s+out\s+of\s+5",
        r"\b([1-5])\b",
    ):
        if match := re.search(pattern, reply, re.IGNORECASE):
            return int(match[1])
    return None


def read_both(reply: str) -> dict[str, int] | None:
    """The scores for instruction and knowledge; None unless both are there."""
    names = ("instruction_score", "knowledge_score")
    inner = reply[reply.find("{") : reply.rfind("}") + 1]
    found = {name: _of_object(inner, name) for name in names}
    for name in names:
        words = name.removesuffix("_score")
        if found[name] is None and (match := re.search(rf'"?{words}[_\s]*score"?\s*:\s*([1-5])', reply, re.IGNORECASE)):
            found[name] = int(match[1])
    return {name: score for name, score in found.items() if score is not None} if None not in found.values() else None


def _of_object(text: str, name: str) -> int | None:
    try:
        return int(json.loads(text)[name])
    except (ValueError, KeyError, TypeError):
        return None


EXAMINATIONS = {"kris": Examination(kris, ("gpt-4o-2024-11-20",), {"max_tokens": 1000}, True)}

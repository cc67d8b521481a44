"""RISEBench's judge: up to three questions a picture, chosen by the row's category and by what it is compared with.

Official: PhoenixZ810/RISEBench `gpt_eval.py`; pictures go as JPEG of at most 768 pixels a side.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from diptych.evaluation.benchmark import Row
from diptych.evaluation.benchmarks.rise import LOGIC, from_binary, read_reply
from diptych.evaluation.judges.asking import Examination, Examiner, jpeg, only
from diptych.evaluation.judges.prompts import fill

LONGEST = 768


class Plan(NamedTuple):
    """The names of the prompts; `quality` is None for logic. `compared`: the reasoning prompt sees a first picture."""

    consistency: str
    reasoning: str
    quality: str | None
    first: str
    reference: str
    compared: bool


def plan(facts: dict[str, Any]) -> Plan:
    """What a row is asked. `first` is the picture that the answer is compared with, as the row names it."""
    drawn = facts.get("reference_img")
    image = drawn or facts["image"]
    if facts["category"] == LOGIC:
        if facts.get("reference_txt") is not None:
            reference = facts["reference_txt"]
            return Plan("prompt_logical_cons_ans", "prompt_logical_txt", None, facts["image"], reference, False)
        reasoning = "prompt_logical_img_wo_q" if "reasoning_wo_ins" in facts else "prompt_logical_img"
        return Plan("prompt_logical_cons", reasoning, None, image, "", True)
    compared = facts.get("reasoning_img") is not None
    if facts["category"] != "spatial_reasoning":
        reasoning = "prompt_reasoning_w_input" if compared else "prompt_reasoning"
        return Plan("prompt_consist", reasoning, "prompt_generation", facts["image"], facts["reference"], compared)
    names = "prompt_spatial_cons", "prompt_spatial_qual"
    if drawn:
        return Plan(names[0], "prompt_spatial_ref_img", names[1], drawn, "", True)
    reasoning = "prompt_spatial_ref_w_input" if compared else "prompt_spatial_ref"
    return Plan(names[0], reasoning, names[1], facts["image"], facts["reference"], compared)


def rise(examiner: Examiner, row: Row, images: Sequence[Path], reply: str) -> dict[str, int]:
    """Scores 1 to 5; logic is judged 0 or 1 and brought to 1 or 5. Where consistency does not matter it is left out."""
    facts = dict(row.facts)
    asked = plan(facts)
    made = jpeg(only(row, images), LONGEST)
    first = jpeg(Path(facts["folder"]) / asked.first, LONGEST)

    def score(name: str, *pictures: bytes) -> int:
        prompt = fill(examiner.texts[name], instruct=row.prompt, reference=asked.reference)
        return examiner.read(_first_number, prompt, *pictures)

    free = facts["consistency_free"] and facts["category"] != LOGIC
    consistency = None if free else score(asked.consistency, first, made)
    reasoning = score(asked.reasoning, *([first] if asked.compared else []), made)
    if asked.quality is None:
        return from_binary((consistency or 0, reasoning))
    scores = {"Reasoning": reasoning, "VisualPlausibility": score(asked.quality, made)}
    return scores if consistency is None else {"ApprConsistency": consistency} | scores


def _first_number(reply: str) -> int | None:
    """The number after "Final Score"; several are read as the first, where the official code goes on with all."""
    return (read_reply(reply) or [None])[0]


EXAMINATIONS = {"rise": Examination(rise, ("gpt-4.1-2025-04-14",), {"temperature": 0, "max_tokens": 4096}, True)}

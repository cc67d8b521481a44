"""Evidence from a fixed prompt: WISE, ImgEdit, GEdit, GenExam; grades of words: MM-Vet, and MathVista's extraction.

What is sent follows the official scripts: the prompt, the order and coding of pictures, temperature and length. Where
a reply cannot be read the judge is asked again, as there.
"""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from diptych.evaluation.benchmark import Row
from diptych.evaluation.benchmarks.gedit import read_reply as read_viescore
from diptych.evaluation.benchmarks.genexam import RATINGS
from diptych.evaluation.benchmarks.imgedit import read_reply as read_imgedit
from diptych.evaluation.benchmarks.wise import SCORES
from diptych.evaluation.judges.asking import Examination, Examiner, jpeg, only, opened
from diptych.evaluation.judges.prompts import fill

NAMED = re.compile(r"\*{0,2}(Consistency|Realism|Aesthetic Quality)\*{0,2}\s*[:：]?\s*(\d)", re.IGNORECASE)
BINARY = re.compile(r"\*{0,2}Score\*{0,2}\s*[:：]?\s*([01])\b", re.IGNORECASE)


def read_wise(reply: str) -> dict[str, float] | None:
    """Three scores by name, or three bare lines."""
    found: dict[str, float] = {name.lower().replace(" ", "_"): float(score) for name, score in NAMED.findall(reply)}
    if not found:
        bare = re.findall(r"(?m)^\s*([0-2])\s*$", reply)
        found = {name: float(score) for name, score in zip(SCORES, bare, strict=False)}
    return found if set(SCORES) <= set(found) else None


def read_verified(reply: str) -> float | None:
    """`Score: 1`, or a single bare line; thoughts before it are passed over."""
    said = re.sub(r"<think>.*?</think>", "", reply, flags=re.DOTALL).split("</think>")[-1]
    if match := BINARY.search(said):
        return float(match[1])
    bare = re.findall(r"(?m)^\s*([01])\s*$", said)
    return float(bare[0]) if len(bare) == 1 else None


def _wise_parts(examiner: Examiner, row: Row) -> tuple[str, str]:
    """System and user text with the row's prompt and explanation in them."""
    system, user = (examiner.texts[f"build_evaluation_messages.{number}"] for number in (0, 1))
    for name in ("Prompt", "Explanation"):
        user = user.replace(f"{{prompt_data['{name}']}}", str(row.facts[name]))
    return system, user


def wise(examiner: Examiner, row: Row, images: Sequence[Path], reply: str) -> dict[str, float]:
    system, user = _wise_parts(examiner, row)
    return examiner.read(read_wise, user, only(row, images), system=system)


def wise_verified(examiner: Examiner, row: Row, images: Sequence[Path], reply: str) -> float:
    system, user = _wise_parts(examiner, row)
    return examiner.read(read_verified, user, only(row, images), system=system)


def imgedit(examiner: Examiner, row: Row, images: Sequence[Path], reply: str) -> str:
    """The reply itself; one without scores is asked again."""
    prompt = examiner.texts[row.facts["edit_type"]].replace("<edit_prompt>", row.prompt)
    return examiner.read(
        lambda said: said if read_imgedit(said) is not None else None, prompt, *row.images, only(row, images)
    )


def gedit(examiner: Examiner, row: Row, images: Sequence[Path], reply: str) -> dict[str, str]:
    """The replies on consistency, from source and edit of the source's size, and on quality, from the edit alone."""
    source = opened(row.images[0])
    edited = jpeg(opened(only(row, images)).resize(source.size))
    context, rule, consistency, quality = (
        examiner.texts[name]
        for name in (
            "_context_no_delimit",
            "_prompts_0shot_two_image_edit_rule",
            "_prompts_0shot_tie_rule_SC",
            "_prompts_0shot_rule_PQ",
        )
    )
    asked = "\n".join([context, rule, consistency]).replace("<instruction>", row.prompt)
    return {
        "SC": examiner.read(_scored, asked, jpeg(source), edited),
        "PQ": examiner.read(_scored, "\n".join([context, quality]), edited),
    }


def _scored(reply: str) -> str | None:
    found = read_viescore(reply)
    return reply if isinstance(found, dict) and found.get("score") else None


def genexam(examiner: Examiner, row: Row, images: Sequence[Path], reply: str) -> dict[str, Any]:
    """Answers by scoring point and three ratings; the right picture stands beside the one that was drawn."""
    questions = row.facts["questions"]
    prompt = fill(examiner.texts["prompt_for_eval"], prompt=row.prompt, scoring_points=questions)
    pictures = jpeg(only(row, images), 768), jpeg(Path(row.facts["truth"]), 768)
    return examiner.read(lambda said: read_genexam(said, len(questions)), prompt, *pictures)


def read_genexam(reply: str, points: int) -> dict[str, Any] | None:
    """The object in a reply, fenced or bare, if it answers every point with 0 or 1 and gives every rating."""
    try:
        found = json.loads(reply.split("```json")[-1].split("```")[0])
        answers = [entry["answer"] for entry in found["answers"]]
        ratings = {name: found["global_evaluation"][title]["score"] for name, title in RATINGS.items()}
    except (ValueError, KeyError, TypeError, IndexError):
        return None
    whole = len(answers) == points and set(answers) <= {0, 1} and set(ratings.values()) <= {0, 1, 2}
    return {"answers": answers, "ratings": ratings} if whole else None


def mmvet(examiner: Examiner, row: Row, images: Sequence[Path], reply: str) -> list[float]:
    """One grade of the words; a table of graded examples comes first."""
    answer = str(row.facts["answer"]).replace("<AND>", " <AND> ").replace("<OR>", " <OR> ")
    table = examiner.texts["prompt"] + "\n" + " | ".join([row.prompt, answer, reply, ""])
    return [examiner.read(_grade, table)]


def _grade(reply: str) -> float | None:
    try:
        grade = float(reply.split(" ")[0].strip())
    except ValueError:
        return None
    return grade if 0 <= grade <= 1 else None


def mathvista(examiner: Examiner, row: Row, images: Sequence[Path], reply: str) -> str:
    """The answer in a reply: itself where it is nothing else, else what the judge extracts."""
    facts = row.facts
    if not reply or (facts["question_type"] == "multi_choice" and reply in facts["choices"]):
        return reply
    for kind, number in (("integer", int), ("float", float)):
        if facts["answer_type"] == kind:
            try:
                return str(number(reply))
            except ValueError:
                break
    examples = examiner.texts["demo_prompt"].strip()
    return examiner.ask(f"{examples}\n\n{row.prompt}\n\n{reply}\n\nExtracted answer: ")


NO_THOUGHTS = {"chat_template_kwargs": {"enable_thinking": False}}  # how vLLM's endpoint is told not to think aloud
EXAMINATIONS = {
    "wise": Examination(wise, ("gpt-4o-2024-05-13",), {"temperature": 0.0, "max_tokens": 2000}, True),
    "wise-verified": Examination(
        wise_verified,
        ("Qwen3.5-35B-A3B", "Qwen/Qwen3.5-35B-A3B"),
        {"temperature": 0.0, "max_tokens": 500} | NO_THOUGHTS,
        True,
    ),
    "imgedit": Examination(imgedit, ("gpt-4o",), {}, True),
    "gedit": Examination(gedit, ("gpt-4.1",), {"max_tokens": 1400}, True),
    "genexam": Examination(
        genexam,
        ("gpt-5-2025-08-07",),
        {"reasoning_effort": "low", "verbosity": "medium", "max_completion_tokens": 16384},
        True,
    ),
    "mmvet": Examination(mmvet, ("gpt-4-0613",), {"temperature": 0.0, "max_tokens": 3}, True),
    "mathvista": Examination(mathvista, (), {"temperature": 0.0, "max_tokens": 256}, True),
}

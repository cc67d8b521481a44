"""Prompts whose pictures a model matches: GenAI-Bench by VQAScore, PartiPrompts and DrawBench by CLIP. Unverified.

GenAI-Bench (Li et al. 2024, arXiv:2406.13743; VQAScore: arXiv:2404.01291): how sure a model is that a picture shows its
prompt, over all and for basic and advanced skills. PartiPrompts (arXiv:2206.10789) and DrawBench (arXiv:2205.11487) are
judged by people; the cosine of CLIP is a common stand-in, and CLIPScore 2.5 times what is not below 0 of it.
"""

from collections.abc import Sequence
from pathlib import Path

from diptych.errors import BenchmarkError
from diptych.evaluation.benchmark import Benchmark, Row, Table, ask_picture, grouped, mean
from diptych.evaluation.features import CLIP_SCALE
from diptych.evaluation.files import find_file, read_json, read_table, take


def genai_rows(folder: Path) -> list[Row]:
    """`genai_image.json`, with the skills of `genai_skills.json`."""
    path, listed = find_file(folder, "genai_image.json"), find_file(folder, "genai_skills.json")
    skills: dict[int, list[str]] = {}
    for skill, numbers in read_json(listed).items():
        for number in numbers:
            skills.setdefault(int(number), []).append(skill)
    return [
        Row(name, take(record, "prompt", path, str), (), {"skills": skills.get(int(name), [])})
        for name, record in read_json(path).items()
    ]


def parti_rows(folder: Path) -> list[Row]:
    """`PartiPrompts.tsv`."""
    records = read_table(find_file(folder, "PartiPrompts.tsv"), ("Prompt", "Category", "Challenge"), "\t")
    return [
        Row(str(n), record["Prompt"], (), {"kind": record["Category"], "challenge": record["Challenge"]})
        for n, record in enumerate(records)
    ]


def draw_rows(folder: Path) -> list[Row]:
    """`drawbench.csv`."""
    records = read_table(find_file(folder, "drawbench.csv"), ("Prompt", "Category"))
    return [Row(str(n), record["Prompt"], (), {"kind": record["Category"]}) for n, record in enumerate(records)]


def judge(row: Row, scores: Sequence[float]) -> list[float]:
    """One number a picture."""
    if not scores or not all(isinstance(score, int | float) for score in scores):
        raise BenchmarkError(f"row {row.id} needs a number for each of its pictures, not {scores!r:.60}")
    return list(scores)


def tally_genai(rows: Sequence[Row], scores: Sequence[Sequence[float]]) -> Table:
    """Means over pictures, 0 to 1: of all, and of each skill."""
    skills = grouped([skill for row in rows for skill in row.facts["skills"]], _by_skill(rows, scores))
    return {"vqascore": mean(_flat(scores)), "skills": {skill: mean(_flat(found)) for skill, found in skills.items()}}


def _by_skill(rows: Sequence[Row], scores: Sequence[Sequence[float]]) -> list[Sequence[float]]:
    return [given for row, given in zip(rows, scores, strict=True) for _ in row.facts["skills"]]


def tally_matched(rows: Sequence[Row], scores: Sequence[Sequence[float]]) -> Table:
    """The mean cosine over pictures, CLIPScore, and the cosine by category."""
    kinds = grouped([row.facts["kind"] for row in rows], scores)
    return {
        "cosine": mean(_flat(scores)),
        "clipscore": mean([CLIP_SCALE * max(score, 0) for score in _flat(scores)]),
        "kinds": {kind: mean(_flat(found)) for kind, found in kinds.items()},
    }


def _flat(scores: Sequence[Sequence[float]]) -> list[float]:
    return [score for given in scores for score in given]


BENCHMARKS = {
    "genai-bench": Benchmark(
        name="genai-bench",
        version=1,
        source="linzhiqiu/t2v_metrics@6ecb74f9",
        evidence="of each picture, the probability that it shows the prompt",
        rows=genai_rows,
        judge=judge,
        tally=tally_genai,
        ask=ask_picture,
        figure="vqascore",
        verified=False,
    ),
    "partiprompts": Benchmark(
        name="partiprompts",
        version=1,
        source="google-research/parti",
        evidence="of each picture, its cosine with the prompt",
        rows=parti_rows,
        judge=judge,
        tally=tally_matched,
        ask=ask_picture,
        figure="cosine",
        verified=False,
    ),
    "drawbench": Benchmark(
        name="drawbench",
        version=1,
        source="imagen.research.google",
        evidence="of each picture, its cosine with the prompt",
        rows=draw_rows,
        judge=judge,
        tally=tally_matched,
        ask=ask_picture,
        figure="cosine",
        verified=False,
    ),
}

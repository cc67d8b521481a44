"""WISE: prompts that need knowledge of the world (Niu et al. 2025, arXiv:2503.07265), in two editions.

Official: PKU-YuanGroup/WISE, `WISE_legacy/Calculate.py` (three scores 0 to 2; the published numbers of most models) and
`calculate_verified.py` (2026, one score 0 or 1). Always say which.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diptych.errors import BenchmarkError
from diptych.evaluation.benchmark import Benchmark, Row, Table, ask_picture, grouped, mean
from diptych.evaluation.files import find_file, read_json, take

CATEGORIES: tuple[str, ...] = ("CULTURE", "TIME", "SPACE", "BIOLOGY", "PHYSICS", "CHEMISTRY")
SCORES = ("consistency", "realism", "aesthetic_quality")
SETS = ("cultural_common_sense", "spatio-temporal_reasoning", "natural_science")


@dataclass(frozen=True)
class Edition:
    """The last prompt of each category, and each category's weight in the whole."""

    ends: tuple[int, ...]
    weights: tuple[float, ...]

    def category(self, prompt: int) -> str | None:
        """The category of a prompt's number, counted from 1; None beyond the last."""
        return next((c for c, end in zip(CATEGORIES, self.ends, strict=True) if 1 <= prompt <= end), None)

    def report(self, prompts: Sequence[int], scores: Sequence[float]) -> Table:
        """Means by category and their weighted sum, 0 to 1."""
        groups = grouped([self.category(prompt) or "OUTSIDE" for prompt in prompts], scores)
        means = {category: mean(groups[category]) for category in CATEGORIES if category in groups}
        weights = dict(zip(CATEGORIES, self.weights, strict=True))
        return {
            "overall": sum(weights[category] * score for category, score in means.items()),
            "categories": means,
            "counts": {category: len(groups[category]) for category in means},
        }


LEGACY = Edition((400, 567, 700, 800, 900, 1000), (0.4, 0.167, 0.133, 0.1, 0.1, 0.1))
VERIFIED = Edition((400, 520, 640, 760, 880, 1000), (0.4, 0.12, 0.12, 0.12, 0.12, 0.12))


def wiscore(consistency: float, realism: float, aesthetic_quality: float) -> float:
    """0 to 1 of three scores 0 to 2."""
    return (0.7 * consistency + 0.2 * realism + 0.1 * aesthetic_quality) / 2


def counted_in(record: Mapping[str, Any]) -> str | None:
    """The category a judged record counts in; None if its number or a score is no number."""
    prompt = record.get("prompt_id")
    numbers = [record.get(name) for name in SCORES]
    if not isinstance(prompt, int) or not all(isinstance(number, int | float) for number in numbers):
        return None
    return LEGACY.category(prompt)


def _rows(folder: Path, form: str) -> list[Row]:
    found = []
    for name in SETS:
        path = find_file(folder, form.format(name), f"{name}.json")
        for record in read_json(path, list):
            number = take(record, "prompt_id", path, int)
            found.append(Row(str(number), take(record, "Prompt", path, str), (), record))
    return sorted(found, key=lambda row: int(row.id))


def judge_legacy(row: Row, scores: Mapping[str, float]) -> float:
    if counted_in({"prompt_id": int(row.id), **scores}) is None:
        raise BenchmarkError(f"wise: {row.id} needs the numbers {', '.join(SCORES)}, not {dict(scores)!r:.80}")
    return wiscore(*(scores[name] for name in SCORES))


def judge_verified(row: Row, score: float) -> float:
    if score not in (0, 1):
        raise BenchmarkError(f"wise-verified: {row.id} needs 0 or 1, not {score!r:.40}")
    return float(score)


BENCHMARKS = {
    "wise": Benchmark(
        name="wise",
        version=1,
        source="PKU-YuanGroup/WISE@eb511744 legacy",
        evidence="consistency, realism and aesthetic_quality, 0 to 2",
        rows=lambda folder: _rows(folder, "legacy_{}.json"),
        judge=judge_legacy,
        tally=lambda rows, scores: LEGACY.report([row.facts["prompt_id"] for row in rows], scores),
        ask=ask_picture,
    ),
    "wise-verified": Benchmark(
        name="wise-verified",
        version=1,
        source="PKU-YuanGroup/WISE@eb511744 verified",
        evidence="0 or 1",
        rows=lambda folder: _rows(folder, "{}_verified.json"),
        judge=judge_verified,
        tally=lambda rows, scores: VERIFIED.report([row.facts["prompt_id"] for row in rows], scores),
        ask=ask_picture,
    ),
}

"""GEdit-Bench: real edit instructions in eleven groups, judged by VIEScore (Liu et al. 2025, arXiv:2504.17761).

Official: stepfun-ai/Step1X-Edit `viescore` and `calculate_statistics.py`. Report English and Chinese apart, and name
the judge (GPT-4.1, or Qwen2.5-VL-72B).
"""

import json
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from diptych.errors import BenchmarkError
from diptych.evaluation.benchmark import Benchmark, Row, Table, ask_picture, grouped
from diptych.evaluation.files import find_file, read_json, take

GROUPS = (
    "background_change",
    "color_alter",
    "material_alter",
    "motion_change",
    "ps_human",
    "style_change",
    "subject-add",
    "subject-remove",
    "subject-replace",
    "text_change",
    "tone_transfer",
)
FENCE = "||V^=^V||"
LIMITED = "rate_limit_exceeded"
MEASURES = {"SC": "semantics", "PQ": "quality", "O": "overall"}


class Scores(NamedTuple):
    """Semantic consistency, perceptual quality, and the root of their product; 0 to 10."""

    SC: float
    PQ: float
    O: float


def read_reply(reply: str) -> Any:
    """The judge's object with `score` as a list, False where none can be read; a rate limit passes through.

    The object stands between two fences, else from the first brace to the last; a bare pair or number will do too.
    """
    if reply == LIMITED:
        return LIMITED
    if reply.count(FENCE) == 2:
        return _parse(reply[reply.find(FENCE) + len(FENCE) : reply.rfind(FENCE)])
    start, end = reply.find("{"), reply.rfind("}") + 1
    if start >= 0 and end > 0:
        return _parse(reply[start:end])
    pair = reply[reply.find("[") : reply.rfind("]") + 1]
    if re.match(r"^\[\d+, ?\d+\]$", pair):
        return {"score": json.loads(pair)}
    try:
        number = int(reply)
    except ValueError:
        return False
    return {"score": [number]} if 0 <= number <= 10 else False


def _parse(text: str) -> Any:
    text = text.strip().replace("\n", "")
    if not text:
        return False
    try:
        found = json.loads(text)
        if not isinstance(found["score"], list):
            found["score"] = [found["score"]]
        return found
    except (ValueError, KeyError, TypeError):
        pass
    try:
        return json.loads(_quoted(text))
    except ValueError:
        return False


def _quoted(text: str) -> str:
    """Quotes around keys and words, brackets around numbers, for replies that are nearly JSON."""

    def value(match: re.Match[str]) -> str:
        key, found, end = match[1], match[2].strip(), match[3]
        if re.match(r"^-?\d+(\.\d+)?$", found):
            found = f"[{found}]"
        elif not re.match(r"^(true|false|null)$", found, re.IGNORECASE):
            found = f'"{found}"'
        return f"{key}: {found}{end}"

    return re.sub(r'(".*?"):(.*?)(,|})', value, re.sub(r"(\w+):", r'"\1":', text))


def viescore(consistency: Sequence[float], quality: Sequence[float]) -> Scores:
    """The lowest of each list, and the root of their product."""
    lowest = min(consistency), min(quality)
    return Scores(*lowest, math.sqrt(lowest[0] * lowest[1]))


def statistics(groups: Mapping[str, Sequence[tuple[Scores, bool]]]) -> Table:
    """Means by group and of groups, over all pictures and over those of the common subset (`_intersection`).

    A group without pictures is not a number, and so is then the mean.
    """
    table = {}
    for ending, common in (("", False), ("_intersection", True)):
        for measure, word in MEASURES.items():
            means = {
                group: _mean([getattr(scores, measure) for scores, shared in found if shared or not common])
                for group, found in groups.items()
            }
            table[measure + ending] = means | {f"avg_{word}": _mean(list(means.values()))}
    return table


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else math.nan


def rows(folder: Path) -> list[Row]:
    """`gedit_edit.json`: prompt, picture and group by key; English and Chinese instructions."""
    path = find_file(folder, "gedit_edit.json")
    found = []
    for key, record in read_json(path).items():
        image = take(record, "id", path, str)
        language = "cn" if "/cn/" in image else "en"
        facts = {"group": take(record, "edit_type", path, str), "language": language}
        facts["common"] = bool(record.get("Intersection_exist", True))
        found.append(Row(key, take(record, "prompt", path, str), (folder / image,), facts))
    return found


def judge(row: Row, replies: Mapping[str, str]) -> Scores:
    """`SC` and `PQ`: the judge's replies to the two questions."""
    lists = {}
    for name in ("SC", "PQ"):
        found = read_reply(replies[name])
        scores = found.get("score") if isinstance(found, dict) else None
        if not scores or not all(isinstance(score, int | float) for score in scores):
            raise BenchmarkError(f"gedit: {row.id}: no scores in the judge's reply {replies[name]!r:.60}; ask it again")
        lists[name] = scores
    return viescore(lists["SC"], lists["PQ"])


def tally(rows: Sequence[Row], scores: Sequence[Scores]) -> Table:
    """The statistics of each language."""
    both = list(zip(rows, scores, strict=True))
    table = {}
    for language, found in grouped([row.facts["language"] for row in rows], both).items():
        pairs = [(score, row.facts["common"]) for row, score in found]
        table[language] = statistics(grouped([row.facts["group"] for row, _ in found], pairs))
    return table


BENCHMARKS = {
    "gedit": Benchmark(
        name="gedit",
        version=1,
        source="stepfun-ai/Step1X-Edit@570eba6e",
        evidence="the judge's replies: SC and PQ",
        rows=rows,
        judge=judge,
        tally=tally,
        ask=ask_picture,
        figure="en/O/avg_overall",
    ),
}

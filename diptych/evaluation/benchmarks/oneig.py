"""OneIG-Bench: text in pictures, and alignment by questions (Chang et al. 2025, arXiv:2506.07977).

Official: OneIG-Bench/OneIG-Benchmark `text_utils.py`, `text_score.py`, `alignment_score.py`. Reasoning, style and
diversity need feature networks and are not here.
"""

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from diptych.evaluation.benchmark import Benchmark, Row, Table, ask_picture, grouped, mean
from diptych.evaluation.files import find_file, read_json, read_table, take
from diptych.evaluation.levenshtein import levenshtein
from diptych.evaluation.question_graphs import valid

LETTERS = "\u4e00-\u9fa5a-zA-Z0-9àâäéèêëîïôöùûüçÀÂÄÉÈÊËÎÏÔÖÙÛÜÇ"
CHINESE = re.compile("[\u4e00-\u9fff]")
NOT_READ = ("addCriterion", "No text recognized.")  # what the reader says where it reads nothing
MOST_EDITS = 100  # 50 in Chinese
SETS = ("anime", "human", "object")
CATEGORIES = {"anime": "Anime_Stylization", "human": "Portrait", "object": "General_Object"}


def clean(text: str) -> str:
    """Letters and digits of English, French and Chinese; single spaces, none at all where there is Chinese."""
    kept = re.sub(rf"[^{LETTERS}\s]", "", text)
    return re.sub(r"\s+", "" if CHINESE.search(kept) else " ", kept).strip()


def match_words(gold: str, read: str) -> tuple[int, float, int]:
    """Words (characters of Chinese) in common, their share of the gold ones, and the number of those."""
    units = list if CHINESE.search(gold) else str.split
    wanted, found = Counter(units(gold)), Counter(units(read))
    common, total = (wanted & found).total(), wanted.total()
    return common, common / total if total else 0.0, total


def text_score(pairs: Sequence[tuple[str, str]], most_edits: int = MOST_EDITS) -> Table:
    """Of gold and read texts: mean edit distance, share read exactly, share of words, and the score of the three."""
    cleaned = [(clean(gold), clean(_without_phrases(read))) for gold, read in pairs]
    edits = [levenshtein(gold, read) for gold, read in cleaned]
    words = [match_words(gold, read) for gold, read in cleaned]
    distance, exact = mean(edits), mean([edit == 0 for edit in edits])
    total = sum(number for _, _, number in words)
    accuracy = sum(common for common, _, _ in words) / total if total else 0.0
    score = 1 - min(most_edits, distance) * (1 - exact) * (1 - accuracy) / most_edits
    return {"ED": distance, "CR": exact, "WAC": accuracy, "text_score": score}


def _without_phrases(text: str) -> str:
    for phrase in NOT_READ:
        text = text.replace(phrase, "")
    return text


def align(answers: Mapping[str, Sequence[str]], parents: Mapping[str, Sequence[int]]) -> Table:
    """Answers by question, one a picture of the grid: the share answered Yes whose parents were too; and the mean."""
    shares = []
    for said in zip(*answers.values(), strict=True):
        scores = {name: float(answer == "Yes") for name, answer in zip(answers, said, strict=True)}
        counts = valid(scores, parents)
        shares.append(mean([scores[name] * counts[name] for name in scores]))
    return {"per_image": shares, "score": mean(shares)}


def rows(folder: Path) -> list[Row]:
    """`OneIG-Bench.csv` with `alignment_{anime,human,object}.json`: the prompts that have questions."""
    path = find_file(folder, "OneIG-Bench.csv")
    prompts = {
        (record["category"], record["id"]): record for record in read_table(path, ("category", "id", "prompt_en"))
    }
    found = []
    for name in SETS:
        for number, graph in read_json(find_file(folder, f"alignment_{name}.json", f"{name}.json")).items():
            record = prompts.get((CATEGORIES[name], number))
            if record:
                facts = {"set": name, "parents": _nested(graph, "dependency"), "questions": _nested(graph, "question")}
                found.append(Row(f"{name}-{number}", record["prompt_en"], (), facts))
    return found


def _nested(graph: Mapping[str, Any], name: str) -> dict[str, Any]:
    """A field that is an object, or one written as a string, as the published files have it."""
    value = take(graph, name, "OneIG-Bench", (dict, str))
    return json.loads(value) if isinstance(value, str) else value


def tally(rows: Sequence[Row], tables: Sequence[Table]) -> Table:
    scores = [table["score"] for table in tables]
    sets = grouped([row.facts["set"] for row in rows], scores)
    return {"alignment": mean(scores), "sets": {name: mean(found) for name, found in sets.items()}}


BENCHMARKS = {
    "oneig": Benchmark(
        name="oneig",
        version=1,
        source="OneIG-Bench/OneIG-Benchmark@41b49831",
        evidence="Yes or No by question number, one a picture of the grid",
        rows=rows,
        judge=lambda row, answers: align(answers, row.facts["parents"]),
        tally=tally,
        ask=ask_picture,
        pictures=4,
    ),
}

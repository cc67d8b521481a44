"""UniEval: a model draws four pictures of each prompt and answers questions about its own (arXiv:2505.10483).

Official: xmed-lab/UniEval `uni_eval.py`. There is no judge. The number to report is `tag-L1-UniScore`.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from diptych.evaluation.benchmark import Benchmark, Row, Table, ask_picture, grouped, mean
from diptych.evaluation.files import find_file, read_json, take

LETTERS = "ABCDE"
NAMES = {"A": "A", "B": "B", "C": "C", "D": "D", "E": "E (N/A)"}
PICTURES = 4  # a prompt
Record = tuple[int, int, str]  # the question's id, 1 right, 0 wrong, -1 unreadable, and the letter or None


def read_answer(reply: str, answer: str, options: Sequence[str]) -> tuple[int, str]:
    """1, 0 or -1 (unreadable), and the letter: the last "(X" or "X)", else the last character, else the last option."""
    found = re.findall(r"\(([ABCDE])|([ABCDE])\)", reply)
    if found:
        letter = "".join(found[-1])
    elif reply and reply[-1] in LETTERS:
        letter = reply[-1]
    else:
        places = [reply.lower().rfind(option.lower()) for option in options]
        if not reply or max(places) < 0:
            return -1, "None"
        letter = LETTERS[places.index(max(places))]
    return int(letter == answer), letter


def statistics(cases: Sequence[Mapping[str, Any]], records: Sequence[Record]) -> Table:
    """Cases with `prompt_words` and `QAs` (QA_id, tag "level 0, level 1, level 2"); shares to three decimals."""
    tags = {question["QA_id"]: question["tag"] for case in cases for question in case["QAs"]}
    homes = {question["QA_id"]: number for number, case in enumerate(cases) for question in case["QAs"]}
    hits = [max(hit, 0) for _, hit, _ in records]
    table: Table = {"response-statistics": _letters([letter for _, _, letter in records])}
    table |= _by_tag([tags[name] for name, _, _ in records], hits)
    by_case = grouped([homes[name] for name, _, _ in records], hits)
    scored = [(cases[number], mean(found), all(found)) for number, found in sorted(by_case.items())]
    sizes = [case["prompt_words"] for case in cases], [len(case["QAs"]) for case in cases]
    table["case-word-size"] = _by_size(
        [(c["prompt_words"], share, right) for c, share, right in scored], sizes[0], "few "
    )
    table["case-QA-size"] = _by_size([(len(c["QAs"]), share, right) for c, share, right in scored], sizes[1], "few")
    table["case-UniScore"] = round(mean([share for _, share, _ in scored]), 3)
    table["UniScoreA"] = round(mean([right for _, _, right in scored]), 3)
    for level in ("L0", "L1", "L2"):
        table[f"tag-{level}-UniScore"] = round(mean(list(table[f"tag-{level}"].values())), 3)
    return table


def _letters(letters: Sequence[str]) -> dict[str, float]:
    shares = {name: round(mean([letter == said for said in letters]), 3) for letter, name in NAMES.items()}
    return shares | {"Invalid": round(mean([said not in NAMES for said in letters]), 3)}


def _by_tag(tags: Sequence[str], hits: Sequence[int]) -> Table:
    """Each level is the mean of the level below it; names of one level that recur take the last value."""
    fine = {tag: mean(found) for tag, found in grouped(tags, hits).items()}
    middle = _level(fine)
    coarse = _level(middle)
    levels = {"tag-L0": coarse, "tag-L1": middle, "tag-L2": fine}
    return {
        name: {path.split(", ")[-1]: round(score, 3) for path, score in found.items()} for name, found in levels.items()
    }


def _level(below: Mapping[str, float]) -> dict[str, float]:
    groups = grouped([path.rsplit(", ", 1)[0] for path in below], list(below.values()))
    return {path: mean(found) for path, found in groups.items()}


def _by_size(scored: Sequence[tuple[int, float, bool]], sizes: Sequence[int], few: str) -> dict[str, float | str]:
    """Shares of thirds by size: the middle third includes both of its bounds. `few` is spelt in two ways officially."""
    ordered = sorted(sizes)
    low, high = ordered[len(ordered) // 3], ordered[len(ordered) * 2 // 3]
    thirds = {
        "few": (ordered[0], low - 1, [item for item in scored if item[0] < low]),
        "middle": (low, high, [item for item in scored if low <= item[0] <= high]),
        "many": (high + 1, ordered[-1], [item for item in scored if item[0] > high]),
    }
    table: dict[str, float | str] = {}
    for place, kind in ((1, ""), (2, " (all correct)")):
        for name, (first, last, found) in thirds.items():
            spelt = few if kind and name == "few" else name
            values = [float(item[place]) for item in found]
            table[f"{spelt}{kind} [{first}-{last}]"] = round(mean(values), 3) if values else "N/A"
    return table


def rows(folder: Path) -> list[Row]:
    """`uni_bench.json`: prompts with their questions; what the model answers about its pictures is the evidence."""
    path = find_file(folder, "uni_bench.json")
    return [
        Row(str(number), take(record, "prompt", path, str), (), {"QAs": take(record, "QAs", path, list)})
        for number, record in enumerate(read_json(path, list))
    ]


def options(question: str) -> list[str]:
    """The options' texts in a question, as the benchmark writes them: (A) one, (B) two, ... up to a line's end."""
    line = question.split("Options: ", 1)[-1].split("\n", 1)[0]
    return [part.strip().rstrip(",") for part in re.split(r"\([A-E]\) ", line) if part.strip()]


def judge(row: Row, replies: Mapping[str, Sequence[str]]) -> list[Record]:
    """The replies by question id, one a picture; an empty one where no picture was drawn."""
    found = []
    for question in row.facts["QAs"]:
        for reply in replies[str(question["QA_id"])]:
            hit, letter = read_answer(reply, question["answer"], options(question["question"]))
            found.append((question["QA_id"], hit, letter))
    return found


def tally(rows: Sequence[Row], records: Sequence[Sequence[Record]]) -> Table:
    cases = [{"prompt_words": len(row.prompt.split()), "QAs": row.facts["QAs"]} for row in rows]
    return statistics(cases, [record for found in records for record in found])


BENCHMARKS = {
    "unieval": Benchmark(
        name="unieval",
        version=1,
        source="xmed-lab/UniEval@45e7cb50",
        evidence="the model's replies about its own pictures, by question id",
        rows=rows,
        judge=judge,
        tally=tally,
        ask=ask_picture,
        pictures=PICTURES,
        figure="tag-L1-UniScore",
    ),
}

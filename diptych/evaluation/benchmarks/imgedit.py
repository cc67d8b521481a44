"""ImgEdit-Bench: nine kinds of edits, three scores 1 to 5 by a judge (Ye et al. 2025, arXiv:2505.20275).

Official: PKU-YuanGroup/ImgEdit `step1_get_avgscore.py`, `step2_typescore.py`, UGE `get_average_score.py`. The judge is
GPT-4o there; another one must be named with the score.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from diptych.evaluation.benchmark import Benchmark, Row, Table, ask_picture, grouped, mean
from diptych.evaluation.files import find_file, read_json, take


def read_reply(reply: str) -> float | None:
    """The mean of a reply's scores, to two decimals: lines `name: N` with N all digits; None if there is none."""
    scores = []
    for line in reply.splitlines():
        parts = line.strip().split(": ")
        if len(parts) == 2 and parts[1].isdigit():
            scores.append(int(parts[1]))
    return round(mean(scores), 2) if scores else None


def aggregate(kinds: Mapping[str, str], replies: Mapping[str, str]) -> Table:
    """Means by sample, by kind of edit and over all, each of rounded ones and rounded again.

    `overall` is the plain mean over kinds, which papers report; `uge_final_average` is the one of the hard set.
    """
    means = {name: score for name, reply in replies.items() if (score := read_reply(reply)) is not None}
    by_kind = grouped(
        [kinds[name] for name in means if name in kinds], [means[name] for name in means if name in kinds]
    )
    types = {kind: round(mean(found), 2) for kind, found in by_kind.items()}
    return {
        "sample_average": means,
        "type_average": types,
        "uge_final_average": round(mean(list(means.values())), 2),
        "overall": mean(list(types.values())),
    }


def rows(folder: Path) -> list[Row]:
    """`basic_edit.json`; pictures where their `id` says, in `singleturn`."""
    path = find_file(folder, "basic_edit.json")
    found = []
    for name, record in read_json(path).items():
        image = folder / "singleturn" / take(record, "id", path, str)
        facts = {"edit_type": take(record, "edit_type", path, str)}
        found.append(Row(name, take(record, "prompt", path, str), (image,), facts))
    return found


def tally(rows: Sequence[Row], replies: Sequence[str]) -> Table:
    kinds = {row.id: row.facts["edit_type"] for row in rows}
    return aggregate(kinds, {row.id: reply for row, reply in zip(rows, replies, strict=True)})


BENCHMARKS = {
    "imgedit": Benchmark(
        name="imgedit",
        version=1,
        source="PKU-YuanGroup/ImgEdit@547185d1",
        evidence="the judge's reply",
        rows=rows,
        judge=lambda row, reply: reply,
        tally=tally,
        ask=ask_picture,
        figure="overall",
    ),
}

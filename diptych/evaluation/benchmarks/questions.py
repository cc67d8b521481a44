"""Pictures judged by questions a model answers about them: DSG, DPG-Bench, TIFA.

DSG (Cho et al. 2024, arXiv:2310.18235): j-min/DSG `vqa_utils.py`. DPG-Bench (Hu et al. 2024, arXiv:2403.05135):
ELLA `compute_dpg_bench.py`, kept as it is, its slips included: the first row of the csv is skipped, and a picture whose
questions then lack a parent is left out. TIFA (Hu et al. 2023, arXiv:2303.11897): `tifa_score.py`.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import stdev
from typing import Any

from diptych.evaluation.benchmark import Benchmark, Row, Table, ask_picture, grouped, mean
from diptych.evaluation.files import find_file, read_json, read_table, take
from diptych.evaluation.question_graphs import ROOT, valid, zeroed_in_order

COLUMNS = ("item_id", "text", "proposition_id", "dependency", "tuple", "question_natural_language")
TIFA_FIELDS = ("id", "caption", "question", "choices", "answer", "element_type")
Records = Sequence[Mapping[str, Any]]


def score_dsg(
    answers: Mapping[str, str],
    parents: Mapping[str, Sequence[int]] | None = None,
    gold: Mapping[str, str] | None = None,
) -> Table:
    """One picture: shares of questions answered as expected (yes), with and without regard to parents."""
    parents = parents or {name: [0] for name in answers}
    scores = {name: float(answer == (gold[name] if gold else "yes")) for name, answer in answers.items()}
    counts = valid(scores, parents)
    return {
        "qid2dependency": dict(parents),
        "qid2answer": dict(answers),
        "qid2scores": scores,
        "qid2validity": counts,
        "average_score_with_dependency": mean([scores[name] * counts[name] for name in scores]),
        "average_score_without_dependency": mean(list(scores.values())),
    }


def read_propositions(records: Records, skip: int = 0) -> dict[str, dict[str, Any]]:
    """Questions, parents and tuples by item; an item that comes back after another one starts anew."""
    items: dict[str, dict[str, Any]] = {}
    previous = None
    for record in records[skip:]:
        name, number = record["item_id"], str(int(record["proposition_id"]))
        if name != previous:
            items[name] = {"questions": {}, "parents": {}, "tuples": {}}
        items[name]["questions"][number] = record["question_natural_language"]
        # Ten rows of the published DSG-1k have a word among the numbers ("5, right").
        listed = [parent.strip() for parent in str(record["dependency"]).split(",")]
        items[name]["parents"][number] = [int(parent) for parent in listed if parent.isdigit()] or [ROOT]
        items[name]["tuples"][number] = record["tuple"]
        previous = name
    return items


def score_dpg_item(item: Mapping[str, Any] | None, crops: Sequence[Mapping[str, str]]) -> Table | None:
    """One picture of some crops, each with answers by question; None where the official code fails."""
    if item is None:
        return None
    scores, own = [], {}
    for answers in crops:
        own = {name: float(answers.get(question) == "yes") for name, question in item["questions"].items()}
        try:
            scores.append(mean(list(zeroed_in_order(own, item["parents"]).values())))
        except KeyError:
            return None
    # Categories look at the last crop's own answers, whatever the parents say.
    categories = [(item["tuples"][name].split("(")[0].strip(), score) for name, score in own.items()]
    return {"crops": scores, "average": mean(scores), "categories": categories}


def report_dpg(items: Mapping[str, Table | None]) -> Table:
    """Percent over all pictures that could be judged, and by category."""
    judged = {name: table for name, table in items.items() if table is not None}
    fine = [pair for table in judged.values() for pair in table["categories"]]
    coarse = [(category.split("-")[0].strip(), score) for category, score in fine]
    return {
        "items": {name: {key: table[key] for key in ("crops", "average")} for name, table in judged.items()},
        "failed_items": [name for name, table in items.items() if table is None],
        "L1": _percents(coarse),
        "L2": _percents(fine),
        "dpg_score": 100 * mean([table["average"] for table in judged.values()]),
    }


def _percents(pairs: Sequence[tuple[str, float]]) -> dict[str, float]:
    groups = grouped([category for category, _ in pairs], [score for _, score in pairs])
    return {category: 100 * mean(scores) for category, scores in groups.items()}


def report_tifa(captions: Sequence[str], kinds: Sequence[str], hits: Sequence[bool]) -> Table:
    """Mean over captions of the share of right answers, its sample deviation, and accuracy by kind of element."""
    by_caption = {name: mean(found) for name, found in grouped(captions, hits).items()}
    return {
        "tifa_average": mean(list(by_caption.values())),
        "tifa_stdev": stdev(by_caption.values()) if len(by_caption) > 1 else 0.0,
        "accuracy_by_type": {kind: mean(found) for kind, found in grouped(kinds, hits).items()},
        "caption_scores": by_caption,
    }


def _proposition_rows(path: Path, skip: int) -> list[Row]:
    records = read_table(path, COLUMNS)
    prompts = {record["item_id"]: record["text"] for record in records}
    items = read_propositions(records, skip)
    return [Row(name, prompt, (), {"item": items.get(name)}) for name, prompt in prompts.items()]


def dsg_rows(folder: Path) -> list[Row]:
    """`dsg-1k-anns.csv`."""
    return _proposition_rows(find_file(folder, "dsg-1k-anns.csv"), 0)


def dpg_rows(folder: Path) -> list[Row]:
    """`dpg_bench.csv`."""
    return _proposition_rows(find_file(folder, "dpg_bench.csv"), 1)


def tifa_rows(folder: Path) -> list[Row]:
    """`tifa_v1.0_question_answers.json`: a row a caption, with its questions."""
    path = find_file(folder, "tifa_v1.0_question_answers.json", "sample_question_answers.json")
    records = [{field: take(record, field, path) for field in TIFA_FIELDS} for record in read_json(path, list)]
    groups = grouped([record["id"] for record in records], records)
    return [Row(name, found[0]["caption"], (), {"questions": found}) for name, found in groups.items()]


def tally_tifa(rows: Sequence[Row], answers: Sequence[Sequence[str]]) -> Table:
    questions = [(row.id, q) for row in rows for q in row.facts["questions"]]
    said = [answer for given in answers for answer in given]
    hits = [answer == q["answer"] for (_, q), answer in zip(questions, said, strict=True)]
    return report_tifa([name for name, _ in questions], [q["element_type"] for _, q in questions], hits)


def tally_dsg(rows: Sequence[Row], tables: Sequence[Table]) -> Table:
    return {
        name: mean([table[f"average_score_{name}"] for table in tables])
        for name in ("with_dependency", "without_dependency")
    }


BENCHMARKS = {
    "dsg": Benchmark(
        name="dsg",
        version=1,
        source="j-min/DSG@7330119a",
        evidence="yes or no by question number",
        rows=dsg_rows,
        judge=lambda row, answers: score_dsg(answers, row.facts["item"]["parents"]),
        tally=tally_dsg,
        ask=ask_picture,
    ),
    "dpgbench": Benchmark(
        name="dpgbench",
        version=1,
        source="TencentQQGYLab/ELLA@3c228f1d",
        evidence="of each of four crops (2 x 2, by rows), yes or no by question",
        rows=dpg_rows,
        judge=lambda row, crops: score_dpg_item(row.facts["item"], crops),
        tally=lambda rows, tables: report_dpg({row.id: table for row, table in zip(rows, tables, strict=True)}),
        ask=ask_picture,
        pictures=4,
        figure="dpg_score",
    ),
    "tifa": Benchmark(
        name="tifa",
        version=1,
        source="Yushi-Hu/tifa@8e37050f",
        evidence="the choice picked for each question, in order",
        rows=tifa_rows,
        judge=lambda row, answers: list(answers),
        tally=tally_tifa,
        ask=ask_picture,
    ),
}

"""What each golden group of the multiple-choice and yes-or-no benchmarks calls in the library."""

from typing import Any

from diptych.evaluation.benchmark import mean
from diptych.evaluation.benchmarks import mmbench, mme, mmvet, pope, seedbench


def circular(passes: list[dict[str, str]]) -> int:
    read = []
    for rotation in passes:
        choices = {letter: text for letter, text in rotation.items() if len(letter) == 1}
        read.append((mmbench.infer_option(rotation["prediction"], choices), rotation["GT"]))
    return mmbench.judge_rotations(read)


def generated_letter(text: str, answer: str) -> dict[str, Any]:
    letter = seedbench.read_letter(text)
    return {"pred": letter, "correct": seedbench.is_right(letter, answer)}


def mme_score(tasks: dict[str, list[list[str]]]) -> dict[str, Any]:
    hits = {task: [mme.read_answer(said) == gold.lower() for _, _, gold, said in rows] for task, rows in tasks.items()}
    return mme.sums(hits)


def mmbench_report(rows: list[dict[str, Any]]) -> dict[str, Any]:
    return {"split": rows[0]["split"]} | mmbench.report([row["hit"] for row in rows], rows)


def per_type(items: list[dict[str, Any]]) -> dict[str, Any]:
    return seedbench.by_type([str(i["type"]) for i in items], [seedbench.is_right(i["pred"], i["gt"]) for i in items])


KNOWN = {
    "pope": {
        "parse": lambda text: {"answer": pope.read_answer(text)},
        "metrics": lambda texts, labels: pope.measure([pope.read_answer(text) for text in texts], labels),
    },
    "mme": {"parse": lambda text: {"label": mme.read_answer(text)}, "score": mme_score},
    "mmbench": {
        "infer_option": lambda prediction, choices: {"option": mmbench.infer_option(prediction, choices)},
        "circular": lambda passes: {"hit": circular(passes)},
        "report": mmbench_report,
    },
    "seedbench": {
        "loss_ranking": lambda losses: {"pred": seedbench.rank_losses(losses)},
        "generated_letter": generated_letter,
        "accuracy": lambda items: {"accuracy": mean([seedbench.is_right(i["pred"], i["answer"]) for i in items])},
        "accuracy_per_type": per_type,
    },
    "mmvet": {
        "aggregate": lambda capability, scores, decimal_places: mmvet.aggregate(capability, scores, decimal_places)
    },
}

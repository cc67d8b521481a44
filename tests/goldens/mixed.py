"""What each golden group of the benchmarks of mixed answers calls in the library."""

from typing import Any

from diptych.evaluation.benchmarks import interleaved, unieval


def check_answer(reply: str, answer: str, options: list[str]) -> dict[str, Any]:
    return dict(zip(("pred", "response"), unieval.read_answer(reply, answer, options), strict=True))


def mmie_score(reply: str) -> dict[str, Any]:
    score = interleaved.read_mmie(reply)
    return {"score": score, "counted": interleaved.counts_mmie(score)}


KNOWN = {
    "unieval": {"check_answer": check_answer, "statistics": unieval.statistics},
    "opening": {"win_rates": lambda results: interleaved.win_rates(results)},
    "isg": {"aggregate": lambda items: interleaved.aggregate_isg(items)},
    "mmie": {
        "find_score": mmie_score,
        "average": lambda scores: {"average": interleaved.average_mmie(scores)},
    },
    "mme_unify": {"understanding_accuracy": lambda predictions: interleaved.understanding_mme_unify(predictions)},
}

"""What each golden group of the benchmarks with written answers calls in the library."""

from typing import Any

from diptych.evaluation import vqa_answers
from diptych.evaluation.benchmark import grouped, mean
from diptych.evaluation.benchmarks import gqa, mathvista, mmmu, vqa


def vqav2_dataset(questions: list[dict[str, Any]]) -> dict[str, Any]:
    accuracies = [vqa.vqav2_accuracy(q["prediction"], q["answers"]) for q in questions]
    kinds = ([q[key] for q in questions] for key in ("answer_type", "question_type"))
    return vqa.vqav2_report(accuracies, *kinds)


def mmmu_evaluate(samples: list[dict[str, Any]]) -> dict[str, Any]:
    right = {}
    for sample in samples:
        if sample["question_type"] == "open":
            right[sample["id"]] = mmmu.is_right_open(mmmu.read_open(sample["response"]), sample["answer"])
        else:
            letter = mmmu.read_letter(sample["response"], sample["all_choices"], sample["index2ans"])
            right[sample["id"]] = mmmu.is_right_letter(letter, sample["answer"])
    judged = {name: "Correct" if hit else "Wrong" for name, hit in right.items()}
    return {"judge": judged, "acc": mean(list(right.values()))}


def read_letter(response: str, choices: list[str], index2ans: dict[str, str]) -> dict[str, Any]:
    letter = mmmu.read_letter(response, choices, index2ans)
    return {"pred": letter, "unparsed": letter is None}


def mathvista_accuracy(rows: list[dict[str, Any]]) -> dict[str, Any]:
    hits = [mathvista.is_right(row["extraction"], row) for row in rows]
    tasks = grouped([row["task"] for row in rows], hits)
    return {
        "true_false": hits,
        "accuracy": mean(hits),
        "per_task": {task: mean(found) for task, found in tasks.items()},
    }


KNOWN = {
    "vqav2": {
        "normalize": lambda text: {"normalized": vqa_answers.normalise(text)},
        "normalize_contractions": lambda text: {"normalized": vqa_answers.normalise(text)},
        "question_accuracy": lambda answers, prediction: {"accuracy": vqa.vqav2_accuracy(prediction, answers)},
        "dataset_accuracy": vqav2_dataset,
    },
    "textvqa": {
        "normalize": lambda text: {"normalized": vqa_answers.normalise_evalai(text)},
        "question_accuracy": lambda answers, prediction: {"accuracy": vqa.textvqa_accuracy(prediction, answers)},
        "dataset_accuracy": lambda questions: {
            "accuracy": mean([vqa.textvqa_accuracy(q["prediction"], q["answers"]) for q in questions])
        },
    },
    "gqa": {
        "convert": lambda text: {"prediction": gqa.convert(text)},
        "score": gqa.measure,
    },
    "mmmu": {
        "parse_multi_choice": read_letter,
        "parse_open": lambda response: {"parsed_set": mmmu.read_open(response)},
        "normalize_str": lambda text: {"normalized": mmmu.normalise(text)},
        "extract_numbers": lambda text: {"numbers": mmmu.extract_numbers(text)},
        "eval_open": lambda response, answer: {"correct": mmmu.is_right_open(mmmu.read_open(response), answer)},
        "evaluate": mmmu_evaluate,
        "instance_level_accuracy": lambda results: {"acc": mmmu.instance_accuracy(results)},
    },
    "mathvista": {
        "normalize": lambda **case: {"normalized": mathvista.normalise(**case)},
        "accuracy": mathvista_accuracy,
    },
}

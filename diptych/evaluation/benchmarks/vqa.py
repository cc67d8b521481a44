"""VQAv2 (Goyal et al. 2017, arXiv:1612.00837) and TextVQA (Singh et al. 2019, arXiv:1904.08920): ten human answers.

Official: GT-Vision-Lab/VQA `vqaEval.py`; LLaVA's `m4c_evaluator.py`, from Pythia. They share the soft accuracy and
the clean-up of words, but VQAv2 cleans nothing up where all ten people wrote the very same.
"""

from collections.abc import Sequence
from pathlib import Path

from diptych.evaluation.benchmark import Benchmark, Row, Table, grouped, mean
from diptych.evaluation.files import find_file, read_json, take
from diptych.evaluation.vqa_answers import clean, normalise, normalise_evalai, soft_accuracy

INSTRUCTION = "Answer the question using a single word or phrase."


def vqav2_accuracy(prediction: str, answers: Sequence[str]) -> float:
    """0 to 1."""
    said = [clean(answer) for answer in answers]
    if len(set(said)) == 1:
        return soft_accuracy(clean(prediction), said)
    return soft_accuracy(normalise(prediction), [normalise(answer) for answer in said])


def textvqa_accuracy(prediction: str, answers: Sequence[str]) -> float:
    """0 to 1."""
    return soft_accuracy(normalise_evalai(prediction), [normalise_evalai(answer) for answer in answers])


def vqav2_report(accuracies: Sequence[float], answer_types: Sequence[str], question_types: Sequence[str]) -> Table:
    """Percent, rounded to two decimals."""

    def by(kinds: Sequence[str]) -> dict[str, float]:
        return {kind: _percent(found) for kind, found in grouped(kinds, accuracies).items()}

    return {
        "overall": _percent(accuracies),
        "perAnswerType": by(answer_types),
        "perQuestionType": by(question_types),
        "per_question": [_percent([accuracy]) for accuracy in accuracies],
    }


def _percent(accuracies: Sequence[float]) -> float:
    return round(100 * mean(accuracies), 2)


def vqav2_rows(folder: Path) -> list[Row]:
    """The validation questions and annotations as visualqa.org has them; pictures in `val2014`."""
    path = find_file(folder, "v2_OpenEnded_mscoco_val2014_questions.json")
    gold = find_file(folder, "v2_mscoco_val2014_annotations.json")
    notes = {take(note, "question_id", gold): note for note in take(read_json(gold), "annotations", gold, list)}
    found = []
    for record in take(read_json(path), "questions", path, list):
        note = take(notes, take(record, "question_id", path), gold, dict)
        answers = [take(answer, "answer", gold, str) for answer in take(note, "answers", gold, list)]
        facts = {"answers": answers} | {key: take(note, key, gold, str) for key in ("answer_type", "question_type")}
        image = folder / "val2014" / f"COCO_val2014_{take(record, 'image_id', path, int):012}.jpg"
        question = f"{take(record, 'question', path, str)}\n{INSTRUCTION}"
        found.append(Row(str(record["question_id"]), question, (image,), facts))
    return found


def textvqa_rows(folder: Path) -> list[Row]:
    """`TextVQA_0.5.1_val.json`; pictures in `train_images`."""
    path = find_file(folder, "TextVQA_0.5.1_val.json")
    found = []
    for record in take(read_json(path), "data", path, list):
        image = folder / "train_images" / f"{take(record, 'image_id', path, str)}.jpg"
        question = f"{take(record, 'question', path, str)}\n{INSTRUCTION}"
        facts = {"answers": take(record, "answers", path, list)}
        found.append(Row(str(take(record, "question_id", path)), question, (image,), facts))
    return found


def tally_vqav2(rows: Sequence[Row], accuracies: Sequence[float]) -> Table:
    answer_types, question_types = ([row.facts[key] for row in rows] for key in ("answer_type", "question_type"))
    return vqav2_report(accuracies, answer_types, question_types)


BENCHMARKS = {
    "vqav2": Benchmark(
        name="vqav2",
        version=1,
        source="GT-Vision-Lab/VQA@a013f004",
        evidence="the reply",
        rows=vqav2_rows,
        judge=lambda row, reply: vqav2_accuracy(reply, row.facts["answers"]),
        tally=tally_vqav2,
    ),
    "textvqa": Benchmark(
        name="textvqa",
        version=1,
        source="haotian-liu/LLaVA@c121f043",
        evidence="the reply",
        rows=textvqa_rows,
        judge=lambda row, reply: textvqa_accuracy(reply, row.facts["answers"]),
        tally=lambda rows, accuracies: {"accuracy": mean(accuracies)},
    ),
}

"""MME: two yes-or-no questions a picture, ten perception and four cognition tasks (Fu et al. 2023, arXiv:2306.13394).

Official: `eval_tool/calculation.py` of BradyFU/Awesome-Multimodal-Large-Language-Models.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from diptych.errors import BenchmarkError
from diptych.evaluation.benchmark import Benchmark, Row, Table, grouped
from diptych.evaluation.files import find_file, read_text
from diptych.evaluation.hub import holds_parquet, picture, read_parquet

PERCEPTION = (
    "existence",
    "count",
    "position",
    "color",
    "posters",
    "celebrity",
    "scene",
    "landmark",
    "artwork",
    "OCR",
)
COGNITION = ("commonsense_reasoning", "numerical_calculation", "text_translation", "code_reasoning")


def read_answer(text: str) -> str:
    """yes, no or other (never right): the whole reply in lower case, else what its first four characters hold."""
    reply = text.lower()
    if reply in ("yes", "no"):
        return reply
    return next((word for word in ("yes", "no") if word in reply[:4]), "other")


def score_task(hits: Sequence[bool]) -> float:
    """acc% + acc+%: of questions, and of pictures, whose two questions stand side by side; 0 to 200."""
    pictures = [all(hits[i : i + 2]) for i in range(0, len(hits), 2)]
    return 100 * sum(hits) / len(hits) + 100 * sum(pictures) / len(pictures) if hits else 0.0


def sums(tasks: Mapping[str, Sequence[bool]]) -> Table:
    scores = {task: score_task(hits) for task, hits in tasks.items()}
    return {
        "perception": sum(score for task, score in scores.items() if task in PERCEPTION),
        "cognition": sum(score for task, score in scores.items() if task in COGNITION),
        "tasks": scores,
    }


def rows(folder: Path) -> list[Row]:
    """`<task>.txt`: picture, question and answer apart by tabs, pictures in the folder `<task>`; or lmms-lab/MME."""
    if holds_parquet(folder, "test"):
        return _hub_rows(folder)
    found = []
    for task in (*PERCEPTION, *COGNITION):
        path = find_file(folder, f"{task}.txt")
        for number, line in enumerate(read_text(path).splitlines(), 1):
            fields = line.split("\t")
            if len(fields) < 3:
                raise BenchmarkError(f"{path}, line {number}: not picture, question and answer apart by tabs")
            facts = {"task": task, "answer": fields[2].strip().lower()}
            found.append(Row(f"{task}-{number}", fields[1], (folder / task / fields[0],), facts))
    return found


def _hub_rows(folder: Path) -> list[Row]:
    """Sorted, so that the two questions about a picture stand side by side."""
    records = read_parquet(folder, "test", ("question_id", "image", "question", "answer", "category"))
    found = []
    for number, record in enumerate(sorted(records, key=lambda record: (record["category"], record["question_id"]))):
        facts = {"task": record["category"], "answer": record["answer"].strip().lower()}
        image = picture(record["image"], f"row {number}")
        found.append(Row(f"{record['category']}-{number}", record["question"], (image,), facts))
    return found


def judge(row: Row, reply: str) -> bool:
    return read_answer(reply) == row.facts["answer"]


def tally(rows: Sequence[Row], hits: Sequence[bool]) -> Table:
    return sums(grouped([row.facts["task"] for row in rows], hits))


BENCHMARKS = {
    "mme": Benchmark("mme", 1, "BradyFU/Awesome-Multimodal-Large-Language-Models", "the reply", rows, judge, tally),
}

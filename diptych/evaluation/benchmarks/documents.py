"""Reading charts, documents and text, from hub files: ChartQA, DocVQA, InfographicVQA, OCRBench. Unverified.

ChartQA (arXiv:2203.10244): relaxed accuracy; DocVQA and InfographicVQA (arXiv:2007.00398, 2104.12756): ANLS; OCRBench
(arXiv:2305.07895): a gold text is contained. By the written rules of lmms-eval (75571cfe), tested on values worked out
by hand.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

from diptych.evaluation.benchmark import Benchmark, Row, Table, grouped, mean
from diptych.evaluation.hub import picture, read_parquet
from diptych.evaluation.levenshtein import levenshtein

TOLERANCE = 0.05  # of a number
LEAST = 0.5  # a similarity below it counts as none
BRIEFLY = "Answer the question using a single word or phrase."
FORMULAE = "HME100k"  # where blanks do not count
FULL_WIDTH = {0x3000: " "} | {code: chr(code - 0xFEE0) for code in range(0xFF01, 0xFF5F)}


def relaxed(reply: str, gold: str) -> bool:
    """A number within 5 % of a gold number that is not 0, else the same words in any case. `5%` is 0.05."""
    said, true = _number(reply), _number(gold)
    if said is not None and true:
        return abs(said - true) / abs(true) <= TOLERANCE
    return reply.lower() == gold.lower()


def _number(text: str) -> float | None:
    try:
        return float(text.rstrip("%")) / 100 if text.endswith("%") else float(text)
    except ValueError:
        return None


def anls(reply: str, answers: Sequence[str]) -> float:
    """1 less the edit distance to the nearest answer over the longer's length, 0 to 1; below a half it is 0.

    Distances look at small letters and single blanks; lengths at the texts as they are.
    """
    gaps = []
    for answer in answers:
        length = max(len(answer), len(reply))
        gaps.append(levenshtein(_words(answer), _words(reply)) / length if length else 0.0)
    similarity = 1 - min(gaps)
    return similarity if similarity >= LEAST else 0.0


def _words(text: str) -> str:
    return " ".join(text.strip().lower().split())


def holds(reply: str, answers: Sequence[str], source: str) -> bool:
    """Whether an answer is contained: in any case and width; in formulae without blanks, but in their case."""
    if source == FORMULAE:
        said = reply.strip().replace("\n", " ").replace(" ", "")
        return any(answer.strip().replace("\n", " ").replace(" ", "") in said for answer in answers)
    said = _folded(reply.strip())
    return any(_folded(answer) in said for answer in answers)


def _folded(text: str) -> str:
    return text.translate(FULL_WIDTH).lower().strip().replace("\n", " ")


def chartqa_rows(folder: Path) -> list[Row]:
    """`test*.parquet` of lmms-lab/ChartQA."""
    found = []
    for number, record in enumerate(read_parquet(folder, "test", ("type", "question", "answer", "image"))):
        prompt = f"{record['question']}\nAnswer the question with a single word."
        kind = "human" if record["type"] == "human_test" else "augmented"
        facts = {"answer": record["answer"], "kind": kind}
        found.append(Row(str(number), prompt, (picture(record["image"], f"row {number}"),), facts))
    return found


def document_rows(home: str) -> Callable[[Path], list[Row]]:
    """`validation*.parquet` of lmms-lab/DocVQA, of the folder `home` where there is one; tests hide their answers."""

    def rows(folder: Path) -> list[Row]:
        own = folder / home
        records = read_parquet(
            own if own.is_dir() else folder, "validation", ("questionId", "question", "answers", "image")
        )
        return [
            Row(
                str(record["questionId"]),
                f"{record['question']}\n{BRIEFLY}",
                (picture(record["image"], record["questionId"]),),
                {"answers": record["answers"]},
            )
            for record in records
        ]

    return rows


def ocrbench_rows(folder: Path) -> list[Row]:
    """`test*.parquet` of echo840/OCRBench."""
    columns = ("dataset", "question", "question_type", "answer", "image")
    found = []
    for number, record in enumerate(read_parquet(folder, "test", columns)):
        answers = record["answer"] if isinstance(record["answer"], list) else [record["answer"]]
        facts = {"answers": answers, "kind": record["question_type"], "dataset": record["dataset"]}
        found.append(Row(str(number), record["question"].strip(), (picture(record["image"], f"row {number}"),), facts))
    return found


def tally_chartqa(rows: Sequence[Row], hits: Sequence[bool]) -> Table:
    """Percent, over all and by who asked."""
    kinds = grouped([row.facts["kind"] for row in rows], hits)
    return {"relaxed_overall": 100 * mean(hits)} | {
        f"relaxed_{kind}_split": 100 * mean(found) for kind, found in kinds.items()
    }


def tally_ocrbench(rows: Sequence[Row], hits: Sequence[bool]) -> Table:
    """How many are right (of 1,000 in the whole set), and by kind."""
    kinds = grouped([row.facts["kind"] for row in rows], hits)
    return {"score": sum(hits), "kinds": {kind: sum(found) for kind, found in kinds.items()}}


def _documents(name: str, home: str) -> Benchmark:
    return Benchmark(
        name=name,
        version=1,
        source="EvolvingLMMs-Lab/lmms-eval@75571cfe",
        evidence="the reply",
        rows=document_rows(home),
        judge=lambda row, reply: anls(reply, row.facts["answers"]),
        tally=lambda rows, scores: {"anls": mean(scores)},
        figure="anls",
        verified=False,
    )


BENCHMARKS = {
    "docvqa": _documents("docvqa", "DocVQA"),
    "infovqa": _documents("infovqa", "InfographicVQA"),
    "chartqa": Benchmark(
        name="chartqa",
        version=1,
        source="EvolvingLMMs-Lab/lmms-eval@75571cfe",
        evidence="the reply",
        rows=chartqa_rows,
        judge=lambda row, reply: relaxed(reply, row.facts["answer"]),
        tally=tally_chartqa,
        figure="relaxed_overall",
        verified=False,
    ),
    "ocrbench": Benchmark(
        name="ocrbench",
        version=1,
        source="EvolvingLMMs-Lab/lmms-eval@75571cfe",
        evidence="the reply",
        rows=ocrbench_rows,
        judge=lambda row, reply: holds(reply, row.facts["answers"], row.facts["dataset"]),
        tally=tally_ocrbench,
        figure="score",
        verified=False,
    ),
}

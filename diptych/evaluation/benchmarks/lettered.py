"""Questions with lettered answers, read from hub files: AI2D, ScienceQA, MMStar, RealWorldQA. Unverified.

By the written rules of lmms-eval (75571cfe) and, for MMStar, of its authors' script. No golden scores exist here, so
that these scorers are tested on values worked out by hand.
"""

import re
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from diptych.evaluation.benchmark import Benchmark, Row, Table, grouped, mean
from diptych.evaluation.hub import picture, read_parquet

LETTERS = "ABCDEFGHIJ"
DIRECTLY = "Answer with the option's letter from the given choices directly."
PUNCTUATION = str.maketrans("", "", "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~")
STARTS = ("", "(", "option ", "the answer is ")  # what may stand before MMStar's letter


def is_ai2d(reply: str, gold: str) -> bool:
    """A letter before a full stop at the start, else the whole reply; case and punctuation do not count."""
    match = re.match(r"\s*([A-Z])\.", reply)
    return _bare(match[1] if match else reply) == _bare(gold)


def _bare(text: str) -> str:
    return text.lower().translate(PUNCTUATION)


def is_scienceqa(reply: str, gold: str) -> bool:
    """The letter alone in either case, or a capital and a full stop at the start."""
    reply = reply.strip()
    return reply.lower() == gold.lower() or (reply[:1].isupper() and reply[1:2] == "." and reply[0] == gold)


def is_mmstar(reply: str, gold: str) -> bool:
    """The letter as the first character, in a bracket, or after "option" or "the answer is"; any case."""
    said = reply.lower().strip().replace("\n", " ")
    return any(said.startswith(start + gold.lower()) for start in STARTS)


def is_realworldqa(reply: str, gold: str) -> bool:
    """The same words; case and a full stop at the end do not count."""
    return reply.lower().strip().rstrip(".") == gold.lower().strip()


def lettered(choices: Sequence[str]) -> str:
    return "\n".join(f"{letter}. {choice}" for letter, choice in zip(LETTERS, choices, strict=False))


def ai2d_rows(folder: Path) -> list[Row]:
    """`test*.parquet` of lmms-lab/ai2d."""
    found = []
    for number, record in enumerate(read_parquet(folder, "test", ("question", "options", "answer", "image"))):
        prompt = f"{record['question']}\n{lettered(record['options'])}\n{DIRECTLY}"
        facts = {"answer": LETTERS[int(record["answer"])]}
        found.append(Row(str(number), prompt, (picture(record["image"], f"row {number}"),), facts))
    return found


def scienceqa_rows(folder: Path) -> list[Row]:
    """`test*.parquet` of lmms-lab/ScienceQA, ScienceQA-IMG; rows without a picture are asked without."""
    columns = ("question", "choices", "answer", "hint", "image", "subject")
    found = []
    for number, record in enumerate(read_parquet(folder, "test", columns)):
        context = f"Context: {record['hint']}\n" if record["hint"] else ""
        prompt = f"{context}{record['question']}\n{lettered(record['choices'])}\n{DIRECTLY}"
        images = (picture(record["image"], f"row {number}"),) if record["image"] else ()
        facts = {"answer": LETTERS[int(record["answer"])], "kind": record["subject"]}
        found.append(Row(str(number), prompt, images, facts))
    return found


def mmstar_rows(folder: Path) -> list[Row]:
    """`mmstar.parquet` of Lin-Chen/MMStar; the question holds its options."""
    found = []
    for record in read_parquet(folder, "mmstar", ("index", "question", "image", "answer", "category")):
        prompt = f"{record['question'].strip()}\n{DIRECTLY.rstrip('.')}"
        image = record["image"] if isinstance(record["image"], bytes) else picture(record["image"], record["index"])
        facts = {"answer": record["answer"].strip(), "kind": record["category"]}
        found.append(Row(str(record["index"]), prompt, (image,), facts))
    return found


def realworldqa_rows(folder: Path) -> list[Row]:
    """`test*.parquet` of xai-org/RealworldQA; the question says how to answer."""
    records = read_parquet(folder, "test", ("question", "answer", "image"))
    return [
        Row(str(n), r["question"].strip(), (picture(r["image"], f"row {n}"),), {"answer": r["answer"]})
        for n, r in enumerate(records)
    ]


def tally(rows: Sequence[Row], hits: Sequence[bool]) -> Table:
    """Percent right, by kind where rows have one, and (MMStar's `average`) the mean of those."""
    kinds = grouped([row.facts.get("kind") for row in rows], hits)
    table: Table = {"accuracy": 100 * mean(hits)}
    if set(kinds) != {None}:
        table["kinds"] = {str(kind): 100 * mean(found) for kind, found in kinds.items()}
        table["average"] = mean(list(table["kinds"].values()))
    return table


def _judge(is_right: Callable[[str, str], bool], row: Row, reply: Any) -> bool:
    return is_right(str(reply), row.facts["answer"])


def _benchmark(name: str, rows: Callable[[Path], list[Row]], is_right: Callable[[str, str], bool]) -> Benchmark:
    source = "MMStar-Benchmark/MMStar" if name == "mmstar" else "EvolvingLMMs-Lab/lmms-eval@75571cfe"
    judge = partial(_judge, is_right)
    return Benchmark(name, 1, source, "the reply", rows, judge, tally, figure="accuracy", verified=False)


BENCHMARKS = {
    "ai2d": _benchmark("ai2d", ai2d_rows, is_ai2d),
    "scienceqa": _benchmark("scienceqa", scienceqa_rows, is_scienceqa),
    "mmstar": _benchmark("mmstar", mmstar_rows, is_mmstar),
    "realworldqa": _benchmark("realworldqa", realworldqa_rows, is_realworldqa),
}

"""Published numbers beside our own: which of the catalogue's scores a benchmark of `evaluation/` measures."""

from collections.abc import Sequence
from dataclasses import dataclass

from diptych.catalogue.catalogue import Catalogue, plain
from diptych.catalogue.records import Model

# By benchmark here: its name in the records, and what our number is multiplied by to be written as theirs.
NAMES = {
    "geneval": ("GenEval", 1),
    "dpgbench": ("DPG-Bench", 1),
    "wise": ("WISE", 1),
    "mmmu": ("MMMU", 100),
    "mme": ("MME-P", 1),
    "mmbench": ("MMBench", 100),
    "mmvet": ("MM-Vet", 1),
    "seedbench": ("SEED-Bench", 1),
    "mathvista": ("MathVista", 100),
    "pope": ("POPE", 100),
    "vqav2": ("VQAv2", 1),
    "gqa": ("GQA", 1),
    "textvqa": ("TextVQA", 100),
    "imgedit": ("ImgEdit-Bench", 1),
    "gedit": ("GEdit-Bench-EN", 1),
    "kris": ("KRIS-Bench", 1),
    "rise": ("RISEBench", 1),
}


@dataclass(frozen=True)
class Published:
    """A number somebody published, on the scale of ours."""

    model: str
    variant: str | None
    value: float
    source: str
    same_model: bool


def published(catalogue: Catalogue, benchmark: str, model: str) -> list[Published]:
    """Numbers on a benchmark: those of this model first, then of others, best first; none of a benchmark that no record
    names. model: what the user called it; it is known by its hub id or the id's last part."""
    if benchmark not in NAMES:
        return []
    name, scale = NAMES[benchmark]
    found = [
        Published(record.name, score.variant, score.value / scale, score.source, _is(record, model))
        for record in catalogue.models
        for score in record.scores
        if score.benchmark == name
    ]
    return sorted(found, key=lambda one: (not one.same_model, -one.value))


def _is(record: Model, model: str) -> bool:
    names: Sequence[str] = [record.id, record.name, *(weights.rpartition("/")[2] for weights in record.weights)]
    return plain(model.rstrip("/").rpartition("/")[2]) in map(plain, names)

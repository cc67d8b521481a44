"""The catalogue as an awesome list: Markdown with the survey list's headings and columns, the newest first."""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeAlias

from diptych.catalogue.addresses import ARXIV, GITHUB
from diptych.catalogue.catalogue import Catalogue
from diptych.catalogue.records import Entry

Columns: TypeAlias = dict[str, Callable[[Any], str]]
PARADIGMS = {
    "diffusion": "Diffusion",
    "autoregressive": "MLLM AR",
    "hybrid": "MLLM AR-Diffusion",
    "any-to-any": "Any-to-Any Multimodal Models",
}
ENCODINGS = {
    "none": "",  # without a heading of its own
    "pixel": "Pixel Encoding",
    "semantic": "Semantic Encoding",
    "learnable-query": "Learnable Query Encoding",
    "hybrid-pseudo": "Hybrid Encoding (Pseudo)",
    "hybrid-joint": "Hybrid Encoding (Joint)",
}
TASKS = {
    "understanding": "Benchmarks on Understanding Tasks",
    "generation": "Benchmarks on Image Generation Tasks",
    "editing": "Benchmarks on Image Editing Tasks",
    "interleaved": "Benchmarks on Interleaved Tasks",
    "unified": "Benchmarks on Unified Tasks",
}
SECTIONS = {
    "understanding": "Multimodal Understanding",
    "text-to-image": "Text-to-Image",
    "editing": "Image Editing",
    "interleaved": "Interleaved Image-Text",
    "other": "Other Text-Image-to-Image",
}


def awesome(catalogue: Catalogue) -> str:
    """All records as a list; of the same records always the same text. `awesome.read` reads it back."""
    return "\n".join(["# Awesome Unified Multimodal Models", *_lines(catalogue)]) + "\n"


def _lines(catalogue: Catalogue) -> Iterator[str]:
    for paradigm, heading in PARADIGMS.items():
        models = [model for model in catalogue.models if model.paradigm == paradigm]
        yield from ("", f"## {heading}")
        yield from _divided(models, "encoding", ENCODINGS, MODELS)
    yield from ("", "## Benchmark for Evaluation")
    yield from _divided(catalogue.benchmarks, "task", TASKS, BENCHMARKS)
    yield from ("", "## Dataset")
    yield from _divided(catalogue.datasets, "section", SECTIONS, DATASETS)
    yield from ("", "## Applications and Opportunities")
    yield from _table(catalogue.applications, APPLICATIONS)


def _divided(records: Sequence[Entry], field: str, headings: dict[str, str], columns: Columns) -> Iterator[str]:
    """A table a class of records, under its heading."""
    for name, heading in headings.items():
        some = [record for record in records if getattr(record, field) == name]
        if some and heading:
            yield from ("", f"### {heading}")
        yield from _table(some, columns)


def _table(records: Sequence[Entry], columns: Columns) -> Iterator[str]:
    if not records:
        return
    yield from ("", _row(columns), _row(["---"] * len(columns)))
    for record in sorted(records, key=lambda one: (one.date, one.name), reverse=True):
        yield _row([cell(record) or "-" for cell in columns.values()])


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _name(record: Any) -> str:
    return _escaped(record.name)


def _linked_name(record: Any) -> str:
    return f"[{_name(record)}]({record.url})" if record.url else _name(record)


def _title(record: Any) -> str:
    title = _escaped(record.title or "")
    return f"[{title}]({ARXIV}/{record.arxiv})" if title and record.arxiv else title


def _venue(record: Any) -> str:
    return record.venue or ("arXiv" if record.arxiv else "")


def _date(record: Any) -> str:
    return record.date.replace("-", "/")


def _code(record: Any) -> str:
    path = getattr(record, "code_path", None)
    return f"[GitHub]({GITHUB}/{record.code}{f'/tree/HEAD/{path}' if path else ''})" if record.code else ""


def _demo(record: Any) -> str:
    return f"[Demo]({record.demo})" if record.demo else ""


def _size(record: Any) -> str:
    return record.size or ""


def _escaped(text: str) -> str:
    """A text in which no sign is markup."""
    return re.sub(r"([\\|\[\]<>*_`])", r"\\\1", text)


APPLICATIONS: Columns = {"Name": _name, "Title": _title, "Venue": _venue, "Date": _date, "Code": _code}
MODELS: Columns = APPLICATIONS | {"Demo": _demo}
BENCHMARKS: Columns = {"Name": _name, "Paper": _title, "Venue": _venue, "Date": _date, "Code": _code}
DATASETS: Columns = {"Dataset": _linked_name, "Samples": _size, "Paper": _title, "Venue": _venue, "Date": _date}

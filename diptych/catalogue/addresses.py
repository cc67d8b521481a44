"""Where the things that records name can be read: papers, repositories, hub pages, and the sources of facts."""

import re
from collections.abc import Iterator

from diptych.catalogue.records import Benchmark, Dataset, Entry, Model

ARXIV, GITHUB, HUB = "https://arxiv.org/abs", "https://github.com", "https://huggingface.co"
LIST = f"{GITHUB}/AIDC-AI/Awesome-Unified-Multimodal-Models"
_REMARK = re.compile(r" \([^()]*\)$")


def addresses(record: Entry) -> Iterator[tuple[str, str]]:
    """Where to read on about a record: (what is there, address)."""
    if record.arxiv:
        yield "paper", f"{ARXIV}/{record.arxiv}"
    code = getattr(record, "code", None)
    if code:
        path = record.code_path if isinstance(record, Model | Benchmark) else None
        yield "repository", f"{GITHUB}/{code}" + (f"/tree/HEAD/{path}" if path else "")
    if isinstance(record, Dataset) and record.hub_id:
        yield "on the hub", f"{HUB}/datasets/{record.hub_id}"


def address(source: str) -> str | None:
    """The address of a source, or of a place of data, as SCHEMA.md writes them; None where it is told in words.

    `survey list`, `github:owner/name#path`, `hf:owner/name` (data), `hf-space:owner/name` or an http(s) address, each
    perhaps with a remark in brackets behind it.
    """
    named = _REMARK.sub("", source)
    kind, _, rest = named.partition(":")
    if named == "survey list":
        return LIST
    if kind == "github":
        repository, _, path = rest.partition("#")
        return f"{GITHUB}/{repository}" + (f"/blob/HEAD/{path}" if path else "")
    if kind in ("hf", "hf-space"):
        return f"{HUB}/{'datasets' if kind == 'hf' else 'spaces'}/{rest}"
    return named if kind in ("http", "https") and " " not in named else None

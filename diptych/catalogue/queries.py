"""Which records are asked for: by class, time, ability, and words in any of their texts."""

import difflib
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, TypeVar

from diptych.catalogue import terms
from diptych.catalogue.catalogue import plain
from diptych.catalogue.records import Entry, Model
from diptych.catalogue.running import runs
from diptych.catalogue.scored import scorers
from diptych.errors import InputError

R = TypeVar("R", bound=Entry)
WORDS: dict[str, Mapping[str, str]] = {
    "paradigm": terms.PARADIGMS,
    "encoding": terms.ENCODINGS,
    "mechanism": terms.MECHANISMS,
    "attention": terms.ATTENTION,
    "can": terms.TASKS,
    "task": terms.BENCHMARK_TASKS,
    "section": terms.SECTIONS,
}
FIELDS = {"can": "tasks"}  # where an option has another name than the field it asks for
WHEN = re.compile(r"\d{4}(-(0[1-9]|1[0-2])(-(0[1-9]|[12]\d|3[01]))?)?")


@dataclass(frozen=True)
class Query:
    """What records must have; what is empty does not matter.

    classed: by option (a key of `WORDS`), the words of which a record has one; of `can` it has all.
    since, until: YYYY, YYYY-MM or YYYY-MM-DD, both included; a record is compared as exactly as both dates are known.
    here: models that a family of `models/` runs, benchmarks that `evaluation/` scores.
    search: words that all stand in a record, as wholes or beginnings, in any case and in any of its texts.
    Raises InputError for a word that no table has, and for a date that is none.
    """

    classed: Mapping[str, Sequence[str]] = field(default_factory=dict)
    since: str | None = None
    until: str | None = None
    here: bool = False
    search: str = ""

    def __post_init__(self) -> None:
        for option, words in self.classed.items():
            for word in words:
                _known(option, word)
        for option, date in (("since", self.since), ("until", self.until)):
            if date is not None and not WHEN.fullmatch(date):
                raise InputError(f"--{option} {date!r}: give a year, month or day, such as 2025, 2025-05 or 2025-05-20")


def select(records: Iterable[R], query: Query) -> list[R]:
    """The records that a query asks for: in their order, or, where words are searched, the closest first."""
    kept = [record for record in records if _fits(record, query)]
    if not query.search.strip():
        return kept
    scored = [(closeness(record, query.search), record) for record in kept]
    return [record for score, record in sorted(scored, key=lambda pair: -pair[0]) if score]


def closeness(record: Entry, search: str) -> int:
    """How well a record answers words: 0 where one is missing; names count most, then titles."""
    places = ((8, f"{record.name} {record.id}"), (3, record.title or ""), (1, " ".join(texts(asdict(record)))))
    weighed = [(weight, _words(text), plain(_bare(text))) for weight, text in places]
    score = 0
    for word in _words(search):
        hits = [w for w, words, _ in weighed if any(one.startswith(word) for one in words)]
        if not hits and len(word) > 2:  # parts of names: `pro` in JanusPro; `showo` in Show-o
            hits = [weight for weight, _, run in weighed[:1] if word in run]
        if not hits:
            return 0
        score += max(hits)
    return score


def texts(value: Any) -> Iterable[str]:
    """All texts in a record's values, however deep."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for one in value.values():
            yield from texts(one)
    elif isinstance(value, list | tuple):
        for one in value:
            yield from texts(one)


def _fits(record: Entry, query: Query) -> bool:
    for option, words in query.classed.items():
        value = getattr(record, FIELDS.get(option, option))
        has = {value} if isinstance(value, str) or value is None else set(value)
        if words and not (has >= set(words) if option == "can" else has & set(words)):
            return False
    if query.since and _upto(record.date, query.since) < _upto(query.since, record.date):
        return False
    if query.until and _upto(record.date, query.until) > _upto(query.until, record.date):
        return False
    return not query.here or bool(runs(record) if isinstance(record, Model) else scorers(record))


def _upto(date: str, other: str) -> str:
    """A date as exactly as another one is known."""
    return date[: len(other)]


def _known(option: str, word: str) -> None:
    if word in WORDS[option]:
        return
    close = difflib.get_close_matches(word, WORDS[option], n=1, cutoff=0.5)
    begun = [one for one in WORDS[option] if word and one.startswith(word)]
    hint = " or ".join(map(repr, begun or close))
    asked = f"did you mean {hint}? " if hint else ""
    raise InputError(f"--{option} {word!r}: {asked}choose from {', '.join(WORDS[option])}")


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", _bare(text))


def _bare(text: str) -> str:
    """Without case and accents."""
    return "".join(c for c in unicodedata.normalize("NFKD", text.casefold()) if not unicodedata.combining(c))

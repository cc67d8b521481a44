"""Whether an answer in words is right: the same words as an accepted one, whatever the case, punctuation, articles."""

import re
import unicodedata
from collections.abc import Iterable

ARTICLES = {"a", "an", "the"}
SPELLINGS = {"grey": "gray"}
PUNCTUATION = re.compile(r"[^\w\s]|_")


def normalise(text: str) -> str:
    """Case-folded words without punctuation and articles; wide and narrow forms of a character are one."""
    words = PUNCTUATION.sub(" ", unicodedata.normalize("NFKC", text).casefold()).split()
    return " ".join(SPELLINGS.get(word, word) for word in words if word not in ARTICLES)


def is_accepted(answer: str, accepted: Iterable[str]) -> bool:
    return normalise(answer) in {normalise(right) for right in accepted}

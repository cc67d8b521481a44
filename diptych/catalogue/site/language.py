"""What the site says, in English and in Chinese: each text stands once, in both."""

from dataclasses import dataclass
from typing import Any

from diptych.catalogue import terms
from diptych.catalogue.site.chinese import TERMS
from diptych.catalogue.site.texts import TEXTS

CODES = ("en", "zh")
TABLES = {
    "paradigm": terms.PARADIGMS,
    "encoding": terms.ENCODINGS,
    "mechanism": terms.MECHANISMS,
    "attention": terms.ATTENTION,
    "modality": terms.MODALITIES,
    "can": terms.TASKS,
    "task": terms.BENCHMARK_TASKS,
    "section": terms.SECTIONS,
}


@dataclass(frozen=True)
class Language:
    """One of `CODES`."""

    code: str

    @property
    def other(self) -> "Language":
        return Language(CODES[1 - CODES.index(self.code)])

    @property
    def html(self) -> str:
        """The code as HTML's `lang` wants it."""
        return "zh-CN" if self.code == "zh" else self.code

    def say(self, key: str, **values: Any) -> str:
        """A text of the site with its values filled in."""
        return TEXTS[key][CODES.index(self.code)].format(**values)

    def name(self, table: str, word: str) -> str:
        """What a word of the catalogue is called, such as 'hybrid' of the table 'paradigm'."""
        if self.code == "zh":
            return TERMS[table][word][0]
        return "not classed" if (table, word) == ("encoding", "none") else word

    def meaning(self, table: str, word: str) -> str:
        return TABLES[table][word] if self.code == "en" else TERMS[table][word][1]

    @property
    def comma(self) -> str:
        return "、" if self.code == "zh" else ", "

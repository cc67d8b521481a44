"""Filling the templates of `assets/templates.json`, in English and Chinese.

A slot is `{A}`, `{B.color}`, `{list.np_pos}`, ... : a mention and the form it takes, or a plain word such as `{bg}`.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field

from diptych.data.worlds.emoji.graph import Mention
from diptych.data.worlds.emoji.rules import OBJECTS, WORLD

Form = Callable[[Mention], str]
SLOT = re.compile(r"\{([\w.]+)\}")
SENTENCE_START = re.compile(r"(^|(?<=[.] ))([a-z])")


@dataclass(frozen=True)
class Fill:
    """What goes into the slots: mentions A, B, ... in order, N the new one, and plain words by slot name."""

    mentions: tuple[Mention, ...] = ()
    new: Mention | None = None
    words: dict[str, str] = field(default_factory=dict)

    def mention(self, letter: str) -> Mention:
        found = self.new if letter == "N" else self.mentions["ABCDEF".index(letter)]
        assert found is not None, "the template speaks of a new object, but none was given"
        return found


def fill(template: str, content: Fill, lang: str) -> str:
    """The template with every slot filled; English sentences (ending in . or ?) start with a capital."""

    def slot(match: re.Match[str]) -> str:
        name = match.group(1)
        if name in content.words:
            return content.words[name]
        letter, _, form = name.partition(".")
        if letter == "list":
            return list_mentions(content.mentions, form, lang)
        return FORMS[lang][form](content.mention(letter))

    text = SLOT.sub(slot, template)
    return capitalise(text) if lang == "en" and text[-1] in ".?" else text


def capitalise(text: str) -> str:
    """Upper-case the first letter of every sentence."""
    return SENTENCE_START.sub(lambda match: match.group(2).upper(), text)


def number(count: int, lang: str) -> str:
    """The number word before a noun: "two", 两."""
    return WORLD["numbers"][str(count)]["en" if lang == "en" else "zh_count"]


def list_mentions(mentions: tuple[Mention, ...], form: str, lang: str) -> str:
    """All mentions in a row, each alone ("np") or with its place ("np_pos", "pos_np", "the_pos", "the_is_pos")."""
    phrases = [LIST_FORMS[lang][form](mention) for mention in mentions]
    if lang == "zh" and form != "np":
        return "，".join(phrases)
    comma, last = (", ", " and ") if lang == "en" else ("、", "和")
    return phrases[0] if len(phrases) == 1 else comma.join(phrases[:-1]) + last + phrases[-1]


def en_colored(mention: Mention, name: str) -> str:
    return f"{mention.color} {name}" if mention.color else name


def en_counted_name(mention: Mention) -> str:
    return en_colored(mention, mention.noun.name if mention.count == 1 else mention.noun.plural)


def en_article(mention: Mention) -> str:
    """The first word decides: the colour where there is one ("an orange car"), else the noun."""
    if mention.color is None:
        return mention.noun.article
    return "an" if mention.color == "orange" else "a"


def en_counted(mention: Mention) -> str:
    return f"{number(mention.count, 'en')} {en_counted_name(mention)}"


def en_phrase(mention: Mention) -> str:
    return en_counted(mention) if mention.count > 1 else f"{en_article(mention)} {en_counted_name(mention)}"


def en_place(mention: Mention) -> str:
    return WORLD["positions"][mention.pos]["en_phrase"]


def zh_color(mention: Mention) -> str:
    return WORLD["colors"][mention.color]["zh"]


def zh_name(mention: Mention) -> str:
    return OBJECTS[mention.id].zh


def zh_bare(mention: Mention) -> str:
    return f"{zh_color(mention)}的{zh_name(mention)}" if mention.color else zh_name(mention)


def zh_counted(mention: Mention) -> str:
    return f"{number(mention.count, 'zh')}{OBJECTS[mention.id].measure_word}{zh_bare(mention)}"


def zh_place(mention: Mention) -> str:
    return WORLD["positions"][mention.pos]["zh"]


FORMS: dict[str, dict[str, Form]] = {
    "en": {
        "": en_phrase,
        "any": lambda m: f"{m.noun.article} {m.noun.name}",
        "bare": lambda m: en_colored(m, m.noun.name),
        "noun": lambda m: f"the {m.noun.name}",
        "name": lambda m: m.noun.name,
        "plural": lambda m: m.noun.plural,
        "art": lambda m: m.noun.article,
        "color": lambda m: str(m.color),
        "n": en_counted,
        "num": lambda m: number(m.count, "en"),
        "the": lambda m: f"the {en_counted_name(m)}",
        "is": lambda m: "is" if m.count == 1 else "are",
        "pos": en_place,
    },
    "zh": {
        "": zh_counted,
        "any": zh_name,
        "bare": zh_bare,
        "noun": zh_name,
        "name": zh_name,
        "plural": zh_name,
        "mw": lambda m: OBJECTS[m.id].measure_word,
        "color": zh_color,
        "n": zh_counted,
        "num": lambda m: number(m.count, "zh"),
        "the": zh_bare,
        "pos": zh_place,
    },
}

LIST_FORMS: dict[str, dict[str, Form]] = {
    "en": {
        "np": en_phrase,
        "np_pos": lambda m: f"{en_phrase(m)} {en_place(m)}",
        "pos_np": lambda m: f"{en_place(m)} {en_phrase(m)}",
        "the_pos": lambda m: f"the {en_counted_name(m)} {en_place(m)}",
        "the_is_pos": lambda m: f"the {en_counted_name(m)} is {en_place(m)}",
    },
    "zh": {
        "np": zh_counted,
        "np_pos": lambda m: f"{zh_counted(m)}在{zh_place(m)}",
        "pos_np": lambda m: f"{zh_place(m)}有{zh_counted(m)}",
        "the_pos": lambda m: f"{zh_bare(m)}{zh_place(m)}",
        "the_is_pos": lambda m: f"{zh_bare(m)}在{zh_place(m)}",
    },
}

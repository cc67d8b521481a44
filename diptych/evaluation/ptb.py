"""Words of a caption as the Penn Treebank writes them, lower-cased and without punctuation.

Caption scores are defined on the tokens of Stanford's PTBTokenizer as coco-caption calls it. This follows its rules for
what captions hold: clitics apart, hyphened words whole, numbers with their marks, abbreviations with their full stop.
"""

import re

QUOTES = str.maketrans({"“": '"', "”": '"', "‘": "'", "’": "'", "´": "'", "`": "'", "…": "...", "–": "--", "—": "--"})
BRACKETS = {"(": "-lrb-", ")": "-rrb-", "[": "-lsb-", "]": "-rsb-", "{": "-lcb-", "}": "-rcb-"}
ABBREVIATIONS = "mr|mrs|ms|dr|prof|st|mt|jr|sr|vs|etc|inc|ltd|co|corp|bros|ave|blvd|rd|no|gen|gov|lt|sgt|capt|rev"
SPLIT = {
    "cannot": ("can", "not"),
    "gonna": ("gon", "na"),
    "gotta": ("got", "ta"),
    "wanna": ("wan", "na"),
    "gimme": ("gim", "me"),
    "lemme": ("lem", "me"),
    "'tis": ("'t", "is"),
    "'twas": ("'t", "was"),
}
CLITIC = re.compile(r"^(.+?)(n't|'s|'m|'d|'re|'ve|'ll)$")
TOKEN = re.compile(
    rf"""(?:[a-z]\.){{2,}}                          # u.s., a.m.
    | \b(?:{ABBREVIATIONS})\.                       # mr.
    | \d+(?:[.,:]\d+)+(?!\d)                        # 1,000 5.99 5:30
    | \d+/\d+                                       # 1/2
    | '(?:tis|twas)\b
    | \w+(?:'\w+)?(?:-\w+(?:'\w+)?)*                # dog, isn't, mother-in-law
    | '(?:s|m|d|re|ve|ll)\b
    | [()\[\]{{}}]
    | [$%&\#@+=*/<>~^|\\]                           # marks that stay
    | [?!]{{2,}}                                      # only a single one is taken for punctuation
    | [^\s\w]+?                                     # punctuation, which goes
    """,
    re.VERBOSE,
)
STAYS = set("$%&#@+=<>~^|")


def tokens(text: str) -> list[str]:
    """The words of a caption."""
    found: list[str] = []
    for piece in TOKEN.findall(text.translate(QUOTES).lower()):
        if piece in SPLIT:
            found += SPLIT[piece]
        elif clitic := CLITIC.match(piece):
            found += clitic.groups()
        elif piece in BRACKETS:
            found.append(BRACKETS[piece])
        elif "/" in piece[1:]:
            found.append(piece.replace("/", "\\/"))
        elif piece[-1].isalnum() or piece[0].isalnum() or piece in STAYS or "_" in piece or len(piece) > 1:
            found.append(piece)
        elif piece in "*/":
            found.append(f"\\{piece}")
    return found


def tokenize(text: str) -> str:
    """The words, one space apart."""
    return " ".join(tokens(text))

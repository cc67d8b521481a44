"""The drawings in docs/drawings, as the site draws them; `python -m tests.catalogue.drawings` writes them."""

from pathlib import Path

from diptych.catalogue import terms
from diptych.catalogue.site.diagrams import VISITS, mask_drawing, paradigm
from diptych.catalogue.site.language import CODES, Language
from diptych.catalogue.site.svg import alone

FOLDER = Path(__file__).parents[2] / "docs" / "drawings"


def drawings() -> dict[str, str]:
    """Every drawing of the docs by its file's name."""
    found = {}
    for lang in map(Language, CODES):
        found |= {f"{name}.{lang.code}.svg": alone(paradigm(name, lang)) for name in VISITS}
        found |= {f"{name}.{lang.code}.svg": alone(mask_drawing(name, lang)) for name in terms.ATTENTION}
    return found


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    for name, text in drawings().items():
        (FOLDER / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()

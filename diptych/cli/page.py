"""What a demo shows, and the one self-contained page that shows it: pictures inside, no script, light and dark."""

import html
from dataclasses import dataclass, field

import PIL.Image

from diptych.images import data_uri

FILM = 4  # so many pictures want the whole width
SMALL = 128  # pixels: smaller pictures are enlarged on the page, and shown as the squares they are


@dataclass(frozen=True)
class Shown:
    """A picture and the few words under it. lossy: a photograph, smaller as JPEG."""

    picture: PIL.Image.Image
    label: str = ""
    lossy: bool = False


@dataclass(frozen=True)
class Card:
    """One thing that was asked and what came of it. `ok` is None where nobody can say."""

    asked: str
    pictures: tuple[Shown, ...]
    answer: str = ""
    truth: str = ""
    ok: bool | None = None


@dataclass(frozen=True)
class Section:
    """Things of one kind, how long they took, and how many were right."""

    title: str
    about: str
    cards: tuple[Card, ...]
    seconds: float
    name: str = field(default="", kw_only=True)

    @property
    def score(self) -> str:
        """How many of the cards that can be judged are right; empty if none can."""
        judged = [card.ok for card in self.cards if card.ok is not None]
        return f"{sum(judged)} of {len(judged)} right" if judged else ""


STYLE = """
:root { color-scheme: light dark; --ink: #1d1d1f; --soft: #6e6e73; --paper: #fbfbfd; --card: #fff; --line: #e3e3e8;
  --good: #1a7f37; --bad: #b3261e; }
@media (prefers-color-scheme: dark) { :root { --ink: #f2f2f4; --soft: #a1a1a8; --paper: #131316; --card: #1d1d21;
  --line: #34343a; --good: #56d364; --bad: #ff8a80; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 1080px; padding: 24px 16px 64px; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", "Noto Sans", "Noto Sans SC", sans-serif; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 16px 0 4px; }
h2 { font-size: 1.25rem; margin: 44px 0 0; }
p, figcaption, .facts { color: var(--soft); margin: 4px 0 0; }
.cards { display: grid; gap: 16px; margin-top: 16px;
  grid-template-columns: repeat(auto-fill, minmax(min(100%, 230px), 1fr)); }
article { background: var(--card); border: 1px solid var(--line); border-radius: 14px; padding: 12px; }
article.wide { grid-column: span 2; }
article.film { grid-column: 1 / -1; }
@media (max-width: 507px) { article.wide { grid-column: auto; } }
.pictures { display: flex; gap: 8px; }
figure { margin: 0; flex: 1; min-width: 0; }
figcaption { font-size: .8rem; text-align: center; }
img { display: block; width: 100%; border-radius: 8px; background: #fff; box-shadow: 0 0 0 1px var(--line); }
img.small { image-rendering: pixelated; }
.asked { margin: 10px 0 0; font-weight: 600; color: var(--ink); overflow-wrap: anywhere; }
.answer { color: var(--ink); overflow-wrap: anywhere; }
.good::before { content: "\\2713\\00a0"; color: var(--good); font-weight: 700; }
.bad::before { content: "\\2717\\00a0"; color: var(--bad); font-weight: 700; }
"""


def page(title: str, facts: str, sections: list[Section]) -> str:
    """The whole page as HTML."""
    body = "\n".join(_section(section) for section in sections)
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{html.escape(title)}</title>
<style>{STYLE}</style>
</head>
<body>
<h1>{html.escape(title)}</h1>
<p class="facts">{html.escape(facts)}</p>
{body}
</body>
</html>
"""


def _section(section: Section) -> str:
    cards = "\n".join(card(one) for one in section.cards)
    took = f"{section.seconds:.1f} s"
    facts = " · ".join(part for part in (section.score, took) if part)
    return (
        f"<section>\n<h2>{html.escape(section.title)}</h2>\n"
        f"<p>{html.escape(section.about)} <span>{facts}</span></p>\n"
        f'<div class="cards">\n{cards}\n</div>\n</section>'
    )


def card(one: Card) -> str:
    """One card as HTML; every text is escaped."""
    mark = {True: " good", False: " bad", None: ""}[one.ok]
    lines = [f'<div class="pictures">{"".join(_figure(shown) for shown in one.pictures)}</div>']
    lines.append(f'<div class="asked">{html.escape(one.asked)}</div>')
    if one.answer or one.ok is not None:
        lines.append(f'<div class="answer{mark}">{html.escape(one.answer)}</div>')
    if one.truth:
        lines.append(f"<p>{html.escape(one.truth)}</p>")
    wide = "" if len(one.pictures) < 2 else ' class="wide"' if len(one.pictures) < FILM else ' class="film"'
    return f"<article{wide}>{''.join(lines)}</article>"


def _figure(shown: Shown) -> str:
    caption = f"<figcaption>{html.escape(shown.label)}</figcaption>" if shown.label else ""
    small = ' class="small"' if max(shown.picture.size) <= SMALL else ""
    uri = data_uri(shown.picture, lossy=shown.lossy)
    return f'<figure><img{small} alt="{html.escape(shown.label)}" src="{uri}">{caption}</figure>'

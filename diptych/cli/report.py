"""The page of a run: its number, who judged, what others published, how it was made, and row by row what came of it."""

import html
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import PIL.Image

from diptych.cli.page import SMALL, STYLE, Card, Shown, card
from diptych.errors import ImageError
from diptych.evaluation.benchmark import Benchmark, Row
from diptych.evaluation.runs.figures import figures, mark
from diptych.evaluation.runs.folder import Run
from diptych.evaluation.runs.scoring import evidence
from diptych.images import open_image
from diptych.storage import replacing

if TYPE_CHECKING:
    from diptych.catalogue.published import Published

MOST = 240  # rows on the page; of more, evenly spaced ones
SIDE = 256  # pixels of a thumbnail
LONGEST = 400  # characters of an answer
OTHERS = 8  # published numbers of other models
TRUTHS = ("answer", "label", "answers", "accepted", "captions")  # facts that hold what is right

MORE_STYLE = """
.number { font-size: 2.6rem; font-weight: 700; line-height: 1.1; color: var(--ink); margin: 12px 0 0; }
.stand-in { color: var(--bad); font-weight: 600; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; margin-top: 12px; font-variant-numeric: tabular-nums; }
td, th { text-align: left; padding: 5px 18px 5px 0; border-bottom: 1px solid var(--line); vertical-align: top;
  overflow-wrap: anywhere; }
th { font-weight: 600; color: var(--soft); white-space: nowrap; }
td.value { text-align: right; white-space: nowrap; }
tr.own td { font-weight: 600; }
details { margin-top: 20px; }
summary { cursor: pointer; font-weight: 600; }
.choice { position: absolute; opacity: 0; }
.choice + label { display: inline-block; margin: 14px 6px 0 0; padding: 4px 14px; border: 1px solid var(--line);
  border-radius: 99px; cursor: pointer; background: var(--card); }
.choice:checked + label { border-color: var(--ink); font-weight: 600; }
.choice:focus-visible + label { outline: 2px solid var(--ink); }
#right:checked ~ .cards article:not(:has(.good)), #wrong:checked ~ .cards article:not(:has(.bad)) { display: none; }
.asked, .answer { white-space: pre-line; }
"""


def write_report(run: Run, benchmark: Benchmark, score: Mapping[str, Any], others: "Sequence[Published]") -> Path:
    """`report.html` in the run's folder: one file, nothing loaded from elsewhere."""
    path = run.path / "report.html"
    with replacing(path) as draft:
        draft.write_text(report(run, benchmark, score, others), "utf-8")
    return path


def report(run: Run, benchmark: Benchmark, score: Mapping[str, Any], others: "Sequence[Published]") -> str:
    """The page as HTML; every text from files and models is escaped."""
    title = f"{benchmark.name}: {score['model']}"
    found = evidence(run, benchmark)
    chosen = run.rows[:: -(-len(run.rows) // MOST)]
    answers = run.answers()
    cards = [_row_card(run, benchmark, row, answers[row.id], found[row.id]) for row in chosen]
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{html.escape(title)}</title>
<style>{STYLE}{MORE_STYLE}</style>
</head>
<body>
<h1>{html.escape(title)}</h1>
{_head(score)}
{_figures(figures(score["table"], run.rows))}
{_published(score, others)}
{_settings(run.settings)}
{_rows(cards, len(run.rows))}
</body>
</html>
"""


def _head(score: Mapping[str, Any]) -> str:
    facts = f"{score['rows']} rows"
    if score["marked"]:
        facts += f", {score['right']} of {score['marked']} all right"
    judge = score["judge"]
    who = "judged by the benchmark's own rule" if judge is None else f"judged by {html.escape(judge['id'])}"
    if judge is not None and not judge["official"]:
        who += ' <span class="stand-in">(a stand-in: not the official judge)</span>'
    if not score["verified"]:
        who += ' <span class="stand-in">(scored by its written rule, not verified against official code)</span>'
    return (
        f'<p class="number">{score["value"]:.4g}</p>\n'
        f"<p>{html.escape(score['figure'])}, scorer version {score['scorer']}; {facts}; {who}</p>"
    )


def _table(rows: Sequence[tuple[str, ...]], head: tuple[str, ...] = (), own: Sequence[bool] = ()) -> str:
    """Cells are HTML; the second column holds values."""
    lines = ["<tr>" + "".join(f"<th>{cell}</th>" for cell in head) + "</tr>"] if head else []
    for place, row in enumerate(rows):
        cells = "".join(
            f'<td class="value">{cell}</td>' if i == 1 else f"<td>{cell}</td>" for i, cell in enumerate(row)
        )
        lines.append(f'<tr class="own">{cells}</tr>' if own and own[place] else f"<tr>{cells}</tr>")
    return f'<div class="scroll"><table>{"".join(lines)}</table></div>'


def _figures(numbers: Mapping[str, float]) -> str:
    rows = [(html.escape(name), f"{value:.4g}") for name, value in numbers.items()]
    return f"<h2>Figures</h2>\n{_table(rows)}"


def _published(score: Mapping[str, Any], others: "Sequence[Published]") -> str:
    """Published numbers of this model, and the best of others, on our scale."""
    kept = [one for one in others if one.same_model] + [one for one in others if not one.same_model][:OTHERS]
    if not kept:
        return ""
    rows = [(html.escape(score["model"]), f"{score['value']:.4g}", "this run")]
    for one in kept:
        name = one.model + (f" ({one.variant})" if one.variant else "")
        rows.append((html.escape(name), f"{one.value:.4g}", html.escape(one.source)))
    own = [True, *(one.same_model for one in kept)]
    about = "From the catalogue; settings and judges of others may differ."
    return f"<h2>Beside published numbers</h2>\n<p>{about}</p>\n{_table(rows, ('model', 'value', 'source'), own)}"


def _settings(settings: Mapping[str, Any]) -> str:
    cells = [
        f"<tr><th>{html.escape(name)}</th><td>{html.escape(_said(value))}</td></tr>"
        for name, value in settings.items()
        if name != "data"
    ]
    table = f'<div class="scroll"><table>{"".join(cells)}</table></div>'
    return f"<details><summary>How it was made</summary>{table}</details>"


def _rows(cards: Sequence[Card], total: int) -> str:
    right, wrong = (sum(one.ok is ok for one in cards) for ok in (True, False))
    few = "" if len(cards) == total else f"<p>{len(cards)} of {total} rows, evenly spaced.</p>\n"
    choices = "".join(
        f'<input class="choice" type="radio" name="shown" id="{name}"{" checked" if name == "all" else ""}>'
        f'<label for="{name}">{name} ({count})</label>'
        for name, count in (("all", len(cards)), ("wrong", wrong), ("right", right))
    )
    body = "\n".join(map(card, cards))
    return f'<section>\n<h2>Rows</h2>\n{few}{choices}\n<div class="cards">\n{body}\n</div>\n</section>'


def _row_card(run: Run, benchmark: Benchmark, row: Row, answer: Mapping[str, Any], found: Any) -> Card:
    verdict = benchmark.judge(row, found)
    value = mark(benchmark, row, verdict)
    made = [run.path / name for name in answer.get("images", ())]
    sources = [image for image in row.images if isinstance(image, Path)]
    labels = ["" if not made else "given"] * len(sources) + [
        "" if len(made) == 1 else f"{k + 1}" for k in range(len(made))
    ]
    if sources and len(made) == 1:
        labels[-1] = "made"
    pictures = [
        shown for path, label in zip([*sources, *made], labels, strict=True) if (shown := _thumbnail(path, label))
    ]
    said = answer.get("answer", "") or (benchmark.told(row, found) if benchmark.told else _reasons(verdict))
    graded = "" if value is None or value in (0, 1) else f" ({value:.0%})"
    return Card(
        asked=_cut(row.prompt),
        pictures=tuple(pictures),
        answer=_cut(said) + graded,
        truth=_truth(row),
        ok=None if value is None else value >= 0.5,
    )


def _thumbnail(path: Path, label: str) -> Shown | None:
    """The picture, small; None where it is not there any more."""
    try:
        picture = open_image(path)
    except ImageError:
        return None
    if max(picture.size) <= SMALL:
        return Shown(picture, label)
    picture.thumbnail((SIDE, SIDE), PIL.Image.Resampling.LANCZOS)
    return Shown(picture, label, lossy=True)


def _reasons(verdict: Any) -> str:
    """What a judge found wrong with pictures, or all it says."""
    several = verdict if isinstance(verdict, list) else [verdict]
    lists: list[Sequence[str] | None] = [getattr(one, "reasons", None) for one in several]
    if None not in lists:
        return "; ".join(dict.fromkeys(reason for reasons in lists for reason in reasons or ()))
    return "" if isinstance(verdict, bool) else _said(verdict)


def _truth(row: Row) -> str:
    held = [row.facts[name] for name in TRUTHS if name in row.facts]
    if not held:
        return ""
    values = held[0] if isinstance(held[0], list) else [held[0]]
    return _cut("right: " + ", ".join(dict.fromkeys(map(str, values))))


def _said(value: Any) -> str:
    if isinstance(value, str):
        return value
    if hasattr(value, "_asdict"):
        value = value._asdict()
    return json.dumps(value, ensure_ascii=False, default=str)


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else text[:LONGEST] + "…"

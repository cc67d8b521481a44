"""From a text canvas that is being written to text: what is final, and what is only a draft."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence

from diptych.canvas import Canvas
from diptych.samplers.conversation import cut, final
from diptych.tokenizers.text import TextTokenizer
from diptych.types import BLANK, Draft, Text


def spoken(
    canvases: Iterable[Canvas],
    tokenizer: TextTokenizer,
    stops: frozenset[int],
    drafts: bool = False,
    whole: Callable[[Sequence[int]], str] | None = None,
) -> Generator[Text | Draft, None, tuple[list[int], int | None]]:
    """One sample's canvas after each visit -> Text pieces as they become final, or a Draft of the whole a visit.

    Returns the ids written before the first stop, and that stop. Slots are final from the left up to the first open
    one; if some stay open to the end, what is settled behind them follows last.
    whole: how a text is spelt of which nothing is final before the last visit.
    """
    if whole is not None:
        return (yield from _at_once(canvases, tokenizer, stops, drafts, whole))
    stream, ids, text, stop, canvas = tokenizer.stream(), list[int](), "", None, None
    for canvas in canvases:
        new, stop = cut(canvas.value[0, len(ids) : final(canvas)], stops)
        ids += new
        piece = "".join(map(stream.push, new)) + (stream.flush() if stop is not None else "")
        text += piece
        if drafts:
            yield _draft(canvas, ids, text, stop, tokenizer, stops)
        elif piece:
            yield Text(piece)
        if stop is not None:
            return ids, stop
    if canvas is not None:
        rest, stop = cut(canvas.value[0, len(ids) :][canvas.known[0, len(ids) :]], stops)
        ids += rest
        if (piece := "".join(map(stream.push, rest)) + stream.flush()) and not drafts:
            yield Text(piece)
    return ids, stop


def _at_once(
    canvases: Iterable[Canvas],
    tokenizer: TextTokenizer,
    stops: frozenset[int],
    drafts: bool,
    whole: Callable[[Sequence[int]], str],
) -> Generator[Text | Draft, None, tuple[list[int], int | None]]:
    """Nothing is final until all is."""
    canvas = None
    for canvas in canvases:
        if drafts and not bool(canvas.known.all()):
            yield _draft(canvas, [], "", None, tokenizer, stops)
    ids, stop = ([], None) if canvas is None else cut(canvas.value[0][canvas.known[0]], stops)
    text = whole(ids)
    yield Draft(text, len(text)) if drafts else Text(text)
    return ids, stop


def _draft(
    canvas: Canvas, ids: list[int], text: str, stop: int | None, tokenizer: TextTokenizer, stops: frozenset[int]
) -> Draft:
    """Behind what is final: open slots as blanks, settled ones as they are, up to a stop."""
    later = ""
    if stop is None:
        for i, known in zip(canvas.value[0, len(ids) :].tolist(), canvas.known[0, len(ids) :].tolist(), strict=True):
            if known and i in stops:
                break
            later += tokenizer.decode([i]) if known else BLANK
    return Draft(text + later, len(text))

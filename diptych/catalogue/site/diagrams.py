"""Drawings of how unified models work: a model from its record, who sees whom, and the three paradigms."""

from collections.abc import Sequence

from diptych.catalogue.records import Model
from diptych.catalogue.site.language import Language
from diptych.catalogue.site.markup import Markup, join, tag
from diptych.catalogue.site.svg import LINE, PAD, arrow, box, cell, drawing, pill, text, wrapped

WIDTH, LEFT, RIGHT, COLUMN = 440, 112, 328, 204  # of a model's drawing; the middles of its columns, and their width
SEQUENCE = "TTTIIIITT"  # the tokens that masks are drawn over: text, an image, text
SIDE, STEP, MASK = 10, 11.5, 117  # of a mask's cells, and of the whole
SLOT, PROMPT, TEXT, IMAGE = 20, 3, 5, 9  # of a paradigm's canvas: a slot's width, how many slots of each kind
REMAINING = ("video", "audio", "action")
# What each visit to a canvas of text and image has settled: (visit, slots of text, slots of image); `~` is on its way.
VISITS: dict[str, Sequence[tuple[str, str, str]]] = {
    "diffusion": (
        ("1", ".....", "........."),
        ("2", ".#...", "...#....#"),
        ("3", ".##.#", "#..##.#.#"),
        ("…", "#####", "#########"),
    ),
    "autoregressive": (
        ("1", "#....", "........."),
        ("2", "##...", "........."),
        ("6", "#####", "#........"),
        ("…", "#####", "#########"),
    ),
    "hybrid": (
        ("1", "#....", "........."),
        ("5", "#####", "........."),
        ("6", "#####", "~~~~~~~~~"),
        ("…", "#####", "#########"),
    ),
}


def sees(attention: str, query: int, key: int) -> bool:
    """Whether one token of `SEQUENCE` sees another under an attention of the catalogue."""
    if attention == "bidirectional" or key <= query:
        return True
    same_image = SEQUENCE[query] == SEQUENCE[key] == "I" and "T" not in SEQUENCE[query:key]
    return attention in ("mixed", "mot") and same_image


def mask(attention: str, x: float, y: float) -> Markup:
    """Who sees whom: a row a token that looks, a column a token that is seen; `MASK` pixels each way."""
    kinds = ["image" if kind == "I" else "text" for kind in SEQUENCE]
    head = [cell(x + 14 + STEP * place, y, SIDE, kind) for place, kind in enumerate(kinds)]
    side = [cell(x, y + 14 + STEP * place, SIDE, kind) for place, kind in enumerate(kinds)]
    # Under mot, text and image have weights of their own: rows take the colour of who looks.
    own = [kind if attention == "mot" else "seen" for kind in kinds]
    cells = [
        cell(x + 14 + STEP * key, y + 14 + STEP * query, SIDE, own[query] if sees(attention, query, key) else "unseen")
        for query in range(len(kinds))
        for key in range(len(kinds))
    ]
    return join(head, side, cells)


def mask_drawing(attention: str, lang: Language) -> Markup:
    """A mask by itself."""
    return drawing(MASK, MASK, lang.meaning("attention", attention), mask(attention, 0, 0), class_="diagram mask")


def architecture(model: Model, lang: Language) -> Markup:
    """Encoder, backbone with its visibility, decoder: what goes in on top, what comes out below."""
    parts, bottom = _reading(model, lang)
    backbone, low = _backbone(model, lang, bottom + 22)
    writing, end = _writing(model, lang, low)
    entering = [arrow(LEFT, 26, bottom + 22), arrow(RIGHT, bottom, bottom + 22)]
    title = lang.say("architecture of", name=model.name)
    return drawing(WIDTH, end + 2, title, parts, entering, backbone, writing)


def _reading(model: Model, lang: Language) -> tuple[Markup, float]:
    encoder = box(
        RIGHT - COLUMN / 2,
        48,
        COLUMN,
        lang.say("reads"),
        wrapped(model.understanding_encoder or lang.say("not known"), COLUMN),
        "" if model.understanding_encoder else "unknown",
    )
    seen = _pictures(model.inputs, lang)
    parts = [pill(LEFT, 2, lang.name("modality", "text"), "text").markup, pill(RIGHT, 2, seen, "image").markup]
    return join(parts, arrow(RIGHT, 26, 48), encoder.markup), encoder.bottom


def _backbone(model: Model, lang: Language, top: float) -> tuple[Markup, float]:
    width = WIDTH - 20
    room = width - 140 if model.attention else width
    known = lang.name("attention", model.attention) if model.attention else lang.say("not known")
    said = wrapped(model.backbone or lang.say("not known"), room)
    said += ["", *wrapped(lang.say("attention is", name=known), room)]
    least = 140 if model.attention else 0
    frame = box(10, top, width, lang.say("backbone"), said, "backbone", least)
    middle = top + (frame.bottom - top - MASK) / 2
    picture = mask(model.attention, WIDTH - 10 - PAD - MASK, middle) if model.attention else None
    return join(frame.markup, picture), frame.bottom


def _writing(model: Model, lang: Language, top: float) -> tuple[Markup, float]:
    way = "denoised" if model.paradigm == "diffusion" else "left to right"
    parts = [arrow(LEFT, top, top + 58), text(LEFT + 10, top + 30, lang.say(way), "label")]
    parts.append(pill(LEFT, top + 58, lang.name("modality", "text"), "text").markup)
    ways = [lang.name("mechanism", one) for one in model.mechanism] or [lang.say("not known")]
    above = [text(RIGHT + 10, top + 20 + LINE * row, one, "label") for row, one in enumerate(ways)]
    first = box(
        RIGHT - COLUMN / 2,
        top + 28 + LINE * len(ways),
        COLUMN,
        lang.say("writes"),
        wrapped(model.generation_encoder or lang.say("not known"), COLUMN),
        "" if model.generation_encoder else "unknown",
    )
    outside = "external-diffusion-decoder" in model.mechanism
    second = box(
        RIGHT - COLUMN / 2,
        first.bottom + 22,
        COLUMN,
        lang.say("decodes outside" if outside else "decodes"),
        wrapped(model.generation_decoder or lang.say("not known"), COLUMN),
        ("outside" if outside else "") if model.generation_decoder else "unknown",
    )
    parts += [arrow(RIGHT, top, top + 28 + LINE * len(ways)), *above, first.markup]
    parts += [arrow(RIGHT, first.bottom, first.bottom + 22), second.markup]
    last = pill(RIGHT, second.bottom + 22, _pictures(model.outputs, lang), "image")
    return join(parts, arrow(RIGHT, second.bottom, second.bottom + 22), last.markup), last.bottom


def _pictures(modalities: Sequence[str], lang: Language) -> str:
    shown = [lang.name("modality", one) for one in ("image", *REMAINING) if one in modalities]
    return " + ".join(shown) or lang.say("not known")


def paradigm(name: str, lang: Language) -> Markup:
    """How one paradigm fills a canvas of text and image, visit by visit."""
    left, rows = 48, VISITS[name]
    starts = {"visit": 0, "prompt": left, "text": left + SLOT * PROMPT + 8, "image": left + SLOT * (PROMPT + TEXT) + 16}
    heads = [text(x, 14, lang.say(f"canvas {kind}"), "large") for kind, x in starts.items()]
    parts = []
    for row, (visit, said, drawn) in enumerate(rows):
        top = 24 + row * (SLOT + 6)
        parts.append(text(8, top + 14, visit, "large"))
        for kind, slots in (("prompt", "#" * PROMPT), ("text", said), ("image", drawn)):
            parts += [
                cell(starts[kind] + SLOT * place, top, SLOT - 3, _state(kind, slot)) for place, slot in enumerate(slots)
            ]
    height = 24 + len(rows) * (SLOT + 6)
    return drawing(starts["image"] + SLOT * IMAGE, height, lang.meaning("paradigm", name), heads, parts)


def _state(kind: str, slot: str) -> str:
    return {"#": kind, "~": f"{kind} underway", ".": "blank"}[slot]


def legend(lang: Language) -> Markup:
    """What the colours of masks and canvases mean."""
    signs = []
    for kind in ("text", "image", "seen", "unseen"):
        sign = tag("svg", cell(0, 0, 12, kind), width=12, height=12, class_="diagram sign", aria_hidden="true")
        signs.append(tag("span", sign, lang.say(f"sign {kind}")))
    return tag("p", signs, class_="signs")

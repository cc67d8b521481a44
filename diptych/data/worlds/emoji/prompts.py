"""Texts that ask for a picture or describe one."""

from dataclasses import replace
from random import Random

from diptych.data.worlds.emoji.graph import Graph, Mention
from diptych.data.worlds.emoji.rules import OBJECTS, TEMPLATES, WORLD
from diptych.data.worlds.emoji.text import Fill, capitalise, fill

SYNONYM_RATE = 0.2
# A caption tells what is there: templates that give orders are for prompts only.
ORDERS = ("draw ", "please ", "show me ", "put ", "画", "请", "在图片的")


def write_prompt(rng: Random, graph: Graph, kind: str, lang: str, synonyms: bool = False, plain: bool = False) -> str:
    """A prompt for a graph of a kind, naming background and style where the graph does; plain: in the barest form."""
    if synonyms and lang == "en":
        graph = replace(graph, objects=tuple(_rename(rng, mention) for mention in graph.objects))
    forms = TEMPLATES["t2i"][kind][lang][: 1 if plain else None]
    text = fill(rng.choice(forms), Fill(graph.objects, words=_words(graph, lang)), lang)
    if graph.bg is not None:
        text = _suffix(rng, text, "background", {"bg": WORLD["backgrounds"][graph.bg][lang]}, lang)
    if graph.style is not None:
        text = _suffix(rng, text, "style", {"style": WORLD["styles"][graph.style][lang]}, lang)
    return text


def write_caption(rng: Random, graph: Graph, kind: str, lang: str) -> str:
    """A sentence that names every object of a graph of a kind, with colours, number, places or relation."""
    templates = [text for text in TEMPLATES["t2i"][kind][lang] if not text.startswith(ORDERS)]
    text = fill(rng.choice(templates), Fill(graph.objects, words=_words(graph, lang)), lang)
    return capitalise(text + ".") if lang == "en" else text + "。"


def _words(graph: Graph, lang: str) -> dict[str, str]:
    return {"rel": WORLD["relations"][graph.relations[0][1]][lang]} if graph.relations else {}


def _rename(rng: Random, mention: Mention) -> Mention:
    synonyms = OBJECTS[mention.id].synonyms
    if not synonyms or rng.random() >= SYNONYM_RATE:
        return mention
    return replace(mention, synonym=rng.choice(synonyms))


def _suffix(rng: Random, text: str, about: str, words: dict[str, str], lang: str) -> str:
    """Add a background or style; a text with a comma or colon takes only additions set off by punctuation."""
    templates = TEMPLATES["suffix"][about][lang]
    if "," in text or ":" in text:
        templates = [form for form in templates if not form.startswith("{cap} ") or form.startswith("{cap} (")]
    return fill(rng.choice(templates), Fill(words={"cap": text, **words}), lang)

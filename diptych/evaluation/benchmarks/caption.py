"""Captions against references: BLEU, ROUGE-L and CIDEr-D (Vedantam et al. 2015, arXiv:1411.5726).

Official: coco-caption (pycocoevalcap). METEOR needs Java and is not here. Document frequencies of CIDEr-D come from the
references of the set that is scored, so that its number depends on the set: with one picture it is 0.
"""

import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from diptych.evaluation.benchmark import Benchmark, Row, Table, grouped, mean
from diptych.evaluation.files import find_file, read_json, take
from diptych.evaluation.ptb import tokenize

ORDERS = 4
BETA = 1.2
SIGMA = 6.0
TINY, SMALL = 1e-15, 1e-9  # keep the official quotients finite
Grams = Counter[tuple[str, ...]]


def grams(text: str) -> list[Grams]:
    """Counts of n-grams of 1 to 4 words."""
    words = text.split()
    return [Counter(tuple(words[i : i + n]) for i in range(len(words) - n + 1)) for n in range(1, ORDERS + 1)]


def score(references: Sequence[Sequence[str]], candidates: Sequence[str]) -> Table:
    """Tokenised references and a candidate a picture: all scores of the set and of each picture."""
    pairs = list(zip(candidates, references, strict=True))
    matches = [_matches(candidate, refs) for candidate, refs in pairs]
    rouges = [rouge(candidate, refs) for candidate, refs in pairs]
    ciders = cider(references, candidates)
    total = [sum(column) for column in zip(*matches, strict=True)]
    return {
        "bleu": _bleu(total),
        "bleu_per_image": [_bleu(found) for found in matches],
        "rouge_l": mean(rouges),
        "rouge_l_per_image": rouges,
        "cider_d": mean(ciders),
        "cider_d_per_image": ciders,
    }


def _matches(candidate: str, references: Sequence[str]) -> list[int]:
    """Length, closest reference's length, then n-grams said and n-grams matched for n from 1 to 4."""
    said, of_references = grams(candidate), [grams(reference) for reference in references]
    length = len(candidate.split())
    closest = min((abs(len(ref.split()) - length), len(ref.split())) for ref in references)[1]
    matched = []
    for n, counts in enumerate(said):
        most = {gram: max(found[n][gram] for found in of_references) for gram in counts}
        matched.append(sum(min(number, most[gram]) for gram, number in counts.items()))
    return [length, closest, *(max(0, length - n) for n in range(ORDERS)), *matched]


def _bleu(counts: Sequence[int]) -> list[float]:
    """BLEU-1 to BLEU-4."""
    length, closest, said, matched = counts[0], counts[1], counts[2 : 2 + ORDERS], counts[2 + ORDERS :]
    ratio = (length + TINY) / (closest + SMALL)
    brevity = math.exp(1 - 1 / ratio) if ratio < 1 else 1.0
    product, scores = 1.0, []
    for n, (right, tried) in enumerate(zip(matched, said, strict=True), 1):
        product *= (right + TINY) / (tried + SMALL)
        scores.append(product ** (1 / n) * brevity)
    return scores


def rouge(candidate: str, references: Sequence[str]) -> float:
    """F of the best precision and the best recall of the longest common subsequence."""
    words = candidate.split(" ")
    common = [(_common(words, reference.split(" ")), len(reference.split(" "))) for reference in references]
    precision = max(length / len(words) for length, _ in common)
    recall = max(length / of for length, of in common)
    if not precision or not recall:
        return 0.0
    return (1 + BETA**2) * precision * recall / (recall + BETA**2 * precision)


def _common(a: Sequence[str], b: Sequence[str]) -> int:
    row = [0] * (len(b) + 1)
    for left in a:
        corner = 0
        for j, right in enumerate(b, 1):
            corner, row[j] = row[j], corner + 1 if left == right else max(row[j], row[j - 1])
    return row[-1]


def cider(references: Sequence[Sequence[str]], candidates: Sequence[str]) -> list[float]:
    """CIDEr-D of each picture, times 10."""
    counts = [[grams(reference) for reference in refs] for refs in references]
    seen = [{gram for found in refs for order in found for gram in order} for refs in counts]
    frequency = Counter(gram for held in seen for gram in held)
    pictures = math.log(len(references))

    def weigh(found: list[Grams]) -> list[dict[tuple[str, ...], float]]:
        return [{g: number * (pictures - math.log(max(1, frequency[g]))) for g, number in o.items()} for o in found]

    scores = []
    for candidate, refs in zip(candidates, counts, strict=True):
        said = grams(candidate)
        vectors = weigh(said)
        alike = [_similarity(vectors, weigh(ref), said[1].total() - ref[1].total()) for ref in refs]
        scores.append(10 * mean(alike))
    return scores


def _similarity(a: list[dict[tuple[str, ...], float]], b: list[dict[tuple[str, ...], float]], gap: int) -> float:
    """The mean over orders of clipped cosines, less for another length: the official length counts pairs of words."""
    total = 0.0
    for left, right in zip(a, b, strict=True):
        product = sum(min(weight, right[gram]) * right[gram] for gram, weight in left.items() if gram in right)
        norms = math.sqrt(sum(w * w for w in left.values())) * math.sqrt(sum(w * w for w in right.values()))
        total += product / norms if norms else product
    return total / len(a) * math.exp(-(gap**2) / (2 * SIGMA**2))


def rows(folder: Path) -> list[Row]:
    """`captions_val2017.json`, or 2014: COCO's annotations; pictures in a folder of that name."""
    path = find_file(folder, "captions_val2017.json", "captions_val2014.json")
    notes = read_json(path)
    captions = take(notes, "annotations", path, list)
    groups = grouped([note["image_id"] for note in captions], [take(note, "caption", path, str) for note in captions])
    pictures = folder / path.stem.removeprefix("captions_")
    return [
        Row(
            str(image["id"]),
            "Describe this image.",
            (pictures / image["file_name"],),
            {"captions": groups[image["id"]]},
        )
        for image in take(notes, "images", path, list)
        if image["id"] in groups
    ]


def tally(rows: Sequence[Row], candidates: Sequence[str]) -> Table:
    references = [[tokenize(caption) for caption in row.facts["captions"]] for row in rows]
    return score(references, candidates)


BENCHMARKS = {
    "caption": Benchmark(
        name="caption",
        version=1,
        source="tylin/coco-caption@3a9afb26",
        evidence="the reply",
        rows=rows,
        judge=lambda row, reply: tokenize(reply),
        tally=tally,
        figure="cider_d",
    ),
}

"""The READMEs' table of models, from what the families say of themselves and from docs/parity.json.

`python -m tests.parity.table` writes it anew, and what `tests.parity.survey` makes of the catalogue with it;
`python -m tests.parity.report` measures before. A family is found by its entry in the registry once it was measured:
the first line of its file names it, its papers and how it works, as "Name (arXiv 1234.56789): how it works."; what it
can do is said by its dialogue, what it loads by `Family.checkpoints`.
"""

import json
import math
import re
import sys
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple, get_type_hints

from diptych.models.registry import FAMILIES, builtin, family, recognise
from diptych.weights.files import Checkpoint
from tests.parity import survey

ROOT = Path(__file__).parents[2]
FIGURES = ROOT / "docs" / "parity.json"
READMES = {"README.md": "en", "README.zh-CN.md": "zh"}
BEGIN, END = "<!-- models: written by python -m tests.parity.table -->\n", "<!-- end of models -->\n"
FIRST_LINE = re.compile(r"(?P<title>.+?) \(arXiv (?P<papers>[\d., ]+)\): (?P<how>.+?)\.?$")

WORDS = {
    "en": {
        "head": (
            "model",
            "how it works",
            "it can",
            "published weights",
            "parity with the official code, relative error",
        ),
        "layout": "in the {} layout:",
        "parity": "{}/{} cases, worst {}",
        "built in": "{} (built in)",
        "trained": "{:.1f} M parameters, trained here",
        "card": "[its card]({})",
    },
    "zh": {
        "head": ("模型", "工作方式", "能力", "官方权重", "与官方代码的一致性（相对误差）"),
        "layout": "{} 格式:",
        "parity": "{}/{} 例，最大误差 {}",
        "built in": "{}（内置）",
        "trained": "{:.1f} M 参数，在本库中训练",
        "card": "[模型卡]({})",
        "chat": "对话",
        "generate": "画图",
        "edit": "编辑",
        "inpaint": "局部重绘",
        "infill": "图文补全",
        "interleave": "图文交错",
        "bagel": "混合 Transformer，SigLIP 看图，在 FLUX 的 VAE 上用流匹配画图和编辑",
        "harmon": "同一个 MAR 编码器看图并呈现正在画的图，Qwen2.5 居中思考",
        "janusflow": "同一个 Llama 写文字，并用整流流写 SDXL 自编码器的潜变量",
        "janus": "SigLIP 看图，VQ 分词器画图，同一个 Llama 思考",
        "mmada": "能看到全部上下文的 LLaDA-8B，用掩码扩散写文字和 MAGVIT-v2 图像",
        "muddit": "同一个 MM-DiT 对文字和图像做掩码扩散，源自 Meissonic",
        "show_o": "Phi-1.5 从左到右写文字，逐步揭开掩码编码来画图",
        "show_o2": "Qwen2.5 写文字，其上的流头写 Wan 2.1 自编码器的潜变量，图片也从同样的潜变量读入",
        "transfusion": "同一个 Transformer 写文字，并用流匹配写任意种类的潜变量，每个词元带有自己的时间",
        "unidisc": "一个掩码扩散 Transformer，文字和图像可以写在序列的任何位置",
    },
}


class Row(NamedTuple):
    """A family. name: in the registry; layouts: others it is published in, with their weights; errors: of each case, by
    set and name."""

    name: str
    title: str
    papers: tuple[str, ...]
    how: str
    can: frozenset[str]
    checkpoints: tuple[str, ...]
    layouts: dict[str, tuple[str, ...]]
    cases: int
    errors: dict[tuple[str, str], float]


def rows(figures: dict[str, Any]) -> list[Row]:
    """The families that were measured, by title; `x-y` is family x in the layout of y and has no row of its own."""
    measured = {value["family"] for value in figures["sets"].values()}
    own = [name for name in FAMILIES if name in measured and _parent(name) is None]
    return sorted((row(name, figures) for name in own), key=lambda found: found.title.lower())


def row(name: str, figures: dict[str, Any]) -> Row:
    found = family(name)
    said = FIRST_LINE.match((sys.modules[found.__module__].__doc__ or "").splitlines()[0])
    assert said, f'{found.__module__} must begin with a line such as "Name (arXiv 1234.56789): how it works."'
    measured = {key: value for key, value in figures["sets"].items() if value["family"] == name}
    return Row(
        name,
        said["title"],
        tuple(said["papers"].split(", ")),
        said["how"],
        get_type_hints(found.dialogue)["return"].can,
        found.checkpoints,
        {other.removeprefix(f"{name}-"): family(other).checkpoints for other in FAMILIES if _parent(other) == name},
        sum(value["cases"] for value in measured.values()),
        {(key, case): error for key, value in measured.items() for case, error in value["errors"].items()},
    )


def _parent(name: str) -> str | None:
    return next((other for other in FAMILIES if name.startswith(f"{other}-")), None)


def table(lang: str, figures: dict[str, Any]) -> str:
    """The table in Markdown: families, then the models that come with the package."""
    words = WORDS[lang]
    lines = [words["head"], ("---",) * len(words["head"])]
    lines += [_family(found, words) for found in rows(figures)]
    lines += [_shipped(name, folder, words) for name, folder in builtin().items()]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _family(found: Row, words: dict[str, Any]) -> tuple[str, ...]:
    papers = ", ".join(f"[{paper}](https://arxiv.org/abs/{paper})" for paper in found.papers)
    weights = [_listed(found.checkpoints)] if found.checkpoints else []
    weights += [f"{words['layout'].format(name)} {_listed(ids)}" for name, ids in found.layouts.items() if ids]
    parity = words["parity"].format(len(found.errors), found.cases, _worst(found))
    how, can = words.get(found.name, found.how), _able(found.can, words)
    return f"{found.title} ({papers})", how, can, "; ".join(weights) or "-", parity


def _listed(ids: tuple[str, ...]) -> str:
    """Hub ids, an owner named once: a/b, c; d/e."""
    owners = groupby(ids, key=lambda one: one.partition("/")[0])
    return "; ".join(f"{owner}/" + ", ".join(one.removeprefix(f"{owner}/") for one in own) for owner, own in owners)


def _worst(found: Row) -> str:
    worst = max(found.errors.values())
    return "0" if worst == 0 else f"{worst:.0e}".replace("e-0", "e-")


def _shipped(name: str, folder: Path, words: dict[str, Any]) -> tuple[str, ...]:
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    size = sum(map(math.prod, Checkpoint(folder).shapes.values()))
    card = words["card"].format((folder / "README.md").relative_to(ROOT).as_posix())
    own = get_type_hints(family(str(recognise(folder))).dialogue)["return"].can
    can = frozenset(config.get("diptych", {}).get("can", own))
    return words["built in"].format(name), words["trained"].format(size / 1e6), _able(can, words), card, "-"


def _able(can: frozenset[str], words: dict[str, Any]) -> str:
    return ", ".join(words.get(ability, ability) for ability in sorted(can))


def figures() -> dict[str, Any]:
    return json.loads(FIGURES.read_text(encoding="utf-8"))


def written(text: str, lang: str) -> str:
    """A README with its tables as they should be."""
    text = _between(BEGIN, table(lang, figures()), END, text)
    return _between(survey.BEGIN, survey.counts(lang), survey.END, text)


def _between(begin: str, table: str, end: str, text: str) -> str:
    before, began, rest = text.partition(begin)
    _, ended, after = rest.partition(end)
    assert began and ended, f"a README needs the lines {begin!r} and {end!r}"
    return before + begin + table + end + after


def main() -> None:
    for name, lang in READMES.items():
        path = ROOT / name
        path.write_text(written(path.read_text(encoding="utf-8"), lang), encoding="utf-8")
    for name, lang in survey.PAGES.items():
        (ROOT / name).write_text(survey.page(lang), encoding="utf-8")


if __name__ == "__main__":
    main()

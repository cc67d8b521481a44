"""docs/models.md and the READMEs' count of the survey's models: the catalogue joined with the code that runs them.

Written by `python -m tests.parity.table` too, in English and Chinese.
"""

from collections.abc import Callable, Sequence

from diptych.catalogue import load, terms
from diptych.catalogue.formats import as_markdown
from diptych.catalogue.records import Model
from diptych.catalogue.running import Running, runs
from diptych.catalogue.site.chinese import TERMS

PAGES = {"docs/models.md": "en", "docs/models.zh-CN.md": "zh"}
BEGIN, END = "<!-- survey: written by python -m tests.parity.table -->\n", "<!-- end of survey -->\n"
WORDS = {
    "en": {
        "page": "# Unified models, and which of them run here\n\n[中文](models.zh-CN.md)\n\n"
        "Of the {models} models of [the catalogue](survey.md) ({survey} of them on the list of the survey,\n"
        "arXiv 2505.02567) {here} run here, by {families} families of code. The words are explained in\n"
        "[survey.md](survey.md#what-the-words-mean); parity is the number of cases in which the code was held against\n"
        "the official one, with the largest relative error among them ([all figures](parity.json)).\n"
        "`diptych survey show NAME` tells all that is known of a model.\n",
        "section": "\n## {name}: {models} models, {here} run here\n\n{meaning}.\n\n",
        "head": ("model", "encoding", "released", "can", "runs here", "parity"),
        "count head": ("paradigm", "in the catalogue", "run here", "which"),
        "all": "all",
        "family": "`{}`",
        "layout": "`{}`, in the {} layout",
        "parity": "{} cases, worst {}",
        "unmeasured": "not measured",
        "after": "\nEach with its encoding, what it can do and its parity: [docs/models.md](docs/models.md).\n",
    },
    "zh": {
        "page": "# 统一模型，以及其中哪些能在这里运行\n\n[English](models.md)\n\n"
        "[目录](survey.md)中的 {models} 个模型（其中 {survey} 个在综述 arXiv 2505.02567 的清单上）里，\n"
        "有 {here} 个能在这里运行，由 {families} 个代码家族实现。一致性是与官方代码对照过的例数，\n"
        "以及其中最大的相对误差（[全部数据](parity.json)）。\n"
        "`diptych survey show 名称` 给出一个模型的全部已知信息。\n",
        "section": "\n## {name}：{models} 个模型，{here} 个能在这里运行\n\n{meaning}。\n\n",
        "head": ("模型", "编码", "发布", "能力", "在这里运行", "一致性"),
        "count head": ("范式", "目录中", "能在这里运行", "哪些"),
        "all": "合计",
        "family": "`{}`",
        "layout": "`{}`，{} 格式",
        "parity": "{} 例，最大误差 {}",
        "unmeasured": "尚未测量",
        "after": "\n每个模型的编码、能力与一致性见 [docs/models.zh-CN.md](docs/models.zh-CN.md)。\n",
    },
}


def page(lang: str) -> str:
    """The page of all models: a table a paradigm, the newest first."""
    words, models = WORDS[lang], load().models
    here = [model for model in models if runs(model)]
    families = {running.family for model in here for running in runs(model) if running.layout is None}
    survey = sum(model.in_survey for model in models)
    text = words["page"].format(models=len(models), survey=survey, here=len(here), families=len(families))
    for paradigm in terms.PARADIGMS:
        some = [model for model in reversed(models) if model.paradigm == paradigm]
        name, meaning = _term("paradigm", paradigm, lang)
        count = sum(bool(runs(model)) for model in some)
        text += words["section"].format(name=name, meaning=meaning, models=len(some), here=count)
        text += as_markdown([_row(model, lang) for model in some], words["head"])
    return text


def counts(lang: str) -> str:
    """The READMEs' table: how many models a paradigm has, how many run here, and which."""
    words, models = WORDS[lang], load().models
    rows = []
    for paradigm in terms.PARADIGMS:
        some = [model for model in models if model.paradigm == paradigm]
        here = sorted((model.name for model in some if runs(model)), key=str.casefold)
        rows.append([_term("paradigm", paradigm, lang)[0], f"{len(some)}", f"{len(here)}", ", ".join(here) or "-"])
    rows.append([words["all"], f"{len(models)}", f"{sum(bool(runs(model)) for model in models)}", ""])
    return as_markdown(rows, words["count head"]) + words["after"]


def _row(model: Model, lang: str) -> list[str]:
    running = runs(model)
    can = [_term("can", task, lang)[0].lower() for task in model.tasks]
    name = f"[{model.name}](https://arxiv.org/abs/{model.arxiv})" if model.arxiv else model.name
    encoding = "-" if model.encoding == "none" else _term("encoding", model.encoding, lang)[0]
    return [
        name,
        encoding,
        model.date,
        ", ".join(can) or "-",
        _each(running, lambda one: _family(one, lang)),
        _each(running, lambda one: _parity(one, lang)),
    ]


def _each(running: Sequence[Running], said: Callable[[Running], str]) -> str:
    return "; ".join(said(one) for one in running) or "-"


def _family(running: Running, lang: str) -> str:
    parent = running.family.removesuffix(f"-{running.layout}")
    words = WORDS[lang]["layout" if running.layout else "family"].format(parent, running.layout)
    return f"{words}: {', '.join(running.checkpoints)}" if running.checkpoints else words


def _parity(running: Running, lang: str) -> str:
    words = WORDS[lang]
    if not running.cases or running.worst is None:
        return words["unmeasured"]
    return words["parity"].format(
        running.cases, "0" if running.worst == 0 else f"{running.worst:.0e}".replace("e-0", "e-")
    )


def _term(table: str, word: str, lang: str) -> tuple[str, str]:
    """A word of the catalogue as a reader sees it, and what it means."""
    if lang == "zh":
        return TERMS[table][word]
    meaning = {"paradigm": terms.PARADIGMS, "encoding": terms.ENCODINGS, "can": terms.TASKS}[table][word]
    return word if table != "paradigm" else word.capitalize(), meaning[0].upper() + meaning[1:]

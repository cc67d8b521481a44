"""What official scripts say to their judges, word for word.

Where the licence allows it, the texts are shipped (`texts/*.json`, each with its source). The others are read from the
official file itself, put into the folder of the benchmark's data: its strings are taken out of its syntax tree, and
nothing of it is run.
"""

import ast
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from diptych.errors import BenchmarkError
from diptych.evaluation.files import find_file, read_json, read_text

SHIPPED = Path(__file__).parent / "texts"
FIELD = re.compile(r"\{\{|\}\}|\{(\w+)\}")


class Source(NamedTuple):
    """Where a file of texts is published, for those that may not be shipped."""

    repository: str
    path: str


SOURCES = {
    "wise": Source("PKU-YuanGroup/WISE", "WISE_legacy/gpt_eval.py"),
    "wise-verified": Source("PKU-YuanGroup/WISE", "vllm_eval.py"),
    "imgedit": Source("PKU-YuanGroup/ImgEdit", "Benchmark/Basic/prompts.json"),
    "rise": Source("PhoenixZ810/RISEBench", "utils.py"),
    "mathvista": Source("lupantech/MathVista", "evaluation/prompts/ext_ans.py"),
}


def texts(name: str, data: Path | None) -> Mapping[str, str]:
    """A benchmark's texts by the names they have officially. Raises `BenchmarkError`, saying where to get them."""
    shipped = SHIPPED / f"{name}.json"
    if shipped.is_file():
        return read_json(shipped)["texts"]
    source = SOURCES[name]
    file = Path(source.path).name
    if data is None:
        raise _not_there(name, file, source)
    try:
        path = find_file(data, file)
    except BenchmarkError as error:
        raise _not_there(name, file, source) from error
    return read_json(path) if path.suffix == ".json" else strings(path)


def _not_there(name: str, file: str, source: Source) -> BenchmarkError:
    return BenchmarkError(
        f"{name}: its judge's prompt may not be shipped; put {file} from github.com/{source.repository} "
        f"({source.path}) into the folder of the benchmark's data and pass that folder"
    )


def strings(path: Path) -> dict[str, str]:
    """The strings that a Python file assigns to names, and the "text" entries within its functions by number.

    Formatted strings keep their fields as they are written: `{prompt_data['Prompt']}`. Nothing is evaluated.
    """
    try:
        tree = ast.parse(read_text(path))
    except (SyntaxError, ValueError, RecursionError) as error:
        raise BenchmarkError(f"{path} is no Python file; download it again") from error
    found = {}
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            if (text := _text(node.value)) is not None:
                found[node.targets[0].id] = text
        elif isinstance(node, ast.FunctionDef):
            found |= {f"{node.name}.{number}": text for number, text in enumerate(_entries(node))}
    return found


def _entries(function: ast.FunctionDef) -> Iterator[str]:
    for node in ast.walk(function):
        if isinstance(node, ast.Dict):
            for key, value in zip(node.keys, node.values, strict=True):
                if isinstance(key, ast.Constant) and key.value == "text" and (text := _text(value)) is not None:
                    yield text


def _text(node: ast.expr) -> str | None:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(_text(part) or "" for part in node.values)
    if isinstance(node, ast.FormattedValue):
        return "{" + ast.unparse(node.value) + "}"
    return None


def fill(template: str, **values: object) -> str:
    """A template's `{name}` fields, as `str.format` would, but for plain names only."""

    def field(match: re.Match[str]) -> str:
        if match[1] is None:
            return match[0][0]
        if match[1] not in values:
            raise BenchmarkError(
                f"a judge's prompt asks for {match[0]}, which is not known here; is it another edition?"
            )
        return str(values[match[1]])

    return FIELD.sub(field, template)

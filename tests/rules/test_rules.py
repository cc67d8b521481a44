"""Rules of the whole source that no single file can keep: who imports whom, how long files are, what stands nowhere."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "diptych"
SOURCES = sorted(PACKAGE.rglob("*.py"))

# A room may import its own files and those of rooms that stand before it. `__init__` resolves names lazily.
ROOMS = [
    "errors",
    "storage",
    "images",
    "types",
    "timing",
    "attention",
    "weights",
    "tokenizers",
    "encoders",
    "backbone",
    "canvas",
    "objectives",
    "samplers",
    "decoders",
    "models",
    "data",
    "training",
    "evaluation",
    "serving",
    "catalogue",
    "cli",
]

# Code from checkpoints is never run, and pickles are opened in one place only.
FORBIDDEN = ["trust_remote_code=True", "pickle.load", "weights_only=False", "torch.hub"]
UNPICKLES = PACKAGE / "weights" / "convert.py"


def room(file: Path) -> str:
    return file.relative_to(PACKAGE).with_suffix("").parts[0]


def imported(tree: ast.AST) -> set[str]:
    """The rooms of this package that a file imports anywhere, functions included."""
    modules = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            modules |= {node.module} if node.module != "diptych" else {f"diptych.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            modules.add("diptych.(relative)")
    return {name.split(".")[1] for name in modules if name.startswith("diptych.")}


def calls(tree: ast.AST) -> set[str]:
    """Names of functions called bare, and of `torch.load`."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            names.add(ast.unparse(node.func))
    return names


@pytest.mark.parametrize("file", SOURCES, ids=lambda file: str(file.relative_to(ROOT)))
def test_source_file(file):
    source = file.read_text(encoding="utf-8")
    tree = ast.parse(source)
    if room(file) not in ("__init__", "__main__"):
        assert room(file) in ROOMS, f"{room(file)} is no room; give it a place in the order"
        allowed = set(ROOMS[: ROOMS.index(room(file)) + 1])
        lazily = {"load", "models", "Image", "Reply", "Request", "Text", "Turn"} if room(file) == "cli" else set()
        assert imported(tree) - allowed - lazily == set(), "imports a room that stands after its own"
    assert len(source.splitlines()) <= 400, "more than 400 lines: split it by ideas"
    assert [word for word in FORBIDDEN if word in source] == []
    assert calls(tree) & {"eval", "exec", "compile", "__import__"} == set()
    assert "torch.load" not in calls(tree) or file == UNPICKLES


def in_fresh_process(code: str) -> str:
    command = [sys.executable, "-c", code]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout


def test_importing_the_package_imports_no_torch():
    heavy = "import sys, diptych; print([m for m in ('torch', 'numpy', 'PIL', 'transformers') if m in sys.modules])"
    assert in_fresh_process(heavy).strip() == "[]"


def test_types_and_pictures_need_no_torch():
    code = "import sys; from diptych import Image, Turn, Reply; print('torch' in sys.modules)"
    assert in_fresh_process(code).strip() == "False"


def test_help_imports_no_torch():
    code = (
        "import sys; from diptych.cli import main\n"
        "sys.argv = ['diptych', '--help']\n"
        "try: main()\n"
        "except SystemExit as end: print(end.code)\n"
        "print('torch' in sys.modules, 'numpy' in sys.modules)"
    )
    assert in_fresh_process(code).splitlines()[-2:] == ["0", "False False"]


def test_every_public_name_resolves():
    code = "import diptych; print(all(getattr(diptych, name) is not None for name in diptych.__all__))"
    assert in_fresh_process(code).strip() == "True"


def test_unknown_names_are_attribute_errors():
    code = "import diptych\ntry: diptych.lode\nexcept AttributeError as error: print(error)"
    assert "lode" in in_fresh_process(code)


def test_package_data_is_not_excluded():
    """What the package needs at run time must be tracked: an ignored file would be missing from an installation."""
    files = [file for file in PACKAGE.rglob("*") if file.is_file() and "__pycache__" not in file.parts]
    names = [str(file.relative_to(ROOT)) for file in files]
    result = subprocess.run(["git", "check-ignore", *names], cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.stdout.split() == []

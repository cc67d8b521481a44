"""The READMEs' examples run as they stand: Python blocks as one program, `diptych` commands in order."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
READMES = ("README.md", "README.zh-CN.md")
MAIN = "from diptych.cli import main; main()"


def blocks(name: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", (ROOT / name).read_text("utf-8"), re.M | re.S)


def run(command: list[str], folder: Path) -> str:
    paths = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    env = {**os.environ, "PYTHONPATH": paths}
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=600, env=env)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stderr}"
    return done.stdout


@pytest.mark.parametrize("name", READMES)
def test_python_runs(name: str, tmp_path: Path) -> None:
    (program,) = blocks(name, "python")
    assert run([sys.executable, "-c", program], tmp_path).strip()


@pytest.mark.parametrize("name", READMES)
def test_commands_run(name: str, tmp_path: Path) -> None:
    lines = [line for block in blocks(name, "sh") for line in block.splitlines() if line.startswith("diptych ")]
    assert lines
    for line in lines:
        assert run([sys.executable, "-c", MAIN, *shlex.split(line)[1:]], tmp_path).strip()

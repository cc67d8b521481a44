"""The examples of docs/evaluation.md on the built-in model, and two processes that torchrun starts."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

from diptych.evaluation.benchmarks.emoji import BENCHMARKS, HOME

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "evaluation.md").read_text("utf-8")
EXAMPLES = [line for block in re.findall(r"^```sh\n(.*?)^```", PAGE, re.M | re.S) for line in block.splitlines()]
ENTRY = ("-c", "import sys; from diptych.cli import main; main(sys.argv[1:])")


def test_examples_of_the_docs(run, tmp_path):
    assert [line.split()[1] for line in EXAMPLES] == ["eval", "eval", "score", "compare"]
    said = []
    for line in EXAMPLES:  # in their order: what one writes another reads
        result = run(*shlex.split(line)[1:])
        assert result.code == 0, line + result.err
        said.append(result.out)
    assert "emoji-draw: accuracy" in said[0] and "emoji-ask: accuracy" in said[0]
    assert said[2].splitlines()[0] == said[0].splitlines()[0] and "4 rows that both answered" in said[3]
    files = {one.name for one in (tmp_path / "runs" / "janus-emoji-emoji-draw").iterdir()}
    assert {"run.json", "rows.jsonl", "images", "score.json", "report.html"} <= files


def test_the_page_names_the_builtin_benchmarks_and_their_sizes():
    told = dict(re.findall(r"^\| `(emoji-\w+)` \| (\d+) \|", PAGE, re.M))
    assert told == {name: str(len(benchmark.rows(HOME))) for name, benchmark in BENCHMARKS.items()}


def test_two_processes_of_torchrun_answer_as_one(tmp_path):
    command = ("eval", "janus-emoji", "--bench", "emoji-ask", "--limit", "5", "--batch", "2", "--device", "cpu")
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}

    def call(*start: str, out: str) -> None:
        line = [sys.executable, *start, *ENTRY, *command, "--out", out]
        done = subprocess.run(line, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr

    torchrun = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "--no-python", sys.executable)
    call(*torchrun, out="two")
    call(out="one")
    one, two = (tmp_path / name / "janus-emoji-emoji-ask" for name in ("one", "two"))
    assert json.loads((two / "score.json").read_text()) == json.loads((one / "score.json").read_text())
    assert {path.name for path in two.glob("answers*")} == {"answers-0-of-2.jsonl", "answers-1-of-2.jsonl"}
    lines = ([line for path in run.glob("answers*") for line in path.read_text().splitlines()] for run in (one, two))
    answered = [sorted(found) for found in lines]
    assert answered[0] == answered[1] and len(answered[0]) == 5

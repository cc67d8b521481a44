"""All benchmarks of this folder, one after the other: `python -m benchmarks`."""

import subprocess
import sys
from pathlib import Path

for file in sorted(Path(__file__).parent.glob("[a-z]*.py")):
    print(f"== {file.stem}", flush=True)
    subprocess.run([sys.executable, "-m", f"benchmarks.{file.stem}"], cwd=file.parents[1], check=True)

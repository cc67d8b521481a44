"""The command line: `diptych generate | ask | chat | edit | extend | infill | models | convert | demo |
train | eval | score | compare | survey`.

Nothing heavy is imported before a command runs, so that `diptych --help` answers at once.
"""

from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs a command line (by default the process's own) and exits.

    Exit codes: 0 done, 1 the machine could not (memory, a closed pipe), 2 wrong use or input, 130 interrupted.
    """
    from diptych.cli.app import app

    app(args=None if arguments is None else list(arguments), prog_name="diptych")

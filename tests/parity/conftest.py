"""Sets that are too large for the repository: their families' tests are collected where the set is.

A clone alone proves every mechanism by the sets it holds; `$DIPTYCH_PARITY` or `../shared/parity` bring the rest.
"""

from tests.parity.sets import sets_of

LARGE = ("bagel", "show_o2")
collect_ignore_glob = [f"test_{family}*.py" for family in LARGE if not sets_of(family)]

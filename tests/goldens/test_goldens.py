"""Every golden score of every benchmark is what the library computes."""

import pytest

from tests.goldens.compare import differences
from tests.goldens.known import KNOWN, NOT_YET, compute, expected
from tests.goldens.sets import FIXTURES, Group, groups

FOUND = groups()


@pytest.mark.parametrize("group", [group for group in FOUND if group.benchmark not in NOT_YET], ids=str)
def test_group(group: Group):
    assert group.cases, "an empty group proves nothing"
    wrong = []
    for case in group.cases:
        found = list(differences(compute(group, case), expected(group, case), group.tolerance))
        wrong += [f"{case['id']} ({case['tag']}) {line}" for line in found]
    assert not wrong, f"{len(wrong)} differ:\n" + "\n".join(wrong[:20])


def test_every_set_is_known_or_listed():
    assert FOUND, "no golden sets were found"
    assert set(KNOWN) & NOT_YET == set(), "a scorer that exists must leave the list"
    assert {group.benchmark for group in FOUND} - set(KNOWN) - NOT_YET == set()


def test_a_clone_alone_proves_the_same_benchmarks():
    assert set(KNOWN) - {group.benchmark for group in groups(FIXTURES)} == set()

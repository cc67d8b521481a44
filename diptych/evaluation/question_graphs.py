"""Yes-or-no questions about a picture that depend on each other: whether a dog is red only counts if there is a dog."""

from collections.abc import Mapping, Sequence

ROOT = 0  # the parent of questions that depend on nothing


def parse_dependency(text: str) -> dict[int, list[int]]:
    """Lines `id | parent,parent` to parents by id; the root stands only alone."""
    parents: dict[int, list[int]] = {}
    for line in text.splitlines():
        name, bar, listed = line.partition("|")
        if bar and name.strip().isdigit():
            found = [int(parent) for parent in listed.split(",") if parent.strip().isdigit()]
            parents[int(name)] = [parent for parent in found if parent != ROOT] or [ROOT]
    return parents


def valid(scores: Mapping[str, float], parents: Mapping[str, Sequence[int]]) -> dict[str, bool]:
    """Whether no parent's own score is 0. Grandparents do not count: the rule of DSG and OneIG.

    A parent that was not asked cannot have said no.
    """
    return {
        name: all(parent == ROOT or scores.get(str(parent)) != 0 for parent in parents.get(name, (ROOT,)))
        for name in scores
    }


def zeroed_in_order(scores: Mapping[str, float], parents: Mapping[str, Sequence[int]]) -> dict[str, float]:
    """Scores with a question's set to 0 if a parent's is 0 by then, in order of rows: the rule of DPG-Bench.

    Raises `KeyError` if a parent that has to be looked at is not among the questions.
    """
    running = dict(scores)
    for name in scores:
        if any(parent != ROOT and running[str(parent)] == 0 for parent in parents[name]):
            running[name] = 0.0
    return running

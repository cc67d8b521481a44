"""Counts what the golden sets prove: `python -m tests.goldens.report`."""

from tests.goldens.compare import count, differences
from tests.goldens.known import NOT_YET, compute, expected
from tests.goldens.sets import groups, root


def main() -> None:
    rows: dict[str, list[int]] = {}
    for group in groups():
        row = rows.setdefault(group.benchmark, [0, 0, 0])
        if group.benchmark in NOT_YET:
            continue
        for case in group.cases:
            row[0] += 1
            row[1] += count(expected(group, case))
            row[2] += any(differences(compute(group, case), expected(group, case), group.tolerance))
    print(f"{root()}\n{'benchmark':16}{'cases':>8}{'values':>8}{'wrong':>8}")
    for name, row in rows.items():
        print(f"{name:16}" + ("  not yet known" if name in NOT_YET else "".join(f"{number:8}" for number in row)))
    cases, values, wrong = (sum(column) for column in zip(*rows.values(), strict=True))
    print(f"{'all':16}{cases:8}{values:8}{wrong:8}")
    raise SystemExit(wrong > 0)


if __name__ == "__main__":
    main()

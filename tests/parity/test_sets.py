"""The golden sets can be read, and the comparison bites."""

import pytest
import torch

from tests.parity.sets import close, sets


@pytest.mark.parametrize("golden", sets(), ids=lambda golden: golden.name)
def test_every_tensor_belongs_to_a_case(golden):
    assert golden.cases
    assert all(case.inputs or case.outputs for case in golden.cases.values())


def test_equal_tensors_are_close():
    values = torch.tensor([1.0, -1000.0, float("inf"), float("nan")])
    close(values + torch.tensor([0.05, 0.05, 0.0, 0.0]), values)


@pytest.mark.parametrize(
    "ours",
    [torch.tensor([1.0, 2.1]), torch.tensor([[1.0, 2.0]]), torch.tensor([1.0, float("nan")])],
    ids=["value", "shape", "nan"],
)
def test_other_tensors_are_not(ours):
    with pytest.raises(AssertionError, match="published|largest|number"):
        close(ours, torch.tensor([1.0, 2.0]), name="logits")


def test_whole_numbers_must_be_equal():
    with pytest.raises(AssertionError, match=r"1 of 3 .* \[2\]"):
        close(torch.tensor([1, 2, 4]), torch.tensor([1, 2, 3]), name="ids")

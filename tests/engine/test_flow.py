"""Flow matching: times of training, and slots that do not move."""

import pytest
import torch

from diptych.canvas import Draws, Step
from diptych.objectives.flow import Flow, bent, logit_normal
from diptych.objectives.tokens import whole
from diptych.samplers.guidance import alone
from tests.parity.tape import Tape


@pytest.mark.parametrize("shift", [1.0, 3.0])
def test_times_lean_towards_noise(shift: float) -> None:
    """The same draw, mirrored, where noise is at 0."""
    drawn = torch.randn(64, generator=torch.Generator().manual_seed(0))
    down = logit_normal(shift)(range(64), Tape(normal=[drawn]))
    up = logit_normal(shift, ascending=True)(range(64), Tape(normal=[-drawn]))
    torch.testing.assert_close(up, 1 - down)
    torch.testing.assert_close(down, bent(torch.sigmoid(drawn), shift))
    assert (down >= torch.sigmoid(drawn) - 1e-6).all()


def test_what_is_known_stays() -> None:
    canvas = whole(torch.zeros(1, 3, 2), (3,))
    canvas.known[0, 1:] = False
    drawn = Flow(2).draw(torch.ones(1, 1, 3, 2), canvas, Step(time=1.0, next=0.5), alone, Draws([0]))
    assert drawn.values[0].tolist() == [[0, 0], [-0.5, -0.5], [-0.5, -0.5]]

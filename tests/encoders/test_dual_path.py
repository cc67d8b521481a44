"""The two paths from latents to tokens; their published numbers are checked with Show-o2's."""

import pytest
import torch

from diptych.encoders.dual_path import DualPath, alike
from diptych.encoders.vit import ViTConfig
from diptych.errors import InputError


@pytest.fixture(scope="module")
def paths() -> DualPath:
    torch.manual_seed(0)
    vit = ViTConfig(image_size=6, patch=2, width=8, depth=1, heads=2, hidden=12)
    found = DualPath(vit, 4, 10, 9)
    torch.nn.init.normal_(found.position)
    return found.requires_grad_(False)


def test_tokens_of_any_size(paths: DualPath) -> None:
    assert paths(torch.randn(2, 4, 6, 6)).shape == (2, 9, 10)
    assert paths(torch.randn(2, 4, 4, 10)).shape == (2, 10, 10)


def test_the_table_of_positions(paths: DualPath) -> None:
    """As it is where it fits, and stretched where not: constants stay constants."""
    assert paths.positions(3, 3) is paths.position
    assert paths.positions(2, 5).shape == (10, 8)
    flat = DualPath(ViTConfig(image_size=6, patch=2, width=8, depth=1, heads=2, hidden=12), 4, 10, 9)
    torch.nn.init.constant_(flat.position, 0.5)
    assert torch.allclose(flat.positions(4, 7), torch.tensor(0.5))


def test_latents_that_cannot_be_cut(paths: DualPath) -> None:
    with pytest.raises(InputError, match="patches of 2x2"):
        paths(torch.randn(1, 4, 5, 6))


def test_alike() -> None:
    teacher = torch.randn(3, 8, generator=torch.Generator().manual_seed(0))
    assert float(alike(2 * teacher, teacher)) == pytest.approx(1e-4, rel=0.01)
    assert float(alike(-teacher, teacher)) == pytest.approx(9.21, rel=0.01)

"""Latents by diffusion: the arithmetic against its definition, and what is drawn and learned through a head."""

import math

import pytest
import torch

from diptych.canvas import Canvas, Draws, Step
from diptych.encoders.masked_autoencoder import AutoencoderConfig, MaskedAutoencoder
from diptych.encoders.vit import ViTConfig
from diptych.errors import InputError
from diptych.objectives.ddpm import Diffusion, thinned
from diptych.objectives.denoise import Denoised, hidden_share
from diptych.objectives.diffusion_head import Denoising, DiffusionHead
from diptych.objectives.tokens import whole
from diptych.samplers.guidance import alone, cfg, cfg_growing
from diptych.samplers.schedules import cosine, cosine64


def head() -> DiffusionHead:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return DiffusionHead(channels=3, condition=5, width=8, depth=2).requires_grad_(False)


@pytest.mark.parametrize(
    ("spacing", "times"),
    [("4", [0, 333, 666, 999]), ("ddim4", [0, 250, 500, 750]), ("2,3", [0, 499, 500, 750, 999]), ("1", [0])],
)
def test_thinned_times(spacing: str, times: list[int]) -> None:
    assert list(thinned(spacing).times) == times
    assert thinned("").times == tuple(range(1000))


@pytest.mark.parametrize("spacing", ["ddim7x", "ten", "0", "1001", "ddim0", "600,10", "-3", "ddim999"])
def test_spacings_that_are_none(spacing: str) -> None:
    with pytest.raises(InputError, match="diffusion steps"):
        thinned(spacing)


def test_the_right_noise_leads_back() -> None:
    """Told the very noise, `back` finds the data, and the posterior mean of what lies between."""
    diffusion = Diffusion([0, 100, 400, 900])
    clean, noise = torch.randn(2, 4, 3, generator=torch.Generator().manual_seed(0))
    k = torch.arange(4)
    x = diffusion.noised(clean, noise, k)
    back = diffusion.back(x, noise, torch.zeros(4, 3), k)
    torch.testing.assert_close(back.clean, clean, atol=1e-4, rtol=1e-4)
    # at the first time nothing is left to be undone but the data themselves
    torch.testing.assert_close(back.mean[0], clean[0], atol=1e-5, rtol=1e-5)
    for i in range(4):
        one = diffusion.back(x[i : i + 1], noise[i : i + 1], torch.zeros(1, 3), i)
        torch.testing.assert_close(one.mean[0], back.mean[i])


def test_the_bound_is_the_divergence() -> None:
    diffusion = Diffusion()
    clean, noise, wrong = torch.randn(3, 5, 3, generator=torch.Generator().manual_seed(0))
    k = torch.tensor([1, 30, 400, 800, 999])
    x = diffusion.noised(clean, noise, k)
    least = -torch.ones(5, 3)
    true = diffusion.back(x, noise, least, k)
    torch.testing.assert_close(diffusion.bound(clean, x, k, true), torch.zeros(5), atol=1e-3, rtol=0)
    other = diffusion.back(x, wrong, least + 0.5, k)
    normals = [torch.distributions.Normal(b.mean, (b.log_variance / 2).exp()) for b in (true, other)]
    divergence = torch.distributions.kl_divergence(*normals).mean(1) / math.log(2)
    torch.testing.assert_close(diffusion.bound(clean, x, k, other), divergence, atol=1e-3, rtol=1e-3)


def test_the_bound_ends_in_the_likelihood() -> None:
    """At index 0: bits of data in bins of 2/255, less the nearer the mean; values at the ends reach to infinity."""
    diffusion, k = Diffusion(), torch.zeros(3, dtype=torch.long)
    clean = torch.tensor([[0.0], [1.0], [-1.0]])
    spread = torch.full((3, 1), math.log(0.1**2))
    found = diffusion.bound(
        clean, clean, k, diffusion.back(clean, clean * 0, spread, k)._replace(mean=clean, log_variance=spread)
    )
    normal = torch.distributions.Normal(0.0, 0.1)
    edge = torch.tensor(1 / 255)
    inside, outside = normal.cdf(edge) - normal.cdf(-edge), 1 - normal.cdf(-edge)
    torch.testing.assert_close(found, -torch.stack([inside, outside, outside]).log2(), atol=1e-3, rtol=1e-3)


def test_draws_do_not_depend_on_neighbours() -> None:
    denoiser = Denoising(head(), "5", temperature=0.8)
    condition = torch.randn(2, 3, 5, generator=torch.Generator().manual_seed(0))
    guide = cfg(2.0)
    both = denoiser.sample(condition, lambda p: guide(p, None, None), [0, 1, 1], Draws([4, 5]))  # type: ignore[arg-type]
    own = denoiser.sample(condition[:, 1:], lambda p: guide(p, None, None), [0, 0], Draws([5]))  # type: ignore[arg-type]
    torch.testing.assert_close(both[1:], own)
    nothing = denoiser.sample(condition[:, :0], lambda p: p[0], [], Draws([]))
    assert nothing.shape == (0, 3)


def test_temperature_zero_adds_no_noise() -> None:
    condition = torch.randn(1, 1, 5, generator=torch.Generator().manual_seed(0))

    class First(Draws):
        """The same beginning, whatever follows."""

        def normal(self, rows, *shape, dtype=torch.float32):
            self.count = getattr(self, "count", 0) + 1
            return torch.ones(len(rows), *shape) if self.count == 1 else super().normal(rows, *shape, dtype=dtype)

    cold = [Denoising(head(), "5", 0.0).sample(condition, lambda p: p[0], [0], First([seed])) for seed in (1, 2)]
    warm = [Denoising(head(), "5", 1.0).sample(condition, lambda p: p[0], [0], First([seed])) for seed in (1, 2)]
    assert torch.equal(*cold) and not torch.equal(*warm)


def test_the_bound_teaches_the_variance_alone() -> None:
    own = head().requires_grad_(True)
    denoiser = Denoising(own, repeats=2)
    squared, bound = denoiser.terms(torch.zeros(2, 3), torch.zeros(2, 5), [0, 1], Draws([0, 1]))
    assert squared.shape == bound.shape == (4,)
    bound.sum().backward(retain_graph=True)
    assert own.out.bias.grad is not None and not own.out.bias.grad[:3].any() and own.out.bias.grad[3:].all()
    whole_loss = denoiser.loss(torch.zeros(2, 3), torch.zeros(2, 5), [0, 1], Draws([0, 1]))
    torch.testing.assert_close(whole_loss, (squared + bound).mean())


def test_hidden_shares_are_those_of_the_cut_normal() -> None:
    u = torch.linspace(0, 1, 5, dtype=torch.float64)
    shares = hidden_share(u, 0.7)
    assert shares[0] == pytest.approx(0.7) and shares[-1] == 1 and (shares.diff() > 0).all()
    normal = torch.distributions.Normal(torch.tensor(1.0, dtype=torch.float64), 0.25)
    below = normal.cdf(torch.tensor(0.7, dtype=torch.float64))
    torch.testing.assert_close((normal.cdf(shares) - below) / (0.5 - below), u)
    canvas, _ = Denoised(None, 2, least=0.5).corrupt(torch.zeros(50, 10, 2), (10,), Draws(range(50)))
    hidden = (~canvas.known).sum(1)
    assert hidden.min() >= 5 and hidden.max() == 10


def test_guidance_that_grows() -> None:
    canvas = whole(torch.zeros(2, 8, 1), (8,))
    parts = torch.randn(2, 2, 8, 1, generator=torch.Generator().manual_seed(0))
    for left, weights in ((4, (2.0, 2.0)), (torch.tensor([6, 0]), (1.5, 2.75))):
        found = cfg_growing(3.0)(parts, canvas, Step(left=left))
        for row, weight in enumerate(weights):
            torch.testing.assert_close(found[row], cfg(weight)(parts[:, row], canvas, Step()))
    turn = torch.zeros(2, 8, dtype=torch.bool)
    turn[0, :1] = turn[1, :3] = True
    canvas = Canvas(canvas.value, ~turn, canvas.rank, canvas.grid, canvas.done, turn=turn)
    some = cfg_growing(3.0)(parts[:, turn], canvas, Step(left=torch.tensor([6, 0])))
    assert torch.equal(some, cfg_growing(3.0)(parts, canvas, Step(left=torch.tensor([6, 0])))[turn])
    assert torch.equal(alone(parts, canvas, Step()), parts[0])


def test_the_curve_in_float64() -> None:
    assert (3 * cosine64(2 / 3) - 1.5).abs() < 1e-9 and cosine64(0.5).dtype == torch.float64 != cosine(0.5).dtype


def autoencoder() -> MaskedAutoencoder:
    def vit(width: int) -> ViTConfig:
        return ViTConfig(image_size=4, patch=1, width=width, depth=2, heads=2, hidden=12)

    made = MaskedAutoencoder(AutoencoderConfig(channels=2, side=4, buffer=3, encoder=vit(8), decoder=vit(6)))
    generator = torch.Generator().manual_seed(0)
    for parameter in made.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator) * 0.3
    return made.requires_grad_(False)


def test_rows_with_different_numbers_of_known_latents() -> None:
    """Each is as if alone; the buffer goes behind each row's known latents and comes back."""
    made, grid = autoencoder(), (3, 5)
    latents = torch.randn(3, 15, 2, generator=torch.Generator().manual_seed(1))
    known = torch.rand(3, 15, generator=torch.Generator().manual_seed(2)) < torch.tensor([[0.2], [0.8], [0.5]])
    known[2] = False
    encoded = made.encode(latents, known, grid)
    moved = made.buffer_last(encoded, known)
    assert torch.equal(made.buffer_first(moved, known), encoded)
    decoded = made.decode(encoded, known, grid)
    for row, count in enumerate(known.sum(1).tolist()):
        one = slice(row, row + 1)
        own = made.encode(latents[one], known[one], grid)
        assert own.shape == (1, 3 + count, 8)
        torch.testing.assert_close(encoded[one, : 3 + count], own)
        torch.testing.assert_close(moved[one, : 3 + count], own.roll(-3, 1))
        torch.testing.assert_close(decoded[one], made.decode(own, known[one], grid))


def test_unknown_latents_have_no_influence() -> None:
    made = autoencoder()
    known = torch.arange(16)[None] < 5
    latents = torch.randn(1, 16, 2)
    other = torch.where(known[..., None], latents, 7.0)
    assert torch.equal(made.encode(latents, known, (4, 4)), made.encode(other, known, (4, 4)))

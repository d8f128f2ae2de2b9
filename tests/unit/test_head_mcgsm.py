"""The head "mcgsm" against SciPy: masses, densities, their integrals and their gradients."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from close import assert_close
from gaussians import LEVELS, SIZES, Array, densities, draw, every_level, masses, single
from scipy import integrate, stats

from pixelrnn.heads import MCGSM

# ---- ordinary parameters


@pytest.mark.parametrize(("components", "scales"), SIZES)
@pytest.mark.parametrize("levels", LEVELS)
@pytest.mark.parametrize("channels", [1, 3])
def test_the_probability_of_a_level_is_the_mass_of_its_bin(
    channels: int, levels: int, components: int, scales: int
) -> None:
    head = MCGSM(channels, levels, components=components, scales=scales)
    params = draw(head)
    nats = every_level(head, params)
    assert nats.shape == (6, channels, levels)
    for pixel, colour in np.ndindex(6, channels):
        expected = masses(params[pixel, :, 0, 0].numpy(), colour, head)
        assert_close(nats[pixel, colour].exp(), expected)
        pmf = head.pmf(params[pixel : pixel + 1], torch.zeros(1, channels, 1, 1), colour)[0, 0, 0]
        assert_close(pmf, expected)


@pytest.mark.parametrize("levels", LEVELS)
@pytest.mark.parametrize("channels", [1, 3])
def test_levels_have_total_probability_one_without_being_made_to(channels: int, levels: int) -> None:
    """The pmf is divided by its sum; the nats are not, and add up all the same."""
    head = MCGSM(channels, levels, components=3, scales=2)
    params = draw(head, 20, wide=-3.0, narrow=12.0)
    nats = every_level(head, params)
    assert_close(nats.exp().sum(-1), torch.ones(20, channels))
    for colour in range(channels):
        pmf = head.pmf(params, torch.zeros(20, channels, 1, 1), colour)[:, 0, 0]
        assert pmf.shape == (20, levels)
        assert pmf.dtype == torch.float64
        assert (pmf >= 0).all()
        assert_close(pmf.sum(-1), torch.ones(20))
        assert_close(pmf, nats[:, colour].exp())


@pytest.mark.parametrize("levels", LEVELS)
def test_the_parameters_of_one_colour_are_of_no_other(levels: int) -> None:
    head = MCGSM(3, levels, components=2, scales=2)
    params, other = draw(head), draw(head)
    size = head.num_params // 3
    for colour in range(3):
        part = slice(colour * size, (colour + 1) * size)
        mixed = other.clone()
        mixed[:, part] = params[:, part]
        assert torch.equal(every_level(head, mixed)[:, colour], every_level(head, params)[:, colour])


@pytest.mark.parametrize("levels", LEVELS)
def test_a_constant_on_all_log_weights_changes_nothing(levels: int) -> None:
    head = MCGSM(1, levels, components=3, scales=2)
    params = draw(head)
    more = params.clone()
    more[:, :6] += 7.5
    assert_close(every_level(head, more), every_level(head, params))


def test_two_levels_are_the_two_sides_of_zero() -> None:
    nats = every_level(MCGSM(1, 2, components=1, scales=1), single(0.3, 1.5))
    expected = stats.norm.logcdf([0.0], 0.3, np.exp(-0.75)), stats.norm.logsf([0.0], 0.3, np.exp(-0.75))
    assert_close(nats[0, 0], np.concatenate(expected))


# ---- the density


@pytest.mark.parametrize(("components", "scales"), SIZES)
@pytest.mark.parametrize("levels", LEVELS)
@pytest.mark.parametrize("channels", [1, 3])
def test_the_density_is_that_of_the_mixture_per_level(channels: int, levels: int, components: int, scales: int) -> None:
    head = MCGSM(channels, levels, components=components, scales=scales)
    params = draw(head)
    pixels = torch.rand(6, channels, 1, 1) * (levels + 1) - 1
    found = head.log_density(params, pixels)
    assert found.shape == (6, channels, 1, 1)
    for pixel, colour in np.ndindex(6, channels):
        expected = densities(params[pixel, :, 0, 0].numpy(), colour, head, pixels[pixel, colour].numpy())
        assert_close(found[pixel, colour].exp(), expected)


@pytest.mark.parametrize("levels", LEVELS)
def test_the_density_has_the_integral_one_over_all_real_numbers(levels: int) -> None:
    head = MCGSM(3, levels, components=3, scales=2)
    params = draw(head)
    unit = (levels - 1) / 2
    at = torch.linspace(-20 * unit, 20 * unit, 8001) + unit  # standard deviations are from 0.05 to 1.65 of `unit`
    found = head.log_density(params.expand(-1, -1, -1, len(at)), at.expand(6, 3, 1, -1)).exp()
    assert_close(torch.trapezoid(found[:, :, 0], at), torch.ones(6, 3))


@pytest.mark.parametrize("levels", LEVELS)
def test_the_integral_of_the_density_over_a_bin_is_the_probability_of_its_level(levels: int) -> None:
    head = MCGSM(1, levels, components=2, scales=2)
    params = draw(head, 1)
    probabilities = every_level(head, params)[0, 0].exp()

    def density(at: Array) -> Array:
        levels = torch.tensor(at).view(1, 1, 1, -1)
        return head.log_density(params.expand(-1, -1, -1, at.size), levels).exp().numpy().reshape(at.shape)

    for level in {0, 1, levels // 2, levels - 1}:
        low = -20 * levels if level == 0 else level - 0.5  # beyond, there is next to nothing
        high = 20 * levels if level == levels - 1 else level + 0.5
        edges = np.linspace(low, high, 1001)
        pieces = (integrate.fixed_quad(density, *ends, n=8)[0] for ends in itertools.pairwise(edges))
        assert sum(pieces) == pytest.approx(probabilities[level].item(), abs=1e-12)


@pytest.mark.parametrize("levels", LEVELS)
@pytest.mark.parametrize("narrow", [2.0, 6.0, 12.0])
def test_a_level_has_at_least_the_nats_of_its_density_averaged_over_uniform_noise(levels: int, narrow: float) -> None:
    """Jensen: the mean of logarithms is at most the logarithm of the mean. The outer bins only gain by being open."""
    head = MCGSM(1, levels, components=3, scales=2)
    params = draw(head, 10, narrow=narrow)
    nodes, weights = (torch.tensor(each) / 2 for each in np.polynomial.legendre.leggauss(40))  # of -1/2..1/2
    at = torch.arange(levels)[:, None] + nodes  # (levels, nodes)
    found = head.log_density(params.expand(-1, -1, levels, len(nodes)), at.expand(10, 1, -1, -1))[:, 0]
    means = (found * weights).sum(-1)
    assert (every_level(head, params)[:, 0] >= means - 1e-6).all()


@pytest.mark.parametrize("levels", [3, 256])
def test_of_a_wide_gaussian_the_density_averaged_over_noise_is_the_probability(levels: int) -> None:
    """Where the density hardly changes within a bin, Jensen's inequality is an equality."""
    head = MCGSM(1, levels, components=1, scales=1)
    params = single(0.2, -8.0)
    density = head.log_density(params, torch.full((1, 1, 1, 1), 1.0)).item()
    assert every_level(head, params)[0, 0, 1].item() == pytest.approx(density, abs=1e-4)


# ---- gradients


@pytest.mark.parametrize("levels", LEVELS)
@pytest.mark.parametrize("channels", [1, 3])
def test_the_gradients_of_nats_are_their_differences(channels: int, levels: int) -> None:
    head = MCGSM(channels, levels, components=2, scales=2)
    params = draw(head, 2, narrow=4.0).requires_grad_()
    for level in {0, 1, levels // 2, levels - 1}:
        pixels = torch.full((2, channels, 1, 1), level)
        assert torch.autograd.gradcheck(
            lambda condition_map, pixels=pixels: head.log_prob(condition_map, pixels), params
        )


@pytest.mark.parametrize("channels", [1, 3])
def test_the_gradients_of_a_log_density_are_its_differences(channels: int) -> None:
    head = MCGSM(channels, 3, components=2, scales=2)
    params, pixels = (
        draw(head, 2, narrow=4.0).requires_grad_(),
        (4 * torch.rand(2, channels, 1, 1) - 1).requires_grad_(),
    )
    assert torch.autograd.gradcheck(head.log_density, (params, pixels))


# ---- kinds of numbers


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16])
def test_the_density_of_half_precision_parameters_is_computed_in_float32(kind: torch.dtype) -> None:
    head = MCGSM(3, 256, components=3, scales=2)
    params, pixels = draw(head).to(kind), torch.randint(0, 256, (6, 3, 1, 1)).to(kind)
    density = head.log_density(params, pixels)
    assert density.dtype == torch.float32
    assert torch.equal(density, head.log_density(params.float(), pixels.float()))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_density_of_real_levels_keeps_the_precision_of_the_parameters(dtype: torch.dtype) -> None:
    head = MCGSM(1, 256, components=2, scales=2)
    params, pixels = draw(head).to(dtype), 300 * torch.rand(6, 1, 1, 1) - 20
    assert head.log_density(params, pixels).dtype == dtype

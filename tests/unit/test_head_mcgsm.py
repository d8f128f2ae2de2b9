"""The head "mcgsm" against SciPy and against numbers of fifty digits.

The parameters of a colour are cut up here once more: `components * scales` log-weights, then the means, then
`components * scales` log-precisions, for pixels scaled to -1..1. The mass of a level is a difference of two values of
the cumulative distribution; the outermost levels take all that lies beyond them.
"""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import mpmath
import numpy as np
import pytest
import torch
from scipy import integrate, special, stats
from torch import Tensor

import pixelrnn
from pixelrnn.errors import ConfigError
from pixelrnn.heads import MCGSM

Array = np.ndarray
LEVELS = [2, 3, 256]
SIZES = [(1, 1), (1, 3), (3, 1), (3, 2)]  # components, scales


def mixture(params: Array, colour: int, components: int, scales: int) -> tuple[Array, Array, Array]:
    """Weights that add up to one (components, scales), means (components, 1), standard deviations."""
    many = components * scales
    mine = params[colour * (2 * many + components) : (colour + 1) * (2 * many + components)]
    weights, means, precisions = np.split(mine, [many, many + components])
    shape = (components, scales)
    return special.softmax(weights).reshape(shape), means[:, None], np.exp(-precisions / 2).reshape(shape)


def masses(params: Array, colour: int, head: MCGSM) -> Array:
    """The probability of every level, (levels,)."""
    weights, means, deviations = mixture(params, colour, head.components, head.scales)
    middles = 2 * np.arange(head.levels) / (head.levels - 1) - 1
    edges = np.concatenate([[-np.inf], (middles[1:] + middles[:-1]) / 2, [np.inf]])
    at = (edges[:, None, None] - means) / deviations  # (levels + 1, components, scales)
    below, above = np.diff(special.ndtr(at), axis=0), -np.diff(special.ndtr(-at), axis=0)
    return (weights * np.where(at[:-1] > 0, above, below)).sum((1, 2))  # each in the tail where it is accurate


def densities(params: Array, colour: int, head: MCGSM, at: Array) -> Array:
    """The density of real-valued levels, per level: a level is 2 / (levels - 1) of a scaled pixel."""
    weights, means, deviations = mixture(params, colour, head.components, head.scales)
    scaled = 2 * at[..., None, None] / (head.levels - 1) - 1
    return (weights * stats.norm.pdf(scaled, means, deviations)).sum((-1, -2)) * 2 / (head.levels - 1)


def draw(head: MCGSM, pixels: int = 6, wide: float = -1.0, narrow: float = 6.0) -> Tensor:
    """Random parameters of some pixels, (pixels, num_params, 1, 1); log-precisions from `wide` to `narrow`."""
    many = head.components * head.scales
    parts = []
    for _ in range(head.channels):
        parts += [2 * torch.randn(pixels, many), 0.7 * torch.randn(pixels, head.components)]
        parts += [wide + (narrow - wide) * torch.rand(pixels, many)]
    return torch.cat(parts, 1)[:, :, None, None]


def every_level(head: MCGSM, params: Tensor) -> Tensor:
    """log_prob of all levels of every colour: params (pixels, num_params, 1, 1) -> (pixels, channels, levels)."""
    pixels = torch.arange(head.levels).expand(len(params), head.channels, 1, head.levels)
    return head.log_prob(params.expand(-1, -1, -1, head.levels), pixels)[:, :, 0]


def single(mean: float, precision: float, dtype: torch.dtype = torch.float64) -> Tensor:
    """One Gaussian, of one pixel."""
    return torch.tensor([0.0, mean, precision], dtype=dtype).view(1, 3, 1, 1)


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
        np.testing.assert_allclose(nats[pixel, colour].exp(), expected, rtol=0, atol=1e-12)
        pmf = head.pmf(params[pixel : pixel + 1], torch.zeros(1, channels, 1, 1), colour)[0, 0, 0]
        np.testing.assert_allclose(pmf, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("levels", LEVELS)
@pytest.mark.parametrize("channels", [1, 3])
def test_levels_have_total_probability_one_without_being_made_to(channels: int, levels: int) -> None:
    """The pmf is divided by its sum; the nats are not, and add up all the same."""
    head = MCGSM(channels, levels, components=3, scales=2)
    params = draw(head, 20, wide=-3.0, narrow=12.0)
    nats = every_level(head, params)
    torch.testing.assert_close(nats.exp().sum(-1), torch.ones(20, channels), rtol=0, atol=1e-12)
    for colour in range(channels):
        pmf = head.pmf(params, torch.zeros(20, channels, 1, 1), colour)[:, 0, 0]
        assert pmf.shape == (20, levels)
        assert pmf.dtype == torch.float64
        assert (pmf >= 0).all()
        torch.testing.assert_close(pmf.sum(-1), torch.ones(20), rtol=0, atol=1e-12)
        torch.testing.assert_close(pmf, nats[:, colour].exp(), rtol=0, atol=1e-12)


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
    torch.testing.assert_close(every_level(head, more), every_level(head, params), rtol=0, atol=1e-12)


def test_two_levels_are_the_two_sides_of_zero() -> None:
    nats = every_level(MCGSM(1, 2, components=1, scales=1), single(0.3, 1.5))
    expected = stats.norm.logcdf([0.0], 0.3, np.exp(-0.75)), stats.norm.logsf([0.0], 0.3, np.exp(-0.75))
    np.testing.assert_allclose(nats[0, 0], np.concatenate(expected), rtol=0, atol=1e-14)


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
        np.testing.assert_allclose(found[pixel, colour].exp(), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("levels", LEVELS)
def test_the_density_has_the_integral_one_over_all_real_numbers(levels: int) -> None:
    head = MCGSM(3, levels, components=3, scales=2)
    params = draw(head)
    unit = (levels - 1) / 2
    at = torch.linspace(-20 * unit, 20 * unit, 8001) + unit  # standard deviations are from 0.05 to 1.65 of `unit`
    found = head.log_density(params.expand(-1, -1, -1, len(at)), at.expand(6, 3, 1, -1)).exp()
    torch.testing.assert_close(torch.trapezoid(found[:, :, 0], at), torch.ones(6, 3), rtol=0, atol=1e-12)


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
        assert torch.autograd.gradcheck(lambda given, pixels=pixels: head.log_prob(given, pixels), params)


@pytest.mark.parametrize("channels", [1, 3])
def test_the_gradients_of_a_log_density_are_its_differences(channels: int) -> None:
    head = MCGSM(channels, 3, components=2, scales=2)
    params, pixels = (
        draw(head, 2, narrow=4.0).requires_grad_(),
        (4 * torch.rand(2, channels, 1, 1) - 1).requires_grad_(),
    )
    assert torch.autograd.gradcheck(head.log_density, (params, pixels))


# ---- extreme parameters


FAR = [-1e6, -1e3, -2.0, -1.0, 0.0, 0.3, 50.0, 1e3]
PRECISIONS = [-20.0, -5.0, 0.0, 5.0, 10.0, 15.0, 20.0, 25.0]


def exact(mean: float, precision: float, level: int, levels: int) -> mpmath.mpf:
    """The log of a Gaussian's mass in a bin, with fifty digits."""
    half, root = mpmath.mpf(1) / (levels - 1), mpmath.exp(mpmath.mpf(precision) / 2)
    middle = 2 * level * half - 1 - mpmath.mpf(mean)
    low, high = (middle - half) * root, (middle + half) * root
    if level == 0:
        low = -mpmath.inf
    if level == levels - 1:
        high = mpmath.inf
    if low > 0:
        low, high = -high, -low

    def phi(x: mpmath.mpf) -> mpmath.mpf:
        return mpmath.erfc(-x / mpmath.sqrt(2)) / 2

    return mpmath.log(phi(high) - phi(low))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("levels", LEVELS)
def test_the_nats_of_any_gaussian_are_finite_and_so_are_their_gradients(
    levels: int, precision: float, dtype: torch.dtype
) -> None:
    head = MCGSM(1, levels, components=1, scales=1)
    for mean in FAR:
        params = single(mean, precision, dtype).requires_grad_()
        nats = every_level(head, params)
        assert nats.dtype == dtype
        assert nats.isfinite().all()
        assert (nats <= 0).all()
        (found,) = torch.autograd.grad(nats.sum(), params)
        assert found.isfinite().all(), f"mean {mean}: {found.flatten().tolist()}"


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("levels", LEVELS)
@pytest.mark.parametrize("channels", [1, 3])
def test_a_mixture_of_extremes_has_finite_nats_and_gradients(channels: int, levels: int, dtype: torch.dtype) -> None:
    """A component that has no part in a pixel, because its weight is nothing or because it is far away and narrow,
    must not spoil the gradients of the others."""
    head = MCGSM(channels, levels, components=4, scales=3)
    many = 12
    size = head.num_params // channels
    params = draw(head, 100)
    for colour in range(channels):
        begin = colour * size
        params[:, begin : begin + many] = 1000 * torch.randint(-1, 2, (100, many, 1, 1))
        params[:, begin + many : begin + many + 4] = torch.tensor(FAR)[torch.randint(0, len(FAR), (100, 4, 1, 1))]
        params[:, begin + many + 4 : begin + size] = 45 * torch.rand(100, many, 1, 1) - 20
    params = params.to(dtype).requires_grad_()
    nats = every_level(head, params)
    assert nats.isfinite().all()
    assert (nats <= 0).all()
    (found,) = torch.autograd.grad(nats.sum(), params)
    bad = (~found.isfinite()).flatten(1).any(1).sum().item()
    assert not bad, f"{bad} of 100 pixels have a gradient that is not finite"
    with torch.no_grad():
        for colour in range(channels):
            pmf = head.pmf(params, torch.zeros(100, channels, 1, 1), colour)[:, 0, 0]
            assert (pmf >= 0).all()
            torch.testing.assert_close(pmf.sum(-1), torch.ones(100), rtol=0, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_component_without_weight_adds_nothing(dtype: torch.dtype) -> None:
    pair, alone = MCGSM(1, 256, components=2, scales=1), MCGSM(1, 256, components=1, scales=1)
    params = torch.tensor([1000.0, 0.0, 0.1, 0.9, 4.0, 6.0], dtype=dtype).view(1, 6, 1, 1)
    torch.testing.assert_close(every_level(pair, params), every_level(alone, single(0.1, 4.0, dtype)))


TAILS = [(mean, precision) for mean in (-1e3, -2.0, 0.3, 50.0) for precision in (0.0, 5.0, 10.0, 15.0, 20.0, 25.0)]


@pytest.mark.parametrize("levels", LEVELS)
def test_nats_are_right_however_far_away_the_mean_is(levels: int) -> None:
    head = MCGSM(1, levels, components=1, scales=1)
    with mpmath.workdps(50):
        for mean, precision in [*TAILS, (0.3, -20.0), (-2.0, -10.0), (50.0, -5.0)]:
            nats = every_level(head, single(mean, precision))[0, 0]
            for level in {0, 1, levels // 2, levels - 1}:
                expected = float(exact(mean, precision, level, levels))
                assert nats[level].item() == pytest.approx(expected, rel=1e-9, abs=1e-12), (mean, precision, level)


@pytest.mark.parametrize("levels", LEVELS)
def test_the_logarithm_of_a_normal_distribution_is_that_of_scipy_in_its_tails(levels: int) -> None:
    """At the open ends of the outermost bins, to 10 million standard deviations."""
    head = MCGSM(1, levels, components=1, scales=1)
    half = 1 / (levels - 1)
    for mean, precision in TAILS:
        nats, root = every_level(head, single(mean, precision))[0, 0], np.exp(precision / 2)
        expected = special.log_ndtr((-1 + half - mean) * root), special.log_ndtr((mean - 1 + half) * root)
        np.testing.assert_allclose(nats[[0, -1]], expected, rtol=1e-12)


@pytest.mark.parametrize(("dtype", "rel"), [(torch.float32, 2e-3), (torch.float64, 1e-6)])
@pytest.mark.parametrize("levels", LEVELS)
def test_gradients_are_right_however_far_away_the_mean_is(levels: int, dtype: torch.dtype, rel: float) -> None:
    """With respect to the mean and to the log-precision, of one narrow Gaussian in the tails."""
    head = MCGSM(1, levels, components=1, scales=1)
    with mpmath.workdps(50):
        for mean, precision in [pair for pair in TAILS if pair[1] > 0]:
            for level in {0, 1, levels // 2, levels - 1}:
                params = single(mean, precision, dtype).requires_grad_()
                nats = head.log_prob(params, torch.full((1, 1, 1, 1), level))
                (found,) = torch.autograd.grad(nats.sum(), params)
                mu, alpha = (mpmath.mpf(each.item()) for each in params.flatten()[1:])
                middle = abs(2 * mpmath.mpf(level) / (levels - 1) - 1 - mu)
                if (middle - mpmath.mpf(1) / (levels - 1)) * mpmath.exp(alpha / 2) < 3:
                    continue  # not in the tails
                step = mpmath.mpf(10) ** -15
                wanted = (
                    (exact(mu + step, alpha, level, levels) - exact(mu - step, alpha, level, levels)) / (2 * step),
                    (exact(mu, alpha + step, level, levels) - exact(mu, alpha - step, level, levels)) / (2 * step),
                )
                for name, one, other in zip(("mean", "log-precision"), found.flatten()[1:], wanted, strict=True):
                    assert one.item() == pytest.approx(float(other), rel=rel, abs=1e-3), (
                        f"mean {mean}, log-precision {precision}, level {level}: gradient of the {name}"
                    )


@pytest.mark.parametrize("levels", LEVELS)
@pytest.mark.parametrize("channels", [1, 3])
def test_float32_is_enough_wherever_the_mass_is_not_tiny(channels: int, levels: int) -> None:
    head = MCGSM(channels, levels, components=3, scales=2)
    params = draw(head, 40, wide=-2.0, narrow=9.0).float()
    nats = every_level(head, params)
    assert nats.dtype == torch.float32
    for pixel, colour in np.ndindex(40, channels):
        expected = masses(params[pixel, :, 0, 0].double().numpy(), colour, head)
        fair = expected > 1e-3
        np.testing.assert_allclose(nats[pixel, colour][fair], np.log(expected[fair]), rtol=0, atol=1e-4)


# ---- kinds of numbers


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16])
def test_half_precision_parameters_are_computed_with_in_float32(kind: torch.dtype) -> None:
    head = MCGSM(3, 256, components=3, scales=2)
    params, pixels = draw(head).to(kind), torch.randint(0, 256, (6, 3, 1, 1))
    nats = head.log_prob(params, pixels)
    assert nats.dtype == torch.float32
    assert torch.equal(nats, head.log_prob(params.float(), pixels))
    density = head.log_density(params, pixels.to(kind))
    assert density.dtype == torch.float32
    for colour in range(3):
        assert torch.equal(head.pmf(params, pixels, colour), head.pmf(params.double(), pixels, colour))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_density_of_real_levels_keeps_the_precision_of_the_parameters(dtype: torch.dtype) -> None:
    head = MCGSM(1, 256, components=2, scales=2)
    params, pixels = draw(head).to(dtype), 300 * torch.rand(6, 1, 1, 1) - 20
    assert head.log_density(params, pixels).dtype == dtype


# ---- options


def test_a_head_says_how_many_parameters_and_passes_it_takes() -> None:
    for channels in (1, 2, 3):
        head = MCGSM(channels, 4, components=3, scales=2)
        assert head.passes == channels
        assert head.num_params == channels * (3 * 2 + 3 + 3 * 2)  # weights, means, precisions
    assert (MCGSM(1, 4).components, MCGSM(1, 4).scales) == (8, 4)


@pytest.mark.parametrize("network", ["mcgsm", "spatial-lstm", "pixelcnn"])
@pytest.mark.parametrize("value", [0, -1, 1025, 2.0, True, "3", None])
@pytest.mark.parametrize("option", ["components", "scales"])
def test_an_option_out_of_its_range_is_a_config_error(network: str, option: str, value: object) -> None:
    body = {} if network == "mcgsm" else {"layers": 1, "width": 4}
    with pytest.raises(ConfigError, match=f"{option} must be a whole number from 1 to 1024, not"):
        pixelrnn.build(network, size=(4, 4), levels=4, head="mcgsm", **body, **{option: value})


@pytest.mark.parametrize("network", ["mcgsm", "spatial-lstm"])
def test_a_mixture_without_features_is_a_config_error(network: str) -> None:
    body = {} if network == "mcgsm" else {"layers": 1, "width": 4}
    with pytest.raises(ConfigError, match="features must be a whole number from 1"):
        pixelrnn.build(network, size=(4, 4), levels=4, features=0, **body)


def test_options_of_this_head_are_of_no_other() -> None:
    with pytest.raises(ConfigError, match="'components'"):
        pixelrnn.build("pixelcnn", size=(4, 4), levels=4, head="categorical", layers=1, width=4, components=3)


def test_an_option_of_the_head_with_a_typing_error_is_recognised() -> None:
    with pytest.raises(ConfigError, match="Did you mean 'components'"):
        pixelrnn.build("mcgsm", size=(4, 4), levels=4, component=3)


@pytest.mark.parametrize("whole", [int, np.int64])
@pytest.mark.parametrize("network", ["mcgsm", "spatial-lstm", "pixelcnn"])
def test_a_saved_model_keeps_its_components_and_scales(network: str, whole: type, tmp_path: Path) -> None:
    body: dict[str, Any] = {} if network == "mcgsm" else {"layers": 1, "width": 4}
    model = pixelrnn.build(
        network, size=(4, 4), channels=3, levels=4, head="mcgsm", components=whole(3), scales=whole(2), **body
    )
    assert (model.config["options"]["components"], model.config["options"]["scales"]) == (3, 2)
    model.eval().save(tmp_path / "model")
    again = pixelrnn.load(tmp_path / "model")
    assert again.config == model.config
    assert isinstance(again.head, MCGSM)
    assert (again.head.components, again.head.scales) == (3, 2)
    images = torch.randint(0, 4, (2, 3, 4, 4))
    assert torch.equal(again.log_prob(images), model.log_prob(images))


def test_options_that_are_left_out_are_shown_with_their_defaults() -> None:
    options = pixelrnn.build("mcgsm", size=(4, 4), levels=4, scales=2).config["options"]
    assert options == {"components": 8, "scales": 2, "kernel": 5, "features": 32}
    assert "components" not in pixelrnn.build("mcgsm", size=(4, 4), levels=4, head="categorical").config["options"]

"""The head "mcgsm" far away from the pixels, against numbers of fifty digits: right and finite, with its gradients."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest
import torch
from close import assert_close
from gaussians import LEVELS, draw, every_level, masses, single
from scipy import special

from pixelrnn.heads import MCGSM

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
            assert_close(pmf.sum(-1), torch.ones(100))


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

"""The mixture of discretised logistic distributions against its paper, and far out."""

from __future__ import annotations

import math

import pytest
import torch
from close import assert_close

from pixelrnn.heads import LogisticMixture


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x > -700 else 0.0


def probability(means: list[float], scales: list[float], weights: list[float], level: int, levels: int) -> float:
    """Equation 2 of arXiv 1701.05517, in units of a level, with the edges at infinity."""
    total = sum(math.exp(each) for each in weights)
    found = 0.0
    for mean, scale, weight in zip(means, scales, weights, strict=True):
        centre, spread = (mean + 1) * (levels - 1) / 2, math.exp(scale) * (levels - 1) / 2
        upper = 1.0 if level == levels - 1 else sigmoid((level + 0.5 - centre) / spread)
        lower = 0.0 if level == 0 else sigmoid((level - 0.5 - centre) / spread)
        found += math.exp(weight) / total * (upper - lower)
    return found


@pytest.mark.parametrize("levels", [2, 5, 256])
@pytest.mark.parametrize("masked", [False, True])
def test_one_colour_is_equation_2(levels: int, masked: bool) -> None:
    head = LogisticMixture(1, levels, components=3, masked=masked)
    params = torch.tensor([0.3, -1.0, 0.5, -0.4, 0.1, 0.7, -1.5, -2.0, -0.5]).view(1, 9, 1, 1)
    weights, means, scales = params.flatten().view(3, 3).tolist()
    expected = [probability(means, scales, weights, level, levels) for level in range(levels)]
    assert_close(head.pmf(params, torch.zeros(1, 1, 1, 1), 0).flatten(), expected)
    nats = head.log_prob(params.expand(levels, -1, -1, -1), torch.arange(levels).view(-1, 1, 1, 1)).flatten()
    assert_close(nats, [math.log(each) for each in expected])


def test_later_colours_share_the_component_and_shift_its_mean() -> None:
    """Equation 3: m_G = mu_G + a R, m_B = mu_B + b R + c G, and one mixture of products over the colours."""
    head, levels = LogisticMixture(3, 256, components=2), 256
    params = torch.randn(1, 20, 1, 1)
    w, means, scales, raw = params.flatten().split([2, 6, 6, 6])
    means, scales, coefficients = means.view(3, 2), scales.view(3, 2), raw.view(3, 2).tanh()
    image = torch.tensor([200, 17, 90]).view(1, 3, 1, 1)
    r, g, _ = (image.flatten() * 2 / 255 - 1).tolist()
    products = []
    for k in range(2):
        a, b, c = coefficients[:, k].tolist()
        shifted = [means[0, k].item(), means[1, k].item() + a * r, means[2, k].item() + b * r + c * g]
        each = [
            probability([mean], [scale.item()], [0.0], int(level), levels)
            for mean, scale, level in zip(shifted, scales[:, k], image.flatten(), strict=True)
        ]
        products.append(math.prod(each))
    expected = sum(weight * each for weight, each in zip(w.softmax(0).tolist(), products, strict=True))
    assert_close(head.log_prob(params, image).sum(), math.log(expected))


def test_masked_colours_read_parameters_of_their_own() -> None:
    head, one = LogisticMixture(3, 8, components=2, masked=True), LogisticMixture(1, 8, components=2, masked=True)
    params, image = torch.randn(2, 18, 3, 3), torch.randint(0, 8, (2, 3, 3, 3))
    assert (head.num_params, head.groups, LogisticMixture(3, 8).groups) == (18, 3, 1)
    alone = [one.log_prob(params[:, 6 * c : 6 * c + 6], image[:, c : c + 1]) for c in range(3)]
    assert torch.equal(head.log_prob(params, image), torch.cat(alone, 1))


@pytest.mark.parametrize("masked", [False, True])
def test_gradients_are_finite_however_far_the_mean_is(masked: bool) -> None:
    head = LogisticMixture(3, 256, components=2, masked=masked)
    params = (100 * torch.randn(8, head.num_params, 4, 4)).requires_grad_()
    nats = head.log_prob(params, torch.randint(0, 256, (8, 3, 4, 4)))
    assert nats.isfinite().all()
    nats.sum().backward()
    assert params.grad is not None
    assert params.grad.isfinite().all()

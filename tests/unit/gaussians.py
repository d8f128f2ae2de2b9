"""Mixtures of Gaussians with SciPy: the second opinion on the head "mcgsm".

The parameters of a colour are cut up here once more: `components * scales` log-weights, then the means, then
`components * scales` log-precisions, for pixels scaled to -1..1. The mass of a level is a difference of two values of
the cumulative distribution; the outermost levels take all that lies beyond them.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy import special, stats
from torch import Tensor

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

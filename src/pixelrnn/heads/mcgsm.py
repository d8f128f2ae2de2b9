"""A mixture of Gaussians per channel, integrated over the bins of integer pixel values.

This is the output distribution of a mixture of conditional Gaussian scale mixtures (MCGSM): each component has one
mean, and a precision and a weight of its own at each scale. The network computes them from the earlier pixels
(`layers.mixture`).

Source: Theis, Hosseini and Bethge, Mixtures of Conditional Gaussian Scale Mixtures Applied to Multiscale Image
Representations, 2012; Theis and Bethge, Generative Image Modeling Using Spatial LSTMs, 2015, arXiv 1506.03478,
equations 4 and 5.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from pixelrnn.fields import Count
from pixelrnn.heads.base import Head, precise


class MCGSM(Head):
    """Per channel, Gaussians with `components` means, each at `scales` precisions.

    Parameters of a channel, for pixels scaled to -1..1: `components * scales` unnormalised log-weights, `components`
    means, `components * scales` log-precisions. The probability of an integer pixel is the mass of its bin, which ends
    halfway to the neighbouring levels; the bins of the lowest and the highest level extend to infinity, so that the
    probabilities sum to one.

    Differs: the papers model real numbers, integers plus uniform noise; that density is `log_density`. The
             log-probability of a bin is at least the expected log-density over the noise (Jensen's inequality).

    >>> head = MCGSM(channels=1, levels=256, components=8, scales=4)
    >>> head.num_params  # 8 * 4 log-weights, 8 means, 8 * 4 log-precisions
    72
    >>> probabilities = head.pmf(torch.zeros(2, 72, 5, 5), torch.zeros(2, 1, 5, 5), channel=0)
    >>> torch.allclose(probabilities.sum(-1), torch.ones(2, 5, 5).double())
    True
    """

    def __init__(self, channels: int, levels: int, *, components: Count = 8, scales: Count = 4) -> None:
        super().__init__(channels, levels)
        self.components, self.scales = components, scales
        self.half_bin = 1 / (levels - 1)  # of pixels in -1..1

    @property
    def num_params(self) -> int:
        return self.channels * self.params_of_a_colour

    @property
    def params_of_a_colour(self) -> int:
        """Parameters per channel: weights, means and precisions."""
        return self.components * (2 * self.scales + 1)

    @property
    def groups(self) -> int:
        return self.channels

    def log_prob(self, params: Tensor, images: Tensor) -> Tensor:
        weights, means, precisions = self._split(precise(params))  # (B, C, M, H, W)
        pixels = images.to(means.dtype)[:, :, None] * (2 * self.half_bin) - 1
        return (weights + self._log_mass(pixels, means, precisions, images[:, :, None])).logsumexp(2).clamp_max(0)

    def pmf(self, params: Tensor, pixels: Tensor, channel: int) -> Tensor:
        begin = channel * self.params_of_a_colour
        weights, means, precisions = self._split(params[:, begin : begin + self.params_of_a_colour].double())
        levels = torch.arange(self.levels, device=params.device).view(-1, 1, 1, 1, 1)
        middles = levels * (2 * self.half_bin) - 1
        mass = self._log_mass(middles, means[:, 0], precisions[:, 0], levels)  # (levels, B, M, h, w)
        found = (weights[:, 0] + mass).logsumexp(2).movedim(0, -1).exp()
        return found / found.sum(-1, keepdim=True)

    def log_density(self, params: Tensor, pixels: Tensor) -> Tensor:
        """Log-density of real-valued pixels in nats, per unit of a level; the bin of k is k - 1/2 to k + 1/2.

        Shapes:  params (B, num_params, H, W), pixels (B, C, H, W) real -> (B, C, H, W)
        Source:  arXiv 1506.03478, equation 5
        """
        weights, means, precisions = self._split(precise(params))
        scaled = pixels.to(means.dtype)[:, :, None] * (2 * self.half_bin) - 1
        log_normal = 0.5 * (precisions - math.log(2 * math.pi) - precisions.exp() * (scaled - means) ** 2)
        return (weights + log_normal).logsumexp(2) + math.log(2 * self.half_bin)

    def _split(self, params: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Normalised log-weights, means and log-precisions of all Gaussians: (B, channels, Gaussians, H, W) each."""
        count = self.components * self.scales
        colours = params.unflatten(1, (-1, self.params_of_a_colour))
        weights, means, precisions = colours.split([count, self.components, count], 2)
        return weights.log_softmax(2), means.repeat_interleave(self.scales, 2), precisions

    def _log_mass(self, pixels: Tensor, means: Tensor, precisions: Tensor, levels: Tensor) -> Tensor:
        """The log of each Gaussian's mass in the bin around `pixels`; the first and last bin are unbounded.

        For a bin to the left of the mean both ends lie in the lower tail, where log Phi is accurate; a bin to the right
        is mirrored.
        """
        root = (0.5 * precisions).exp()
        middle = (pixels - means) * root
        side = middle.abs()
        half = self.half_bin * root
        upper, lower = half - side, -half - side  # of the mirrored bin, in standard deviations
        log_upper, log_lower = _log_phi(upper), _log_phi(lower)
        least = torch.finfo(means.dtype).tiny
        inner = log_upper + (-torch.expm1((log_lower - log_upper).clamp_max(-least))).log()
        first, last = levels == 0, levels == self.levels - 1
        # log Phi at the inner end of the unbounded bins. For the other bins the argument is replaced by 0 beforehand: a
        # where() after log Phi alone would still propagate gradients of the unused branch from far out in a tail.
        below = _log_phi(torch.where(first, middle + half, 0))
        above = _log_phi(torch.where(last, half - middle, 0))
        return torch.where(first, below, torch.where(last, above, inner))


class _LogPhi(torch.autograd.Function):
    """The log of the standard normal cumulative distribution function, with an accurate gradient in the tails.

    The derivative is phi / Phi. PyTorch's own gradient divides two numbers that both underflow far from the mean; the
    scaled complementary error function does not underflow.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return torch.special.log_ndtr(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return gradient * math.sqrt(2 / math.pi) / torch.special.erfcx(-x / math.sqrt(2))


def _log_phi(x: Tensor) -> Tensor:
    out: Tensor = _LogPhi.apply(x)  # type: ignore[no-untyped-call]
    return out

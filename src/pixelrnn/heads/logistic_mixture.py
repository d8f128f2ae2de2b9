"""A mixture of discretised logistic distributions: few parameters for many levels.

Source: Salimans, Karpathy, Chen and Kingma, PixelCNN++: Improving the PixelCNN with Discretized Logistic Mixture
Likelihood and Other Modifications, 2017, arXiv 1701.05517, section 2.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from pixelrnn.fields import Count
from pixelrnn.heads.base import Head, precise

LEAST_LOG_SCALE = -7.0  # as in the authors' code: a component is never narrower
_FAR = 1e3  # scales from the mean: the logistic function is 0 or 1 there in every dtype


class LogisticMixture(Head):
    r"""Logistic distributions, integrated over the bins of integer pixel values, mixed.

    Pixels and means are scaled to -1..1. The bins of the lowest and the highest level extend to infinity, so the
    probabilities sum to one.

    With `masked=False`, as in the paper, the colours of a pixel share one choice of the component, and the mean of a
    later colour is linear in the earlier ones: one network pass decides a pixel. Parameters: K logits; K means of each
    colour; K log-scales of each colour; K coefficients (before a tanh) for each pair of a colour and an earlier one.

    With `masked=True` each colour has a mixture of its own, and the network's masks condition it on the earlier
    colours. Parameters, for each colour: K logits, K means, K log-scales.

    Arguments:
        components  K
        masked      colours are conditioned by the network, and not by coefficients

    Source:  arXiv 1701.05517, equations 1 to 3
    Differs: the log-probability of a bin is computed exactly at any distance from the mean; the authors use the density
             at its centre where the mass is small

    >>> head = LogisticMixture(channels=3, levels=256, components=10)
    >>> head.num_params, head.groups  # 10 logits, 30 means, 30 log-scales, 30 coefficients
    (100, 1)
    >>> probabilities = head.pmf(torch.zeros(2, 100, 5, 5), torch.zeros(2, 3, 5, 5), channel=1)
    >>> torch.allclose(probabilities.sum(-1), torch.ones(2, 5, 5).double())
    True
    """

    def __init__(self, channels: int, levels: int, *, components: Count = 10, masked: bool = False) -> None:
        super().__init__(channels, levels)
        self.components, self.masked = components, masked
        self.half_bin = 1 / (levels - 1)  # of pixels in -1..1

    @property
    def num_params(self) -> int:
        c = self.channels
        return self.components * (3 * c if self.masked else 1 + 2 * c + c * (c - 1) // 2)

    @property
    def groups(self) -> int:
        return self.channels if self.masked else 1

    def log_prob(self, params: Tensor, images: Tensor) -> Tensor:
        params, found = precise(params), []
        joint: Tensor | float = 0.0  # log-probability of the earlier colours in each component
        for channel in range(self.channels):
            weights, means, scales = self._component(params, images, channel)
            mass = self._log_mass(images[:, channel, None].to(means.dtype), means, scales)
            if self.masked:
                found.append((weights + mass).logsumexp(1))
                continue
            before = (weights + joint).logsumexp(1)
            joint = joint + mass
            found.append((weights + joint).logsumexp(1) - before)
        return torch.stack(found, 1).clamp_max(0)

    def pmf(self, params: Tensor, pixels: Tensor, channel: int) -> Tensor:
        params = params.double()
        weights, means, scales = self._component(params, pixels, channel)
        if not self.masked:  # the earlier colours say which component it is
            for earlier in range(channel):
                _, mean, scale = self._component(params, pixels, earlier)
                weights = weights + self._log_mass(pixels[:, earlier, None].to(mean.dtype), mean, scale)
        weights, precision = weights.softmax(1), (-scales).exp()
        # s(b) - s(a) = s(b) s(-a) (1 - exp(a - b)), as below; the first and the last bin are s and 1 - s alone.
        inside = -torch.expm1(-2 * self.half_bin * precision) * weights
        ends = torch.arange(1, self.levels, dtype=torch.float64, device=params.device).view(-1, 1, 1, 1)
        ends = (2 * ends - self.levels) * self.half_bin  # between the bins, in -1..1
        first, last, between = [], [], []
        for k in range(self.components):  # one after the other: the compiled walk then has vectors of levels
            middle = (ends - means[:, k]) * precision[:, k]  # (levels - 1, B, h, w)
            below, above = middle.sigmoid(), (-middle).sigmoid()
            first.append(below[0])
            last.append(above[-1])
            if self.levels > 2:
                between.append(below[1:] * above[:-1] * inside[:, k])
        lowest, highest = ((torch.stack(each, 1) * weights).sum(1) for each in (first, last))
        inner = [sum(between[1:], between[0])] if between else []
        found = torch.cat([lowest[None], *inner, highest[None]]).movedim(0, -1)
        return found / found.sum(-1, keepdim=True)

    def _component(self, params: Tensor, images: Tensor, channel: int) -> tuple[Tensor, Tensor, Tensor]:
        """Normalised log-weights, means and log-scales of one colour, given the earlier ones: (B, K, H, W) each."""
        k, c = self.components, self.channels
        if self.masked:
            weights, means, scales = params[:, 3 * k * channel : 3 * k * (channel + 1)].split(k, 1)
            return weights.log_softmax(1), means, scales.clamp_min(LEAST_LOG_SCALE)
        means = params[:, k * (1 + channel) : k * (2 + channel)]
        scales = params[:, k * (1 + c + channel) : k * (2 + c + channel)]
        for earlier in range(channel):
            pair = 1 + 2 * c + channel * (channel - 1) // 2 + earlier
            value = images[:, earlier, None].to(means.dtype) * (2 * self.half_bin) - 1
            means = means + params[:, k * pair : k * (pair + 1)].tanh() * value
        return params[:, :k].log_softmax(1), means, scales.clamp_min(LEAST_LOG_SCALE)

    def _log_mass(self, level: Tensor, means: Tensor, scales: Tensor) -> Tensor:
        """The log of each component's mass in the bin of `level`.

        With the logistic function s, s(b) - s(a) = s(b) s(-a) (1 - exp(a - b)), whose factors are accurate at any
        distance. The ends of the first and the last bin are moved so far out that s is 0 or 1 there; arithmetic does it
        rather than a comparison, so that the compiled walk takes it too.
        """
        precision = (-scales).exp()
        middle = (level * (2 * self.half_bin) - 1 - means) * precision
        half = self.half_bin * precision
        far = 2 * (middle.abs() + half) + _FAR
        above = middle + half + (level - (self.levels - 2)).clamp_min(0) * far
        below = middle - half - (1 - level).clamp_min(0) * far
        inside = -torch.expm1((below - above).clamp_max(-torch.finfo(means.dtype).tiny))
        return F.logsigmoid(above) + F.logsigmoid(-below) + inside.log()

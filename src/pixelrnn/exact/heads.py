"""Heads in whole numbers: from integer parameters to integer frequencies, the same on every machine."""

from __future__ import annotations

import math
from abc import abstractmethod

import torch
from torch import Tensor

from pixelrnn.exact import tables
from pixelrnn.exact.tables import (
    COEFFICIENT_BITS,
    LOGIT_BITS,
    LOGIT_RANGE,
    MEAN_BITS,
    SCALE_BITS,
    SCALES,
    TANH_BITS,
    TANH_RANGE,
    TOTAL,
    TOTAL_BITS,
    WEIGHT_BITS,
    Z_BITS,
    Z_RANGE,
)
from pixelrnn.heads import Bernoulli, Categorical, Head, LogisticMixture


class IntegerHead(Head):
    """A head whose parameters are integers, carried by a tensor of any dtype, and whose probabilities are frequencies.

    The frequency of a level is its probability times 2^24, at least 1; those of all levels add up to 2^24.
    """

    def __init__(self, head: Head) -> None:
        super().__init__(head.channels, head.levels)
        self.head = head

    def seen(self, pixels: Tensor, dtype: torch.dtype) -> Tensor:
        """Integers around zero: twice the level, less the highest one."""
        return 2 * pixels.to(dtype) - (self.levels - 1)

    @property
    def num_params(self) -> int:
        return self.head.num_params

    @property
    def groups(self) -> int:
        return self.head.groups

    @abstractmethod
    def units(self) -> tuple[Tensor, Tensor]:
        """Scale and offset of every parameter, (num_params,): the integer is scale * parameter + offset."""

    @abstractmethod
    def params_of(self, params: Tensor, channel: int) -> Tensor:
        """Those of the parameters (B, num_params, h, w) on which the probabilities of a channel depend."""

    @abstractmethod
    def intervals(self, params: Tensor, images: Tensor) -> tuple[Tensor, Tensor]:
        """Where the levels of the images lie between 0 and 2^24: the frequencies of lower levels added up, and theirs.

        Shapes: params (B, num_params, H, W), images (B, C, H, W) -> twice (B, C, H, W) int64
        """

    @abstractmethod
    def cumulated(self, params: Tensor, pixels: Tensor, channel: int) -> Tensor:
        """The cumulated frequencies of one channel: (B, h, w, levels + 1) int64, from 0 to 2^24.

        Shapes: params (B, num_params, h, w), pixels (B, C, h, w), of which the channels before `channel` are read
        """

    def log_prob(self, params: Tensor, images: Tensor) -> Tensor:
        _, frequency = self.intervals(params, images)
        return frequency.to(torch.promote_types(params.dtype, torch.float32)).log() - math.log(TOTAL)

    def pmf(self, params: Tensor, pixels: Tensor, channel: int) -> Tensor:
        return self.cumulated(params, pixels, channel).diff(dim=-1).double() / TOTAL


class IntegerSoftmax(IntegerHead):
    """Bernoulli and categorical: frequencies of logits in units of 2^-8 nats."""

    head: Bernoulli | Categorical

    def units(self) -> tuple[Tensor, Tensor]:
        return torch.full((self.num_params,), float(1 << LOGIT_BITS)), torch.zeros(self.num_params)

    def params_of(self, params: Tensor, channel: int) -> Tensor:
        count = self.num_params // self.channels
        return params[:, channel * count : (channel + 1) * count]

    def intervals(self, params: Tensor, images: Tensor) -> tuple[Tensor, Tensor]:
        found = [self.cumulated(params, images, channel) for channel in range(self.channels)]
        at = images.long()[..., None]
        ends = [
            torch.cat([each.gather(-1, at[:, c]), each.gather(-1, at[:, c] + 1)], -1) for c, each in enumerate(found)
        ]
        start, end = torch.stack(ends, 1).unbind(-1)
        return start, end - start

    def cumulated(self, params: Tensor, pixels: Tensor, channel: int) -> Tensor:
        if isinstance(self.head, Bernoulli):
            logit = self.params_of(params, channel)[:, 0].long()
            logits = torch.stack([torch.zeros_like(logit), logit], -1)
        else:
            logits = self.params_of(params, channel).long().movedim(1, -1)
        return _shared(logits, TOTAL).cumsum(-1)


class IntegerMixture(IntegerHead):
    """The logistic mixture: means in 1/256 of a level, log-scales in 1/64, the logistic function by table."""

    head: LogisticMixture

    def units(self) -> tuple[Tensor, Tensor]:
        head, half = self.head, (self.levels - 1) / 2
        k, c = head.components, self.channels
        logits, means = (1 << LOGIT_BITS, 0.0), (half * (1 << MEAN_BITS), half * (1 << MEAN_BITS))
        scales = (1 << SCALE_BITS, math.log(half) * (1 << SCALE_BITS))
        if head.masked:
            kinds = [logits, means, scales] * c
        else:
            kinds = [logits] + [means] * c + [scales] * c + [(1 << COEFFICIENT_BITS, 0.0)] * (c * (c - 1) // 2)
        scale, offset = torch.tensor(kinds).repeat_interleave(k, 0).T
        return scale, offset

    def params_of(self, params: Tensor, channel: int) -> Tensor:
        count = 3 * self.head.components
        return params[:, channel * count : (channel + 1) * count] if self.head.masked else params

    def intervals(self, params: Tensor, images: Tensor) -> tuple[Tensor, Tensor]:
        starts, sizes, joint = [], [], None
        for channel in range(self.channels):
            weights, means, precisions = self._component(params, images, channel)
            weights = weights if joint is None else joint
            level = images[:, channel, None].long()
            below, above = (_logistic(level + more, means, precisions, self.levels) for more in (0, 1))
            start, end = (self._mixed(weights, each, level[:, 0] + more) for more, each in ((0, below), (1, above)))
            starts.append(start)
            sizes.append(end - start)
            if not self.head.masked:
                joint = _updated(weights, above - below)
        return torch.stack(starts, 1), torch.stack(sizes, 1)

    def cumulated(self, params: Tensor, pixels: Tensor, channel: int) -> Tensor:
        weights, means, precisions = self._component(params, pixels, channel)
        if not self.head.masked:
            for earlier in range(channel):
                level = pixels[:, earlier, None].long()
                _, mean, precision = self._component(params, pixels, earlier)
                below, above = (_logistic(level + more, mean, precision, self.levels) for more in (0, 1))
                weights = _updated(weights, above - below)
        levels = torch.arange(self.levels + 1, device=params.device).view(-1, 1, 1, 1, 1)
        each = _logistic(levels, means, precisions, self.levels)  # (levels + 1, B, K, h, w)
        return self._mixed(weights, each.movedim(2, 1), levels[:, :, 0], dim=1).movedim(0, -1)

    def _mixed(self, weights: Tensor, each: Tensor, level: Tensor, dim: int = 1) -> Tensor:
        """The cumulated frequency below `level` of the mixture, of which every level gets 1 beforehand."""
        weights = weights if each.dim() == 4 else weights.movedim(1, 0)
        total = (weights * each).sum(dim) >> WEIGHT_BITS
        return level + (total * (TOTAL - self.levels) >> TOTAL_BITS)

    def _component(self, params: Tensor, images: Tensor, channel: int) -> tuple[Tensor, Tensor, Tensor]:
        """Weights that add up to 2^16, means and precisions of one colour, given the earlier ones: (B, K, H, W)."""
        head = self.head
        k, c = head.components, self.channels
        if head.masked:
            logits, means, scales = self.params_of(params, channel).long().split(k, 1)
        else:
            logits, means = params[:, :k].long(), params[:, k * (1 + channel) : k * (2 + channel)].long()
            scales = params[:, k * (1 + c + channel) : k * (2 + c + channel)].long()
            for earlier in range(channel):
                pair = 1 + 2 * c + channel * (channel - 1) // 2 + earlier
                raw = params[:, k * pair : k * (pair + 1)].long().clamp(-TANH_RANGE, TANH_RANGE)
                slope = _table(tables.hyperbolic_tangent(), raw + TANH_RANGE)
                value = 2 * images[:, earlier, None].long() - (self.levels - 1)
                means = means + (slope * value >> TANH_BITS + 1 - MEAN_BITS)
        precisions = _table(tables.precision(), scales.clamp(*SCALES) - SCALES[0])
        weights = _shared(logits.movedim(1, -1), 1 << WEIGHT_BITS)[..., 1:].movedim(-1, 1)
        return weights, means.clamp(-_FARTHEST, _FARTHEST), precisions


_FARTHEST = 1 << 20  # of a mean: 4,096 levels


def _table(table: tables.Table, index: Tensor) -> Tensor:
    return torch.from_numpy(table).to(index.device)[index]


def _shared(logits: Tensor, total: int) -> Tensor:
    """A zero, then shares of `total` in proportion to exp(logits / 256), at least 1 each; the first gets what is left.

    Shapes: (..., n) -> (..., n + 1)
    """
    powers = _table(tables.exponential(), (logits.amax(-1, keepdim=True) - logits).clamp_max(LOGIT_RANGE))
    return _divided(powers, total)


def _divided(parts: Tensor, total: int) -> Tensor:
    """A zero, then shares of `total` in proportion to `parts`."""
    shares = 1 + parts * (total - parts.shape[-1]) // parts.sum(-1, keepdim=True)
    left = total - shares.sum(-1, keepdim=True)
    return torch.cat([torch.zeros_like(left), shares[..., :1] + left, shares[..., 1:]], -1)


def _updated(weights: Tensor, mass: Tensor) -> Tensor:
    """The weights of components, (B, K, H, W), once a level is known that has this mass in each of them."""
    parts = (weights * mass.clamp_min(1)).movedim(1, -1)
    return _divided(parts, 1 << WEIGHT_BITS)[..., 1:].movedim(-1, 1)


def _logistic(level: Tensor, means: Tensor, precisions: Tensor, levels: int) -> Tensor:
    """The share of a component below a level, which begins half a level below it; nothing and all at the ends."""
    places = Z_BITS + 8
    z = ((2 * level - 1 << MEAN_BITS - 1) - means) * precisions >> MEAN_BITS + 20 - places
    z = z.clamp(-Z_RANGE << 8, Z_RANGE << 8)
    index = (z >> 8) + Z_RANGE
    here, after = (_table(tables.logistic(), index + more) for more in (0, 1))
    found = here + ((after - here) * (z & 255) >> 8)
    return torch.where(level == 0, 0, torch.where(level == levels, TOTAL, found))


def integer_head(head: Head) -> IntegerHead | None:
    """The head in whole numbers; None if there is none."""
    if isinstance(head, Bernoulli | Categorical):
        return IntegerSoftmax(head)
    return IntegerMixture(head) if isinstance(head, LogisticMixture) else None


__all__ = ["IntegerHead", "IntegerMixture", "IntegerSoftmax", "integer_head"]

"""The interface of an output distribution.

`log_prob` and `pmf` describe the same distribution (the contract tests compare them), so log-likelihoods and samples
agree.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from pixelrnn.canvas import scale


class Head(ABC):
    """The conditional distribution of every pixel, for images with `channels` channels and integers 0..levels-1."""

    def __init__(self, channels: int, levels: int) -> None:
        self.channels, self.levels = channels, levels

    def seen(self, pixels: Tensor, dtype: torch.dtype) -> Tensor:
        """Integer pixels as the numbers that the network sees: -1..1."""
        return scale(pixels, self.levels, dtype)

    @property
    @abstractmethod
    def num_params(self) -> int:
        """Parameters per pixel that the network must output."""

    @property
    @abstractmethod
    def groups(self) -> int:
        """Colour groups, and network passes per pixel in sampling.

        As many as channels if the network's masks condition a colour on the earlier ones (the parameters are then
        grouped by colour, in order); 1 if the head itself does so.
        """

    @abstractmethod
    def log_prob(self, params: Tensor, images: Tensor) -> Tensor:
        """The log-probability of every pixel and channel given all earlier ones, in nats.

        Shapes:  params (B, num_params, H, W), images (B, C, H, W) integers -> (B, C, H, W), at most 0
        """

    @abstractmethod
    def pmf(self, params: Tensor, pixels: Tensor, channel: int) -> Tensor:
        """The probability of every level of one channel, in float64.

        Shapes:  params (B, num_params, h, w), pixels (B, C, h, w), of which the channels before `channel` are read
                 -> (B, h, w, levels), which sums to one over the levels
        """


def precise(params: Tensor) -> Tensor:
    """`params` in float32 at least: half precision will do for matrix products, not for sums of log-probabilities."""
    return params.float() if params.dtype.itemsize < 4 else params

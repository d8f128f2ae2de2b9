"""What a head is: it turns a network's parameters into probabilities, and nothing else.

The two methods describe one distribution (the contracts hold them together), so that nats, bits per dimension, samples
and coded bytes are one quantity.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor


class Head(ABC):
    """Probabilities of images with `channels` colours and integer pixels 0..levels-1."""

    def __init__(self, channels: int, levels: int) -> None:
        self.channels, self.levels = channels, levels

    @property
    @abstractmethod
    def num_params(self) -> int:
        """Parameters per pixel that the network must give."""

    @property
    @abstractmethod
    def groups(self) -> int:
        """Network passes that one pixel takes: as many as channels if colours see earlier ones through the network's
        masks (parameter groups in the order of the colours), 1 if the head itself conditions them."""

    @abstractmethod
    def log_prob(self, params: Tensor, images: Tensor) -> Tensor:
        """Nats of every pixel and colour given all earlier ones.

        Shapes:  params (B, num_params, H, W), images (B, C, H, W) integers -> (B, C, H, W), never above 0
        """

    @abstractmethod
    def pmf(self, params: Tensor, pixels: Tensor, channel: int) -> Tensor:
        """Probabilities of every level of one colour, in float64.

        Shapes:  params (B, num_params, h, w), pixels (B, C, h, w) of which colours before `channel` are read
                 -> (B, h, w, levels), sums to one
        """


def precise(params: Tensor) -> Tensor:
    """Half precision is enough for a network's matrices, not for a sum of log-probabilities: float32 at least."""
    return params.float() if params.dtype.itemsize < 4 else params

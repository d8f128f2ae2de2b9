"""Gates and activations, as modules, which an exact model replaces."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def gate(x: Tensor) -> Tensor:
    """The tanh of the first half of the feature maps times the sigmoid of the second half.

    Shapes: (B, 2p, H, W) -> (B, p, H, W)
    Source: van den Oord et al., Conditional Image Generation with PixelCNN Decoders, 2016, arXiv 1606.05328, equation 2

    >>> import torch
    >>> gate(torch.zeros(2, 64, 28, 28)).shape
    torch.Size([2, 32, 28, 28])
    """
    tanh_half, sigmoid_half = x.split(x.shape[1] // 2, 1)
    return tanh_half.tanh() * sigmoid_half.sigmoid()


class Gate(nn.Module):
    """`gate` as a module."""

    def forward(self, x: Tensor) -> Tensor:
        return gate(x)


class SigmoidGate(nn.Module):
    """The first half of the feature maps times the sigmoid of the second half.

    Shapes: (B, 2p, h, w) -> (B, p, h, w)
    Source: arXiv 1701.05517, the authors' `gated_resnet`
    """

    def forward(self, x: Tensor) -> Tensor:
        content, opening = x.chunk(2, 1)
        return content * opening.sigmoid()


class Elu(nn.Module):
    """ELU of x, and behind it that of -x if `both`.

    Shapes: (B, C, h, w) -> (B, C, h, w) or (B, 2C, h, w)

    >>> Elu(both=True)(torch.ones(1, 1, 1, 1)).flatten()
    tensor([ 1.0000, -0.6321])
    """

    def __init__(self, *, both: bool = False) -> None:
        super().__init__()
        self.both = both

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([F.elu(x), F.elu(-x)], 1) if self.both else F.elu(x)

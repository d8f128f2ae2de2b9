"""The gated activation unit."""

from __future__ import annotations

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
    """`gate` as a module, which an exact model replaces."""

    def forward(self, x: Tensor) -> Tensor:
        return gate(x)

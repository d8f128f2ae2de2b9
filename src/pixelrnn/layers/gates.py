"""The gated activation unit."""

from __future__ import annotations

from torch import Tensor


def gate(x: Tensor) -> Tensor:
    """tanh of the first half of the feature maps times the sigmoid of the second: (B, 2p, H, W) -> (B, p, H, W).

    Source: van den Oord et al., Conditional Image Generation with PixelCNN Decoders, 2016, arXiv 1606.05328, equation 2
    """
    content, opening = x.chunk(2, 1)
    return content.tanh() * opening.sigmoid()

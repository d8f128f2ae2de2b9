"""Weight normalisation, and initial weights that depend on data.

Source: Salimans and Kingma, Weight Normalization: A Simple Reparameterization to Accelerate Training of Deep Neural
Networks, 2016, arXiv 1602.07868, sections 2 and 3.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pixelrnn.canvas import Reach
from pixelrnn.layers.convolution import CausalConv2d


class NormalisedConv2d(CausalConv2d):
    r"""A causal convolution with the weight g v / |v|: a length and a direction for each output feature map.

    Arguments:
        scale   the initial g, and the standard deviation of the outputs that `fitted` aims at
        blocks  of output feature maps with the same g, whose norm is taken over all of them: 4 for those of the pixels
                that a coarse pixel covers, as if it were a transposed convolution of stride 2

    Shapes:  as CausalConv2d
    Source:  arXiv 1602.07868, equation 2

    >>> from pixelrnn.canvas import Whole
    >>> conv = NormalisedConv2d(3, 8, Reach(1, 0, 1, 0))
    >>> torch.allclose(conv.masked().square().sum((1, 2, 3)), torch.ones(8))
    True
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        reach: Reach,
        *,
        scale: float = 1.0,
        blocks: int = 1,
        bias: bool = True,
    ) -> None:
        super().__init__(in_channels, blocks * out_channels, reach, bias=bias)
        self.blocks, self.scale, self.fitting = blocks, scale, False
        self.gain = nn.Parameter(torch.full((out_channels,), scale))

    def reset_parameters(self) -> None:
        nn.init.normal_(self.weight, std=0.05)
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def masked(self) -> Tensor:
        return self._directions() * self.gain.repeat(self.blocks)[:, None, None, None]

    def _directions(self) -> Tensor:
        """v / |v|."""
        weight = super().masked()
        square = weight.square().unflatten(0, (self.blocks, -1)).sum((0, 2, 3, 4))
        return weight * square.rsqrt().repeat(self.blocks)[:, None, None, None]

    @property
    def initial(self) -> bool:
        """Whether lengths and biases are still those that a new layer has, as far as its dtype can tell."""
        new = torch.full_like(self.gain, self.scale)
        return torch.allclose(self.gain, new, rtol=1e-3, atol=0) and (self.bias is None or not self.bias.any())

    def whole(self, near: Tensor, plus: Tensor | None) -> Tensor:
        if self.fitting:
            self._fit(near)
        return super().whole(near, plus)

    @torch.no_grad()
    def _fit(self, near: Tensor) -> None:
        y = F.conv2d(near, self._directions()).unflatten(1, (self.blocks, -1)).transpose(0, 2).flatten(1)
        variance = y.var(1, correction=0)
        varies = variance > _LEAST_VARIANCE
        gain = torch.where(varies, self.scale * variance.clamp_min(_LEAST_VARIANCE).rsqrt(), self.scale)
        self.gain.copy_(gain)
        if self.bias is not None:
            self.bias.copy_(torch.where(varies, -y.mean(1) * gain, 0))


_LEAST_VARIANCE = 1e-6
"""Outputs that vary less are constant: of a layer that sees nothing but padding, say, in images of one row."""


@contextmanager
def fitted(module: nn.Module) -> Iterator[None]:
    """Inside, a pass over images gives every normalised layer outputs of mean zero and its own standard deviation.

    Source: arXiv 1602.07868, section 3; the outputs are those before anything is added to them
    """
    layers = [each for each in module.modules() if isinstance(each, NormalisedConv2d)]
    for layer in layers:
        layer.fitting = True
    try:
        yield
    finally:
        for layer in layers:
            layer.fitting = False

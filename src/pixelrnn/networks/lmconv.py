"""Locally masked convolutions: at every pixel the kernel sees those neighbours that are earlier, in any order.

Source: Jain, Abbeel and Pathak, Locally Masked Convolution for Autoregressive Models, 2020, arXiv 2006.12486, and the
authors' code.
"""

from __future__ import annotations

from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pixelrnn.canvas import Canvas, checked_order_name
from pixelrnn.fields import Count, Dropout, Kernel, Layers, Width
from pixelrnn.heads import Head
from pixelrnn.layers.condition import ConditionBias
from pixelrnn.layers.convolution import Pointwise
from pixelrnn.layers.gated_residual import EluReadout
from pixelrnn.layers.gates import Elu, SigmoidGate
from pixelrnn.networks.base import Network


class LocallyMaskedConv2d(nn.Conv2d):
    """A convolution whose mask differs from place to place: it sees the neighbours that are earlier.

    Arguments: itself  it sees the pixel itself, too (mask B, not A)

    Shapes:    x (B, C_in, h, w), or None for the image -> (B, C_out, h, w)
    Source:    arXiv 2006.12486, section 3.1
    """

    def __init__(self, in_channels: int, out_channels: int, kernel: int, *, step: int = 1, itself: bool = True) -> None:
        super().__init__(in_channels, out_channels, kernel)
        self.step, self.itself = step, itself

    def forward(self, x: Tensor | None, canvas: Canvas) -> Tensor:  # type: ignore[override]
        return canvas.convolve_earlier(self, x)


class PositionalNorm(nn.Module):
    """Feature maps of each pixel less their mean, divided by their standard deviation.

    Shapes: (B, C, h, w) -> (B, C, h, w)
    Source: PONO, arXiv 1907.04312, equation 1, as arXiv 2006.12486 uses it
    """

    def forward(self, x: Tensor) -> Tensor:
        x = x - x.mean(1, keepdim=True)
        return x * (x.square().mean(1, keepdim=True) + 1e-5).rsqrt()


class LocallyMaskedLayer(nn.Module):
    """A gated residual layer of two locally masked convolutions, normalised at each pixel.

    Shapes: x and a short-cut (B, width, h, w) -> (B, width, h, w)
    """

    def __init__(self, width: int, kernel: int, *, short_cut: bool, dropout: float, condition_width: int) -> None:
        super().__init__()
        self.first = LocallyMaskedConv2d(2 * width, width, kernel)
        self.short_cut = Pointwise(2 * width, width) if short_cut else None
        self.second = LocallyMaskedConv2d(2 * width, 2 * width, kernel)
        self.condition_bias = ConditionBias(condition_width, 2 * width)
        self.activation, self.gate = Elu(both=True), SigmoidGate()
        self.norm_first, self.norm_second, self.dropout = PositionalNorm(), PositionalNorm(), nn.Dropout(dropout)

    def forward(self, x: Tensor, canvas: Canvas, a: Tensor | None = None) -> Tensor:
        y = self.norm_first(self.first(self.activation(x), canvas))
        if a is not None:
            assert self.short_cut is not None
            y = y + self.short_cut(self.activation(a), canvas)
        y = self.norm_second(self.second(self.dropout(self.activation(y)), canvas))
        return cast("Tensor", x + self.gate(self.condition_bias.added(y, canvas)))


class LMConv(Network):
    r"""Blocks of gated residual layers of locally masked convolutions, with short-cuts, in any generation order.

    As PixelCNN++ with one stream and one resolution: between blocks, a convolution with dilation 2 takes the place of
    one with stride 2.

    Arguments:
        head             the output distribution
        condition_width  feature maps of the condition map, 0 for none; it adds a bias to every layer
        layers           gated residual layers of a block on the way down; one more on the way up, but for the first
                         block (the paper: 5)
        width            feature maps (the paper: 160)
        blocks           on each way (the paper: 3)
        kernel           of all convolutions (the paper: 3)
        dropout          between the two convolutions of a layer, in training only (the paper: 0)
        order            the name of the generation order when no other is asked for

    Shapes:  canvas over an image (B, channels, H, W) in -1..1 -> (B, params, H, W)
    Source:  arXiv 2006.12486, section 3 and appendix, and the authors' code
    Differs: normalisation has no weights of its own; there is no channel of ones

    >>> import pixelrnn
    >>> model = pixelrnn.build("lmconv", size=(6, 6), levels=2, layers=1, width=4, blocks=2)
    >>> images = torch.zeros(3, 1, 6, 6, dtype=torch.uint8)
    >>> model.log_prob(images, order=[f"s-curve-{k}" for k in range(8)]).shape
    torch.Size([3])
    """

    orders = "any"
    remembers = True

    def __init__(
        self,
        head: Head,
        condition_width: int = 0,
        *,
        layers: Layers,
        width: Width,
        blocks: Count = 3,
        kernel: Kernel = 3,
        dropout: Dropout = 0.0,
        order: str = "raster",
    ) -> None:
        super().__init__()
        self.own_order = checked_order_name(order)
        same: dict[str, Any] = {"dropout": dropout, "condition_width": condition_width}
        self.first = LocallyMaskedConv2d(head.channels, width, kernel, itself=False)
        self.down = nn.ModuleList(
            nn.ModuleList(LocallyMaskedLayer(width, kernel, short_cut=False, **same) for _ in range(layers))
            for _ in range(blocks)
        )
        self.up = nn.ModuleList(
            nn.ModuleList(
                LocallyMaskedLayer(width, kernel, short_cut=True, **same) for _ in range(layers + int(block > 0))
            )
            for block in range(blocks)
        )
        self.wider, self.narrower = (
            nn.ModuleList(LocallyMaskedConv2d(width, width, kernel, step=2) for _ in range(blocks - 1))
            for _ in range(2)
        )
        self.readout = EluReadout(width, head, normalised=False)

    def forward(self, canvas: Canvas) -> Tensor:
        maps = [self.first(None, canvas)]
        for index, block in enumerate(self.down):
            if index:
                maps.append(self.wider[index - 1](maps[-1], canvas))
            for layer in cast("nn.ModuleList", block):
                maps.append(layer(maps[-1], canvas))
        x = maps.pop()
        for index, block in enumerate(self.up):
            if index:
                x = self.narrower[index - 1](x, canvas)
            for layer in cast("nn.ModuleList", block):
                x = layer(x, canvas, maps.pop())
        return cast("Tensor", self.readout(x, canvas))

    def field(self, row: int, column: int, height: int, width: int) -> Tensor:
        """The receptive field of the parameters at (row, column) in its own order: (height, width) bool."""
        return self._read(self._needed(row, column, height, width), self.first)

    def condition_field(self, row: int, column: int, height: int, width: int) -> Tensor:
        """The positions of the condition map that the parameters at (row, column) depend on: (height, width) bool."""
        return self._needed(row, column, height, width, but=cast("nn.ModuleList", self.down[0])[0])

    def _needed(self, row: int, column: int, height: int, width: int, but: nn.Module | None = None) -> Tensor:
        """The pixels whose maps behind the first convolution are needed, or behind a layer: (height, width) bool.

        The longest way through the network has all the others in it.
        """
        seen = torch.zeros(height, width, dtype=torch.bool)
        seen[row, column] = True
        for index in reversed(range(len(self.up))):
            for layer in cast("nn.ModuleList", self.up[index]):
                seen = self._read(self._read(seen, layer.second), layer.first)
            if index:
                seen = self._read(seen, self.narrower[index - 1])
        for index in reversed(range(len(self.down))):
            for layer in reversed(cast("nn.ModuleList", self.down[index])):
                if layer is but:
                    return seen
                seen = self._read(self._read(seen, layer.second), layer.first)
            if index:
                seen = self._read(seen, self.wider[index - 1])
        return seen

    def _read(self, outputs: Tensor, conv: object) -> Tensor:
        """What a convolution reads to give some outputs."""
        assert isinstance(conv, LocallyMaskedConv2d)
        (height, width), kernel = outputs.shape, conv.kernel_size[0]
        side = kernel // 2 * conv.step
        needed = self.order(height, width).earlier_neighbours(kernel, conv.step, conv.itself) & outputs
        read = F.pad(torch.zeros_like(outputs), (side,) * 4)
        for index, each in enumerate(needed):
            y, x = (part * conv.step for part in divmod(index, kernel))
            read[y : y + height, x : x + width] |= each
        return read[side : side + height, side : side + width]

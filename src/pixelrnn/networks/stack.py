"""The frame that the networks of the PixelRNN paper share: a convolution with mask A, blocks, two 1 x 1 layers.

Source: van den Oord et al., Pixel Recurrent Neural Networks, 2016, arXiv 1601.06759, sections 3.3 to 3.5 and table 1.
"""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor, nn

from pixelrnn.canvas import Canvas
from pixelrnn.heads import Head
from pixelrnn.layers.convolution import MaskedConv2d, Pointwise, Readout
from pixelrnn.networks.base import Network


class Stack(Network):
    r"""A k x k convolution with mask A to 2h maps, blocks from 2h to 2h maps, two 1 x 1 layers, the parameters.

    Arguments:
        head         what the parameters are for
        blocks       modules called as `block(x, canvas)`: x (B, 2h, h, w) -> (B, 2h, h, w)
        width        h; the stream between blocks has 2h maps
        first_kernel of the first layer
        out_width    maps of the two 1 x 1 layers; 0 means 2h
        residual     add a block's input to its output
        skip         add up 1 x 1 maps of all blocks' outputs for the output stage, besides the last block's own output

    Shapes:  canvas over an image (B, channels, H, W) in -1..1 -> (B, params, H, W)
    Source:  arXiv 1601.06759, table 1
    """

    def __init__(
        self,
        head: Head,
        blocks: Iterable[nn.Module],
        *,
        width: int,
        first_kernel: int,
        out_width: int,
        residual: bool,
        skip: bool,
    ) -> None:
        super().__init__()
        groups, out_width = head.groups, out_width or 2 * width
        self.first = MaskedConv2d(head.channels, 2 * width, first_kernel, "A", groups=groups)
        self.blocks = nn.ModuleList(blocks)
        skips = len(self.blocks) if skip else 0
        self.skips = nn.ModuleList(Pointwise(2 * width, 2 * width, groups=groups) for _ in range(skips))
        self.readout = Readout(2 * width, (out_width, out_width), head.num_params, groups)
        self.first_side, self.residual = first_kernel // 2, residual
        self.own = groups > 1  # the maps of a pixel know its own earlier colours

    def forward(self, canvas: Canvas) -> Tensor:
        x = self.first(None, canvas)  # (B, 2h, h, w)
        outputs = []
        for block in self.blocks:
            y = block(x, canvas)
            x = y + x if self.residual else y  # in this order: y's layout in memory is the one to keep
            outputs.append(x)
        if self.skips:
            for skip, output in zip(self.skips, outputs, strict=True):
                x = skip(output, canvas, x)
        return self.readout(x, canvas)

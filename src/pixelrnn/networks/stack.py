"""The architecture that the networks of the PixelRNN paper share: a convolution with mask A, blocks, 1 x 1 layers.

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
    r"""A k x k convolution with mask A, blocks, two 1 x 1 convolutions, the output parameters.

    Arguments:
        head          the output distribution
        blocks        modules called as `block(x, canvas)`: x (B, 2h, h, w) -> (B, 2h, h, w)
        width         h; blocks map 2h feature maps to 2h
        first_kernel  kernel size of the first convolution
        out_width     feature maps of the two 1 x 1 convolutions; 0: 2h
        residual      add a block's input to its output
        skip          feed the output stage a 1 x 1 convolution of every block's output as well, all summed

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
        self.own = groups > 1  # whether the feature maps of a pixel depend on its own earlier colours

    def forward(self, canvas: Canvas) -> Tensor:
        x = self.first(None, canvas)  # (B, 2h, h, w)
        outputs = []
        for block in self.blocks:
            y = block(x, canvas)
            x = y + x if self.residual else y  # in this order, so that the sum has y's memory layout
            outputs.append(x)
        if self.skips:
            for skip, output in zip(self.skips, outputs, strict=True):
                x = skip(output, canvas, x)
        return self.readout(x, canvas)

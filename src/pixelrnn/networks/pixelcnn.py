"""PixelCNN: masked convolutions of the whole image.

Source: van den Oord et al., Pixel Recurrent Neural Networks, 2016, arXiv 1601.06759, sections 3.3 to 3.5 and table 1.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pixelrnn.canvas import Canvas
from pixelrnn.fields import Dropout, Kernel, Layers, OptionalWidth, Width
from pixelrnn.heads import Head
from pixelrnn.layers.condition import ConditionBias
from pixelrnn.layers.convolution import MaskedConv2d, Pointwise
from pixelrnn.networks.stack import Stack


class ConvolutionBlock(nn.Module):
    """ReLU, 1 x 1 to h; ReLU, k x k mask B; ReLU, 1 x 1 to 2h (figure 5, left, without the sum).

    Shapes:  x (B, 2h, H, W) -> (B, 2h, H, W)
    """

    def __init__(self, width: int, kernel: int, groups: int, dropout: float, condition_width: int) -> None:
        super().__init__()
        self.reduce = Pointwise(2 * width, width, groups=groups)
        self.convolve = MaskedConv2d(width, width, kernel, "B", groups=groups)
        self.condition_bias = ConditionBias(condition_width, width)
        self.expand = Pointwise(width, 2 * width, groups=groups)
        self.dropout = nn.Dropout(dropout) if dropout else nn.Identity()

    def forward(self, x: Tensor, canvas: Canvas) -> Tensor:
        y = self.reduce(F.relu(x), canvas)
        y = self.convolve(F.relu(y), canvas, self.condition_bias(canvas))
        return self.expand(self.dropout(F.relu(y)), canvas)


class PixelCNN(Stack):
    r"""A 7 x 7 convolution with mask A, residual blocks with mask B, two 1 x 1 layers, the parameters.

    Arguments:
        head         what the parameters are for
        condition_width  maps of the condition, 0 for none; a 1 x 1 layer of it biases the k x k layer of every block
        layers       blocks (the paper's depth: 15 for CIFAR-10)
        width        h; the stream between blocks has 2h maps
        kernel       of the blocks
        first_kernel of the first layer
        out_width    maps of the two 1 x 1 layers (the paper: 32 on MNIST, 1024 on CIFAR-10); 0 means 2h
        residual     add a block's input to its output
        skip         add up 1 x 1 maps of all blocks' outputs for the output stage, besides the last block's own output
        dropout      inside the blocks, in training only

    Shapes:  canvas over an image (B, channels, H, W) in -1..1 -> (B, params, H, W)
    Source:  arXiv 1601.06759, table 1
    Differs: the places of the ReLUs inside a block, and a ReLU between the last 1 x 1 layer and the logits, are not
             spelled out in the paper; dropout is ours (0 gives the paper's network).
             It has the blind spot that every stack of masked convolutions has (`pixelrnn inspect` draws it).
    """

    def __init__(
        self,
        head: Head,
        condition_width: int = 0,
        *,
        layers: Layers,
        width: Width,
        kernel: Kernel = 3,
        first_kernel: Kernel = 7,
        out_width: OptionalWidth = 0,
        residual: bool = True,
        skip: bool = True,
        dropout: Dropout = 0.0,
    ) -> None:
        blocks = [ConvolutionBlock(width, kernel, head.groups, dropout, condition_width) for _ in range(layers)]
        super().__init__(
            head, blocks, width=width, first_kernel=first_kernel, out_width=out_width, residual=residual, skip=skip
        )
        self.side = kernel // 2

    def field(self, row: int, column: int, height: int, width: int) -> Tensor:
        """The pixels that the parameters at (row, column) depend on: (height, width) bool.

        The first layer moves `first_kernel // 2` rows up and columns to the side at most, a later one `kernel // 2`,
        and none moves right unless it moves up. So a few rows above, the field ends early on the right: the blind spot.
        Without residual connections and skips every block still sees its own pixel, so the field is the same.
        """
        depth, side, first = len(self.blocks), self.side, self.first_side
        seen = torch.zeros(height, width, dtype=torch.bool)
        farthest = first + depth * side
        for up in range(min(row, farthest) + 1):
            right = side * min(depth, up) - (not self.own)  # the first layer goes one left at least, if it must
            if up:  # or it goes up as well
                right = max(right, first + side * min(depth, up - 1))
            seen[row - up, max(0, column - farthest) : max(0, column + right + 1)] = True
        seen[row, column] = False
        return seen

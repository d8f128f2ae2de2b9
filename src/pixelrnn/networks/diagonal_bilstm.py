"""Diagonal BiLSTM: two LSTMs, one from the top left corner and one from the top right, that see the whole past.

Source: van den Oord et al., Pixel Recurrent Neural Networks, 2016, arXiv 1601.06759, section 3.2, figure 3, table 1.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pixelrnn.canvas import Canvas
from pixelrnn.fields import Dropout, Kernel, Layers, OptionalWidth, Width
from pixelrnn.heads import Head
from pixelrnn.layers.convolution import Pointwise
from pixelrnn.layers.recurrence import ABOVE, LEFT, Recurrence
from pixelrnn.networks.stack import Stack


class DiagonalBlock(nn.Module):
    """In each direction input-to-state 1 x 1 to 4h and the recurrence to h; their sum, 1 x 1 to 2h (figure 5, right).

    Shapes:  x (B, 2h, H, W) -> (B, 2h, H, W)
    """

    def __init__(self, width: int, groups: int, dropout: float, condition_width: int) -> None:
        super().__init__()

        def recurrence(mirrored: bool) -> Recurrence:
            into = Pointwise(2 * width, 4 * width, groups=groups, blocks=4)
            return Recurrence(width, into, [LEFT, ABOVE], [LEFT], condition_width=condition_width, mirrored=mirrored)

        self.rightward, self.leftward = recurrence(False), recurrence(True)
        self.expand = Pointwise(width, 2 * width, groups=groups)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, canvas: Canvas) -> Tensor:
        rightward, late = canvas.scan_both(self.rightward, self.leftward, x)
        return self.expand(self.dropout(rightward + late), canvas)


class DiagonalBiLSTM(Stack):
    r"""A 7 x 7 convolution with mask A, Diagonal BiLSTM blocks, two 1 x 1 layers, the parameters.

    Each direction reads the states of the pixel before it in its row and of the one above: in the paper's skewed image
    that is a 2 x 1 kernel on the column before. The map from right to left is moved down by one row, then both are
    summed. Every pixel sees everything before it, but for one: the last pixel of the row above, which no state to
    the left of it has read and the first layer does not reach; of several colours, all but its last are seen.

    Arguments:
        head         what the parameters are for
        condition_width  maps of the condition, 0 for none; a 1 x 1 layer of it biases every input-to-state map
        layers       BiLSTM blocks (the paper: 7 on MNIST, 12 on CIFAR-10)
        width        h of each direction (the paper: 16 on MNIST, 128 on CIFAR-10); between blocks there are 2h
        first_kernel of the first layer
        out_width    maps of the two 1 x 1 layers (the paper: 32 on MNIST, 1024 on CIFAR-10); 0 means 2h
        residual     add a block's input to its output
        skip         add up 1 x 1 maps of all blocks' outputs for the output stage, besides the last block's own output
        dropout      on the states on their way up, in training only

    Shapes:  canvas over an image (B, channels, H, W) in -1..1 -> (B, params, H, W)
    Source:  arXiv 1601.06759, section 3.2, equation 3, figures 3 and 5, table 1
    Differs: dropout is ours (0 gives the paper's network). State outside the image is the initial state, not what would
             have become of it in the skewed image's padding, so a border is the same in every row and for every size.
    """

    def __init__(
        self,
        head: Head,
        condition_width: int = 0,
        *,
        layers: Layers,
        width: Width,
        first_kernel: Kernel = 7,
        out_width: OptionalWidth = 0,
        residual: bool = True,
        skip: bool = True,
        dropout: Dropout = 0.0,
    ) -> None:
        blocks = [DiagonalBlock(width, head.groups, dropout, condition_width) for _ in range(layers)]
        super().__init__(
            head, blocks, width=width, first_kernel=first_kernel, out_width=out_width, residual=residual, skip=skip
        )

    def field(self, row: int, column: int, height: int, width: int) -> Tensor:
        """The pixels that the parameters at (row, column) depend on: (height, width) bool; all earlier ones but one.

        The one is seen where the colours have groups of maps: then the states of a pixel know its own earlier colours.
        """
        seen = torch.arange(height * width).reshape(height, width) < row * width + column
        if row and column + self.first_side < width - 1 and not self.own:
            seen[row - 1, width - 1] = False
        return seen

    def condition_field(self, row: int, column: int, height: int, width: int) -> Tensor:
        """The places of the condition that the parameters at (row, column) depend on: (height, width) bool."""
        return torch.arange(height * width).reshape(height, width) <= row * width + column

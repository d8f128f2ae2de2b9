"""Row LSTM: an LSTM that goes from the top row to the bottom row, all pixels of a row at once.

Source: van den Oord et al., Pixel Recurrent Neural Networks, 2016, arXiv 1601.06759, section 3.1, equation 3, table 1.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pixelrnn.canvas import Canvas
from pixelrnn.fields import Dropout, Kernel, Layers, OptionalWidth, Width
from pixelrnn.heads import Head
from pixelrnn.layers.convolution import MaskedConv2d, Pointwise
from pixelrnn.layers.recurrence import ABOVE, Recurrence, row_above
from pixelrnn.networks.stack import Stack


class RowBlock(nn.Module):
    """Input-to-state k x 1 with mask B to 4h, the recurrence to h, 1 x 1 to 2h (figure 5, right, without the sum).

    Shapes:  x (B, 2h, H, W) -> (B, 2h, H, W)
    """

    def __init__(self, width: int, kernel: int, groups: int, dropout: float, condition_width: int) -> None:
        super().__init__()
        into = MaskedConv2d(2 * width, 4 * width, kernel, "B", groups=groups, blocks=4, row=True)
        self.states = Recurrence(width, into, row_above(kernel), [ABOVE], condition_width=condition_width)
        self.expand = Pointwise(width, 2 * width, groups=groups)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, canvas: Canvas) -> Tensor:
        return self.expand(self.dropout(self.states(x, canvas)), canvas)


class RowLSTM(Stack):
    r"""A 7 x 7 convolution with mask A, Row LSTM blocks, two 1 x 1 layers, the parameters.

    Every LSTM reads, besides its input, the states of the k nearest pixels of the row above; they are finished, so this
    state-to-state kernel has no mask. The field is a triangle above the pixel, it never is the whole past.

    Arguments:
        head         what the parameters are for
        condition_width  maps of the condition, 0 for none; a 1 x 1 layer of it biases every input-to-state map
        layers       LSTM blocks (the paper: 12 on CIFAR-10)
        width        h; the stream between blocks has 2h maps
        kernel       k of both kernels along the row (the paper: 3)
        first_kernel of the first layer
        out_width    maps of the two 1 x 1 layers (the paper: 1024 on CIFAR-10); 0 means 2h
        residual     add a block's input to its output
        skip         add up 1 x 1 maps of all blocks' outputs for the output stage, besides the last block's own output
        dropout      on the states on their way up, in training only

    Shapes:  canvas over an image (B, channels, H, W) in -1..1 -> (B, params, H, W)
    Source:  arXiv 1601.06759, section 3.1, equation 3, figure 5, table 1
    Differs: dropout is ours (0 gives the paper's network). The initial states are learned, as there; that they are one
             vector per layer, the same at every column and beyond both ends of a row, is our reading.
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
        blocks = [RowBlock(width, kernel, head.groups, dropout, condition_width) for _ in range(layers)]
        super().__init__(
            head, blocks, width=width, first_kernel=first_kernel, out_width=out_width, residual=residual, skip=skip
        )
        self.side = kernel // 2

    def field(self, row: int, column: int, height: int, width: int) -> Tensor:
        """The pixels that the parameters at (row, column) depend on: (height, width) bool.

        Up a row, the states move `kernel // 2` columns to either side; along a row, each layer moves as many to the
        left. The first layer adds its own window.
        """
        depth, side, first = len(self.blocks), self.side, self.first_side
        seen = torch.zeros(height, width, dtype=torch.bool)
        for up in range(row + 1):  # rows that the states move up, then what the first layer sees from there
            left, right = column - side * (depth + up), column + side * up
            if left >= width or right < 0:
                continue
            left, right = max(0, left), min(width - 1, right)
            seen[max(0, row - up - first) : row - up, max(0, left - first) : right + first + 1] = True
            seen[row - up, max(0, left - first) : right + self.own] = True
        seen[row, column] = False
        return seen

    def condition_field(self, row: int, column: int, height: int, width: int) -> Tensor:
        """The places of the condition that the parameters at (row, column) depend on: (height, width) bool."""
        seen = torch.zeros(height, width, dtype=torch.bool)
        for up in range(row + 1):
            left, right = column - self.side * (len(self.blocks) - 1 + up), column + self.side * up
            seen[row - up, max(0, left) : right + 1] = True
        return seen

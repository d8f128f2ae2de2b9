"""Row LSTM: an LSTM that runs from the top row to the bottom row, with all pixels of a row in parallel.

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
    """A k x 1 input-to-state convolution with mask B to 4h, an LSTM with h feature maps, 1 x 1 to 2h.

    Shapes:  x (B, 2h, H, W) -> (B, 2h, H, W)
    Source:  arXiv 1601.06759, figure 5, right, without the residual connection
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
    r"""A k x k convolution with mask A, Row LSTM blocks, two 1 x 1 convolutions, the output parameters.

    Besides its input, every LSTM reads the states of the k nearest pixels of the row above; that row is finished, so
    the state-to-state kernel has no mask. The receptive field is a triangle above the pixel, never all earlier pixels.

    Arguments:
        head             the output distribution
        condition_width  feature maps of the condition map, 0 for none; it adds a bias to every input-to-state layer
        layers           LSTM blocks (the paper: 12 on CIFAR-10)
        width            h; blocks map 2h feature maps to 2h
        kernel           k of the input-to-state and the state-to-state kernel (the paper: 3)
        first_kernel     kernel size of the first convolution
        out_width        feature maps of the two 1 x 1 convolutions (the paper: 1024 on CIFAR-10); 0: 2h
        residual         add a block's input to its output
        skip             feed the output stage a 1 x 1 convolution of every block's output as well, all summed
        dropout          on the hidden states that go to the next layer, in training only

    Shapes:  canvas over an image (B, channels, H, W) in -1..1 -> (B, params, H, W)
    Source:  arXiv 1601.06759, section 3.1, equation 3, figure 5, table 1
    Differs: dropout is ours (0 gives the paper's network). The initial states are learned, as in the paper; that there
             is one vector per layer, used for all columns and beyond both ends of a row, is our reading.

    >>> import pixelrnn
    >>> model = pixelrnn.build("row-lstm", size=(5, 5), levels=2, layers=1, width=4, first_kernel=3)
    >>> model.log_prob(torch.zeros(3, 1, 5, 5, dtype=torch.uint8)).shape
    torch.Size([3])
    >>> model.network.field(3, 1, 5, 5).int()  # a triangle
    tensor([[1, 1, 1, 1, 1],
            [1, 1, 1, 1, 0],
            [1, 1, 1, 0, 0],
            [1, 0, 0, 0, 0],
            [0, 0, 0, 0, 0]], dtype=torch.int32)
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
        """The receptive field of the parameters at (row, column): (height, width) bool.

        Per row upwards, the states reach `kernel // 2` columns further to either side; within a row, each layer reaches
        as many further to the left. The first convolution adds its own window.
        """
        depth, side, first = len(self.blocks), self.side, self.first_side
        seen = torch.zeros(height, width, dtype=torch.bool)
        for up in range(row + 1):  # rows that the states reach upwards, then the window of the first convolution there
            left, right = column - side * (depth + up), column + side * up
            if left >= width or right < 0:
                continue
            left, right = max(0, left), min(width - 1, right)
            seen[max(0, row - up - first) : row - up, max(0, left - first) : right + first + 1] = True
            seen[row - up, max(0, left - first) : right + self.own] = True
        seen[row, column] = False
        return seen

    def condition_field(self, row: int, column: int, height: int, width: int) -> Tensor:
        """The positions of the condition map that the parameters at (row, column) depend on: (height, width) bool."""
        seen = torch.zeros(height, width, dtype=torch.bool)
        for up in range(row + 1):
            left, right = column - self.side * (len(self.blocks) - 1 + up), column + self.side * up
            seen[row - up, max(0, left) : right + 1] = True
        return seen

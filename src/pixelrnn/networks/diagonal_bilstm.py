"""Diagonal BiLSTM: two LSTMs, one from each of the top corners, whose receptive field is all earlier pixels.

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
    """A 1 x 1 input-to-state convolution and an LSTM with h feature maps per direction; their sum; 1 x 1 to 2h.

    Shapes:  x (B, 2h, H, W) -> (B, 2h, H, W)
    Source:  arXiv 1601.06759, figure 5, right
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
        rightward, leftward = canvas.scan_both(self.rightward, self.leftward, x)
        return self.expand(self.dropout(rightward + leftward), canvas)


class DiagonalBiLSTM(Stack):
    r"""A k x k convolution with mask A, Diagonal BiLSTM blocks, two 1 x 1 convolutions, the output parameters.

    Each direction reads the states of the previous pixel of its row and of the pixel above: in the paper's skewed image
    that is a 2 x 1 kernel on the previous column. The right-to-left feature map is shifted down by one row before the
    two are summed. The receptive field is every earlier pixel except one: the last pixel of the row above, which no
    state to the left of it has read, unless the first convolution reaches it. With several colours, all but the last
    colour of that pixel are seen.

    Arguments:
        head             the output distribution
        condition_width  feature maps of the condition map, 0 for none; it adds a bias to every input-to-state layer
        layers           BiLSTM blocks (the paper: 7 on MNIST, 12 on CIFAR-10)
        width            h of each direction (the paper: 16 on MNIST, 128 on CIFAR-10); blocks map 2h to 2h
        first_kernel     kernel size of the first convolution
        out_width        feature maps of the two 1 x 1 convolutions (the paper: 32 on MNIST, 1024 on CIFAR-10); 0: 2h
        residual         add a block's input to its output
        skip             feed the output stage a 1 x 1 convolution of every block's output as well, all summed
        dropout          on the hidden states that go to the next layer, in training only

    Shapes:  canvas over an image (B, channels, H, W) in -1..1 -> (B, params, H, W)
    Source:  arXiv 1601.06759, section 3.2, equation 3, figures 3 and 5, table 1
    Differs: dropout is ours (0 gives the paper's network). The state outside the image is the initial state rather than
             what the LSTM makes of the skewed image's padding, so borders are the same in every row and at every size.

    >>> import pixelrnn
    >>> model = pixelrnn.build("diagonal-bilstm", size=(5, 5), levels=2, layers=1, width=4, first_kernel=3)
    >>> model.log_prob(torch.zeros(3, 1, 5, 5, dtype=torch.uint8)).shape
    torch.Size([3])
    >>> model.network.field(3, 1, 5, 5).int()  # all earlier pixels, except the last one of the row above
    tensor([[1, 1, 1, 1, 1],
            [1, 1, 1, 1, 1],
            [1, 1, 1, 1, 0],
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
        """The receptive field of the parameters at (row, column): all earlier pixels but one, (height, width) bool.

        That one is seen if there are colour groups, as the states of a pixel then depend on its own earlier colours.
        """
        seen = torch.arange(height * width).reshape(height, width) < row * width + column
        if row and column + self.first_side < width - 1 and not self.own:
            seen[row - 1, width - 1] = False
        return seen

    def condition_field(self, row: int, column: int, height: int, width: int) -> Tensor:
        """The positions of the condition map that the parameters at (row, column) depend on: (height, width) bool."""
        return torch.arange(height * width).reshape(height, width) <= row * width + column

"""MDLSTM: a two-dimensional LSTM that starts in the top left corner, with one forget gate per direction.

Source: Graves and Schmidhuber, Offline Handwriting Recognition with Multidimensional Recurrent Neural Networks, 2009;
Graves, Fernandez and Schmidhuber, Multi-Dimensional Recurrent Neural Networks, 2007, arXiv 0705.2011.
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


class MultiDimensionalBlock(nn.Module):
    """A 1 x 1 input-to-state convolution to 5h, an LSTM with h feature maps, 1 x 1 to 2h.

    Shapes:  x (B, 2h, H, W) -> (B, 2h, H, W)
    """

    def __init__(self, width: int, groups: int, dropout: float, condition_width: int) -> None:
        super().__init__()
        into = Pointwise(2 * width, 5 * width, groups=groups, blocks=5)
        self.states = Recurrence(width, into, [LEFT, ABOVE], [LEFT, ABOVE], condition_width=condition_width)
        self.expand = Pointwise(width, 2 * width, groups=groups)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, canvas: Canvas) -> Tensor:
        return self.expand(self.dropout(self.states(x, canvas)), canvas)


class MDLSTM(Stack):
    r"""A k x k convolution with mask A, MDLSTM blocks, two 1 x 1 convolutions, the output parameters.

    Every LSTM carries over the cell states of the pixels to the left and above, each with a forget gate of its own. Its
    receptive field is what lies above and to the left, not above and to the right: of the four directions of a
    multi-directional network, this is the one that a causal model may use (`MultiDirectionalLSTM` has all four, and is
    an encoder).

    Arguments:
        head             the output distribution
        condition_width  feature maps of the condition map, 0 for none; it adds a bias to every input-to-state layer
        layers           LSTM blocks
        width            h; blocks map 2h feature maps to 2h
        first_kernel     kernel size of the first convolution
        out_width        feature maps of the two 1 x 1 convolutions; 0: 2h
        residual         add a block's input to its output
        skip             feed the output stage a 1 x 1 convolution of every block's output as well, all summed
        dropout          on the hidden states that go to the next layer, in training only

    Shapes:  canvas over an image (B, channels, H, W) in -1..1 -> (B, params, H, W)
    Source:  the cell: Graves and Schmidhuber, 2009; the rest of the network: arXiv 1601.06759, table 1
    Differs: no peephole connections (optional in the paper). With two forget gates the cell state can grow along every
             path; both gates are one half initially, so at first a cell state averages its neighbours.

    >>> import pixelrnn
    >>> model = pixelrnn.build("mdlstm", size=(5, 5), levels=2, layers=1, width=4, first_kernel=3)
    >>> model.log_prob(torch.zeros(3, 1, 5, 5, dtype=torch.uint8)).shape
    torch.Size([3])
    >>> model.network.field(3, 1, 5, 5).int()  # above and to the left, and one column more through the 3 x 3 kernel
    tensor([[1, 1, 1, 0, 0],
            [1, 1, 1, 0, 0],
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
        first_kernel: Kernel = 7,
        out_width: OptionalWidth = 0,
        residual: bool = True,
        skip: bool = True,
        dropout: Dropout = 0.0,
    ) -> None:
        blocks = [MultiDimensionalBlock(width, head.groups, dropout, condition_width) for _ in range(layers)]
        super().__init__(
            head, blocks, width=width, first_kernel=first_kernel, out_width=out_width, residual=residual, skip=skip
        )

    def field(self, row: int, column: int, height: int, width: int) -> Tensor:
        """The receptive field of the parameters at (row, column): (height, width) bool."""
        seen = torch.zeros(height, width, dtype=torch.bool)
        seen[:row, : column + self.first_side + 1] = True
        seen[row, :column] = True
        return seen

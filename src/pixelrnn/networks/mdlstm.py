"""MDLSTM: a two-dimensional LSTM from the top left corner, with a forget gate for each direction.

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
    """Input-to-state 1 x 1 to 5h, the recurrence to h, 1 x 1 to 2h.

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
    r"""A k x k convolution with mask A, MDLSTM blocks, two 1 x 1 layers, the parameters.

    Every LSTM carries on the cells of the pixel left and of the one above, each by its own forget gate. It sees what
    lies above and left, not what lies above and right: of the four directions of a multi-directional network, this is
    the one that a causal model may use (`MultiDirectionalLSTM` has all four, and is an encoder).

    Arguments:
        head         what the parameters are for
        condition_width  maps of the condition, 0 for none; a 1 x 1 layer of it biases every input-to-state map
        layers       LSTM blocks
        width        h; the stream between blocks has 2h maps
        first_kernel of the first layer
        out_width    maps of the two 1 x 1 layers; 0 means 2h
        residual     add a block's input to its output
        skip         add up 1 x 1 maps of all blocks' outputs for the output stage, besides the last block's own output
        dropout      on the states on their way up, in training only

    Shapes:  canvas over an image (B, channels, H, W) in -1..1 -> (B, params, H, W)
    Source:  Graves and Schmidhuber, 2009: the cell; arXiv 1601.06759, table 1: what stands around it
    Differs: no peepholes (they are optional there). With two forget gates a cell can grow along every path; they begin
             at one half each, so at first a cell is a mean of its neighbours.
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
        """The pixels that the parameters at (row, column) depend on: (height, width) bool."""
        seen = torch.zeros(height, width, dtype=torch.bool)
        seen[:row, : column + self.first_side + 1] = True
        seen[row, :column] = True
        return seen

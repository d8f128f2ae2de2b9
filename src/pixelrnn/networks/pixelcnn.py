"""PixelCNN: a stack of masked convolutions.

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
    """ReLU, 1 x 1 to h; ReLU, k x k with mask B; ReLU, 1 x 1 to 2h.

    Shapes:  x (B, 2h, H, W) -> (B, 2h, H, W)
    Source:  arXiv 1601.06759, figure 5, left, without the residual connection
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
    r"""A k x k convolution with mask A, residual blocks with mask B, two 1 x 1 convolutions, the output parameters.

    Like every stack of masked convolutions it has a blind spot above and to the right of the pixel (`pixelrnn inspect`
    draws it); `GatedPixelCNN` has none.

    Arguments:
        head             the output distribution
        condition_width  feature maps of the condition map, 0 for none; it adds a bias to the k x k layer of every block
        layers           blocks (the paper: 15 for CIFAR-10)
        width            h; blocks map 2h feature maps to 2h
        kernel           kernel size of the blocks
        first_kernel     kernel size of the first convolution
        out_width        feature maps of the two 1 x 1 convolutions (the paper: 32 on MNIST, 1024 on CIFAR-10); 0: 2h
        residual         add a block's input to its output
        skip             feed the output stage a 1 x 1 convolution of every block's output as well, all summed
        dropout          inside the blocks, in training only

    Shapes:  canvas over an image (B, channels, H, W) in -1..1 -> (B, params, H, W)
    Source:  arXiv 1601.06759, table 1
    Differs: the paper does not spell out where the ReLUs of a block are, nor whether one precedes the logits, as here.
             Dropout is ours (0 gives the paper's network).

    >>> import pixelrnn
    >>> model = pixelrnn.build("pixelcnn", size=(5, 5), levels=2, layers=1, width=4, first_kernel=3)
    >>> model.log_prob(torch.zeros(3, 1, 5, 5, dtype=torch.uint8)).shape
    torch.Size([3])
    >>> model.network.field(3, 1, 5, 5).int()  # the blind spot is on the right of the rows above
    tensor([[0, 0, 0, 0, 0],
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
        blocks = [ConvolutionBlock(width, kernel, head.groups, dropout, condition_width) for _ in range(layers)]
        super().__init__(
            head, blocks, width=width, first_kernel=first_kernel, out_width=out_width, residual=residual, skip=skip
        )
        self.side = kernel // 2

    def field(self, row: int, column: int, height: int, width: int) -> Tensor:
        """The receptive field of the parameters at (row, column): (height, width) bool.

        The first layer reaches `first_kernel // 2` rows up and columns to either side, later ones `kernel // 2`, and
        none reaches to the right without going up. So in the rows just above, the field ends early on the right: the
        blind spot. Residual and skip connections do not change it, as every block sees its own pixel anyway.
        """
        depth, side, first = len(self.blocks), self.side, self.first_side
        seen = torch.zeros(height, width, dtype=torch.bool)
        farthest = first + depth * side
        for up in range(min(row, farthest) + 1):
            right = side * min(depth, up) - (not self.own)  # mask A: in its own row the first layer goes left by one
            if up:  # or the first layer goes up as well
                right = max(right, first + side * min(depth, up - 1))
            seen[row - up, max(0, column - farthest) : max(0, column + right + 1)] = True
        seen[row, column] = False
        return seen

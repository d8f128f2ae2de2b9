"""A local PixelCNN: one masked convolution of the image, then 1 x 1 layers.

Source: Zhang, Zhang and McDonagh, On the Out-of-Distribution Generalization of Probabilistic Image Modelling, 2021,
arXiv 2109.02639 (NeLLoC), and the authors' code.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pixelrnn.canvas import Canvas
from pixelrnn.fields import Count, Kernel, Width
from pixelrnn.heads import Head
from pixelrnn.layers.condition import ConditionBias
from pixelrnn.layers.convolution import MaskedConv2d, Pointwise, Readout
from pixelrnn.networks.base import Network, causal_neighbourhood


class PointwiseBlock(nn.Module):
    """So many times ReLU and 1 x 1.

    Shapes: x (B, width, h, w) -> (B, width, h, w)
    """

    def __init__(self, width: int, layers: int, groups: int, condition_width: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Pointwise(width, width, groups=groups) for _ in range(layers))
        self.condition_bias = ConditionBias(condition_width, width)

    def forward(self, x: Tensor, canvas: Canvas) -> Tensor:
        for index, layer in enumerate(self.layers):
            x = layer(F.relu(x), canvas, None if index else self.condition_bias(canvas))
        return x


class LocalPixelCNN(Network):
    r"""A k x k convolution with mask A, residual blocks of 1 x 1 convolutions, 1 x 1 convolutions to the parameters.

    The field is the kernel, a few pixels: the network learns from few images, knows nothing of their content, serves
    images of any size, and pixels that are far enough apart can be generated together.

    Arguments:
        head             the output distribution (the paper: "logistic-mixture")
        condition_width  feature maps of the condition map, 0 for none; it adds a bias to the first layer of every block
        layers           residual blocks (the paper: 0 to 3)
        width            feature maps (the paper: 256)
        kernel           k (the paper: 7)
        block_layers     1 x 1 convolutions of a block
        out_layers       1 x 1 convolutions from the last block to the parameters
        linear           add a convolution of the image with mask A to the parameters: a linear prediction, which the
                         rest of the network corrects

    Shapes:  canvas over an image (B, channels, H, W) in -1..1 -> (B, params, H, W)
    Differs: `linear` is ours; False, 3 and 2 layers give the paper's network, but for where its ReLUs are, which the
             paper does not say

    >>> import pixelrnn, torch
    >>> model = pixelrnn.build("local-pixelcnn", size=(5, 5), levels=256, layers=1, width=4, kernel=3)
    >>> model.log_prob(torch.zeros(3, 1, 5, 5, dtype=torch.uint8)).shape
    torch.Size([3])
    >>> model.network.field(3, 1, 5, 5).int()
    tensor([[0, 0, 0, 0, 0],
            [0, 0, 0, 0, 0],
            [1, 1, 1, 0, 0],
            [1, 0, 0, 0, 0],
            [0, 0, 0, 0, 0]], dtype=torch.int32)
    """

    default_head = "logistic-mixture"

    def __init__(
        self,
        head: Head,
        condition_width: int = 0,
        *,
        layers: Count,
        width: Width,
        kernel: Kernel = 7,
        block_layers: Count = 3,
        out_layers: Count = 2,
        linear: bool = False,
    ) -> None:
        super().__init__()
        groups = head.groups
        self.side = kernel // 2
        self.reads_image_alone = not condition_width
        self.first = MaskedConv2d(head.channels, width, kernel, "A", groups=groups)
        self.blocks = nn.ModuleList(PointwiseBlock(width, block_layers, groups, condition_width) for _ in range(layers))
        self.readout = Readout(width, (width,) * (out_layers - 1), head.num_params, groups)
        self.linear = MaskedConv2d(head.channels, head.num_params, kernel, "A", groups=groups) if linear else None

    def forward(self, canvas: Canvas) -> Tensor:
        x = self.first(None, canvas)  # (B, width, h, w)
        for block in self.blocks:
            x = block(x, canvas) + x
        params = self.readout(x, canvas)
        if self.linear is None:
            return params
        with torch.autocast(params.device.type, enabled=False):  # bfloat16 would round the image to half a level
            return self.linear(None, canvas, params.float() if params.dtype == torch.bfloat16 else params)

    def field(self, row: int, column: int, height: int, width: int) -> Tensor:
        """The receptive field of the parameters at (row, column): (height, width) bool."""
        return causal_neighbourhood(self.side, row, column, height, width)

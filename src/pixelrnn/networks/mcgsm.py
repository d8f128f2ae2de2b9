"""MCGSM on a causal neighbourhood: the baseline without hidden layers.

Source: Theis, Hosseini and Bethge, Mixtures of Conditional Gaussian Scale Mixtures Applied to Multiscale Image
Representations, 2012, PLoS ONE 7(7).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pixelrnn.canvas import Canvas
from pixelrnn.fields import Count, Kernel
from pixelrnn.heads import MCGSM, Head
from pixelrnn.layers.condition import ConditionBias
from pixelrnn.layers.convolution import MaskedConv2d
from pixelrnn.layers.mixture import ScaleMixture
from pixelrnn.networks.base import Network


class NeighbourhoodMixture(Network):
    r"""A mixture of conditional Gaussian scale mixtures that reads a causal neighbourhood of pixels.

    Arguments:
        head      what the parameters are for; with another than "mcgsm" they are linear in the neighbourhood
        condition_width  maps of the condition, 0 for none; 1 x 1 layers of it bias what is linear in the neighbourhood
        kernel    the neighbourhood: k // 2 rows above, k columns, and the pixels left
        features  of the mixture, per colour (the authors' example: 40)

    Shapes:  canvas over an image (B, channels, H, W) in -1..1 -> (B, params, H, W)
    Source:  arXiv 1506.03478, equations 4 and 5
    Differs: as for `SpatialLSTM`; trained by stochastic gradients, where the authors use L-BFGS after whitening.
    """

    default_head = "mcgsm"

    def __init__(self, head: Head, condition_width: int = 0, *, kernel: Kernel = 5, features: Count = 32) -> None:
        super().__init__()

        def neighbourhood(maps: int) -> MaskedConv2d:
            return MaskedConv2d(head.channels, maps, kernel, "A", groups=head.groups)

        self.side = kernel // 2
        self.readout: nn.Module
        if isinstance(head, MCGSM):
            means, described = neighbourhood(head.channels * head.components), neighbourhood(head.channels * features)
            self.readout = ScaleMixture(head, means, described, features, condition_width)
        else:
            self.readout = neighbourhood(head.num_params)
            self.condition_bias = ConditionBias(condition_width, head.num_params)

    def forward(self, canvas: Canvas) -> Tensor:
        if isinstance(self.readout, ScaleMixture):
            return self.readout(None, canvas)
        return self.readout(None, canvas, self.condition_bias(canvas))

    def field(self, row: int, column: int, height: int, width: int) -> Tensor:
        """The pixels that the parameters at (row, column) depend on: (height, width) bool."""
        seen = torch.zeros(height, width, dtype=torch.bool)
        left = max(0, column - self.side)
        seen[max(0, row - self.side) : row, left : column + self.side + 1] = True
        seen[row, left:column] = True
        return seen

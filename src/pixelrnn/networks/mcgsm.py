"""MCGSM on a causal neighbourhood: a baseline without hidden layers.

Source: Theis, Hosseini and Bethge, Mixtures of Conditional Gaussian Scale Mixtures Applied to Multiscale Image
Representations, 2012, PLoS ONE 7(7).
"""

from __future__ import annotations

from torch import Tensor, nn

from pixelrnn.canvas import Canvas
from pixelrnn.fields import Count, Kernel
from pixelrnn.heads import MCGSM, Head
from pixelrnn.layers.condition import ConditionBias
from pixelrnn.layers.convolution import MaskedConv2d
from pixelrnn.layers.mixture import ScaleMixture
from pixelrnn.networks.base import Network, causal_neighbourhood


class NeighbourhoodMixture(Network):
    r"""A mixture of conditional Gaussian scale mixtures over a causal neighbourhood of pixels.

    Arguments:
        head             the output distribution; for any but "mcgsm" its parameters are linear in the neighbourhood
        condition_width  feature maps of the condition map, 0 for none; it adds a bias to each linear map
        kernel           k of the neighbourhood: k // 2 rows above, k columns wide, and the k // 2 pixels to the left
        features         features of the mixture per colour (the authors' example: 40)

    Shapes:  canvas over an image (B, channels, H, W) in -1..1 -> (B, params, H, W)
    Source:  arXiv 1506.03478, equations 4 and 5
    Differs: as for `SpatialLSTM`; trained by stochastic gradient descent, where the authors use L-BFGS after whitening.

    >>> import pixelrnn, torch
    >>> model = pixelrnn.build("mcgsm", size=(5, 5), levels=256, kernel=3)
    >>> model.log_prob(torch.zeros(3, 1, 5, 5, dtype=torch.uint8)).shape
    torch.Size([3])
    >>> model.network.field(3, 1, 5, 5).int()  # the neighbourhood
    tensor([[0, 0, 0, 0, 0],
            [0, 0, 0, 0, 0],
            [1, 1, 1, 0, 0],
            [1, 0, 0, 0, 0],
            [0, 0, 0, 0, 0]], dtype=torch.int32)
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
        """The receptive field of the parameters at (row, column): (height, width) bool."""
        return causal_neighbourhood(self.side, row, column, height, width)

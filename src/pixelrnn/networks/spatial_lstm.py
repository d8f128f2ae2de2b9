"""Spatial LSTM; with the head "mcgsm" it is RIDE, the recurrent image density estimator.

Source: Theis and Bethge, Generative Image Modeling Using Spatial LSTMs, 2015, arXiv 1506.03478, section 2.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pixelrnn.canvas import Canvas
from pixelrnn.fields import Count, Kernel, Layers, Width
from pixelrnn.heads import MCGSM, Head
from pixelrnn.layers.convolution import MaskedConv2d, Pointwise
from pixelrnn.layers.mixture import ScaleMixture
from pixelrnn.layers.recurrence import ABOVE, LEFT, Recurrence
from pixelrnn.networks.base import Network


class SpatialLSTM(Network):
    r"""Spatial LSTMs over causal neighbourhoods, then a mixture of conditional Gaussian scale mixtures: RIDE.

    The first layer reads the causal neighbourhood of the pixel, later ones the hidden states of the layer below; all
    read the states of the pixels to the left and above. The mixture reads the hidden states of the last layer.

    Arguments:
        head             the output distribution; for any but "mcgsm" a 1 x 1 convolution outputs its parameters
        condition_width  feature maps of the condition map, 0 for none; it adds a bias to every input-to-state layer
        layers           spatial LSTMs (the paper: 1 or 2)
        width            feature maps of the states (the authors' scripts: 64)
        kernel           k of the neighbourhood: k // 2 rows above, k columns wide, and the k // 2 pixels to the left
                         (the paper: 5)
        features         features of the mixture per colour; unused by other heads

    Shapes:  canvas over an image (B, channels, H, W) in -1..1 -> (B, params, H, W)
    Source:  arXiv 1506.03478, equations 4 to 8
    Differs: every pixel is predicted, with zero padding outside the image; the paper predicts only pixels whose
             neighbourhood lies inside. Colours are conditioned on each other, R before G before B, by masks as in
             PixelRNN; the authors use a luminance and colour basis. No whitening. All weights are trained together.

    >>> import pixelrnn
    >>> model = pixelrnn.build("spatial-lstm", size=(5, 5), levels=256, layers=1, width=4)
    >>> model.log_prob(torch.zeros(3, 1, 5, 5, dtype=torch.uint8)).shape
    torch.Size([3])
    >>> model.head.num_params  # of the mixture, per pixel
    72
    """

    default_head = "mcgsm"

    def __init__(
        self,
        head: Head,
        condition_width: int = 0,
        *,
        layers: Layers,
        width: Width,
        kernel: Kernel = 5,
        features: Count = 16,
    ) -> None:
        super().__init__()
        groups = head.groups
        inputs = [MaskedConv2d(head.channels, 5 * width, kernel, "A", groups=groups, blocks=5)]
        inputs += [Pointwise(width, 5 * width, groups=groups, blocks=5) for _ in range(layers - 1)]
        taps = [LEFT, ABOVE]
        self.layers = nn.ModuleList(
            Recurrence(width, each, taps, taps, condition_width=condition_width, product=True, learned=False)
            for each in inputs
        )
        self.side = kernel // 2
        self.readout: nn.Module
        if isinstance(head, MCGSM):
            means = Pointwise(width, head.channels * head.components, groups=groups)
            self.readout = ScaleMixture(
                head, means, Pointwise(width, head.channels * features, groups=groups), features
            )
        else:
            self.readout = Pointwise(width, head.num_params, groups=groups)

    def forward(self, canvas: Canvas) -> Tensor:
        x: Tensor | None = None  # the image itself
        for layer in self.layers:
            x = layer(x, canvas)
        return self.readout(x, canvas)

    def field(self, row: int, column: int, height: int, width: int) -> Tensor:
        """The receptive field of the parameters at (row, column): (height, width) bool."""
        seen = torch.zeros(height, width, dtype=torch.bool)
        seen[:row, : column + self.side + 1] = True
        seen[row, :column] = True
        return seen

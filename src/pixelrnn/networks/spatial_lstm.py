"""Spatial LSTM, and with the head "mcgsm" RIDE, the recurrent image density estimator.

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

    The first layer reads the causal neighbourhood of the pixel, every later one the states of the layer below; all
    read the states of the pixel left and of the one above. The mixture reads the last layer's states.

    Arguments:
        head      what the parameters are for; with another than "mcgsm" a 1 x 1 layer gives them
        condition_width  maps of the condition, 0 for none; a 1 x 1 layer of it biases every input-to-state map
        layers    spatial LSTMs (the paper: 1 or 2)
        width     maps of the states (the authors' scripts: 64)
        kernel    the neighbourhood: k // 2 rows above, k columns, and the pixels left (the paper: 5)
        features  of the mixture, per colour; without a mixture there are none

    Shapes:  canvas over an image (B, channels, H, W) in -1..1 -> (B, params, H, W)
    Source:  arXiv 1506.03478, equations 4 to 8
    Differs: pixels outside the image are zero and every pixel is predicted; the paper predicts those with a whole
             neighbourhood. Colours are conditioned one on the other, R before G before B, by masks as in PixelRNN; the
             authors use a luminance and colour basis. No whitening. All weights are trained together.
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
        """The pixels that the parameters at (row, column) depend on: (height, width) bool."""
        seen = torch.zeros(height, width, dtype=torch.bool)
        seen[:row, : column + self.side + 1] = True
        seen[row, :column] = True
        return seen

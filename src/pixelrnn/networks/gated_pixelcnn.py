"""Gated PixelCNN: a vertical stack for the rows above, a horizontal stack for the current row, and no blind spot.

Source: van den Oord et al., Conditional Image Generation with PixelCNN Decoders, 2016, arXiv 1606.05328, sections 2.1
and 2.2, figure 2.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

import torch
from torch import Tensor, nn

from pixelrnn.canvas import Canvas, Reach
from pixelrnn.fields import Dropout, Kernel, Layers, OptionalWidth, Width
from pixelrnn.heads import Head
from pixelrnn.layers.condition import ConditionBias
from pixelrnn.layers.convolution import CausalConv2d, MaskedConv2d, Pointwise, Readout
from pixelrnn.layers.gates import Gate
from pixelrnn.layers.masks import Kind
from pixelrnn.networks.base import Network


class GatedLayer(nn.Module):
    """One gated layer: both stacks, the link between them (figure 2), and the condition's biases (section 2.3).

    The first layer reads the image: its vertical kernel covers the rows above the pixel, not the pixel's own; its
    horizontal kernel has mask A. So the vertical feature maps of a row depend only on the rows above it, and the
    vertical kernels of later layers include their own row. This does the paper's shift down by one row once, on the
    image, instead of in every link.
    """

    def __init__(
        self,
        in_width: int,
        width: int,
        kernel: int,
        *,
        groups: int,
        first: bool,
        last: bool,
        dropout: float,
        condition_width: int,
    ) -> None:
        super().__init__()
        side = kernel // 2
        rows = Reach(side + 1, -1, side, side) if first else Reach(side, 0, side, side)
        kind: Kind = "A" if first else "B"
        self.vertical = CausalConv2d(in_width, 2 * width, rows)
        self.horizontal = MaskedConv2d(in_width, 2 * width, kernel, kind, groups=groups, blocks=2, row=True)
        self.link = Pointwise(2 * width, 2 * width)  # it carries rows above only, so it needs no colour mask
        # The last vertical feature map is read through the link alone, so it gets no bias of its own.
        self.bias_above = ConditionBias(0 if last else condition_width, 2 * width)
        self.bias_along = ConditionBias(condition_width, 2 * width)
        self.gate_above, self.gate_along = Gate(), Gate()
        self.dropout = nn.Dropout(dropout) if dropout else nn.Identity()

    def above(self, ungated: Tensor | None, canvas: Canvas) -> tuple[Tensor, Tensor]:
        """The vertical stack: the feature map of this layer before its gate, from that of the layer below; the link.

        Shapes: (B, 2p, h, W) each
        """
        convolved = self.vertical(None if ungated is None else self.dropout(self.gate_above(ungated)), canvas)
        link = self.bias_along.added(self.link(convolved, canvas), canvas)
        return self.bias_above.added(convolved, canvas), link

    def along(self, x: Tensor | None, link: Tensor, canvas: Canvas) -> Tensor:
        """The horizontal stack up to and with its gate: x, or the image if None, and the link -> (B, p, h, w)."""
        return self.dropout(self.gate_along(self.horizontal(x, canvas, link)))


class GatedPixelCNN(Network):
    r"""Gated layers, the first with a large kernel on the image, then two 1 x 1 convolutions to the output parameters.

    Arguments:
        head             the output distribution
        condition_width  feature maps of the condition map, 0 for none; it adds a bias before every gate
        layers           gated layers, the first one included
        width            p, feature maps of each stack
        kernel           kernel size of the later layers
        first_kernel     kernel size of the first layer
        out_width        feature maps of the 1 x 1 convolution before the parameters; 0: p
        skip             the output stage reads the sum of a 1 x 1 convolution of every layer's gated output, instead of
                         the last layer's output alone
        dropout          on the gated outputs, in training only

    Shapes:  canvas over an image (B, channels, H, W) in -1..1 -> (B, params, H, W)
    Source:  arXiv 1606.05328, figure 2
    Differs: the shift by one row is done once, on the image, as if a blank row were above it; in the figure it is part
             of every link. Skip connections come from later work and are not in the figure, which is skip=False.
             Dropout is ours (0 gives the paper's network).

    >>> import pixelrnn
    >>> model = pixelrnn.build("gated-pixelcnn", size=(5, 5), levels=2, layers=2, width=4, first_kernel=3)
    >>> model.log_prob(torch.zeros(3, 1, 5, 5, dtype=torch.uint8)).shape
    torch.Size([3])
    >>> model.network.field(3, 1, 5, 5).int()  # a rectangle, without a blind spot
    tensor([[1, 1, 1, 1, 0],
            [1, 1, 1, 1, 0],
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
        kernel: Kernel = 3,
        first_kernel: Kernel = 7,
        out_width: OptionalWidth = 0,
        skip: bool = True,
        dropout: Dropout = 0.0,
    ) -> None:
        super().__init__()
        groups = head.groups
        same: dict[str, Any] = {"groups": groups, "dropout": dropout, "condition_width": condition_width}
        first = GatedLayer(head.channels, width, first_kernel, first=True, last=layers == 1, **same)
        later = (
            GatedLayer(width, width, kernel, first=False, last=index == layers - 1, **same)
            for index in range(1, layers)
        )
        self.layers = nn.ModuleList([first, *later])
        # One convolution per layer gives both its output to the next layer and its skip; the last has no next layer.
        parts = 2 if skip else 1
        both = (Pointwise(width, parts * width, groups=groups, blocks=parts) for _ in range(layers - 1))
        self.outs = nn.ModuleList([*both, Pointwise(width, width, groups=groups)])
        self.readout = Readout(width, (out_width or width,), head.num_params, groups)
        self.width, self.first_side, self.side = width, first_kernel // 2, kernel // 2

    def _rows_above(self, canvas: Canvas) -> list[Tensor]:
        """The vertical stack: its link to the horizontal stack at every layer, each (B, 2p, h, W)."""
        links, ungated = [], None
        for layer in cast("Iterable[GatedLayer]", self.layers):
            ungated, link = layer.above(ungated, canvas)
            links.append(link)
        return links

    def forward(self, canvas: Canvas) -> Tensor:
        links = canvas.per_row(self, lambda: self._rows_above(canvas))
        x: Tensor | None = None  # the image itself
        sums: Tensor | None = None  # (B, 2p, h, w): the horizontal stack and the sum of skips; or the former only
        layers = cast("Iterable[GatedLayer]", self.layers)
        for index, (layer, out) in enumerate(zip(layers, self.outs, strict=True)):
            y = layer.along(x, links[index], canvas)  # (B, p, h, w)
            if sums is not None and index == len(self.outs) - 1:
                sums = sums[:, -self.width :]
            # No residual connection around the first layer: its input is the image, with the pixel to be predicted.
            sums = out(y, canvas, sums, overwrite=True)
            x = sums.split(self.width, 1)[0]
        return self.readout(sums, canvas)

    def field(self, row: int, column: int, height: int, width: int) -> Tensor:
        """The receptive field of the parameters at (row, column): (height, width) bool.

        It is a full rectangle of the rows above, and the row up to the pixel.
        """
        later = (len(self.layers) - 1) * self.side
        up, side = self.first_side + 1 + later, self.first_side + later
        seen = torch.zeros(height, width, dtype=torch.bool)
        seen[max(0, row - up) : row, max(0, column - side) : column + side + 1] = True
        seen[row, max(0, column - side) : column] = True
        return seen

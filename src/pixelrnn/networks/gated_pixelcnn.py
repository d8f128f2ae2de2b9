"""Gated PixelCNN: a vertical stack for the rows above, a horizontal one for the row so far, and no blind spot.

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
from pixelrnn.layers.gates import gate
from pixelrnn.layers.masks import Kind
from pixelrnn.networks.base import Network


class GatedLayer(nn.Module):
    """One layer: both stacks and the link between them (figure 2), and what each is told of a condition (section 2.3).

    The first layer reads the image: its vertical kernel the rows above (and not this one), its horizontal kernel with
    mask A. From there on the vertical map of a row knows the rows above it only. That is the paper's link "shifted down
    by one row", done once, on the image, so that later vertical kernels take in their own row and no row is lost.
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
        self.link = Pointwise(2 * width, 2 * width)  # whole earlier rows: no colour mask
        self.bias_above = ConditionBias(
            0 if last else condition_width, 2 * width
        )  # of the last vertical map only the link is read
        self.bias_along = ConditionBias(condition_width, 2 * width)
        self.dropout = nn.Dropout(dropout) if dropout else nn.Identity()

    def above(self, ungated: Tensor | None, canvas: Canvas) -> tuple[Tensor, Tensor]:
        """The vertical half, from the layer before to this one, not gated, and what it tells the horizontal half.

        Shapes: (B, 2p, h, W) each
        """
        convolved = self.vertical(None if ungated is None else self.dropout(gate(ungated)), canvas)
        link = self.bias_along.added(self.link(convolved, canvas), canvas)
        return self.bias_above.added(convolved, canvas), link

    def along(self, x: Tensor | None, link: Tensor, canvas: Canvas) -> Tensor:
        """The horizontal half up to its gate: x or the image, and what the vertical half tells -> (B, p, h, w)."""
        return self.dropout(gate(self.horizontal(x, canvas, link)))


class GatedPixelCNN(Network):
    r"""Gated layers, the first with a large kernel on the image, then two 1 x 1 layers down to the parameters.

    Arguments:
        head         what the parameters are for
        condition_width  maps of the condition, 0 for none; every gate adds a 1 x 1 layer of it
        layers       gated layers, the first one included
        width        p, feature maps of each stack
        kernel       of the later layers
        first_kernel of the first layer
        out_width    maps of the 1 x 1 layer before the parameters; 0 means p
        skip         the output stage reads the sum of 1 x 1 maps of all layers' gates; else the last layer's map
        dropout      on the gates, in training only

    Shapes:  canvas over an image (B, channels, H, W) in -1..1 -> (B, params, H, W)
    Source:  arXiv 1606.05328, figure 2
    Differs: the shift by one row is done once, on the image, as if one blank row stood above it; in the figure it is
             done in every link. Skip connections are common (they come from later work) but are not in the figure,
             skip=False is. Dropout is ours (0 gives the paper's network).
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
        # Of every gate a 1 x 1 map for the next layer and one for the skips' sum, as one; the last has no next layer.
        parts = 2 if skip else 1
        both = (Pointwise(width, parts * width, groups=groups, blocks=parts) for _ in range(layers - 1))
        self.outs = nn.ModuleList([*both, Pointwise(width, width, groups=groups)])
        self.readout = Readout(width, (out_width or width,), head.num_params, groups)
        self.width, self.first_side, self.side = width, first_kernel // 2, kernel // 2

    def _rows_above(self, canvas: Canvas) -> list[Tensor]:
        """The vertical stack: what it tells the horizontal half of every layer, each (B, 2p, h, W)."""
        links, ungated = [], None
        for layer in cast("Iterable[GatedLayer]", self.layers):
            ungated, link = layer.above(ungated, canvas)
            links.append(link)
        return links

    def forward(self, canvas: Canvas) -> Tensor:
        links = canvas.per_row(self, lambda: self._rows_above(canvas))
        x: Tensor | None = None  # the image itself
        sums: Tensor | None = (
            None  # (B, 2p, h, w): the horizontal map, and what the skips have added up; or the first only
        )
        layers = cast("Iterable[GatedLayer]", self.layers)
        for index, (layer, out) in enumerate(zip(layers, self.outs, strict=True)):
            y = layer.along(x, links[index], canvas)  # (B, p, h, w)
            if sums is not None and index == len(self.outs) - 1:
                sums = sums[:, -self.width :]
            # No residual around the first layer: its input is the image, the very pixel that is to be predicted.
            sums = out(y, canvas, sums, overwrite=True)
            x = sums.split(self.width, 1)[0]
        return self.readout(sums, canvas)

    def field(self, row: int, column: int, height: int, width: int) -> Tensor:
        """The pixels that the parameters at (row, column) depend on: a full rectangle and the row so far.

        Shape: (height, width) bool.
        """
        later = (len(self.layers) - 1) * self.side
        up, side = self.first_side + 1 + later, self.first_side + later
        seen = torch.zeros(height, width, dtype=torch.bool)
        seen[max(0, row - up) : row, max(0, column - side) : column + side + 1] = True
        seen[row, max(0, column - side) : column] = True
        return seen

"""PixelCNN++: two streams at three resolutions with short-cuts, shifts instead of masks.

Source: Salimans, Karpathy, Chen and Kingma, PixelCNN++: Improving the PixelCNN with Discretized Logistic Mixture
Likelihood and Other Modifications, 2017, arXiv 1701.05517, sections 2.2 to 2.5, figure 2, and the authors' code.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, cast

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from pixelrnn.canvas import Canvas, Reach
from pixelrnn.fields import Dropout, Layers, Width
from pixelrnn.heads import Head
from pixelrnn.layers.gated_residual import (
    DOWN_RIGHT,
    FIRST_LEFT,
    FIRST_OVER,
    ITSELF,
    EluReadout,
    FirstConv2d,
    GatedResidual,
)
from pixelrnn.layers.normalised import NormalisedConv2d
from pixelrnn.networks.base import Network

DOWN = Reach(1, 0, 1, 1)
"""2 x 3: this row and the one above. In the stream of rows above, a pixel's maps know nothing of its own row."""
FIRST_ABOVE = Reach(2, -1, 1, 1)
"""2 x 3 in the rows above."""
Resolutions = Annotated[int, Field(ge=1, le=6)]


class Resolution(nn.Module):
    """One resolution: layers on the way down, all coarser resolutions, layers on the way up.

    The stream of the rows above (u, for "up") is run first, and all of its maps are handed to the other one, which
    knows the row up to the pixel (ul, for "up left").
    """

    def __init__(self, width: int, layers: int, levels: int, *, dropout: float, condition_width: int) -> None:
        super().__init__()
        same: dict[str, Any] = {"dropout": dropout, "condition_width": condition_width}
        self.deeper = Resolution(width, layers, levels - 1, **same) if levels > 1 else None
        ups = layers if self.deeper is None else layers + 1  # the first one up gets the input of the coarser level, too
        self.down_above, self.up_above, self.down_along, self.up_along = (
            nn.ModuleList(GatedResidual(width, reach, aside=aside * width, **same) for _ in range(count))
            for reach, count, aside in (
                (DOWN, layers, 0),
                (DOWN, ups, 1),
                (DOWN_RIGHT, layers, 1),
                (DOWN_RIGHT, ups, 2),
            )
        )
        if self.deeper is not None:
            self.shrink_above = NormalisedConv2d(width, width, DOWN)
            self.shrink_along = NormalisedConv2d(width, width, DOWN_RIGHT)
            self.grow_above = NormalisedConv2d(width, width, Reach(0, 0, 0, 1), blocks=4, bias=False)
            self.grow_along = NormalisedConv2d(width, width, ITSELF, blocks=4, bias=False)
            self.bias_above, self.bias_along = (nn.Parameter(torch.zeros(width, 1, 1)) for _ in range(2))
            # A transposed convolution of 2 x 3: an even column is made of its own coarse one, an odd one of the next
            # as well.
            mask = torch.ones(2, 2, width, width, 1, 2, dtype=torch.bool)
            mask[:, 0, :, :, :, 1] = False
            self.grow_above.mask = mask.flatten(0, 2)

    @property
    def additions(self) -> int:
        """Outputs of layers that are added up in a stream, with four of the first convolutions and a bias."""
        return len(self.down_along) + len(self.up_along) + 5

    def biases(self) -> list[nn.Parameter]:
        """Those that are added to what comes from the coarser resolution, if there is one."""
        return [] if self.deeper is None else [self.bias_above, self.bias_along]

    def above(self, u: Tensor, canvas: Canvas) -> list[Tensor]:
        """The maps of the rows above for every layer of the other stream, down and up; the last is the output."""
        downs = [u]
        for layer in _layers(self.down_above):
            downs.append(layer(downs[-1], canvas))
        maps = downs[1:]
        deeper = self.deeper
        if deeper is None:
            u = downs.pop()
        else:

            def coarse(x: Tensor) -> Tensor:
                made = canvas.per_row(deeper, lambda: deeper.above(x, canvas))
                return cast("Tensor", self.grow_above(made[-1], canvas))

            small = self.shrink_above(downs[-1], canvas)
            u = canvas.coarser((self, "above"), small, coarse) + self.bias_above
        for layer in _layers(self.up_above):
            u = layer(u, canvas, downs.pop())
            maps.append(u)
        return maps

    def along(self, ul: Tensor, above: list[Tensor], canvas: Canvas) -> Tensor:
        """The stream that knows the row up to the pixel, given the maps of the rows above."""
        downs, rest = [ul], iter(above)
        for layer in _layers(self.down_along):
            downs.append(layer(downs[-1], canvas, next(rest)))
        deeper = self.deeper
        if deeper is None:
            ul = downs.pop()
        else:

            def coarse(x: Tensor) -> Tensor:
                return cast("Tensor", self.grow_along(deeper.along(x, canvas.of_row(deeper), canvas), canvas))

            small = self.shrink_along(downs[-1], canvas)
            ul = canvas.coarser((self, "along"), small, coarse) + self.bias_along
        for layer in _layers(self.up_along):
            ul = layer(ul, canvas, torch.cat([next(rest), downs.pop()], 1))
        return ul

    def needed(self, above: Tensor, along: Tensor, seen: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Where the inputs u and ul must be known, so that both outputs are, where these say: (h, w) bool each.

        `seen` is extended by where the output of any layer must be known, at the pixels of the finest resolution.
        """
        nowhere, downs, ups = torch.zeros_like(along), len(self.down_along), len(self.up_along)
        u_shorts, ul_shorts = ([nowhere] * (downs + 1) for _ in range(2))  # the inputs of layers down, and the last
        u_maps = [nowhere] * (downs + ups)
        u_maps[-1] = above
        for up in reversed(range(ups)):
            seen += [along, u_maps[downs + up]]
            short, read = ups - 1 - up, read_by(along, DOWN_RIGHT)  # what comes from aside is read by the second
            u_maps[downs + up] = u_maps[downs + up] | read
            ul_shorts[short] = ul_shorts[short] | read
            along = read_by(read, DOWN_RIGHT)
        below = nowhere
        for up in reversed(range(ups)):
            seen.append(u_maps[downs + up])
            short, read = ups - 1 - up, read_by(u_maps[downs + up], DOWN)
            u_shorts[short] = u_shorts[short] | read
            below = read_by(read, DOWN)
            if up:
                u_maps[downs + up - 1] = u_maps[downs + up - 1] | below
        if self.deeper is None:
            u_shorts[-1], ul_shorts[-1] = u_shorts[-1] | below, ul_shorts[-1] | along
        else:
            coarse_seen: list[Tensor] = []
            odd = torch.zeros_like(below)
            odd[:, 1::2] = below[:, 1::2]
            next_one = read_by(_coarse(odd), Reach(0, 0, 0, 1))
            coarse = self.deeper.needed(_coarse(below) | next_one, _coarse(along), coarse_seen)
            u, ul = (_fine(each, below) for each in coarse)
            seen += [u, ul, *(_fine(each, below) for each in coarse_seen)]
            u_shorts[-1] = u_shorts[-1] | read_by(u, DOWN)
            ul_shorts[-1] = ul_shorts[-1] | read_by(ul, DOWN_RIGHT)
        for down in reversed(range(downs)):
            seen.append(ul_shorts[down + 1])
            read = read_by(ul_shorts[down + 1], DOWN_RIGHT)
            u_maps[down] = u_maps[down] | read
            ul_shorts[down] = ul_shorts[down] | read_by(read, DOWN_RIGHT)
        for down in reversed(range(downs)):
            out = u_shorts[down + 1] | u_maps[down]
            seen.append(out)
            u_shorts[down] = u_shorts[down] | read_by(read_by(out, DOWN), DOWN)
        return u_shorts[0], ul_shorts[0]


class PixelCNNpp(Network):
    r"""A stream for the rows above and one for the row up to the pixel, at three resolutions with short-cuts.

    Layers of concatenated ELUs, gates and residuals, with normalised weights; between resolutions, convolutions of
    stride 2 and transposed ones. Works at any height and width. A training lets the first images decide the initial
    lengths of the weights (`layers.normalised.fitted`).

    Arguments:
        head             the output distribution (the paper: "logistic-mixture")
        condition_width  feature maps of the condition map, 0 for none; it adds a bias to every layer
        layers           gated residual layers of a resolution on the way down (the paper: 5)
        width            feature maps of each stream (the paper: 192; the authors' code: 160)
        resolutions      one after the other, each half as large (the paper: 3)
        dropout          between the two convolutions of a layer, in training only (the paper: 0.5)

    Shapes:  canvas over an image (B, channels, H, W) in -1..1 -> (B, params, H, W)
    Source:  arXiv 1701.05517, figure 2, and the authors' code
    Differs: as `FirstConv2d`; heads whose parameters need colour masks get one, as `EluReadout`

    >>> import pixelrnn
    >>> model = pixelrnn.build("pixelcnn-pp", size=(6, 6), levels=256, layers=1, width=4, resolutions=2)
    >>> model.log_prob(torch.zeros(3, 1, 6, 6, dtype=torch.uint8)).shape
    torch.Size([3])
    """

    default_head = "logistic-mixture"

    def __init__(
        self,
        head: Head,
        condition_width: int = 0,
        *,
        layers: Layers,
        width: Width,
        resolutions: Resolutions = 3,
        dropout: Dropout = 0.0,
    ) -> None:
        super().__init__()
        self.first_above, self.first_over, self.first_left = (
            FirstConv2d(head.channels, width, reach) for reach in (FIRST_ABOVE, FIRST_OVER, FIRST_LEFT)
        )
        same: dict[str, Any] = {"dropout": dropout, "condition_width": condition_width}
        self.resolution = Resolution(width, layers, resolutions, **same)
        self.readout = EluReadout(width, head)

    def _rows_above(self, canvas: Canvas) -> list[Tensor]:
        return [self.first_over(canvas), *self.resolution.above(self.first_above(canvas), canvas)]

    def forward(self, canvas: Canvas) -> Tensor:
        over, *above = canvas.per_row(self, lambda: self._rows_above(canvas))
        ul = self.first_left(canvas, over)
        return cast("Tensor", self.readout(self.resolution.along(ul, above, canvas), canvas))

    def field(self, row: int, column: int, height: int, width: int) -> Tensor:
        """The receptive field of the parameters at (row, column): (height, width) bool."""
        u, ul, _ = self._needed(row, column, height, width)
        seen = read_by(u, FIRST_ABOVE) | read_by(ul, FIRST_OVER) | read_by(ul, FIRST_LEFT)
        seen[row, column] = False
        return seen

    def condition_field(self, row: int, column: int, height: int, width: int) -> Tensor:
        """The positions of the condition map that the parameters at (row, column) depend on: (height, width) bool."""
        return torch.stack(self._needed(row, column, height, width)[2]).any(0)

    def _needed(self, row: int, column: int, height: int, width: int) -> tuple[Tensor, Tensor, list[Tensor]]:
        pixel = torch.zeros(height, width, dtype=torch.bool)
        seen: list[Tensor] = []
        pixel[row, column] = True
        u, ul = self.resolution.needed(torch.zeros_like(pixel), pixel, seen)
        return u, ul, seen


def read_by(outputs: Tensor, reach: Reach) -> Tensor:
    """What a convolution reads to give some outputs: (h, w) bool -> (h, w) bool.

    >>> read_by(torch.eye(3) > 0, Reach(1, -1, 0, 1)).int()
    tensor([[0, 1, 1],
            [0, 0, 1],
            [0, 0, 0]], dtype=torch.int32)
    """
    height, width = outputs.shape
    above, left = max(reach.up, 0), max(reach.left, 0)
    found = F.pad(torch.zeros_like(outputs), (left, max(reach.right, 0), above, 0))
    for dy in range(-reach.up, reach.down + 1):
        for dx in range(-reach.left, reach.right + 1):
            found[above + dy : above + dy + height, left + dx : left + dx + width] |= outputs
    return found[above:, left : left + width]


def _coarse(fine: Tensor) -> Tensor:
    """The coarse pixels that cover some pixels."""
    return F.max_pool2d(fine[None].float(), 2, ceil_mode=True)[0] > 0


def _fine(coarse: Tensor, like: Tensor) -> Tensor:
    """The pixels where some coarse pixels begin."""
    fine = torch.zeros_like(like)
    fine[::2, ::2] = coarse
    return fine


def _layers(layers: nn.ModuleList) -> Iterable[GatedResidual]:
    return cast("Iterable[GatedResidual]", layers)

"""Multi-Scale PixelRNN: a small image first, then the large one given the small one.

Source: van den Oord et al., Pixel Recurrent Neural Networks, 2016, arXiv 1601.06759, section 3.6.
"""

from __future__ import annotations

from typing import Annotated, Any

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from pixelrnn.canvas import Canvas, Order, Reach, Whole
from pixelrnn.errors import unknown
from pixelrnn.fields import Dropout, Kernel, Layers, OptionalWidth, Width
from pixelrnn.heads import Head
from pixelrnn.networks.base import Network, Stage
from pixelrnn.networks.diagonal_bilstm import DiagonalBiLSTM
from pixelrnn.networks.row_lstm import RowLSTM

BODIES: dict[str, type[RowLSTM] | type[DiagonalBiLSTM]] = {"row-lstm": RowLSTM, "diagonal-bilstm": DiagonalBiLSTM}


class UpSampling(nn.Module):
    """From the small image to a map as large as the image: two 3 x 3 convolutions, a deconvolution.

    Shapes:  small (B, channels, ceil(H / factor), ceil(W / factor)) -> (B, width, H, W)
    Source:  arXiv 1601.06759, section 3.6: a convolutional network with deconvolution layers, of no stated size
    """

    reach = 2  # pixels of the small image, to every side

    def __init__(self, channels: int, width: int, factor: int) -> None:
        super().__init__()
        # Not the canvas' padding: all of the small image is known by then, so these may look to every side.
        self.layers = nn.ModuleList(
            [
                nn.Conv2d(channels, width, 3, padding=1),
                nn.Conv2d(width, width, 3, padding=1),
                nn.ConvTranspose2d(width, width, factor, stride=factor),
            ]
        )

    def forward(self, small: Tensor, height: int, width: int) -> Tensor:
        first, second, grow = self.layers
        return grow(F.relu(second(F.relu(first(small)))))[:, :, :height, :width]


class MultiScale(Network):
    r"""An unconditional PixelRNN for every `factor`-th pixel, then a conditional one for the others given all of those.

    The small image is a part of the large one, so the likelihood is exact: p(image) = p(small) p(the rest | small). The
    network predicts the pixels in that order: first those of the small image, which see nothing else, then the others
    in raster order, which see the small image wherever they are. The parameters at a copied pixel are the small
    network's. The small image can have an even smaller one before it (`images`).

    Arguments:
        head         what the parameters are for
        condition_width  maps of the condition, 0 for none; every PixelRNN is told of it
        layers       blocks of every PixelRNN
        width        h of every PixelRNN; the map of the up-sampling network has as many
        body         "row-lstm" or "diagonal-bilstm"
        factor       every how many-th pixel belongs to the small image, in both directions
        images       of different sizes: 2 is a small and a large one
        first_kernel of the first layer
        out_width    maps of the two 1 x 1 layers; 0 means 2h
        residual     add a block's input to its output
        skip         add up 1 x 1 maps of all blocks' outputs for the output stage, besides the last block's own output
        dropout      on the states on their way up, in training only

    Shapes:  canvas over an image (B, channels, H, W) in -1..1 -> (B, params, H, W)
    Source:  arXiv 1601.06759, section 3.6
    Differs: the paper resamples the small image and generates every pixel of the large one; here the small image's
             pixels are copied, which makes the likelihood of the large one exact.
    """

    def __init__(
        self,
        head: Head,
        condition_width: int = 0,
        *,
        layers: Layers,
        width: Width,
        body: str = "row-lstm",
        factor: Annotated[int, Field(ge=2, le=64)] = 2,
        images: Annotated[int, Field(ge=2, le=8)] = 2,
        first_kernel: Kernel = 7,
        out_width: OptionalWidth = 0,
        residual: bool = True,
        skip: bool = True,
        dropout: Dropout = 0.0,
    ) -> None:
        super().__init__()
        if body not in BODIES:
            raise unknown("body of multiscale", body, BODIES)
        options: dict[str, Any] = {
            "layers": layers,
            "width": width,
            "first_kernel": first_kernel,
            "out_width": out_width,
            "residual": residual,
            "skip": skip,
            "dropout": dropout,
        }
        self.factor = factor
        self.small: Network = (
            MultiScale(head, condition_width, body=body, factor=factor, images=images - 1, **options)
            if images > 2
            else BODIES[body](head, condition_width, **options)
        )
        self.up = UpSampling(head.channels, width, factor)
        self.large = BODIES[body](head, width + condition_width, **options)
        self.condition_width = condition_width

    def forward(self, canvas: Canvas) -> Tensor:
        image = canvas.look(Reach(0, 0, 0, 0))
        if not isinstance(canvas, Whole):
            raise AssertionError("a multi-scale network is walked stage by stage, not at once")
        condition_map, step = canvas.condition_map(), self.factor
        params = self.large(Whole(image, self.condition_map(image, condition_map)))
        params = params.clone(memory_format=torch.contiguous_format)
        small = None if condition_map is None else condition_map[:, :, ::step, ::step]
        params[:, :, ::step, ::step] = self.small(Whole(image[:, :, ::step, ::step], small))
        return params

    def stages(self) -> list[Stage]:
        """The stages of the small image, on every `factor`-th pixel, then the large one."""
        first = [Stage(stage.network, self.factor * stage.step, stage.condition_map) for stage in self.small.stages()]
        return [*first, Stage(self.large, 1, self.condition_map)]

    def condition_map(self, image: Tensor, condition_map: Tensor | None) -> Tensor:
        """What the large image is conditioned on: the pixels of the small one in it, and what the image is.

        Shapes: (B, channels, H, W), (B, given, H, W) or (B, given, 1, 1) or None -> (B, width + given, H, W)
        """
        up = self.up(image[:, :, :: self.factor, :: self.factor], *image.shape[2:])
        if not self.condition_width:
            return up
        size = (len(up), self.condition_width, *up.shape[2:])
        return torch.cat(
            [up, up.new_zeros(()).expand(size) if condition_map is None else condition_map.expand(size)], 1
        )

    orders = "multi-scale"

    def order(self, height: int, width: int) -> Order:
        """The small image's pixels in their order, then the others in raster order."""
        small = self.small.order(-(-height // self.factor), -(-width // self.factor)).ranks
        ranks = small.numel() + torch.arange(height * width).reshape(height, width)
        ranks[:: self.factor, :: self.factor] = small
        return Order((height, width), ranks.flatten().argsort())

    def field(self, row: int, column: int, height: int, width: int) -> Tensor:
        """The pixels that the parameters at (row, column) depend on: (height, width) bool."""
        step = self.factor
        if row % step == 0 and column % step == 0:
            seen = torch.zeros(height, width, dtype=torch.bool)
            size = (-(-height // step), -(-width // step))
            seen[::step, ::step] = self.small.field(row // step, column // step, *size)
            return seen
        seen = self.large.field(row, column, height, width)
        places = self.large.condition_field(row, column, height, width)
        cells = F.max_pool2d(places[None].float(), step, ceil_mode=True)
        side = 2 * self.up.reach + 1
        small = F.max_pool2d(cells, side, 1, self.up.reach)[0].bool()
        seen[::step, ::step] |= small
        return seen

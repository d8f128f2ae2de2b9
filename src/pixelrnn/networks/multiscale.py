"""Multi-Scale PixelRNN: a subsampled image first, then the other pixels conditioned on it.

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
    """The condition map of the large image from the small one: two 3 x 3 convolutions and a deconvolution.

    Shapes:  small (B, channels, ceil(H / factor), ceil(W / factor)) -> (B, width, H, W)
    Source:  arXiv 1601.06759, section 3.6: a convolutional network with deconvolutional layers, whose size is not given
    """

    reach = 2  # pixels of the small image, in every direction

    def __init__(self, channels: int, width: int, factor: int) -> None:
        super().__init__()
        # These layers pad by themselves, without the canvas: the small image is finished, so all of it may be read.
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
    r"""An unconditional PixelRNN for every `factor`-th pixel, and a PixelRNN conditioned on these for the others.

    The small image is a subset of the pixels of the large one, so the likelihood is exact:
    p(image) = p(small) p(the other pixels | small). That is the generation order, too: first the small image in raster
    order, then the other pixels in raster order, which all see the entire small image. The parameters at a pixel of the
    small image are those of the small network. With `images` > 2 the small image is itself multi-scale.

    Arguments:
        head             the output distribution
        condition_width  feature maps of the condition map, 0 for none; every PixelRNN is conditioned on it
        layers           blocks of every PixelRNN
        width            h of every PixelRNN, and feature maps of the up-sampling network
        body             "row-lstm" or "diagonal-bilstm"
        factor           ratio of the sizes: one pixel in every factor x factor belongs to the small image
        images           number of sizes: 2 is a small and a large image
        first_kernel     kernel size of the first convolution
        out_width        feature maps of the two 1 x 1 convolutions; 0: 2h
        residual         add a block's input to its output
        skip             feed the output stage a 1 x 1 convolution of every block's output as well, all summed
        dropout          on the hidden states that go to the next layer, in training only

    Shapes:  canvas over an image (B, channels, H, W) in -1..1 -> (B, params, H, W)
    Source:  arXiv 1601.06759, section 3.6
    Differs: the paper makes the small image by resampling, and generates every pixel of the large one; here the pixels
             of the small image are copied into the large one, which makes the likelihood exact.

    >>> import pixelrnn
    >>> model = pixelrnn.build("multiscale", size=(5, 5), levels=2, layers=1, width=4)
    >>> model.log_prob(torch.zeros(3, 1, 5, 5, dtype=torch.uint8)).shape
    torch.Size([3])
    >>> model.network.order(5, 5).ranks  # the small image has the pixels 0 to 8
    tensor([[ 0,  9,  1, 10,  2],
            [11, 12, 13, 14, 15],
            [ 3, 16,  4, 17,  5],
            [18, 19, 20, 21, 22],
            [ 6, 23,  7, 24,  8]])
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
            raise AssertionError("a multi-scale network is sampled stage by stage: walk its stages() one by one")
        condition_map, step = canvas.condition_map(), self.factor
        params = self.large(Whole(image, self.condition_map(image, condition_map)))
        params = params.clone(memory_format=torch.contiguous_format)
        small = None if condition_map is None else condition_map[:, :, ::step, ::step]
        params[:, :, ::step, ::step] = self.small(Whole(image[:, :, ::step, ::step], small))
        return params

    def stages(self) -> list[Stage]:
        """The stages of the small image, on every `factor`-th pixel, then that of the large one."""
        first = [Stage(stage.network, self.factor * stage.step, stage.condition_map) for stage in self.small.stages()]
        return [*first, Stage(self.large, 1, self.condition_map)]

    def condition_map(self, image: Tensor, condition_map: Tensor | None) -> Tensor:
        """The condition map of the large image: the up-sampled small image, and the condition map of the image.

        Shapes: image (B, channels, H, W); condition_map (B, condition_width, H, W), (B, condition_width, 1, 1) or None
                -> (B, width + condition_width, H, W)
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
        """The receptive field of the parameters at (row, column): (height, width) bool."""
        step = self.factor
        if row % step == 0 and column % step == 0:
            seen = torch.zeros(height, width, dtype=torch.bool)
            size = (-(-height // step), -(-width // step))
            seen[::step, ::step] = self.small.field(row // step, column // step, *size)
            return seen
        seen = self.large.field(row, column, height, width)
        condition = self.large.condition_field(row, column, height, width)
        blocks = F.max_pool2d(condition[None].float(), step, ceil_mode=True)
        side = 2 * self.up.reach + 1
        small = F.max_pool2d(blocks, side, 1, self.up.reach)[0].bool()
        seen[::step, ::step] |= small
        return seen

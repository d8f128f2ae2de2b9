"""PixelSNAIL: gated residual layers, and attention to all earlier pixels between them.

Source: Chen, Mishra, Rohaninejad and Abbeel, PixelSNAIL: An Improved Autoregressive Generative Model, 2017, arXiv
1712.09763, and the authors' code.
"""

from __future__ import annotations

from typing import Annotated, Any, cast

import torch
from pydantic import Field
from torch import Tensor, nn

from pixelrnn.canvas import Canvas
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

Keys = Annotated[int, Field(ge=1, le=1024)]


class SnailBlock(nn.Module):
    """Gated residual layers of 2 x 2 convolutions, then attention, which another layer takes as its second input.

    What a pixel offers to later ones, its content, is made of its feature maps, of its own value and of its place.

    Shapes: x (B, width, h, w) -> (B, width, h, w)
    """

    def __init__(
        self, channels: int, width: int, layers: int, keys: int, *, dropout: float, condition_width: int
    ) -> None:
        super().__init__()
        same: dict[str, Any] = {"dropout": dropout, "concat": False}
        told: dict[str, Any] = {**same, "condition_width": condition_width}
        self.keys = keys
        self.layers = nn.ModuleList(GatedResidual(width, DOWN_RIGHT, **told) for _ in range(layers))
        self.content = GatedResidual(channels + width + 2, ITSELF, **same)
        self.offer = NormalisedConv2d(channels + width + 2, keys + max(1, width // 2), ITSELF)
        self.asked = GatedResidual(width + 2, ITSELF, **same)
        self.query = NormalisedConv2d(width + 2, keys, ITSELF)
        self.join = GatedResidual(width, ITSELF, aside=max(1, width // 2), **told)

    def forward(self, x: Tensor, canvas: Canvas, pixels: Tensor, positions: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x, canvas)
        # A pixel is known when the next one is at work, so that one works out what its predecessor offers. The first
        # one has none: nobody attends to what stands in its place, but for itself, and it gets zeros.
        here, there, nothing = positions.expand(len(x), -1, -1, -1).split([2, 2, 1], 1)
        content = torch.cat([pixels.to(x.dtype), canvas.earlier((self, "earlier"), x), there], 1)
        offered = self.offer(self.content(content, canvas), canvas)
        key, value = offered[:, : self.keys], offered[:, self.keys :]
        query = self.query(self.asked(torch.cat([x, here], 1), canvas), canvas)
        key = torch.cat([key, _NEVER * nothing], 1)
        query = torch.cat([query, torch.ones_like(nothing)], 1) * (1 + 1 / self.keys) ** 0.5  # for one more feature
        mixed = canvas.attend((self, "attend"), query, key, value * (1 - nothing), 1)
        return cast("Tensor", self.join(x, canvas, mixed))


_NEVER = -1e9


def _positions(here: Tensor, there: Tensor, size: tuple[int, int]) -> Tensor:
    """Rows and columns of a pixel and of the one before it as numbers in -0.5..0.5; whether there is none before."""
    whole = torch.tensor(size, device=here.device, dtype=torch.float64)[:, None]
    return torch.cat([(here - whole / 2) / whole, (there - whole / 2) / whole, (there[:1] < 0).double()])


class PixelSNAIL(Network):
    r"""Blocks of gated residual layers of 2 x 2 convolutions and of attention to all earlier pixels.

    Arguments:
        head             the output distribution (the paper: "logistic-mixture")
        condition_width  feature maps of the condition map, 0 for none; it adds a bias to every layer of the stream
        layers           gated residual layers of a block (the paper: 4)
        width            feature maps (the paper: 256); attention gives half as many
        blocks           layers and an attention each (the paper: 12)
        keys             feature maps of queries and keys (the paper: 16)
        dropout          between the two convolutions of a layer, in training only (the paper: 0.5 for CIFAR-10)

    Shapes:  canvas over an image (B, channels, H, W) in -1..1 -> (B, params, H, W)
    Source:  arXiv 1712.09763, figure 2, and the authors' code
    Memory:  a training step keeps a weight for every pair of pixels in each block
    Differs: the weights of attention add up to 1, where the authors add 1e-6 to their sum; `FirstConv2d`, `EluReadout`

    >>> import pixelrnn
    >>> model = pixelrnn.build("pixelsnail", size=(6, 6), levels=256, blocks=1, layers=1, width=4)
    >>> model.log_prob(torch.zeros(3, 1, 6, 6, dtype=torch.uint8)).shape
    torch.Size([3])
    """

    default_head = "logistic-mixture"
    remembers = True
    trains_on_pairs = True  # its values have another size than its keys, so PyTorch keeps the weights

    def __init__(
        self,
        head: Head,
        condition_width: int = 0,
        *,
        layers: Layers,
        width: Width,
        blocks: Layers = 12,
        keys: Keys = 16,
        dropout: Dropout = 0.0,
    ) -> None:
        super().__init__()
        same: dict[str, Any] = {"dropout": dropout, "condition_width": condition_width}
        self.first_over, self.first_left = (
            FirstConv2d(head.channels, width, reach) for reach in (FIRST_OVER, FIRST_LEFT)
        )
        self.blocks = nn.ModuleList(SnailBlock(head.channels, width, layers, keys, **same) for _ in range(blocks))
        self.readout = EluReadout(width, head)

    def forward(self, canvas: Canvas) -> Tensor:
        over = canvas.per_row(self, lambda: [self.first_over(canvas)])[0]
        x, pixels, positions = self.first_left(canvas, over), canvas.before(), canvas.positions(self, _positions)
        for block in self.blocks:
            x = block(x, canvas, pixels, positions)
        return cast("Tensor", self.readout(x, canvas))

    def field(self, row: int, column: int, height: int, width: int) -> Tensor:
        """The receptive field of the parameters at (row, column): (height, width) bool."""
        return torch.arange(height * width).reshape(height, width) < row * width + column

    def condition_field(self, row: int, column: int, height: int, width: int) -> Tensor:
        """The positions of the condition map that the parameters at (row, column) depend on: (height, width) bool."""
        return torch.arange(height * width).reshape(height, width) <= row * width + column

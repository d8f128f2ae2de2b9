"""What a network is to the rest of the package."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from pixelrnn.canvas import Canvas


class Stage(NamedTuple):
    """A part of an image that is walked in raster order: every `step`-th pixel in both directions.

    `given` makes the condition of the stage's network from its image, of which only the pixels of earlier stages are
    read, and from the condition of the image there: (B, C, h, w), (B, maps, h, w) or None -> (B, maps, h, w). Left out,
    the condition is that of the image.
    """

    network: Network
    step: int = 1
    condition_map: Callable[[Tensor, Tensor | None], Tensor] | None = None


class Network(nn.Module, ABC):
    """A causal network: built as `Network(head, condition_width, layers=..., width=..., **its own options)`.

    `condition_width` is the number of maps of the condition map s, 0 for none. It gives `head.num_params` parameters
    per pixel of images of `head.channels` colours. Where `head.groups` is the number of colours, it has as many groups
    of feature maps, and a later colour's group sees the earlier colours.
    """

    default_head: str | None = None  # None: "bernoulli" for 2 levels, "categorical" for more

    @abstractmethod
    def forward(self, canvas: Canvas) -> Tensor:
        """The parameters of every pixel in the canvas' region, (B, params, h, w), from the pixels before it.

        Everything that is read is asked of the canvas. With several groups the parameters are cut into as many equal
        parts; part k may also depend on the colours before k of its own pixel.
        """

    @abstractmethod
    def field(self, row: int, column: int, height: int, width: int) -> Tensor:
        """The pixels that (row, column) is declared to depend on: (height, width) bool."""

    def stages(self) -> list[Stage]:
        """How the network is walked: one raster scan of the image, if nothing else is said."""
        return [Stage(self)]

    def order(self, height: int, width: int) -> Tensor:
        """Which pixel comes how many-th: (height, width) int64; a pixel may depend on those that come before it."""
        return torch.arange(height * width).reshape(height, width)

"""What a network is to the rest of the package."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from pixelrnn.canvas import Canvas, Order
from pixelrnn.errors import ConfigError


class Stage(NamedTuple):
    """A part of an image that is walked in raster order: every `step`-th pixel in both directions.

    `condition_map` makes the condition map of the stage's network from its image, of which only the pixels of earlier
    stages are read, and from the image's condition map: (B, C, h, w), (B, maps, h, w) or None -> (B, maps, h, w). Left
    out, the condition map is that of the image.
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

    orders: Literal["raster", "multi-scale", "any"] = "raster"
    """The generation orders that the network can take; one that takes any reads `canvas.order`."""

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

    def order(self, height: int, width: int) -> Order:
        """The generation order of an image of this size, unless another is asked for."""
        return Order.raster(height, width)

    def checked_order(self, order: Order | None, size: tuple[int, int]) -> Order | None:
        """The generation order that is asked for; None for the network's own.

        Raises: ConfigError if it is of another size, or the network cannot take it
        """
        if order is None:
            return None
        if tuple(order.size) != tuple(size):
            raise ConfigError(f"The order is for images of {_hw(order.size)}, but they are {_hw(size)}.")
        if self.orders == "any":
            return order
        if not torch.equal(order.ranks, self.order(*size).ranks):
            raise ConfigError(
                f"{type(self).__name__} generates in {self.orders} order only, so it cannot take another one. "
                "Leave order out."
            )
        return None


def _hw(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"

"""Running a network on a few pixels at a time: with a cache of its past, or on the whole image each time."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from pixelrnn.canvas import Incremental, Order, Ordered, Region, Whole
from pixelrnn.networks import Network


class Runner(Protocol):
    """Runs a network on spans of a run of pixels."""

    def begin(self, run: Tensor) -> None:
        """Start the next run: (w,) flat indices of its pixels. All images are active again."""

    def only(self, images: Tensor) -> None:
        """Keep only these images of the batch active until the next run."""

    def write(self, first: int, pixels: Tensor) -> None:
        """Show the network pixels (B, C, w) of the active images, from pixel `first` of the run on."""

    def params(self, first: int, width: int) -> Tensor:
        """The parameters of `width` pixels from pixel `first` of the run on, for the active images: (B, params, w)."""

    def skip(self, first: int, width: int) -> None:
        """Skip pixels that are known in every image, computing only what later parameters need."""


class Cached:
    """Raster order, on the incremental canvas: every layer caches its past."""

    def __init__(
        self, network: Network, images: Tensor, dtype: torch.dtype, condition_map: Tensor | None, order: Order | None
    ) -> None:
        self.network, self.columns = network, images.shape[3]
        self.canvas = Incremental(tuple(images.shape), dtype, images.device, condition_map)
        self.row = 0

    def begin(self, run: Tensor) -> None:
        self.row = int(run[0]) // self.columns
        self.canvas.begin(Region(self.row, 0, len(run)))

    def only(self, images: Tensor) -> None:
        self.canvas.only(images)

    def write(self, first: int, pixels: Tensor) -> None:
        self.canvas.begin(Region(self.row, first, pixels.shape[2]))
        self.canvas.write(pixels)

    def params(self, first: int, width: int) -> Tensor:
        self.canvas.begin(Region(self.row, first, width))
        with torch.autocast(self.canvas.device.type, enabled=False):
            return self.canvas.run(self.network)[:, :, 0]

    def skip(self, first: int, width: int) -> None:
        self.params(first, width)


class CachedAlongOrder:
    """Any order, on the canvas that walks along it."""

    def __init__(
        self, network: Network, images: Tensor, dtype: torch.dtype, condition_map: Tensor | None, order: Order | None
    ) -> None:
        self.network, self.device = network, images.device
        order = order or network.order(images.shape[2], images.shape[3])
        self.ranks, self.rank = order.ranks.flatten(), 0
        self.canvas = Ordered(tuple(images.shape), dtype, images.device, order, condition_map)

    def begin(self, run: Tensor) -> None:
        self.rank = int(self.ranks[int(run[0])])
        self.canvas.only(None)

    def only(self, images: Tensor) -> None:
        self.canvas.only(images)

    def write(self, first: int, pixels: Tensor) -> None:
        self.canvas.write(self.rank + first, pixels)

    def params(self, first: int, width: int) -> Tensor:
        self.canvas.begin(self.rank + first, width)
        with torch.autocast(self.device.type, enabled=False):
            return self.network(self.canvas)[:, :, 0]

    def skip(self, first: int, width: int) -> None:
        self.params(first, width)


class Uncached:
    """Any order, on whole images: one full pass for every span, whatever its width."""

    def __init__(
        self, network: Network, images: Tensor, dtype: torch.dtype, condition_map: Tensor | None, order: Order | None
    ) -> None:
        self.network, self.condition_map = network, condition_map
        self.order = order or network.order(images.shape[2], images.shape[3])
        self.seen = torch.zeros(images.shape, dtype=dtype, device=images.device)  # as the network sees them
        self.run = torch.empty(0, dtype=torch.long)
        self.images: Tensor | None = None

    def begin(self, run: Tensor) -> None:
        self.run, self.images = run.to(self.seen.device), None

    def only(self, images: Tensor) -> None:
        self.images = images

    def write(self, first: int, pixels: Tensor) -> None:
        where = self.run[first : first + pixels.shape[2]]
        images = torch.arange(len(self.seen), device=where.device) if self.images is None else self.images
        self.seen.flatten(2)[images[:, None, None], torch.arange(pixels.shape[1])[:, None], where] = pixels

    def params(self, first: int, width: int) -> Tensor:
        seen, s = self.seen, self.condition_map
        if self.images is not None:
            seen, s = seen[self.images], None if s is None else s[self.images]
        with torch.autocast(seen.device.type, enabled=False):
            params = self.network(Whole(seen, s, self.order))
        return params.flatten(2)[:, :, self.run[first : first + width]]

    def skip(self, first: int, width: int) -> None:
        """Nothing to do: only the pixels are stored."""

"""The canvas of a walk along any generation order, for networks that look at single pixels and at all earlier ones."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, cast

import torch
from torch import Tensor

from pixelrnn.canvas.base import Canvas, Convolvable, LocallyMasked, Made, MakePositions, Reach, Scannable
from pixelrnn.canvas.locally_masked import locally_masked_pixels
from pixelrnn.canvas.order import Order
from pixelrnn.canvas.stores import Past


class Ordered(Canvas):
    """A walk over images of `shape` (B, C, H, W) along `order`; the region is a piece of the order.

    `begin(rank, width)` opens a pass over the pixels of rank `rank` to `rank + width - 1`, which stand side by side in
    one row, (B, maps, 1, width); the network is run, `write` puts pixels into the image. A region may be run again:
    what a layer keeps is simply written anew. `only` leaves some images of the batch at work; the others rest.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        dtype: torch.dtype,
        device: torch.device,
        order: Order,
        condition_map: Tensor | None = None,
    ) -> None:
        super().__init__(condition_map, order)
        batch, channels, height, width = shape
        self._along = order.along.to(device)
        # In generation order, and one before the first.
        self._pixels = torch.zeros(batch, channels, 1 + height * width, dtype=dtype, device=device)
        self._maps: dict[Hashable, Tensor] = {}  # as _pixels
        self._pasts: dict[Hashable, Past] = {}
        self._prepared: dict[Hashable, Any] = {}
        self.rank, self.width = 0, 1
        self.images: Tensor | None = None
        """Indices of those at work; None: all."""

    def begin(self, rank: int, width: int) -> None:
        """Open a pass over so many pixels."""
        self.rank, self.width = rank, width
        self._used.clear()

    def only(self, images: Tensor | None) -> None:
        """Leave the images of these indices in the whole batch at work; None: all."""
        self.images = images

    def write(self, rank: int, pixels: Tensor) -> None:
        """Put `pixels` (B, C, w) of the images at work, as the network sees them, into the image."""
        here = slice(1 + rank, 1 + rank + pixels.shape[2])
        if self.images is None:
            self._pixels[:, :, here] = pixels
        else:
            self._pixels[self.images, :, here] = pixels

    @property
    def memory(self) -> int:
        """Numbers that are kept."""
        kept: list[Tensor | Past] = [self._pixels, *self._maps.values(), *self._pasts.values()]
        return sum(each.numel() for each in kept)

    def convolve(self, conv: Convolvable, x: Tensor | None, plus: Tensor | None, overwrite: bool) -> Tensor:
        return conv.whole(self.look(conv.reach) if x is None else self.window(conv, x, conv.reach), plus)

    def look(self, reach: Reach) -> Tensor:
        self._check(reach)
        return self._at_work(self._pixels)[:, :, None, 1 + self.rank : 1 + self.rank + self.width]

    def window(self, key: Hashable, x: Tensor, reach: Reach) -> Tensor:
        self._claim(key)
        self._check(reach)
        return x

    def before(self) -> Tensor:
        return self._at_work(self._pixels)[:, :, None, self.rank : self.rank + self.width]

    def positions(self, key: Hashable, make: MakePositions) -> Tensor:
        self._claim((key, "positions"))

        def everywhere() -> Tensor:
            assert self.order is not None
            here, there = (each.to(self._along.device) for each in self.order.places())
            return make(here, there, self.order.size).to(self._pixels.dtype)

        return self.once((key, "positions"), everywhere)[None, :, None, self.rank : self.rank + self.width]

    def earlier(self, key: Hashable, x: Tensor) -> Tensor:
        self._claim(key)
        self._keep(key, x)
        return self._at_work(self._maps[key])[:, :, None, self.rank : self.rank + self.width]

    def _keep(self, key: Hashable, x: Tensor) -> None:
        if key not in self._maps:
            self._maps[key] = x.new_zeros(len(self._pixels), x.shape[1], self._pixels.shape[2])
        every = slice(None) if self.images is None else self.images
        self._maps[key][every, :, 1 + self.rank : 1 + self.rank + self.width] = x[:, :, 0]

    def convolve_earlier(self, conv: LocallyMasked, x: Tensor | None) -> Tensor:
        self._claim(conv)
        if x is None:
            maps = self._pixels
        else:
            self._keep(conv, x)
            maps = self._maps[conv]
        seen = (conv.weight.shape[2], conv.step, conv.itself)
        places = self.once(seen, lambda: self._places_of_neighbours(*seen))[:, self.rank : self.rank + self.width]
        near = self._at_work(maps)[:, :, places]  # (B, C, kernel**2, w)
        return locally_masked_pixels(conv, near, self.once(conv, conv.weight.flatten(1).contiguous))

    def _places_of_neighbours(self, kernel: int, dilation: int, itself: bool) -> Tensor:
        """Where the maps of the neighbours of each pixel are kept: (kernel**2, H * W), in generation order."""
        assert self.order is not None
        ranks = self.order.neighbour_ranks(kernel, dilation)
        where = torch.where(self.order.earlier_neighbours(kernel, dilation, itself), ranks + 1, 0)
        return where.flatten(1).to(self._along.device)[:, self._along]

    def attend(self, key: Hashable, query: Tensor, keys: Tensor, values: Tensor, heads: int, window: int = 0) -> Tensor:
        self._claim(key)
        past = self._pasts.setdefault(key, Past(len(self._pixels)))
        parts = [each[:, :, 0].unflatten(1, (heads, -1)).transpose(2, 3) for each in (query, keys, values)]
        found = past.attend(parts[0], parts[1], parts[2], self.rank, self.images, window)
        return found.transpose(2, 3).reshape(values.shape)

    def condition_map(self) -> Tensor | None:
        s = self._condition_map
        if s is None:
            return None
        s = self._at_work(s)
        if s.shape[2:] == (1, 1):
            return s
        return s.flatten(2)[:, :, None, self._along[self.rank : self.rank + self.width]]

    def once(self, key: Hashable, make: Callable[[], Made]) -> Made:
        if key not in self._prepared:
            self._prepared[key] = make()
        return cast("Made", self._prepared[key])

    def per_row(self, key: Hashable, run: Callable[[], list[Tensor]]) -> list[Tensor]:
        raise AssertionError(_NO_ROWS)

    def of_row(self, key: Hashable) -> list[Tensor]:
        raise AssertionError(_NO_ROWS)

    def scan(self, recurrence: Scannable, near: list[Tensor]) -> Tensor:
        raise AssertionError(_NO_ROWS)

    def scan_both(self, rightward: Scannable, leftward: Scannable, x: Tensor) -> tuple[Tensor, Tensor]:
        raise AssertionError(_NO_ROWS)

    def row_late(self, key: Hashable, run: Callable[[Tensor], Tensor], x: Tensor, width: int) -> Tensor:
        raise AssertionError(_NO_ROWS)

    def coarser(self, key: Hashable, x: Tensor, run: Callable[[Tensor], Tensor]) -> Tensor:
        raise AssertionError(_NO_ROWS)

    def _at_work(self, x: Tensor) -> Tensor:
        return x if self.images is None else x[self.images]

    @staticmethod
    def _check(reach: Reach) -> None:
        if not reach.none:
            raise AssertionError(_NO_ROWS)


_NO_ROWS = "a walk along any order has no neighbouring rows and columns"

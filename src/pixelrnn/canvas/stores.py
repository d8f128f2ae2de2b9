"""What a walk remembers: rows of feature maps, states of recurrences, maps of a row. The batch is innermost."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from pixelrnn.canvas.base import Reach, Region, Scannable


class Working:
    """The images that are still at work in a row: `indices` in the whole batch, sorted, out of those of `before`."""

    def __init__(self, indices: Tensor, before: Working | None = None) -> None:
        self.indices, self.before = indices, before
        self.within = indices if before is None else torch.searchsorted(before.indices, indices)


class Store:
    """A tensor (..., B), of which the images at work have a copy of their own, compact in memory.

    of_row: it is of no use in another row, so nothing is written back.
    """

    def __init__(self, full: Tensor, of_row: bool) -> None:
        self.full = self._part = full
        self._of_row = of_row
        self._images: Working | None = None

    def of(self, images: Working | None) -> Tensor:
        """The part of these images, None for all; what was written to an earlier part is in it, if it is of use."""
        if images is not self._images:
            if images is None:
                self._write_back()
                self._part = self.full
            elif images.before is self._images:
                if not self._of_row:
                    self._write_back()
                self._part = self._part.index_select(-1, images.within)
            else:
                self._write_back()
                self._part = self.full.index_select(-1, images.indices)
            self._images = images
        return self._part

    def _write_back(self) -> None:
        if self._images is not None and not self._of_row:
            self.full.index_copy_(-1, self._images.indices, self._part)

    def numel(self) -> int:
        """Numbers that are kept."""
        return self.full.numel()


class Rows:
    """The last rows of one map, with zeros around them: (up + 1, C, left + W + right, B).

    Rows are shifted, not the place where they begin, so that a view of the same columns can be used again.
    """

    def __init__(
        self, batch: int, channels: int, width: int, reach: Reach, dtype: torch.dtype, device: torch.device
    ) -> None:
        if reach.down > 0:
            raise AssertionError(f"a layer may not look below its own row, but asks for {reach}")
        self._up, self._left, self._right, self._row = max(0, reach.up), max(0, reach.left), max(0, reach.right), 0
        size = (self._up + 1, channels, self._left + width + self._right, batch)
        self._store = Store(torch.zeros(size, dtype=dtype, device=device), of_row=not self._up)
        self._images: Working | None = None
        self._views: dict[Hashable, Any] = {}

    def write(self, region: Region, images: Working | None, x: Tensor, channel: int = 0) -> None:
        """Put x (C, w * B) where the region is, from `channel` on."""
        kept = self._at(region.row, images)
        key = (region.column, region.width, channel, x.shape[0])
        if key not in self._views:
            begin = self._left + region.column
            here = kept[-1, channel : channel + x.shape[0], begin : begin + region.width]
            self._keep(key, here.flatten(1))
        self._views[key].copy_(x)

    def read(self, region: Region, images: Working | None, reach: Reach) -> Tensor:
        """The region and what is around it: (B, C, 1 + up + down, left + w + right), a view."""
        kept = self._at(region.row, images)
        begin, top = self._left + region.column, self._up - reach.up
        near = kept[top : self._up + 1 + reach.down, :, begin - reach.left : begin + region.width + reach.right]
        return near.permute(3, 1, 0, 2)

    def slices(
        self, region: Region, images: Working | None, reach: Reach, columns: tuple[tuple[int, int], ...]
    ) -> list[Tensor]:
        """What some columns of a kernel see of the rows above and of this one: (rows * C, w * B) each, views.

        Arguments: columns (column of the kernel, rows from its top row on) of each slice
        """
        kept = self._at(region.row, images)
        key = (region.column, region.width, reach, columns)
        if key not in self._views:
            first, top = self._left + region.column - reach.left, self._up - reach.up
            self._keep(
                key,
                [
                    kept[top : top + rows].flatten(0, 1)[:, first + x : first + x + region.width].flatten(1)
                    for x, rows in columns
                ],
            )
        slices: list[Tensor] = self._views[key]
        return slices

    def widen(self, reach: Reach) -> None:
        """Make room for a layer that looks farther than those before it: at the first row, when nothing is lost yet."""
        wanted = (reach.up - self._up, reach.left - self._left, reach.right - self._right)
        if max(wanted) > 0:
            up, left, right = (max(0, more) for more in wanted)
            if up and self._row:
                raise AssertionError("a layer looks at the image for the first time, and the rows above are gone")
            self._up, self._left, self._right = self._up + up, self._left + left, self._right + right
            self._store = Store(F.pad(self._store.of(None), (0, 0, left, right, 0, 0, up, 0)), of_row=not self._up)
            self._images = None
            self._views.clear()

    def numel(self) -> int:
        """Numbers that are kept."""
        return self._store.numel()

    def _keep(self, key: Hashable, views: Any) -> None:
        if len(self._views) >= _MAX_VIEWS:
            self._views.clear()
        self._views[key] = views

    def _at(self, row: int, images: Working | None) -> Tensor:
        """The rows that end with `row`: each that is finished moves up, the oldest leaves."""
        if images is not self._images:
            self._images = images
            self._views.clear()
        kept = self._store.of(images)
        while self._row < row:
            for line in range(self._up):
                kept[line].copy_(kept[line + 1])
            self._row += 1  # what stands in the new row is of the row before: nothing right of the region is read
        return kept


_MAX_VIEWS = 1000  # of one map: enough for every span of a small image


class States:
    """The states h and c of a recurrence in the row above and in this one, with the initial ones around them.

    Shapes: (width, 2, margin + W + margin, B) each
    """

    def __init__(self, recurrence: Scannable, batch: int, width: int) -> None:
        self._row = 0
        size = (-1, 2, width + 2 * recurrence.margin, batch)
        starts = (recurrence.start_h, recurrence.start_c)
        self._stores = [
            Store(start.detach()[:, None, None, None].expand(size).clone(), of_row=False) for start in starts
        ]

    def at(self, row: int, images: Working | None) -> list[Tensor]:
        """h and c with `row` as this one: a row that is finished becomes the row above."""
        states = [store.of(images) for store in self._stores]
        while self._row < row:
            for state in states:
                state[:, 0] = state[:, 1]
            self._row += 1
        return states

    def numel(self) -> int:
        """Numbers that are kept."""
        return sum(store.numel() for store in self._stores)

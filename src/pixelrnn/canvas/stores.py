"""What a walk remembers: rows of feature maps, states of recurrences, maps of a row. The batch is innermost.

Every store has a lifetime, which the verb that makes it names: what lives until the end of its row is of no use in the
next one, what lives until the end of the walk is.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from pixelrnn.canvas.base import Reach, Region, Scannable

Lifetime = Literal["row", "end"]
"""Until when a store is needed: the end of its row, or the end of the walk."""


class Working:
    """The images that are still at work in a row: `indices` into the whole batch, sorted, a part of those of `before`.

    Of images 0..7, first 1, 4 and 6 go on, then 4 alone: `within` says where the second choice stands in the first.

    >>> three = Working(torch.tensor([1, 4, 6]))
    >>> Working(torch.tensor([4]), before=three).within
    tensor([1])
    """

    def __init__(self, indices: Tensor, before: Working | None = None) -> None:
        self.indices, self.before = indices, before
        self.within = indices if before is None else torch.searchsorted(before.indices, indices)


class Store:
    """A tensor (..., B), of which the images at work have a copy of their own, compact in memory.

    With `until="end"` a change to the copy is written back before another choice of images is made.

    >>> store = Store(torch.zeros(1, 4), until="end")
    >>> _ = store.of(Working(torch.tensor([1, 3]))).add_(5)
    >>> store.of(None)
    tensor([[0., 5., 0., 5.]])
    """

    def __init__(self, full: Tensor, until: Lifetime) -> None:
        self.full = self._part = full
        self._until = until
        self._images: Working | None = None

    def of(self, images: Working | None) -> Tensor:
        """The part of these images, None for all."""
        if images is not self._images:
            if images is None:
                self._write_back()
                self._part = self.full
            elif images.before is self._images:
                self._write_back()
                self._part = self._part.index_select(-1, images.within)
            else:
                self._write_back()
                self._part = self.full.index_select(-1, images.indices)
            self._images = images
        return self._part

    def _write_back(self) -> None:
        if self._images is not None and self._until == "end":
            self.full.index_copy_(-1, self._images.indices, self._part)

    def numel(self) -> int:
        """Numbers that are kept."""
        return self.full.numel()


class Rows:
    """The last rows of one map, with zeros around them: (up + 1, C, left + W + right, B).

    The newest row is always the last one: with each new row all others move up by one, rather than the index of the
    newest moving, so that a view of the same columns can be used again. With up = 1, W = 3 and a margin of one column,
    after row 4 was written and row 5 has begun in column 0:

        row 4    0  a  b  c  0
        row 5    0  d  .  .  0      columns right of the region hold what is left of an older row, and are never read
    """

    def __init__(
        self,
        batch: int,
        channels: int,
        width: int,
        reach: Reach,
        dtype: torch.dtype,
        device: torch.device,
        until: Lifetime,
    ) -> None:
        if reach.down > 0:
            raise AssertionError(f"a layer may not look below its own row, but asks for {reach}")
        self._up, self._left, self._right, self._row = max(0, reach.up), max(0, reach.left), max(0, reach.right), 0
        size = (self._up + 1, channels, self._left + width + self._right, batch)
        self._until = until
        self._store = Store(torch.zeros(size, dtype=dtype, device=device), until)
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
            self._store = Store(F.pad(self._store.of(None), (0, 0, left, right, 0, 0, up, 0)), self._until)
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
            self._row += 1
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
            Store(start.detach()[:, None, None, None].expand(size).clone(), until="end") for start in starts
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


class Past:
    """The keys and values of an attention layer, (B, heads, pixels, size) each, in generation order."""

    def __init__(self, batch: int) -> None:
        self._batch = batch
        self._kept: list[Tensor] = []

    def attend(
        self, query: Tensor, keys: Tensor, values: Tensor, rank: int, images: Tensor | None, window: int
    ) -> Tensor:
        """Keep the keys and values of some pixels, the first of rank `rank`, and attend to those up to each of them: to
        all of them, or to the last `window`.

        Shapes: (B, heads, w, size) each, of the images at work, whose indices are `images` (None: all) -> the same
        """
        end, wide = rank + query.shape[2], query.shape[2]
        if not self._kept:
            self._kept = [each.new_empty(self._batch, each.shape[1], 0, each.shape[3]) for each in (keys, values)]
        if end > self._kept[0].shape[2]:
            self._kept = [F.pad(each, (0, 0, 0, 2 * end - each.shape[2])) for each in self._kept]
        every = slice(None) if images is None else images
        for kept, new in zip(self._kept, (keys, values), strict=True):
            kept[every, :, rank:end] = new
        start = max(0, rank + 1 - window) if window else 0
        seen_keys, seen_values = (each[every, :, start:end] for each in self._kept)
        mask = None
        if wide > 1:
            mask = torch.ones(wide, end - start, dtype=torch.bool, device=query.device).tril(rank - start)
            mask = mask.triu(rank - start + 1 - window) if window else mask
        return F.scaled_dot_product_attention(query, seen_keys, seen_values, attn_mask=mask)

    def numel(self) -> int:
        """Numbers that are kept."""
        return sum(each.numel() for each in self._kept)

"""What a walk remembers: rows of feature maps, states of recurrences, maps of a row. The batch is innermost."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from pixelrnn.canvas.base import Reach, Region, Scannable


class Store:
    """A tensor (..., B), of which the images at work have a copy of their own, compact in memory."""

    def __init__(self, full: Tensor) -> None:
        self.full = self._part = full
        self._images: Tensor | None = None

    def of(self, images: Tensor | None, *, keep: bool = True) -> Tensor:
        """The part of these images, None for all; what was written to an earlier part is in it, if it is to be kept."""
        if images is not self._images:
            if keep and self._images is not None:
                self.full.index_copy_(-1, self._images, self._part)
            self._part = self.full if images is None else self.full.index_select(-1, images)
            self._images = images
        return self._part

    def numel(self) -> int:
        """Numbers that are kept."""
        return self.full.numel()


class Rows:
    """The last rows of one map, with zeros around them: (up + 1, C, left + W + right, B)."""

    def __init__(
        self, batch: int, channels: int, width: int, reach: Reach, dtype: torch.dtype, device: torch.device
    ) -> None:  # fmt: skip
        if reach.down > 0:
            raise AssertionError(f"a layer may not look below its own row, but asks for {reach}")
        self._up, self._left, self._right, self._row = max(0, reach.up), max(0, reach.left), max(0, reach.right), 0
        size = (self._up + 1, channels, self._left + width + self._right, batch)
        self._store = Store(torch.zeros(size, dtype=dtype, device=device))

    def write(self, region: Region, images: Tensor | None, x: Tensor, channel: int = 0) -> None:
        """Put x (C, w, B) where the region is, from `channel` on."""
        kept = self._at(region.row, images)
        begin = self._left + region.column
        kept[-1, channel : channel + len(x), begin : begin + region.width] = x

    def read(self, region: Region, images: Tensor | None, reach: Reach) -> Tensor:
        """The region and what is around it: (B, C, 1 + up + down, left + w + right), a view."""
        kept = self._at(region.row, images)
        begin, top = self._left + region.column, self._up - reach.up
        near = kept[top : self._up + 1 + reach.down, :, begin - reach.left : begin + region.width + reach.right]
        return near.permute(3, 1, 0, 2)

    def widen(self, reach: Reach) -> None:
        """Make room for a layer that looks farther than those before it: at the first row, when nothing is lost yet."""
        up, left, right = (
            max(0, more) for more in (reach.up - self._up, reach.left - self._left, reach.right - self._right)
        )
        if up or left or right:
            if up and self._row:
                raise AssertionError("a layer looks at the image for the first time, and the rows above are gone")
            self._store = Store(F.pad(self._store.of(None), (0, 0, left, right, 0, 0, up, 0)))
            self._up, self._left, self._right = self._up + up, self._left + left, self._right + right

    def numel(self) -> int:
        """Numbers that are kept."""
        return self._store.numel()

    def _at(self, row: int, images: Tensor | None) -> Tensor:
        """The rows that end with `row`: each that is finished moves up, the oldest leaves."""
        kept = self._store.of(images, keep=self._up > 0 or self._row == row)
        while self._row < row:
            for line in range(self._up):
                kept[line] = kept[line + 1]
            kept[-1] = 0
            self._row += 1
        return kept


class States:
    """The states h and c of a recurrence in the row above and in this one, with the initial ones around them.

    Shapes: (width, 2, margin + W + margin, B) each
    """

    def __init__(self, recurrence: Scannable, batch: int, width: int) -> None:
        self._row = 0
        size = (-1, 2, width + 2 * recurrence.margin, batch)
        starts = (recurrence.start_h, recurrence.start_c)
        self._stores = [Store(start.detach()[:, None, None, None].expand(size).clone()) for start in starts]

    def at(self, row: int, images: Tensor | None) -> list[Tensor]:
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

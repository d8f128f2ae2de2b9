"""The canvas of the incremental pass: one region at a time, and what every layer wrote before is remembered."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor

from pixelrnn.canvas.base import Canvas, Convolvable, LocallyMasked, Made, MakePositions, Reach, Region, Scannable
from pixelrnn.canvas.locally_masked import locally_masked_pixels
from pixelrnn.canvas.order import Order
from pixelrnn.canvas.stores import Lifetime, Past, Rows, States, Store, Working


class Level:
    """One resolution of a walk: the region at work, and what the layers at this resolution remember.

    The image is walked at level 0. Inside `coarser` the walk is one level down, where everything is half as large.
    """

    def __init__(self, batch: int, width: int, stride: int = 1) -> None:
        self.batch, self.width, self.stride = batch, width, stride
        self.region = Region(0, 0, 1)
        self.rows: dict[Hashable, Rows] = {}
        self.of_row: dict[Hashable, tuple[int, list[Store]]] = {}
        self.states: dict[Hashable, States] = {}
        self.pasts: dict[Hashable, Past] = {}
        self.coarser: Level | None = None

    def numel(self) -> int:
        """Numbers that are kept at this level and below."""
        kept: list[Rows | States | Past | Level] = [*self.rows.values(), *self.states.values(), *self.pasts.values()]
        kept += [] if self.coarser is None else [self.coarser]
        of_row = (store for _, stores in self.of_row.values() for store in stores)
        return sum(each.numel() for each in kept) + sum(each.numel() for each in of_row)


class Incremental(Canvas):
    """The incremental pass over images of `shape` (B, C, H, W): rows from top to bottom, spans from left to right.

    `begin(region)` opens a pass, the network is run, `write` puts pixels into the image. A region may be run again
    (once per colour, or with other guesses): what a layer keeps is simply written anew. Within a row, `only` leaves
    some images of the batch at work; the others rest until the next row.

    In memory the batch is innermost, so that a convolution over a row is a few matrix products of slices. A layer that
    looks `up` rows above keeps up + 1 rows, the image too: memory grows with the width, not with the area.
    """

    def __init__(
        self, shape: tuple[int, ...], dtype: torch.dtype, device: torch.device, condition_map: Tensor | None = None
    ) -> None:
        super().__init__(condition_map)
        batch, channels, height, width = shape
        self._size, self._dtype, self.device = (height, width), dtype, device
        self._level = Level(batch, width)
        self._image = Rows(batch, channels, width, _NOWHERE, dtype, device, until="end")
        self._prepared: dict[Hashable, Any] = {}
        self._images: Working | None = None  # None: all
        self._condition_here: Tensor | None = None  # the condition map in the region and of the images of ...
        self._condition_at: tuple[int, Region, Working | None] | None = None  # ... this level, region and choice

    @property
    def region(self) -> Region:
        """The span that is being run, at the present level."""
        return self._level.region

    def begin(self, region: Region) -> None:
        """Open a pass over `region`; rows must not go backwards. With a new row all images are at work again."""
        if region.row < self.region.row:
            raise AssertionError(f"the walk is at row {self.region.row}, it cannot go back to row {region.row}")
        if region.row > self.region.row:
            self._images = None
        self._level.region = region
        self._used.clear()

    def only(self, images: Tensor) -> None:
        """Leave the images of these indices in the whole batch at work until the next row, others must rest already."""
        self._images = Working(images, self._images)

    @property
    def images(self) -> Tensor | None:
        """Indices of those at work; None if all are."""
        return None if self._images is None else self._images.indices

    def write(self, pixels: Tensor, channel: int = 0) -> None:
        """Put `pixels` (B, C, w), scaled as the network sees them, into the region's colours from `channel` on."""
        self._image.write(self.region, self._images, pixels.permute(1, 2, 0).flatten(1), channel)

    def run(self, network: Callable[[Canvas], Tensor]) -> Tensor:
        """What a network makes of the region, image by image: (B, maps, 1, w)."""
        return self._by_image(network(self))

    @property
    def memory(self) -> int:
        """Numbers that are kept: those of the rows, of the maps of a row and of the states, at all levels."""
        return self._image.numel() + self._level.numel()

    @property
    def memory_of_pixels(self) -> int:
        """Numbers that are kept of all pixels until the end of the walk."""
        return sum(each.numel() for each in self._level.pasts.values())

    def convolve(self, conv: Convolvable, x: Tensor | None, plus: Tensor | None, overwrite: bool) -> Tensor:
        """Products of slices of the rows that are kept, the region's own pixels among them."""
        self._claim(conv)
        prepared, level = self.once(conv, conv.prepared), self._level
        if x is None:
            assert level.stride == 1, "a coarser level has no image"
            self._image.widen(conv.reach)
            slices = self._image.slices(level.region, self._images, conv.reach, prepared.columns)
        elif conv.reach == _NOWHERE:
            slices = [_flat(x)]
        else:
            rows = self._kept(conv, x, conv.reach, until="end" if conv.reach.up > 0 else "row")
            slices = rows.slices(level.region, self._images, conv.reach, prepared.columns)
        y = conv.pixels(slices, None if plus is None else _flat(plus), prepared, overwrite)
        return y.view(1, y.shape[0], 1, -1)

    def look(self, reach: Reach) -> Tensor:
        assert self._level.stride == 1, "a coarser level has no image"
        self._image.widen(reach)
        return self._image.read(self.region, self._images, reach)

    def condition_map(self) -> Tensor | None:
        """The condition map of the region's pixels, of the images at work: (1, maps, 1, w * B)."""
        if self._condition_map is None:
            return None
        level = self._level
        key = (level.stride, level.region, self._images)
        if key != self._condition_at:
            row, column, width = level.region
            s = self._condition_map
            line = s[:, :, row * level.stride if s.shape[2] > 1 else 0, :: level.stride]
            here = line.expand(-1, -1, level.width)[:, :, column : column + width]
            here = here if self.images is None else here[self.images]
            self._condition_at, self._condition_here = key, here.permute(1, 2, 0).flatten(1)[None, :, None]
        return self._condition_here

    def window(self, key: Hashable, x: Tensor, reach: Reach) -> Tensor:
        self._claim(key)
        if reach.none:
            return self._by_image(x)
        rows = self._kept(key, x, reach, until="end" if reach.up > 0 else "row")
        return rows.read(self.region, self._images, reach)

    def per_row(self, key: Hashable, run: Callable[[], list[Tensor]]) -> list[Tensor]:
        self._claim(key)
        return self._once_per_row(key, self.region.row, run)

    def of_row(self, key: Hashable) -> list[Tensor]:
        return self._in_region(*self._level.of_row[key])

    def scan(self, recurrence: Scannable, near: list[Tensor]) -> Tensor:
        self._claim(recurrence)
        states = self._level.states
        if recurrence not in states:
            states[recurrence] = States(recurrence, self._level.batch, self._level.width)
        h, c = states[recurrence].at(self.region.row, self._images)
        prepared = self.once(recurrence, recurrence.prepared)
        return recurrence.span(near, h, c, self.region.column, prepared)

    def scan_both(self, rightward: Scannable, leftward: Scannable, x: Tensor) -> tuple[Tensor, Tensor]:
        def above(row: Tensor) -> Tensor:
            return self.scan(leftward, leftward.near(row, self))

        late = self.row_late((leftward, "late"), above, x, leftward.width)
        return self.scan(rightward, rightward.near(x, self)), late

    def row_late(self, key: Hashable, run: Callable[[Tensor], Tensor], x: Tensor, width: int) -> Tensor:
        """Keep this row; `run` on the row above, all of it, the first time that this row is asked for."""
        reach = Reach(1, 0, 0, 0)
        self._claim(key)
        rows, row = self._kept(key, x, reach, until="end"), self.region.row
        if row == 0:
            return x.new_zeros(1, width, 1, x.shape[3])

        def above() -> list[Tensor]:
            return [run(rows.slices(self.region, None, reach, ((0, 1),))[0][None, :, None])]

        return self._once_per_row(key, row - 1, above)[0]

    def coarser(self, key: Hashable, x: Tensor, run: Callable[[Tensor], Tensor]) -> Tensor:
        """Run the coarse pixels that begin in the region; the others were run before, and their maps are kept.

        In columns 3..6 of an even row coarse pixels 2 (column 4) and 3 (column 6) begin; the maps that are read are
        those of coarse pixels 1, 2, 2 and 3. In an odd row no coarse pixel begins.
        """
        self._claim(key)
        fine, (row, column, width) = self._level, self._level.region
        if fine.coarser is None:
            fine.coarser = Level(fine.batch, -(-fine.width // 2), 2 * fine.stride)
        coarse = fine.coarser
        first, end = -(-column // 2), -(-(column + width) // 2)  # of the coarse pixels that begin in these columns
        if row % 2 == 0 and end > first:
            begin = 2 * first - column
            begins = x.view(x.shape[1], width, -1)[:, begin::2].flatten(1)[None, :, None]
            coarse.region = Region(row // 2, first, end - first)
            with self._at_level(coarse):
                y = run(begins)
                self._kept(key, y, _NOWHERE, until="end")
        covered = Region(row // 2, column // 2, (column + width - 1) // 2 - column // 2 + 1)
        kept = coarse.rows[key].read(covered, self._images, _NOWHERE)[:, :, 0]  # (B, 4 * maps, coarse pixels)
        pairs = kept.unflatten(1, (2, 2, -1))[:, row % 2].permute(2, 3, 1, 0).flatten(1, 2)  # (maps, columns, B)
        return pairs.narrow(1, column % 2, width).flatten(1)[None, :, None]

    def before(self) -> Tensor:
        """The pixel to the left, or for the first one of a row the last one of the row above."""
        assert self._level.stride == 1, "a coarser level has no image"
        self._image.widen(Reach(1, 0, 1, 0))
        return self._moved(self._image)

    def positions(self, key: Hashable, make: MakePositions) -> Tensor:
        self._claim((key, "positions"))
        assert self._level.stride == 1, "a coarser level has no image"
        (row, column, width), (height, columns) = self.region, self._size

        def everywhere() -> Tensor:
            here, there = (each.to(self.device) for each in Order.raster(height, columns).places())
            return make(here, there, self._size).to(self._dtype)

        maps = self.once((key, "positions"), everywhere)[:, row * columns + column :][:, :width]
        count = self._level.batch if self.images is None else len(self.images)
        return maps.repeat_interleave(count, 1)[None, :, None]

    def earlier(self, key: Hashable, x: Tensor) -> Tensor:
        self._claim(key)
        return self._moved(self._kept(key, x, Reach(1, 0, 1, 0), until="end"))

    def _moved(self, rows: Rows) -> Tensor:
        """The region, moved by one in raster order: (1, C, 1, w * B)."""
        row, column, _ = self.region
        moved = rows.read(self.region, self._images, Reach(0, 0, 1, -1))
        if column == 0:
            end_above = rows.read(Region(row, self._level.width - 1, 1), self._images, Reach(1, -1, 0, 0))
            moved = torch.cat([end_above, moved[:, :, :, 1:]], 3)
        return moved.permute(1, 2, 3, 0).flatten(2)[None]

    def convolve_earlier(self, conv: LocallyMasked, x: Tensor | None) -> Tensor:
        """From the rows above and this one; what is below or on the right comes later."""
        self._claim(conv)
        assert self._level.stride == 1, "neighbours at a coarser level"
        kernel, width = conv.weight.shape[2], self.region.width
        side = kernel // 2 * conv.step
        reach = Reach(side, 0, side, side)
        if x is None:
            self._image.widen(reach)
        rows = self._image if x is None else self._kept(conv, x, reach, until="end")
        near = rows.read(self.region, self._images, reach)  # (B, C, up + 1, left + w + right)
        found = near.new_zeros(*near.shape[:2], kernel**2, width)
        for index in range(kernel**2 // 2 + int(conv.itself)):
            y, x_ = (each * conv.step for each in divmod(index, kernel))
            found[:, :, index] = near[:, :, y, x_ : x_ + width]
        near = found.permute(1, 2, 3, 0).flatten(2)[None]  # (1, C, kernel**2, w * B)
        return locally_masked_pixels(conv, near, self.once(conv, conv.weight.flatten(1).contiguous))

    def attend(self, key: Hashable, query: Tensor, keys: Tensor, values: Tensor, heads: int, window: int = 0) -> Tensor:
        """Over what is kept of earlier pixels, and the region."""
        self._claim(key)
        level, (row, column, width) = self._level, self._level.region
        past = level.pasts.setdefault(key, Past(level.batch))
        parts = [
            each.view(heads, -1, width, each.shape[3] // width).permute(3, 0, 2, 1) for each in (query, keys, values)
        ]
        found = past.attend(parts[0], parts[1], parts[2], row * level.width + column, self.images, window)
        return found.permute(1, 3, 2, 0).reshape(1, -1, 1, query.shape[3])

    def once(self, key: Hashable, make: Callable[[], Made]) -> Made:
        if key not in self._prepared:
            self._prepared[key] = make()
        return cast("Made", self._prepared[key])

    @contextmanager
    def _at_level(self, level: Level) -> Iterator[None]:
        before, self._level = self._level, level
        try:
            yield
        finally:
            self._level = before

    def _once_per_row(self, key: Hashable, row: int, run: Callable[[], list[Tensor]]) -> list[Tensor]:
        """Run over the whole of a row, for all images, the first time that it is asked for; crop to the region."""
        level, region, images = self._level, self._level.region, self._images
        at, stores = level.of_row.get(key, (-1, []))
        if at != row:
            level.region, self._images = Region(row, 0, level.width), None
            stores = [Store(each.reshape(each.shape[1], level.width, -1), until="row") for each in run()]
            level.region, self._images = region, images
            level.of_row[key] = (row, stores)
        return self._in_region(row, stores)

    def _in_region(self, row: int, stores: list[Store]) -> list[Tensor]:
        """Maps of a row, of the images at work, cropped to the region."""
        region = self._level.region
        assert row in (region.row, region.row - 1), "the maps of another row"
        parts = [store.of(self._images) for store in stores]
        return [
            part.view(1, part.shape[0], 1, -1).narrow(3, region.column * part.shape[2], region.width * part.shape[2])
            for part in parts
        ]

    def _kept(self, key: Hashable, x: Tensor, reach: Reach, until: Lifetime) -> Rows:
        """The rows that a layer keeps, with x in this one."""
        level = self._level
        rows = level.rows.get(key)
        if rows is None:
            rows = Rows(level.batch, x.shape[1], level.width, reach, x.dtype, x.device, until)
            level.rows[key] = rows
        rows.write(level.region, self._images, _flat(x))
        return rows

    def _by_image(self, x: Tensor) -> Tensor:
        """(1, C, 1, w * B) -> (B, C, 1, w)."""
        return x.reshape(x.shape[1], 1, self.region.width, -1).permute(3, 0, 1, 2)


def _flat(x: Tensor) -> Tensor:
    """(1, C, 1, n) -> (C, n)."""
    return x.view(x.shape[1], -1)


_NOWHERE = Reach(0, 0, 0, 0)

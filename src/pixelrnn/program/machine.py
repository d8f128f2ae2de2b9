"""A program at work on a batch of images: its memory, and the calls of the compiled interpreter."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pixelrnn.canvas import Order
from pixelrnn.checks import check_memory
from pixelrnn.program import block
from pixelrnn.program.native import entry
from pixelrnn.program.operations import OVER
from pixelrnn.program.steps import Map, Phase
from pixelrnn.program.tables import Tables

_WORTH_A_THREAD = 20e6  # multiplications
_FEW = 2  # images of a thread: one read of the weights serves more pixels of a row than images
_REMEMBERED = 4  # images that go through the pixels together, if keys and values of all pixels are read again
_MOST_AHEAD = 1 << 24  # numbers that are kept for it
# Multiplications of a row's part that are worth a second thread: starting it takes a tenth of a millisecond.
_TEAMWORK = 10e6


class Machine:
    """Draws a batch of images with a program, rows one after the other.

    Every image has memory of its own: for each map so many rows, each with its margins, all channels of a pixel side by
    side. Maps that other pixels do not read have room for one pixel only, unless pixels are drawn ahead. Kept maps have
    all pixels, one after the other, with one before the first; in planes, all pixels of a channel are side by side.

    Threads share the images. If there are more threads than images, each image has a team of them, which shares the
    columns of what is computed for a row at once.

    Arguments:
        tables     of the program
        scaled     every level as the network sees it, (levels,)
        size       of the images, (H, W)
        batch      images
        dtype      float32 or float64
        condition  the condition map, (batch, maps, H, W) or (batch, maps, 1, 1), None without one
        copies     2 if images come in pairs, with their condition and without
        order      the generation order; None for raster order
        threads    at most; None for as many as PyTorch takes
    """

    def __init__(
        self,
        tables: Tables,
        scaled: Tensor,
        size: tuple[int, int],
        batch: int,
        dtype: torch.dtype,
        condition: Tensor | None,
        copies: int,
        order: Order | None = None,
        threads: int | None = None,
    ) -> None:
        height, width = size
        self.tables, self.width, self._area, self.batch, self.copies = tables, width, height * width, batch, copies
        threads, images = torch.get_num_threads() if threads is None else threads, batch // copies
        threads = max(1, min(threads, int(tables.cost(height * width) * height * width * batch / _WORTH_A_THREAD)))
        shares = max(1, min(threads, images))
        cuts = [copies * (images * part // shares) for part in range(shares + 1)]
        self._shares = [(begin, end - begin) for begin, end in pairwise(cuts)]
        # Drawing ahead needs memory for all maps of all pixels of a row, which may be the whole image.
        everywhere = sum(each.channels for each in tables.maps) * width * batch
        self.ahead = tables.ahead and -(-images // shares) <= _FEW and everywhere <= _MOST_AHEAD
        self._together = copies * max(1, _REMEMBERED // copies) if tables.attention else batch
        members = min(threads // shares, width) if tables.products[0] * width > _TEAMWORK else 1
        self._members = max(1, members)
        self._meetings = [np.zeros(1, dtype=np.int64) for _ in self._shares]
        self._paces = [np.array([8.0, 1.0]) for _ in self._shares]
        self.threads = shares * self._members
        self._pool = ThreadPoolExecutor(self.threads - 1) if self.threads > 1 else None
        self._lay_out(np.float64 if dtype == torch.float64 else np.float32)
        for each, make in tables.of_order:
            self._bring_of_order(each, make(Order.raster(height, width) if order is None else order).numpy())
        self.scaled = scaled.numpy()
        self._begun = False
        self._condition = np.zeros((batch, height, 0), self.memory.dtype)
        if condition is not None and tables.condition >= 0:
            self._bring(condition.numpy())
        self._entry = entry("float64" if dtype == torch.float64 else "float32")
        self._blocks = [[self._block(share, member) for member in range(self._members)] for share in range(shares)]

    @property
    def block(self) -> npt.NDArray[np.int64]:
        """Of the only thread."""
        return self._blocks[0][0]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool:
            self._pool.shutdown()

    def _lay_out(self, number: Any) -> None:
        """Give every map its place."""
        sizes, shared = [0, 0], [0, 0]  # of an image's memory, and of what all images share: narrow, wide
        # First number of the first pixel, rows, size of a row, from a column to the next, from a channel to the next.
        self._maps: dict[int, tuple[int, int, int, int, int, bool]] = {}
        height = self._area // self.width
        for each in self.tables.maps:
            kind = int(each.double)
            if each.phase == Phase.CONST:
                self._maps[each.index] = (shared[kind], 1, 0, 0, 1, True)
                shared[kind] += each.channels
                continue
            if each.kept:
                plane = 1 + self._area  # a pixel before the first
                column, channel = (1, plane) if each.planes else (each.channels, 1)
                self._maps[each.index] = (sizes[kind] + column, height, self.width * column, column, channel, False)
                sizes[kind] += plane * each.channels
                continue
            far = self.ahead or each.phase == Phase.ROW or max(each.up, each.left, each.right) > 0
            columns = each.left + self.width + each.right if far and each.phase != Phase.IMAGE else 1
            rows, row = each.up + 1, columns * each.channels
            column = each.channels if each.phase != Phase.IMAGE and far else 0
            self._maps[each.index] = (sizes[kind] + each.left * column, rows, row, column, 1, False)
            sizes[kind] += rows * row
        sizes = [-(-size // 16) * 16 for size in sizes]
        kinds = (number, np.float64)
        needed = sum(self.batch * size * np.dtype(kind).itemsize for size, kind in zip(sizes, kinds, strict=True))
        what = f"A compiled walk over {self.batch} images of {self._area} pixels"
        check_memory(what, needed, torch.device("cpu"))
        narrow, wide = (  # 16 more: vectors may reach beyond the last number
            np.zeros(self.batch * size + more + 16, kind) for size, more, kind in zip(sizes, shared, kinds, strict=True)
        )
        if number == np.float64:  # then there is one memory
            wide = narrow
        self.memory, self.wide, self._sizes = narrow, wide, sizes
        for each in self.tables.maps:
            first, rows, row, column, _, _ = self._maps[each.index]
            memory, size = (self.wide, sizes[1]) if each.double else (self.memory, sizes[0])
            if each.value is not None:
                memory[self.batch * size + first :][: each.channels] = each.value
            elif each.start is not None:
                first -= each.left * column
                images = memory[: self.batch * size].reshape(self.batch, size)[:, first : first + rows * row]
                images.reshape(self.batch, -1, each.channels)[:] = each.start.numpy()
        places, steps = [], []
        of_map = {each.index: each for each in self.tables.maps}
        for index, dy, dx, channel, every in self.tables.operands:
            first, rows, row, a_column, a_channel, is_shared = self._maps[index]
            size = sizes[int(of_map[index].double)]
            first += self.batch * size if is_shared else 0
            places.append((first + dx * a_column + channel * a_channel, rows, row, dy))
            steps.append((0 if is_shared else size, every * a_column))
        self.places = np.array(places, dtype=np.int64).reshape(-1, 4)
        self._at = [np.zeros(len(places), dtype=np.int64) for _ in self._shares]
        self.steps = np.array(steps, dtype=np.int64).ravel()

    def _bring_of_order(self, map_: Map, numbers: npt.NDArray[np.float64]) -> None:
        """Put numbers (channels, H * W) of places into the memory of every image."""
        first = self._maps[map_.index][0]
        images = self.memory[: self.batch * self._sizes[0]].reshape(self.batch, -1)
        images[:, first : first + numbers.size] = numbers.T.ravel()

    def _bring(self, condition: npt.NDArray[Any]) -> None:
        """Put the condition map where the program reads it, now or row by row."""
        lines = np.ascontiguousarray(condition.transpose(0, 2, 3, 1)).reshape(self.batch, condition.shape[2], -1)
        if condition.shape[2:] != (1, 1):
            self._condition = lines
            return
        first = int(self.places[self.tables.condition, 0])
        images = self.memory[: self.batch * self._sizes[0]].reshape(self.batch, -1)
        images[:, first : first + lines.shape[2]] = lines[:, 0]

    def draw(
        self,
        row: int,
        rows: int,
        column: int,
        columns: int,
        pixels: npt.NDArray[np.uint8],
        known: npt.NDArray[np.bool_],
        numbers: npt.NDArray[np.float64],
        temperature: float,
        strength: float,
    ) -> tuple[int, int] | None:
        """Draw some columns of some rows in place: rows one after the other, their columns from left to right.

        Shapes:  pixels (batch, C, H * W), known (batch, H * W), numbers (batch / copies, C, H * W)
        Returns: None, or the image and the pixel whose parameters are not finite
        """
        for each in self._blocks:
            for one in each:
                arrays = pixels, known, numbers
                one[[block.PIXELS, block.KNOWN, block.NUMBERS]] = [every.ctypes.data for every in arrays]
                one[[block.TEMPERATURE, block.STRENGTH]] = np.array([temperature, strength]).view(np.int64)

        def begin(share: int) -> None:
            self._call(self._blocks[share][0], block.BEGIN, row=row)

        def prepare(share: int, member: int) -> None:
            self._call(self._blocks[share][member], block.PREPARE, row=row, begins=begins)

        def draw(share: int) -> int:
            work = block.DRAW_AHEAD if self.ahead else block.DRAW
            settings = {"begins": begins, "column": column, "columns": columns, "rows": count}
            one, (first, images) = self._blocks[share][0], self._shares[share]
            for image in range(first, first + images, self._together):
                one[[block.IMAGE, block.IMAGES]] = image, min(self._together, first + images - image)
                if (bad := self._call(one, work, row=row, **settings)) >= 0:
                    return bad
            return -1

        shares, members = range(len(self._shares)), range(self._members)
        end, count = row + rows, rows if self._members == 1 else 1
        while row < end:
            begins = 0 if column else 1 if self._begun else 2
            self._begun = True
            if begins and self._members > 1:
                for share in shares:
                    begin(share)
                self._all(prepare, [(share, member) for share in shares for member in members])
            for bad in self._all(draw, [(share,) for share in shares]):
                if bad >= 0:
                    return divmod(bad, known.shape[1])
            row += count
        return None

    def _block(self, share: int, member: int) -> npt.NDArray[np.int64]:
        """The block of a thread, with all that stays."""
        tables = self.tables
        arrays = {
            block.MEMORY: self.memory,
            block.WIDE: self.wide,
            block.WEIGHTS: tables.weights,
            block.SCALED: self.scaled,
            block.CODE: tables.code,
            block.CHUNKS: tables.chunks,
            block.PLACES: tables.places,
            block.ONCE: tables.image,
            block.SEGMENTS: tables.row,
            block.PASSES: tables.passes,
            block.CHECKS: tables.checks,
            block.DRAWN: tables.drawn,
            block.OPERANDS: self.places,
            block.AT: self._at[share],
            block.STEPS: self.steps,
            block.MEETING: self._meetings[share],
            block.PACE: self._paces[share],
            block.CONDITION: self._condition,
        }
        assert all(each.flags.c_contiguous for each in arrays.values())
        numbers = {
            block.N_SEGMENTS: len(tables.row),
            block.N_COLOURS: len(tables.drawn),
            block.N_CHECKS: len(tables.checks),
            block.N_OPERANDS: len(self.places),
            block.LEVELS: len(self.scaled),
            block.BATCH: self.batch,
            block.AREA: self._area,
            block.IMAGE_SIZE: self._sizes[0],
            block.CONDITION_LINE: self._condition.shape[2],
            block.CONDITION_AT: tables.condition,
            block.COPIES: self.copies,
            block.WIDTH: self.width,
            block.IMAGE: self._shares[share][0],
            block.IMAGES: self._shares[share][1],
            block.MEMBER: member,
            block.MEMBERS: self._members,
        }
        made = np.zeros(block.SIZE, dtype=np.int64)
        for field, each in arrays.items():
            made[field] = each.ctypes.data
        for field, number in numbers.items():
            made[field] = number
        return made

    def _call(
        self,
        one: npt.NDArray[np.int64],
        work: int,
        *,
        row: int,
        rows: int = 1,
        begins: int = 0,
        column: int = 0,
        columns: int = 0,
    ) -> int:
        fields = [block.WORK, block.ROW, block.ROWS, block.BEGINS, block.COLUMN, block.COLUMNS]
        one[fields] = work, row, rows, begins, column, columns
        return self._entry(one)

    def _all(self, work: Any, parts: list[tuple[int, ...]]) -> list[Any]:
        """All parts of some work at the same time, a thread for each; this thread does the first."""
        try:
            waiting = [self._pool.submit(work, *part) for part in parts[1:]] if self._pool else []
            return [work(*parts[0]), *(each.result() for each in waiting)]
        except BaseException:  # Ctrl-C, or no more threads: nobody may wait for a member of a team that does not come
            for meeting in self._meetings:
                meeting += OVER
            raise

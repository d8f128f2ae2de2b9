"""A program at work on a batch of images: its memory, and the calls of the compiled interpreter."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pixelrnn.canvas import scale
from pixelrnn.program.steps import Phase
from pixelrnn.program.tables import Tables


class Machine:
    """Draws a batch of images with a program, row by row.

    Every image has memory of its own: for each map so many rows, each with its margins, all channels of a pixel side by
    side. Maps that other pixels do not read have room for one pixel only.

    Arguments:
        tables     of the program
        levels     of a pixel
        width      of the images
        batch      images
        dtype      float32 or float64
        condition  the condition map, (batch, maps, H, W) or (batch, maps, 1, 1), None without one
        copies     2 if images come in pairs, with their condition and without
    """

    def __init__(
        self,
        tables: Tables,
        levels: int,
        width: int,
        batch: int,
        dtype: torch.dtype,
        condition: Tensor | None,
        condition_index: int,
        copies: int,
    ) -> None:
        from pixelrnn.program import kernels

        self._kernels = kernels
        self.tables, self.width, self.batch, self.copies = tables, width, batch, copies
        number = np.float64 if dtype == torch.float64 else np.float32
        self._lay_out(number)
        self.weights = tables.weights
        self.scaled = scale(torch.arange(levels), levels, dtype).numpy()
        self._condition = None if condition is None else condition.numpy()
        self._condition_at = condition_index
        self._begun = -1
        if self._condition is not None and self._condition.shape[2:] == (1, 1):
            self._write_condition(0)
        self.threads = max(1, min(torch.get_num_threads(), batch // copies))
        cuts = [copies * (batch // copies * part // self.threads) for part in range(self.threads + 1)]
        self._shares = [(begin, end - begin) for begin, end in zip(cuts[:-1], cuts[1:], strict=True)]
        self._pool = ThreadPoolExecutor(self.threads - 1) if self.threads > 1 else None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool:
            self._pool.shutdown()

    def _lay_out(self, number: Any) -> None:
        """Give every map its place."""
        sizes, shared = [0, 0], [0, 0]  # of an image's memory, and of what all images share: narrow, wide
        self._maps: dict[int, tuple[int, int, int, int, int, bool]] = {}  # first, rows, row size, left, channels
        for each in self.tables.maps:
            kind = int(each.double)
            if each.phase == Phase.CONST:
                self._maps[each.index] = (shared[kind], 1, 0, 0, 0, True)
                shared[kind] += each.channels
                continue
            far = each.phase == Phase.ROW or max(each.up, each.left, each.right) > 0
            columns = each.left + self.width + each.right if far and each.phase != Phase.IMAGE else 1
            rows, row = each.up + 1, columns * each.channels
            self._maps[each.index] = (sizes[kind], rows, row, each.left, each.channels if columns > 1 else 0, False)
            sizes[kind] += rows * row
        sizes = [-(-size // 16) * 16 for size in sizes]
        kinds = (number, np.float64)
        narrow, wide = (
            np.zeros(self.batch * size + more + 16, kind) for size, more, kind in zip(sizes, shared, kinds, strict=True)
        )
        if number == np.float64:  # then there is one memory
            wide = narrow
        self.memory, self.wide, self._sizes = narrow, wide, sizes
        for each in self.tables.maps:
            first, rows, row, left, channels, _ = self._maps[each.index]
            memory, size = (self.wide, sizes[1]) if each.double else (self.memory, sizes[0])
            if each.value is not None:
                memory[self.batch * size + first :][: each.channels] = each.value
            elif each.start is not None:
                images = memory[: self.batch * size].reshape(self.batch, size)[:, first : first + rows * row]
                images.reshape(self.batch, -1, each.channels)[:] = each.start.numpy()
        places, steps = [], []
        of_map = {each.index: each for each in self.tables.maps}
        for index, dy, dx, channel in self.tables.operands:
            first, rows, row, left, channels, is_shared = self._maps[index]
            size = sizes[int(of_map[index].double)]
            first += self.batch * size if is_shared else 0
            places.append((first + (left + dx) * channels + channel, rows, row, dy))
            steps.append((0 if is_shared else size, channels))
        self.places = np.array(places, dtype=np.int64).reshape(-1, 4)
        self.at = np.zeros(len(places), dtype=np.int64)
        self.steps = np.array(steps, dtype=np.int64).ravel()

    def _write_condition(self, row: int) -> None:
        """Put a row of the condition map where the program reads it."""
        assert self._condition is not None
        if self._condition_at not in self._maps:
            return
        first, rows, size, left, channels, _ = self._maps[self._condition_at]
        here = self._condition[:, :, row]  # (batch, maps, columns)
        images = self.memory[: self.batch * self._sizes[0]].reshape(self.batch, -1)
        begin = first + row % rows * size + left * channels
        images[:, begin : begin + here.shape[1] * here.shape[2]] = here.transpose(0, 2, 1).reshape(self.batch, -1)

    def draw(
        self,
        row: int,
        column: int,
        columns: int,
        pixels: npt.NDArray[np.uint8],
        known: npt.NDArray[np.bool_],
        numbers: npt.NDArray[np.float64],
        temperature: float,
        strength: float,
    ) -> tuple[int, int] | None:
        """Draw some columns of a row in place; rows one after the other, columns from left to right.

        Shapes:  pixels (batch, C, H * W), known (batch, H * W), numbers (batch / copies, C, H * W)
        Returns: None, or the image and the column whose parameters are not finite
        """
        begins = 0 if row == self._begun else 1 if self._begun >= 0 else 2
        self._begun = row
        if begins:
            self._kernels.locate(self.places, row, self.at)
        if begins and self._condition is not None and self._condition.shape[2:] != (1, 1):
            self._write_condition(row)
        tables = self.tables

        def share(image: int, images: int) -> int:
            return int(
                self._kernels.draw(
                    tables.code,
                    tables.image,
                    tables.row,
                    tables.passes,
                    tables.checks,
                    tables.drawn,
                    self.at,
                    self.steps,
                    tables.chunks,
                    tables.places,
                    self.memory,
                    self.wide,
                    self.weights,
                    self.scaled,
                    pixels,
                    known,
                    numbers,
                    begins,
                    row,
                    column,
                    columns,
                    self.width,
                    image,
                    images,
                    self.copies,
                    temperature,
                    strength,
                )
            )

        first, *others = self._shares
        waiting = [self._pool.submit(share, *each) for each in others] if self._pool else []
        found = [share(*first), *(each.result() for each in waiting)]
        for bad in found:
            if bad >= 0:
                return bad // columns, column + bad % columns
        return None

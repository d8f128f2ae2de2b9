"""The canvas: where a layer finds the past.

A network is written once. It never pads, crops or indexes positions by itself; it asks the canvas it is given, and the
canvas decides what the past is:

* `Whole`: every position at once (training, likelihood). The past is padding and masks.
* `Walk`: one region, a span of a row, at a time (sampling, completion). The past is what every layer wrote earlier; it
  is kept here, never in a module, so that one model can serve many walks at the same time.

    verb         Whole                              Walk
    look         the image, padded or cropped       the same slice of the image so far
    window       a feature map, padded or cropped   keep the region, return its neighbourhood
    per_row      run it                             run it over the whole row when the row begins, crop to the region
    scan         a recurrence over all of it        over the region, from the states of the row above and of this one
    scan_both    two from either side, together     one as scan, the one from the right as row_late
    row_late     run it, one row further down       run it over the row above once that is finished, crop to the region
    given        the condition, a map as large      the same, cropped to the region
                 as the image

Every feature map has the shape (B, C, rows of the region, columns of the region); for `Whole` the region is the image.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable
from typing import NamedTuple, Protocol, Self

import torch
import torch.nn.functional as F
from torch import Tensor


class Reach(NamedTuple):
    """How far a layer looks: rows and columns that grow the region; a negative number crops it instead.

    `Reach(1, 0, 1, 1)` is the row above and this row, one column more on each side; `Reach(4, -1, 3, 3)` is the four
    rows above without this one. No layer may look below its own row, so `down` is 0 or negative.
    """

    up: int
    down: int
    left: int
    right: int

    @property
    def none(self) -> bool:
        """True if the neighbourhood is the region itself."""
        return self == (0, 0, 0, 0)


class Region(NamedTuple):
    """A span of one row: `width` pixels from (row, column) on."""

    row: int
    column: int
    width: int


class Scannable(Protocol):
    """A recurrence as the canvas needs it (`layers.recurrence.Recurrence` explains it)."""

    width: int
    margin: int
    start_h: Tensor
    start_c: Tensor

    def __hash__(self) -> int:
        """Its states are kept by it."""

    def near(self, x: Tensor | None, canvas: Canvas) -> list[Tensor]:
        """The windows of what it reads: x, and a condition if it has one."""

    def sweep(self, near: list[Tensor]) -> Tensor:
        """Over a whole image."""

    def sweep_both(self, other: Self, near: list[Tensor], other_near: list[Tensor]) -> list[Tensor]:
        """Over a whole image, together with one of the other direction."""

    def prepared(self) -> list[Tensor]:
        """The weights as a walk needs them, made once per walk."""

    def span(self, near: list[Tensor], h: Tensor, c: Tensor, column: int, prepared: list[Tensor]) -> Tensor:
        """Over some pixels of a row, given the states around them."""


def scale(images: Tensor, levels: int, dtype: torch.dtype) -> Tensor:
    """Integer pixels 0..levels-1 as the numbers a network sees: -1..1, so that padding with zero is mid-gray."""
    return images.to(dtype) * (2.0 / (levels - 1)) - 1.0


class Canvas(ABC):
    """What a network sees: the verbs above, and a guard against a module that is used twice in one pass."""

    def __init__(self, given: Tensor | None = None) -> None:
        self._used: set[Hashable] = set()
        self._given = given

    def _claim(self, key: Hashable) -> Hashable:
        if key in self._used:
            name = type(key).__name__ if not isinstance(key, tuple) else key
            raise AssertionError(f"{name} was used twice in one pass: two uses need two modules or (module, name)")
        self._used.add(key)
        return key

    @abstractmethod
    def look(self, reach: Reach) -> Tensor:
        """The image around the region: (B, C, h + up + down, w + left + right), zeros outside the image."""

    def given(self) -> Tensor:
        """The map that the image is conditioned on, in the region: (B, maps, h, w). All of it is known beforehand."""
        if self._given is None:
            raise AssertionError("the network asks for a condition, but none was given")
        return self._given

    @abstractmethod
    def window(self, key: Hashable, x: Tensor, reach: Reach) -> Tensor:
        """A feature map around the region: (B, C, h + up + down, w + left + right), zeros outside the image.

        `key` is the module that asks, or (module, name) if it asks more than once; `x` is the map in the region.
        """

    @abstractmethod
    def per_row(self, key: Hashable, run: Callable[[], list[Tensor]]) -> list[Tensor]:
        """Maps that depend on finished rows only: each (B, C, h, w), computed once per row."""

    @abstractmethod
    def scan(self, recurrence: Scannable, near: list[Tensor]) -> Tensor:
        """The states of a recurrence, (B, width, h, w), given the windows of its inputs, as `window` returns them."""

    @abstractmethod
    def scan_both(self, rightward: Scannable, leftward: Scannable, x: Tensor) -> tuple[Tensor, Tensor]:
        """Two recurrences of one input x (B, maps, h, w), the second from the right: (B, width, h, w) each.

        From the right, a pixel's state has read what follows it in its row, so the second comes one row late.
        """

    @abstractmethod
    def row_late(self, key: Hashable, run: Callable[[Tensor], Tensor], x: Tensor, width: int) -> Tensor:
        """`run` on the row above, for what is known only when a row is finished: (B, C, h, w) -> (B, width, h, w).

        The first row has none above it and gets zeros.
        """


class Whole(Canvas):
    """The parallel pass: every position of `image` (B, C, H, W) at once, and nothing is remembered.

    given (B, maps, H, W) is what the image is conditioned on, for a network that asks for it.
    """

    def __init__(self, image: Tensor, given: Tensor | None = None) -> None:
        super().__init__(given)
        self.image = image

    def look(self, reach: Reach) -> Tensor:
        return F.pad(self.image, (reach.left, reach.right, reach.up, reach.down))

    def window(self, key: Hashable, x: Tensor, reach: Reach) -> Tensor:
        self._claim(key)
        return x if reach.none else _grown(x, reach)

    def per_row(self, key: Hashable, run: Callable[[], list[Tensor]]) -> list[Tensor]:
        self._claim(key)
        return run()

    def scan(self, recurrence: Scannable, near: list[Tensor]) -> Tensor:
        self._claim(recurrence)
        return recurrence.sweep(near)

    def scan_both(self, rightward: Scannable, leftward: Scannable, x: Tensor) -> tuple[Tensor, Tensor]:
        self._claim(rightward)
        ways = rightward.sweep_both(leftward, rightward.near(x, self), leftward.near(x, self))
        return ways[0], self.row_late(leftward, lambda _: ways[1], x, leftward.width)

    def row_late(self, key: Hashable, run: Callable[[Tensor], Tensor], x: Tensor, width: int) -> Tensor:
        self._claim(key)
        return _grown(run(x), Reach(1, -1, 0, 0))


def batch_last(x: Tensor) -> bool:
    """True if the batch is innermost in memory, as recurrences leave it."""
    return x.stride(0) == 1 and len(x) > 1


def _grown(x: Tensor, reach: Reach) -> Tensor:
    """A map with zeros around it, or cropped; the batch stays innermost in memory if it is."""
    if batch_last(x):
        return F.pad(x.permute(1, 2, 3, 0), (0, 0, *reach[2:], *reach[:2])).permute(3, 0, 1, 2)
    return F.pad(x, (*reach[2:], *reach[:2]))


class Walk(Canvas):
    """The incremental pass over images of `shape` (B, C, H, W): rows from top to bottom, spans from left to right.

    `begin(region)` opens a pass, the network is run, `write` puts pixels into the image. A region may be run again
    (once per colour, or with other guesses): what a layer keeps is simply written anew.

    Memory: a layer that looks `up` rows above keeps up + 1 rows, so the walk's memory grows with the width of the image
    and not with its area; only the image itself is kept whole.
    """

    def __init__(
        self, shape: tuple[int, ...], dtype: torch.dtype, device: torch.device, given: Tensor | None = None
    ) -> None:  # fmt: skip
        super().__init__(given)
        self._width = shape[3]
        self._margin = Reach(0, 0, 0, 0)
        self._padded = torch.zeros(shape, dtype=dtype, device=device)
        self._rows: dict[Hashable, _Rows] = {}
        self._of_row: dict[Hashable, tuple[int, list[Tensor]]] = {}
        self._states: dict[Hashable, _States] = {}
        self.region = Region(0, 0, 1)

    def begin(self, region: Region) -> None:
        """Open a pass over `region`; rows must not go backwards."""
        if region.row < self.region.row:
            raise AssertionError(f"the walk is at row {self.region.row}, it cannot go back to row {region.row}")
        self.region = region
        self._used.clear()

    def write(self, channel: int, pixels: Tensor) -> None:
        """Put `pixels` (B, w), scaled as the network sees them, into one channel of the region."""
        row, column, width = self.region
        top, left = self._margin.up + row, self._margin.left + column
        self._padded[:, channel, top, left : left + width] = pixels

    def look(self, reach: Reach) -> Tensor:
        self._grow_margin(reach)
        row, column, width = self.region
        top, left = self._margin.up + row, self._margin.left + column
        return self._padded[:, :, top - reach.up : top + 1 + reach.down, left - reach.left : left + width + reach.right]

    def given(self) -> Tensor:
        row, column, width = self.region
        return super().given()[:, :, row : row + 1, column : column + width]

    def window(self, key: Hashable, x: Tensor, reach: Reach) -> Tensor:
        self._claim(key)
        if reach.none:
            return x
        if key not in self._rows:
            self._rows[key] = _Rows(x, reach, self._width)
        return self._rows[key].window(self.region, x)

    def per_row(self, key: Hashable, run: Callable[[], list[Tensor]]) -> list[Tensor]:
        self._claim(key)
        return self._once_per_row(key, self.region.row, run)

    def scan(self, recurrence: Scannable, near: list[Tensor]) -> Tensor:
        self._claim(recurrence)
        if recurrence not in self._states:
            self._states[recurrence] = _States(recurrence, len(near[0]), self._width)
        states = self._states[recurrence]
        states.go_to(self.region.row)
        return recurrence.span(near, states.h, states.c, self.region.column, states.prepared)

    def scan_both(self, rightward: Scannable, leftward: Scannable, x: Tensor) -> tuple[Tensor, Tensor]:
        def above(row: Tensor) -> Tensor:
            return self.scan(leftward, leftward.near(row, self))

        late = self.row_late((leftward, "late"), above, x, leftward.width)
        return self.scan(rightward, rightward.near(x, self)), late

    def row_late(self, key: Hashable, run: Callable[[Tensor], Tensor], x: Tensor, width: int) -> Tensor:
        self._claim(key)
        if key not in self._rows:
            self._rows[key] = _Rows(x, Reach(1, 0, 0, 0), self._width)
        rows = self._rows[key]
        rows.window(self.region, x)
        row = self.region.row
        if row == 0:
            return x.new_zeros(len(x), width, 1, self.region.width)
        return self._once_per_row(key, row - 1, lambda: [run(rows.kept[:, :, :1])])[0]

    def _once_per_row(self, key: Hashable, row: int, run: Callable[[], list[Tensor]]) -> list[Tensor]:
        """Run over the whole of a row the first time that it is asked for, cropped to the region's columns."""
        here = self.region
        at, maps = self._of_row.get(key, (-1, []))
        if at != row:
            self.region = Region(row, 0, self._width)
            maps = run()
            self.region = here
            self._of_row[key] = (row, maps)
        return [map_[..., here.column : here.column + here.width] for map_ in maps]

    def _grow_margin(self, reach: Reach) -> None:
        """Widen the zeros around the image once for the farthest look, so that every look is a slice."""
        margin = Reach(*(max(0, old, new) for old, new in zip(self._margin, reach, strict=True)))
        if margin != self._margin:
            more = [new - old for new, old in zip(margin, self._margin, strict=True)]
            self._padded = F.pad(self._padded, (more[2], more[3], more[0], more[1]))
            self._margin = margin


class _Rows:
    """The last rows that one layer wrote, with zeros around them: (B, C, up + 1, left + W + right)."""

    def __init__(self, x: Tensor, reach: Reach, width: int) -> None:
        if reach.down > 0:
            raise AssertionError(f"a layer may not look below its own row, but asks for {reach}")
        self.reach, self.row = reach, 0
        self.kept = x.new_zeros(x.shape[0], x.shape[1], reach.up + 1, width + reach.left + max(0, reach.right))

    def window(self, region: Region, x: Tensor) -> Tensor:
        """Keep `x` as the region's pixels; return the region with its neighbours."""
        up, down, left, right = self.reach
        while self.row < region.row:  # a row is finished: the oldest leaves
            if up:
                self.kept[:, :, :-1] = self.kept[:, :, 1:].clone()
            self.kept[:, :, -1] = 0
            self.row += 1
        begin = left + region.column
        self.kept[:, :, -1:, begin : begin + region.width] = x
        return self.kept[:, :, : up + 1 + down, begin - left : begin + region.width + right]


class _States:
    """The states of a recurrence in the row above and in this one, with the initial ones around them.

    Shape of h and c: (width, 2, margin + W + margin, B)
    """

    def __init__(self, recurrence: Scannable, batch: int, width: int) -> None:
        self.row, self.prepared = 0, recurrence.prepared()
        size = (-1, 2, width + 2 * recurrence.margin, batch)
        starts = (recurrence.start_h, recurrence.start_c)
        self.h, self.c = (start.detach()[:, None, None, None].expand(size).clone() for start in starts)

    def go_to(self, row: int) -> None:
        """A row is finished: it becomes the row above."""
        while self.row < row:
            for state in (self.h, self.c):
                state[:, 0] = state[:, 1]
            self.row += 1

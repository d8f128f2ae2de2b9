"""The canvas: where a layer finds the past.

A network is written once. It never pads, crops or indexes positions by itself; it asks the canvas it is given, and the
canvas decides what the past is:

* `Whole`: every position at once (training, likelihood). The past is padding and masks.
* `Incremental`: one region, a span of a row, at a time (sampling, completion). The past is what every layer wrote
  earlier; it is kept by the canvas, never by a module, so that one model can serve many walks at the same time.

    verb           Whole                              Incremental
    convolve       over the image or a feature map    over the region, from the rows that are kept
    look           the image, padded or cropped       the same slice of the image so far
    window         a feature map, padded or cropped   keep the region, return its neighbourhood
    per_row        run it                             run it over the whole row when the row begins, crop to the region
    of_row         what per_row made                  the same, cropped to the region
    scan           a recurrence over all of it        over the region, from the states of the row above and of this one
    scan_both      one from either side, together     the rightward one as scan, the leftward one as row_late
    row_late       run it, shift it down by one row   run it over the row above when that is finished, crop it
    coarser        run it on every second pixel       run it where a coarse pixel begins, one level down
    condition_map  the condition, a map as large      the same, cropped to the region
                   as the image
    before         the pixel before each one in       the same, for the pixels of the region
                   generation order
    positions      maps of where pixels are           the same, for the pixels of the region
    earlier        a feature map, moved by one in     keep the region, return that of the pixels before
                   generation order
    convolve_      a convolution that sees earlier    the same, for the pixels of the region
    earlier        neighbours only, in any order
    attend         attention to all earlier pixels    from the region, to the keys and values that are kept
    once           compute it                         compute it the first time only: what depends on weights alone

The canvas `Ordered` walks along any generation order, for networks that look at single pixels, at earlier
neighbours and at all earlier pixels: it has `before`, `positions`, `earlier`, `convolve_earlier`, `attend`, `once` and
`condition_map`, and `convolve`, `look` and `window` of the pixels alone.

Every feature map has the shape (B, C, h, w). For `Whole` that is batch, maps, height and width. For `Incremental` the
region's pixels of all images stand side by side in one row of one image, (1, C, 1, pixels * images), the batch
innermost: pixel p of image b is column p * images + b. A network that leaves positions to the canvas does not see the
difference.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable
from typing import NamedTuple, Protocol, Self, TypeVar

import torch
from torch import Tensor

from pixelrnn.canvas.order import Order

Made = TypeVar("Made")


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


MakePositions = Callable[[Tensor, Tensor, tuple[int, int]], Tensor]
"""Makes maps of where pixels are: of rows and columns (2, n) of pixels and of the pixels before them in generation
order, -1 for the first, and of the size (H, W) of the image; (maps, n)."""


class Region(NamedTuple):
    """A span of one row: `width` pixels from (row, column) on."""

    row: int
    column: int
    width: int


class Convolvable(Protocol):
    """A convolution as the canvas needs it (`layers.convolution.CausalConv2d` explains it)."""

    reach: Reach

    def __hash__(self) -> int:
        """Its rows are kept by it."""

    def whole(self, near: Tensor, plus: Tensor | None) -> Tensor:
        """Over a whole image, given the window of what it reads."""

    def prepared(self) -> Prepared:
        """The weights as `pixels` needs them."""

    def pixels(self, slices: list[Tensor], plus: Tensor | None, prepared: Prepared, overwrite: bool) -> Tensor:
        """Over some pixels, given what each column of the kernel reads."""


class Prepared(NamedTuple):
    """The weights of a convolution: for every column of the kernel that sees anything, a matrix."""

    columns: tuple[tuple[int, int], ...]  # of each matrix: the column of the kernel, and how many rows from the top
    matrices: list[Tensor]  # (C_out, rows * C_in)
    bias: Tensor | None  # (C_out, 1)


class LocallyMasked(Protocol):
    """A convolution whose mask differs from pixel to pixel (`networks.lmconv.LocallyMaskedConv2d` explains it)."""

    weight: Tensor  # (C_out, C_in, kernel, kernel)
    bias: Tensor | None  # (C_out,)
    step: int  # pixels from one place of the kernel to the next
    itself: bool  # it sees the pixel itself

    def __hash__(self) -> int:
        """Its maps are kept by it."""


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
        """The weights as a span needs them."""

    def span(self, near: list[Tensor], h: Tensor, c: Tensor, column: int, prepared: list[Tensor]) -> Tensor:
        """Over some pixels of a row, given the states around them."""


def scale(images: Tensor, levels: int, dtype: torch.dtype) -> Tensor:
    """Integer pixels 0..levels-1 as the numbers a network sees: -1..1, so that padding with zero is mid-gray."""
    return images.to(dtype) * (2.0 / (levels - 1)) - 1.0


class Canvas(ABC):
    """What a network sees: the verbs above, and a guard against a module that is used twice in one pass."""

    def __init__(self, condition_map: Tensor | None = None, order: Order | None = None) -> None:
        self._used: set[Hashable] = set()
        self._condition_map = condition_map
        self.order = order
        """The generation order, for networks that take any; None: raster order."""

    def _claim(self, key: Hashable) -> Hashable:
        if key in self._used:
            name = type(key).__name__ if not isinstance(key, tuple) else key
            raise AssertionError(f"{name} was used twice in one pass: two uses need two modules or (module, name)")
        self._used.add(key)
        return key

    @abstractmethod
    def convolve(self, conv: Convolvable, x: Tensor | None, plus: Tensor | None, overwrite: bool) -> Tensor:
        """A convolution of a map x, or of the image, and `plus` added to it: all (B, maps, h, w).

        overwrite says that `plus` is not needed any more.
        """

    @abstractmethod
    def look(self, reach: Reach) -> Tensor:
        """The image around the region: (B, C, h + up + down, w + left + right), zeros outside the image.

        Here and for `window`, a walk gives one image of the batch after the other, as `Whole` does.
        """

    def condition_map(self) -> Tensor | None:
        """The map that the image is conditioned on, in the region: (B, maps, h, w); None without a condition.

        All of it is known beforehand. In the whole pass it is (B, maps, 1, 1) if it is the same everywhere.
        """
        return self._condition_map

    @abstractmethod
    def window(self, key: Hashable, x: Tensor, reach: Reach) -> Tensor:
        """A feature map around the region: (B, C, h + up + down, w + left + right), zeros outside the image.

        `key` is the module that asks, or (module, name) if it asks more than once; `x` is the map in the region.
        """

    @abstractmethod
    def per_row(self, key: Hashable, run: Callable[[], list[Tensor]]) -> list[Tensor]:
        """Maps that depend on finished rows only: each (B, C, h, w), computed once per row."""

    @abstractmethod
    def of_row(self, key: Hashable) -> list[Tensor]:
        """What `per_row` made of this row, at this resolution, for the module `key`."""

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

    @abstractmethod
    def coarser(self, key: Hashable, x: Tensor, run: Callable[[Tensor], Tensor]) -> Tensor:
        """`run` at half the resolution: (B, C, h, w) -> (B, maps, h, w), of 4 * maps that `run` gives.

        `run` gets the pixels of even rows and columns of x. What it gives for a coarse pixel are the maps of the four
        pixels that it covers, one after the other: upper left, upper right, lower left, lower right. Inside `run` the
        other verbs work at the coarse resolution, which is the same one for every `key`; the image cannot be read.
        """

    @abstractmethod
    def before(self) -> Tensor:
        """The pixel before each one in generation order, zeros for the first: (B, C, h, w)."""

    @abstractmethod
    def positions(self, key: Hashable, make: MakePositions) -> Tensor:
        """Maps of where pixels are, and nothing else: (1, maps, h, w).

        A program of the network keeps `make`, which must not refer to a module.
        """

    @abstractmethod
    def earlier(self, key: Hashable, x: Tensor) -> Tensor:
        """A feature map at the pixel before each one in generation order, zeros for the first: (B, C, h, w) -> same."""

    @abstractmethod
    def convolve_earlier(self, conv: LocallyMasked, x: Tensor | None) -> Tensor:
        """A convolution of a map x, or of the image, that sees those neighbours which are earlier in generation order.

        Shapes: x (B, C_in, h, w), or None for the image -> (B, C_out, h, w)
        """

    @abstractmethod
    def attend(self, key: Hashable, query: Tensor, keys: Tensor, values: Tensor, heads: int, window: int = 0) -> Tensor:
        """Attention of every pixel to itself and to all that come before it in generation order; with a window, to so
        many in all, itself and the last ones before it.

        Shapes: query and keys (B, heads * size, h, w), values (B, maps, h, w) -> (B, maps, h, w)
        """

    @abstractmethod
    def once(self, key: Hashable, make: Callable[[], Made]) -> Made:
        """What depends on the weights alone, and on nothing else: the same for every region."""

"""A program: what a network does at one pixel, as a list of steps over numbers that have a place.

A `Map` is the output of a step: so many numbers at every pixel. The inputs of a step are elements, each an int64 that
says which number is meant: the map, the pixel it belongs to (as an offset, rows and columns, from the pixel at work)
and the channel. Steps know neither the size of the image, nor the type of the numbers.

Every map has a phase, the earliest moment at which it can be computed, which follows from what it reads:

    CONST   from the weights alone
    IMAGE   once per image: from a condition that is the same at every pixel
    ROW     once per row, for all of its pixels: from finished rows, or from a condition map
    PIXEL   at the pixel: from pixels to its left, from all earlier ones, or from its own earlier colours

and every channel of it has a level: how many colours of the pixel itself must be known before it can be computed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from torch import Tensor

from pixelrnn.canvas import Order

Elements: TypeAlias = npt.NDArray[np.int64]
Levels: TypeAlias = npt.NDArray[np.int64]


class Phase(IntEnum):
    """When a map is computed."""

    CONST = 0
    IMAGE = 1
    ROW = 2
    PIXEL = 3


class UnknownStepError(Exception):
    """A network does something that a program cannot do; the message names it."""


@dataclass(eq=False)
class Map:
    """The numbers of a step: `channels` at every pixel.

    `up`, `left` and `right` say how far other pixels read it, `start` what stands outside the image (zeros if None).
    `double` maps hold float64, whatever the type of the others.

    A map that is `kept` holds all pixels until the end, one after the other in generation order: a column to the left
    is the pixel before, zeros before the first. With `planes` all pixels of a channel stand side by side.
    """

    index: int
    channels: int
    phase: Phase
    level: Levels  # (channels,)
    double: bool
    start: Tensor | None = None  # (channels,)
    value: npt.NDArray[np.float64] | None = None  # of a CONST map
    up: int = 0
    left: int = 0
    right: int = 0
    kept: bool = False
    planes: bool = False

    def elements(self) -> Elements:
        """All its channels at the pixel at work."""
        return element(self.index, 0, 0, np.arange(self.channels))


_BIAS = 2048  # of offsets
_CHANNEL, _DX, _DY = 20, 12, 12  # bits


def element(index: int, dy: int, dx: int, channel: npt.ArrayLike) -> Elements:
    """Channels of a map at an offset from the pixel at work.

    >>> [int(part) for part in parts(shifted(element(3, 0, 0, 7), -1, 2))]
    [3, -1, 2, 7]
    """
    place = ((index << _DY) + dy + _BIAS << _DX) + dx + _BIAS
    return np.asarray((place << _CHANNEL) + np.asarray(channel, dtype=np.int64), dtype=np.int64)


def shifted(elements: Elements, dy: int, dx: int) -> Elements:
    """The same channels at another pixel."""
    return elements + ((dy << _DX) + dx << _CHANNEL)


def parts(elements: Elements) -> tuple[Elements, Elements, Elements, Elements]:
    """Map, row offset, column offset and channel of every element."""
    place = elements >> _CHANNEL
    index = place >> (_DX + _DY)
    return (
        index,
        (place >> _DX & (1 << _DY) - 1) - _BIAS,
        (place & (1 << _DX) - 1) - _BIAS,
        elements & (1 << _CHANNEL) - 1,
    )


@dataclass(eq=False, kw_only=True)
class Step:
    """What fills the map `out`.

    A step at a coarser resolution is done in every second, fourth, ... row and column only, where a coarse pixel
    begins. Its maps have their numbers there, and its offsets are those of the image.
    """

    out: Map
    from_row: int = 0  # not done in the rows before
    every: int = 1

    def reads(self) -> list[Elements]:
        """Everything that is read, flat."""
        raise NotImplementedError

    def writes(self) -> list[Map]:
        """The maps that are filled."""
        return [self.out]


@dataclass(eq=False, kw_only=True)
class Linear(Step):
    """out = weight @ inputs + bias + added; `mask` says which weights may be other than zero.

    `relu` is filled with relu(out); where it is `out` itself, that is the only output.

    `along` is 0, or for a recurrence of the phase ROW that reads its own row the direction in which it goes, 1 or -1.
    """

    inputs: Elements  # (K,)
    weight: Tensor  # (channels, K)
    mask: npt.NDArray[np.bool_]  # (channels, K)
    bias: Tensor | None
    added: list[Elements] = field(default_factory=list)  # (channels,) each, of consecutive channels of one map
    along: int = 0
    relu: Map | None = None

    def reads(self) -> list[Elements]:
        return [self.inputs[self.mask.any(0)], *self.added]

    def writes(self) -> list[Map]:
        return [self.out] if self.relu is None else [self.out, self.relu]


@dataclass(eq=False, kw_only=True)
class Pointwise(Step):
    """out[k] = operation(inputs[0][k], ...); each input consecutive channels of one map, or one and the same.

    "lookup" finds inputs[0][k] in the map that begins with inputs[1].
    """

    operation: str
    inputs: list[Elements]  # (channels,) each

    def reads(self) -> list[Elements]:
        return self.inputs


@dataclass(eq=False, kw_only=True)
class Reduce(Step):
    """The sum or the largest of every row: inputs (channels, n), consecutive channels of one map."""

    operation: str
    inputs: Elements

    def reads(self) -> list[Elements]:
        return [self.inputs.ravel()]


@dataclass(eq=False, kw_only=True)
class Gather(Step):
    """out[k] = inputs[k], from anywhere."""

    inputs: Elements

    def reads(self) -> list[Elements]:
        return [self.inputs]


@dataclass(eq=False, kw_only=True)
class GatherEarlier(Step):
    """A kept map at some earlier pixels: out holds all its channels at the first of them, at the second, ...

    `back` says how many pixels each of them is before, 0 for none, which gives zeros.
    """

    inputs: Elements  # of the kept map, at the pixel
    back: Elements  # (pixels,)

    def reads(self) -> list[Elements]:
        return [shifted(self.inputs, 0, -1), self.back]


@dataclass(eq=False, kw_only=True)
class Attend(Step):
    """Attention of the pixel to itself and to all before it, or to the `window` last ones of these.

    query, keys and values are divided among the heads; keys and values stand in kept maps, keys in planes. `rank` is
    how many pixels come before. `scores` has a number for every head and pixel, in planes.
    """

    query: Elements
    keys: Elements
    values: Elements
    rank: Elements  # (1,)
    scores: Map
    window: int

    def reads(self) -> list[Elements]:
        past = [shifted(each, 0, -1) for each in (self.keys, self.values)]
        return [self.query, self.keys, self.values, *past, self.rank]

    def writes(self) -> list[Map]:
        return [self.out, self.scores]


@dataclass(eq=False, kw_only=True)
class Spread(Step):
    """The maps of a coarse pixel, taken to the four pixels that it covers, which have different ones.

    Where this is done every `every` rows and columns, a coarse pixel begins every 2 * `every`.
    """

    inputs: list[Elements]  # (channels,) each: of upper left, upper right, lower left and lower right

    def reads(self) -> list[Elements]:
        return [shifted(each, -down, -right) for each, (down, right) in zip(self.inputs, self.places(), strict=True)]

    def places(self) -> list[tuple[int, int]]:
        """Rows and columns from where the coarse pixel begins."""
        return [(down, right) for down in (0, self.every) for right in (0, self.every)]


@dataclass(eq=False, kw_only=True)
class Cell(Step):
    """One LSTM step: out is h, and `cell` is c; gates (blocks * channels,) before their activations, [o, f.., i, g].

    Source: as `layers.recurrence.Recurrence`
    """

    cell: Map
    gates: Elements
    carried: list[Elements]
    product: bool
    along: int = 0

    def reads(self) -> list[Elements]:
        return [self.gates, *self.carried]

    def writes(self) -> list[Map]:
        return [self.out, self.cell]


@dataclass(eq=False, kw_only=True)
class IntegerCell(Cell):
    """One LSTM step in whole numbers; what is used of the gates are floor(gates * cuts), and a function by its table.

    table holds how far a function goes to either side, the unit of all numbers, the largest cell state, the function
    tanh and the logistic function.

    Source: as `exact.recurrence.IntegerRecurrence`
    """

    cuts: Elements  # (blocks * channels,) of a CONST map
    table: Elements  # consecutive channels of a CONST map

    def reads(self) -> list[Elements]:
        return [*super().reads(), self.cuts, self.table]


MakeOfOrder: TypeAlias = Callable[[Order], Tensor]
"""Makes the numbers of a map from the generation order alone: (channels, H * W), in that order."""


@dataclass(eq=False)
class Program:
    """The steps of a network and of its head, in an order in which they can be done.

    image      the map of the pixels as the network sees them; pixels: as integers
    condition  the map of the condition, None without one
    of_order   maps that depend on the place alone, and what makes them
    params     the network's parameters, (num_params,)
    pmf        of every colour the probabilities of its levels, (levels,) consecutive channels of one map; of a head in
               whole numbers the parameters that it needs for them
    """

    maps: list[Map]
    steps: list[Step]
    image: Map
    pixels: Map
    condition: Map | None
    of_order: list[tuple[Map, MakeOfOrder]]
    params: Elements
    pmf: list[Elements]


def phases(maps: list[Map], elements: Elements) -> Elements:
    """The phase of every element: what a finished row holds is known when a row begins."""
    index, dy, _, _ = parts(elements)
    found = np.array([each.phase for each in maps])[index]
    return np.where((found == Phase.PIXEL) & (dy < 0), int(Phase.ROW), found)

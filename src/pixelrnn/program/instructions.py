"""From steps to instructions, rows of integers that `kernels` reads: for which channels, from where."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from pixelrnn.program import operations as ops
from pixelrnn.program.operations import PANELS
from pixelrnn.program.schedule import reads_aside
from pixelrnn.program.steps import (
    Attend,
    Cell,
    Elements,
    Gather,
    GatherEarlier,
    IntegerCell,
    Linear,
    Map,
    Pointwise,
    Reduce,
    Spread,
    Step,
    UnknownStepError,
    parts,
    shifted,
)

Integers = npt.NDArray[np.int64]
Operand = tuple[int, int, int, int, int]  # map, row offset, column offset, channel, columns from one to the next


class Instructions:
    """Rows of integers in the making, and what they refer to."""

    def __init__(self, maps: list[Map], number: np.dtype[Any], vector: int) -> None:
        self.maps, self.number, self.vector = maps, number, vector
        self.operands: list[Operand] = []
        self.code: list[tuple[int, ...]] = []
        self.chunks: list[tuple[int, int, int]] = []
        self.places: list[tuple[int, int]] = []
        self.weights: list[npt.NDArray[Any]] = []
        self.products = 0
        self._size = 0
        self._every, self._at = 1, (0, 0)  # of the instructions that are written
        self._index: dict[Operand, int] = {}

    def operand(self, first: Any) -> int:
        """The number of an operand that begins with this element."""
        index, dy, dx, channel = (int(part) for part in parts(np.asarray(first)))
        key = (index, dy, dx, channel, self._every)
        if key not in self._index:
            self._index[key] = len(self.operands)
            self.operands.append(key)
        return self._index[key]

    def level(self, elements: Elements) -> Integers:
        """The level of elements at the pixel itself."""
        index, _, _, channel = parts(elements)
        return np.array([self.maps[i].level[c] for i, c in zip(index, channel, strict=True)], dtype=np.int64)

    def write(self, step: Step, colour: int | None) -> None:
        """The instructions of a step: of the channels that a colour makes computable, or of all."""
        self._every = step.every
        self._write(step, colour)
        self._every, self._at = 1, (0, 0)

    def _write(self, step: Step, colour: int | None) -> None:
        chosen = np.ones(step.out.channels, dtype=bool) if colour is None else step.out.level == colour
        if isinstance(step, Linear):
            self._linear(step, chosen)
        elif isinstance(step, Spread):
            self._spread(step, chosen)
        elif isinstance(step, Gather):
            self._gather(step, chosen)
        elif isinstance(step, (GatherEarlier, Attend)):
            if chosen.all():
                self._gather_earlier(step) if isinstance(step, GatherEarlier) else self._attend(step)
        else:
            for begin, end in _ranges(chosen):
                if isinstance(step, Pointwise):
                    self._pointwise(step, begin, end)
                elif isinstance(step, Reduce):
                    self._reduce(step, begin, end)
                elif isinstance(step, Cell):
                    self._cell(step, begin, end)

    def _instruction(self, step: Step, operation: int, n: int, out: int, **fields: int) -> None:
        a = fields.get("a", out)  # operands that are not used are looked up too, so they must be somewhere
        line = [operation, n, out, a, 0, a, 0, a, 0, 0, 0, step.from_row, int(step.out.double), int(reads_aside(step))]
        line += [self._every, *self._at]
        for name, value in fields.items():
            line[_FIELD[name]] = value
        self.code.append(tuple(line))

    def _linear(self, step: Linear, chosen: npt.NDArray[np.bool_]) -> None:
        """A product for every range of channels that read the same inputs."""
        own = step.out.elements()
        same = np.packbits(step.mask, axis=1)
        weight = step.weight.numpy()
        for first, last in _ranges(chosen):
            cuts = [begin for begin in range(first + 1, last) if (same[begin] != same[begin - 1]).any()]
            for begin, end in zip([first, *cuts], [*cuts, last], strict=True):
                used = np.flatnonzero(step.mask[begin])
                at = len(self.chunks)
                for run in self._chunks(step.inputs[used]):
                    columns = used[run[0] : run[1]]
                    place = self._pack(_panels(weight[begin:end][:, columns], self.vector))
                    self.chunks.append((self.operand(step.inputs[columns[0]]), len(columns), place))
                self.products += len(used) * (end - begin) // step.every**2
                bias = -1 if step.bias is None else self._pack(step.bias.numpy()[begin:end])
                added = [self.operand(each[begin]) for each in step.added] + [-1, -1]
                if len(step.added) > 2:
                    raise UnknownStepError("a product with more than two terms added")
                self._instruction(
                    step,
                    ops.LINEAR,
                    end - begin,
                    self.operand(own[begin]),
                    a=added[0],
                    b=added[1],
                    c=bias,
                    more=at,
                    count=len(self.chunks) - at,
                    **self._relu(step, begin),
                )

    def _relu(self, step: Linear, begin: int) -> dict[str, int]:
        if step.relu is None:
            return {}
        return {"a_unit": 1, "c_unit": self.operand(step.relu.elements()[begin])}

    def _chunks(self, inputs: Elements) -> Iterator[tuple[int, int]]:
        """Ranges of inputs that are consecutive in memory: also all channels of one pixel and of the next."""
        index, dy, dx, channel = parts(inputs)
        begin = 0
        for k in range(1, len(inputs) + 1):
            if k < len(inputs):
                source = self.maps[index[k]]
                follows = index[k] == index[k - 1] and dy[k] == dy[k - 1]
                if follows and dx[k] == dx[k - 1] and channel[k] == channel[k - 1] + 1:
                    continue
                if follows and dx[k] == dx[k - 1] + 1 and channel[k] == 0 and channel[k - 1] == source.channels - 1:
                    continue
            yield begin, k
            begin = k

    def _pointwise(self, step: Pointwise, begin: int, end: int) -> None:
        out, names = self.operand(step.out.elements()[begin]), ("a", "b", "c")
        fields: dict[str, int] = {}
        for name, each in zip(names, step.inputs, strict=False):
            unit = int(len(each) > 1 and each[0] != each[1])
            fields[name], fields[f"{name}_unit"] = self.operand(each[begin if unit else 0]), unit
        operation = ops.OPERATION[step.operation]
        source = self.maps[int(parts(step.inputs[0][:1])[0][0])]
        if operation == ops.COPY and source.double != step.out.double:
            operation = ops.CAST if step.out.double else ops.UNCAST
        self._instruction(step, operation, end - begin, out, **fields)

    def _reduce(self, step: Reduce, begin: int, end: int) -> None:
        out = self.operand(step.out.elements()[begin])
        count = step.inputs.shape[1]
        first = self.operand(step.inputs[begin, 0])
        self._instruction(step, ops.OPERATION[step.operation], end - begin, out, a=first, more=count)

    def _gather(self, step: Gather, chosen: npt.NDArray[np.bool_]) -> None:
        """A copy for every long run; an instruction per source for all that is scattered."""
        own = step.out.elements()
        if step.out.planes:
            self._to_planes(step, chosen)
            return
        ranges = [
            (begin + first, begin + last)
            for begin, end in _ranges(chosen)
            for first, last in consecutive_ranges(step.inputs[begin:end])
        ]
        if len(ranges) <= 8:
            for begin, end in ranges:
                a = self.operand(step.inputs[begin])
                self._instruction(step, ops.COPY, end - begin, self.operand(own[begin]), a=a, a_unit=1)
            return
        index, dy, dx, channel = parts(step.inputs)
        where = np.stack([index, dy, dx], 1)
        for source in np.unique(where[chosen], axis=0):
            these = np.flatnonzero(chosen & (where == source).all(1))
            at, lowest = len(self.places), int(these[channel[these].argmin()])
            self.places += [(int(k), int(channel[k] - channel[lowest])) for k in these]
            self._instruction(
                step, ops.GATHER, len(these), self.operand(own[0]), a=self.operand(step.inputs[lowest]), more=at
            )

    def _to_planes(self, step: Gather, chosen: npt.NDArray[np.bool_]) -> None:
        own = step.out.elements()
        for begin, end in _ranges(chosen):
            for first, last in consecutive_ranges(step.inputs[begin:end]):
                a, out = self.operand(step.inputs[begin + first]), self.operand(own[begin + first])
                following = self.operand(own[min(begin + first + 1, len(own) - 1)])
                self._instruction(step, ops.TO_PLANES, last - first, out, a=a, b=following)

    def _gather_earlier(self, step: GatherEarlier) -> None:
        out, count = self.operand(step.out.elements()[0]), len(step.back)
        a, b = self.operand(step.inputs[0]), self.operand(step.back[0])
        self._instruction(step, ops.GATHER_EARLIER, len(step.inputs), out, a=a, b=b, count=count)

    def _attend(self, step: Attend) -> None:
        heads, at = step.scores.channels, len(self.places)
        following = self.operand(step.keys[min(1, len(step.keys) - 1)])
        self.places += [(self.operand(step.scores.elements()[0]), self.operand(step.rank[0])), (following, 0)]
        self._instruction(
            step,
            ops.ATTEND,
            len(step.values),
            self.operand(step.out.elements()[0]),
            a=self.operand(step.query[0]),
            a_unit=heads,
            b=self.operand(step.keys[0]),
            b_unit=len(step.keys) // heads,
            c=self.operand(step.values[0]),
            c_unit=step.window,
            more=at,
        )

    def _spread(self, step: Spread, chosen: npt.NDArray[np.bool_]) -> None:
        """A copy for each of the four pixels."""
        self._every = 2 * step.every
        for inputs, self._at in zip(step.inputs, step.places(), strict=True):
            down, right = self._at
            read, own = shifted(inputs, -down, 0), shifted(step.out.elements(), 0, right)
            for begin, end in _ranges(chosen):
                for first, last in consecutive_ranges(read[begin:end]):
                    a, out = self.operand(read[begin + first]), self.operand(own[begin + first])
                    self._instruction(step, ops.COPY, last - first, out, a=a, a_unit=1)

    def _cell(self, step: Cell, begin: int, end: int) -> None:
        if len(step.carried) > 2:
            raise UnknownStepError("a cell that carries more than two states")
        carried = [self.operand(each[begin]) for each in step.carried]
        at = len(self.places)
        self.places.append((carried[0], carried[-1]))
        fields: dict[str, int] = {}
        if isinstance(step, IntegerCell):
            fields = {"a_unit": self.operand(step.cuts[begin]), "c": self.operand(step.table[0])}
        self._instruction(
            step,
            ops.INTEGER_CELL if fields else ops.CELL,
            end - begin,
            self.operand(step.out.elements()[begin]),
            a=self.operand(step.gates[begin]),
            b=self.operand(step.cell.elements()[begin]),
            b_unit=step.out.channels,
            c_unit=int(step.product),
            more=at,
            count=len(carried),
            **fields,
        )

    def _pack(self, numbers: npt.NDArray[Any]) -> int:
        begin, self._size = self._size, self._size + numbers.size
        self.weights.append(np.ascontiguousarray(numbers, self.number).ravel())
        return begin


_FIELD = {"a": 3, "a_unit": 4, "b": 5, "b_unit": 6, "c": 7, "c_unit": 8, "more": 9, "count": 10}


def _panels(weight: npt.NDArray[Any], vector: int) -> npt.NDArray[Any]:
    """Weights (outputs, inputs) as `vectors.product` reads them: in groups of panels, input by input, zeros at the end.

    >>> _panels(np.array([[1, 2], [3, 4], [5, 6]]), vector=2)
    array([1, 3, 5, 0, 2, 4, 6, 0])
    """
    outputs, inputs = weight.shape
    count = -(-outputs // vector)
    padded = np.zeros((count * vector, inputs), weight.dtype)
    padded[:outputs] = weight
    groups = np.split(padded, range(PANELS * vector, len(padded), PANELS * vector))
    return np.concatenate([group.T.ravel() for group in groups])


def _ranges(chosen: npt.NDArray[np.bool_]) -> Iterator[tuple[int, int]]:
    """Where there is one True after the other.

    >>> list(_ranges(np.array([True, True, False, True])))
    [(0, 2), (3, 4)]
    """
    edges = np.flatnonzero(np.diff(np.concatenate([[0], chosen.astype(np.int8), [0]])))
    yield from zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True)


def consecutive_ranges(elements: Elements) -> Iterator[tuple[int, int]]:
    """Where there is one channel after the other, at the same pixel of the same map.

    >>> list(consecutive_ranges(np.array([4, 5, 6, 9])))
    [(0, 3), (3, 4)]
    """
    cuts = [0, *(np.flatnonzero(np.diff(elements) != 1) + 1).tolist(), len(elements)]
    yield from pairwise(cuts)

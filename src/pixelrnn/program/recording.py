"""The third canvas: it runs a network once, on nothing, and writes down what the network does.

Tensors are stand-ins that hold no numbers but say where each number will be: `Recorded.elements`. Whatever moves
numbers around (views, splits, concatenations) is done on these elements and costs nothing later; whatever computes
becomes a step.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map

from pixelrnn.canvas import Canvas, Reach
from pixelrnn.canvas.base import Before, Convolvable, Made, Scannable
from pixelrnn.exact import IntegerHead
from pixelrnn.exact.recurrence import IntegerRecurrence
from pixelrnn.heads import Head
from pixelrnn.program.functions import (
    ALIASES,
    FUNCTIONS,
    MOVES,
    MOVING,
    POINTWISE,
    REDUCTIONS,
    aten,
    log_sigmoid,
    log_softmax,
    logsumexp,
    softmax,
)
from pixelrnn.program.steps import (
    Cell,
    Elements,
    Gather,
    IntegerCell,
    Linear,
    Map,
    Phase,
    Pointwise,
    Program,
    Reduce,
    Spread,
    Step,
    UnknownStepError,
    parts,
    phases,
    shifted,
)


class Recorded(torch.Tensor):
    """A tensor of which only the shape, the type and the place of every number are known."""

    elements: Tensor  # int64, of the same shape
    recording: Recording

    @staticmethod
    def __new__(cls: type[Recorded], elements: Tensor, dtype: torch.dtype, recording: Recording) -> Recorded:
        """Like any contiguous tensor of that shape."""
        made: Recorded = torch.Tensor._make_wrapper_subclass(cls, elements.shape, dtype=dtype)
        made.elements, made.recording = elements.contiguous(), recording
        return made

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Write down what networks use most before PyTorch takes it apart.

        Everything else goes on to `__torch_dispatch__`, for which PyTorch imports its distributed tensors: that takes
        longer than all the rest.
        """
        recording = next(each.recording for each in tree_leaves((args, kwargs)) if isinstance(each, Recorded))
        made = recording.function(func, args, kwargs or {})
        if made is not NotImplemented:
            return made
        with torch._C.DisableTorchFunctionSubclass():
            return func(*args, **(kwargs or {}))

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # type: ignore[override]
        """Write an operation down."""
        recording = next(each.recording for each in tree_leaves((args, kwargs)) if isinstance(each, Recorded))
        return recording.operation(func, args, kwargs or {})

    def flat(self) -> Elements:
        """All elements in a row."""
        return self.elements.flatten().numpy()


def record(network: Callable[[Canvas], Tensor], head: Head, dtype: torch.dtype, condition: tuple[int, bool]) -> Program:
    """The program of a network and its head.

    Arguments:
        dtype      of the network's weights
        condition  feature maps of the condition map, 0 for none; whether it is the same at every pixel
    Raises:        UnknownStepError if the network does what no step can do
    """
    recording = Recording(head.channels, dtype, *condition)
    # In inference mode operations that are made of others are not taken apart.
    with torch.inference_mode(False), torch.no_grad():
        params = network(recording)
        if not isinstance(params, Recorded) or params.shape != (1, head.num_params, 1, 1):
            raise UnknownStepError("parameters that do not depend on the image")
        pixels = recording.stand_in(recording.pixels.elements(), (1, -1, 1, 1), torch.float64)
        if isinstance(head, IntegerHead):  # probabilities are made of the parameters, in whole numbers
            found, double = [head.params_of(params, channel) for channel in range(head.channels)], False
        else:
            found = [head.pmf(params, pixels, channel) for channel in range(head.channels)]
            double = dtype != torch.float64
        pmf = [recording.consecutive(cast("Recorded", each).flat(), double=double) for each in found]
    return Program(
        recording.maps, recording.steps, recording.image, recording.pixels, recording.condition, params.flat(), pmf
    )


class Recording(Canvas):
    """A canvas over one pixel of one image of which nothing is known but its place."""

    def __init__(self, channels: int, dtype: torch.dtype, condition_width: int = 0, uniform: bool = True) -> None:
        super().__init__()
        self.dtype = dtype
        self.maps: list[Map] = []
        self.steps: list[Step] = []
        colours = np.arange(1, channels + 1)  # colour c can be read at the pixel itself once c + 1 colours are known
        self.image = self._new_map(Phase.PIXEL, colours, double=False)
        self.pixels = self._new_map(Phase.PIXEL, colours, double=dtype != torch.float64)
        self.condition: Map | None = None
        if condition_width:
            phase = Phase.IMAGE if uniform else Phase.ROW
            self.condition = self._new_map(phase, np.zeros(condition_width, dtype=np.int64), double=False)
        self._late = 0  # rows by which the network runs behind the pixel at work
        self._every = 1  # rows and columns of the image from one pixel to the next, at this resolution
        self._of_row: dict[Hashable, list[Tensor]] = {}
        self._constants: dict[tuple[bytes, bool], Map] = {}

    # ---- the verbs of a canvas

    def convolve(self, conv: Convolvable, x: Tensor | None, plus: Tensor | None, overwrite: bool) -> Tensor:
        """A product with the masked weights, tap by tap."""
        self._claim(conv)
        weight, mask, taps, bias = _kernel(conv)
        source = self._padded(self._image_elements() if x is None else _elements(x, self), conv.reach)
        inputs = np.concatenate(
            [self._beside(source, row - conv.reach.up, column - conv.reach.left) for row, column in taps]
        )
        return self._linear(inputs, weight, mask, bias, plus)

    def look(self, reach: Reach) -> Tensor:
        return self._around(self._image_elements(), reach)

    def window(self, key: Hashable, x: Tensor, reach: Reach) -> Tensor:
        self._claim(key)
        return self._around(self._padded(_elements(x, self), reach), reach)

    def condition_map(self) -> Tensor | None:
        if self.condition is None:
            return None
        here = self.condition.elements()
        here = here if self.condition.phase == Phase.IMAGE else shifted(here, -self._late, 0)
        return self.stand_in(here, (1, -1, 1, 1), self.dtype)

    def per_row(self, key: Hashable, run: Callable[[], list[Tensor]]) -> list[Tensor]:
        """The phase of a step follows from what it reads, so nothing has to be done."""
        self._claim(key)
        self._of_row[key] = run()
        return self._of_row[key]

    def of_row(self, key: Hashable) -> list[Tensor]:
        return self._of_row[key]

    def scan(self, recurrence: Scannable, near: list[Tensor]) -> Tensor:
        """The gates are one product with everything that is read, then the cell."""
        self._claim(recurrence)
        if self._every > 1:
            raise UnknownStepError("a recurrence at a coarser resolution")
        recurring: Any = recurrence
        width: int = recurring.width
        inputs = [
            _elements(window, self).reshape(window.shape[1:])[:, y, x]
            for window, taps in zip(near, recurring.input_taps, strict=True)
            for y, x in taps
        ]
        weight, mask = recurring.weights(), recurring.weight_mask().numpy()
        before = max(Phase.ROW, self._phase(*inputs))
        along = 0
        if before < Phase.PIXEL and any(not tap.down for tap in recurring.taps):
            along = -1 if recurring.mirrored else 1
        no_levels = np.zeros(width, dtype=np.int64)
        h = self._new_map(before, no_levels, double=False, start=recurring.start_h.detach())
        c = self._new_map(before, no_levels, double=False, start=recurring.start_c.detach())
        inputs += [shifted(h.elements(), down, right) for down, right in recurring.taps]
        gates = _elements(
            self._linear(np.concatenate(inputs), weight[:, :-1], mask, weight[:, -1], None, along=along), self
        )
        h.level = c.level = self._level(gates).reshape(-1, width).max(0)
        h.phase = c.phase = self.maps[int(parts(gates)[0][0])].phase
        carried = [self._read(shifted(c.elements(), down, right)) for down, right in recurring.carried]
        same: dict[str, Any] = {"out": h, "cell": c, "gates": gates, "carried": carried, "along": along}
        same["product"] = recurring.product
        if isinstance(recurring, IntegerRecurrence):
            limits = torch.tensor([recurring.range, 2.0**-recurring.places, recurring.farthest], dtype=torch.float64)
            cuts, table = recurring.step.flatten(), torch.cat([limits, recurring.table.double()])
            found = [self._constant_map(each.double().numpy(), double=False).elements() for each in (cuts, table)]
            self._add(IntegerCell(**same, cuts=found[0], table=found[1]))
        else:
            self._add(Cell(**same))
        return self.stand_in(h.elements(), (1, -1, 1, 1), self.dtype)

    def scan_both(self, rightward: Scannable, leftward: Scannable, x: Tensor) -> tuple[Tensor, Tensor]:
        def above(row: Tensor) -> Tensor:
            return self.scan(leftward, leftward.near(row, self))

        late = self.row_late((leftward, "late"), above, x, leftward.width)
        return self.scan(rightward, rightward.near(x, self)), late

    def row_late(self, key: Hashable, run: Callable[[Tensor], Tensor], x: Tensor, width: int) -> Tensor:
        """`run` on the row above; in the first row nothing is done, and zeros are read."""
        self._claim(key)
        if self._every > 1:
            raise UnknownStepError("a row late at a coarser resolution")
        above = shifted(self._padded(_elements(x, self), Reach(1, 0, 0, 0)), -1, 0)
        self._late += 1
        made = _elements(run(self.stand_in(above, (1, -1, 1, 1), self.dtype)), self)
        out = self._gathered(made, double=False)  # a map of its own: the states outside the image are not zeros
        self._late -= 1
        return self.stand_in(out, (1, -1, 1, 1), self.dtype)

    def coarser(self, key: Hashable, x: Tensor, run: Callable[[Tensor], Tensor]) -> Tensor:
        """The steps of a coarse pixel, and a copy of its maps for each pixel that it covers."""
        self._claim(key)
        if self._late:
            raise UnknownStepError("a coarser resolution, a row late")
        self._every *= 2
        maps = np.split(_elements(run(x), self), 4)
        self._every //= 2
        out = self._new_map(self._phase(*maps), np.stack([self._level(each) for each in maps]).max(0), double=False)
        self._add(Spread(out=out, inputs=maps))
        for each in self.steps[-1].reads():
            self._read(each)
        return self.stand_in(out.elements(), (1, -1, 1, 1), self.dtype)

    def before(self) -> Before:
        raise UnknownStepError("before, the pixel before in generation order")

    def earlier(self, key: Hashable, x: Tensor) -> Tensor:
        raise UnknownStepError("earlier, a feature map moved by one in generation order")

    def neighbours(self, key: Hashable, x: Tensor | None, kernel: int, dilation: int, itself: bool) -> Tensor:
        raise UnknownStepError("neighbours, those that are earlier in any generation order")

    def attend(self, key: Hashable, query: Tensor, keys: Tensor, values: Tensor, heads: int) -> Tensor:
        raise UnknownStepError("attend, an attention to all earlier pixels")

    def once(self, key: Hashable, make: Callable[[], Made]) -> Made:
        return make()

    # ---- what lies between the verbs

    def function(self, func: Any, args: Any, kwargs: Any) -> Any:
        """A function of PyTorch, as a network calls it, with stand-ins among its arguments."""
        name = getattr(func, "__name__", "").strip("_")
        if name in MOVING and "out" not in kwargs:
            return self._moved(func, args, kwargs)
        if name in FUNCTIONS and not any(kwargs.values()):
            return self._pointwise(FUNCTIONS[name], args)
        if name == "long":  # only to look something up
            return args[0]
        if name == "take":
            return self._looked_up(*args)
        if name == "double":
            return (
                args[0]
                if torch.float64 in (args[0].dtype, self.dtype)
                else self._pointwise("copy", args, torch.float64)
            )
        if name == "ones_like":
            return torch.ones(args[0].shape, dtype=self.dtype)
        if name == "elu" and not any(args[1:]) and kwargs in ({}, {"alpha": 1.0, "inplace": False}):
            return self._pointwise("elu", args[:1])
        if name == "dropout" and not kwargs.get("training", True):
            return args[0]
        if name in ("softmax", "log_softmax") and len(args) == 2 and not kwargs:
            return (softmax if name == "softmax" else log_softmax)(*args)
        if name == "logsumexp" and not kwargs:
            return logsumexp(*args)
        if name == "log_sigmoid":
            return log_sigmoid(*args)
        if name in ("clamp", "clamp_max", "clamp_min"):
            return ALIASES[getattr(aten, name)](*args, **kwargs)
        if name in ("sum", "amax") and not kwargs.get("dtype"):
            return self._reduced("max" if name == "amax" else "sum", *args, **kwargs)
        return NotImplemented

    def operation(self, func: Any, args: Any, kwargs: Any) -> Any:
        """An operation of PyTorch with stand-ins among its arguments."""
        packet = func.overloadpacket
        if packet in MOVES:
            return self._moved(aten.reshape.default if packet in (aten.view, aten._unsafe_view) else func, args, kwargs)
        if packet is aten._to_copy:
            x, dtype = args[0], kwargs.get("dtype", args[0].dtype)
            if dtype == x.dtype or self.dtype == dtype == torch.float64:
                return x
            return self._pointwise("copy", [x], dtype)
        if packet is aten.new_zeros:
            return torch.zeros(args[1], dtype=self.dtype)
        if packet in ALIASES:
            return ALIASES[packet](*args, **kwargs)
        if packet in REDUCTIONS:
            return self._reduced(REDUCTIONS[packet], *args, **kwargs)
        if packet in POINTWISE and not {key for key, each in kwargs.items() if not (key == "alpha" and each == 1)}:
            return self._pointwise(POINTWISE[packet], args)
        if packet is aten.bmm:
            return self._products(*args)
        if packet is aten.convolution:
            x, weight, bias = args[:3]
            if weight.shape[2:] == (1, 1) and args[8] == 1:
                every = np.ones(weight.shape[:2], dtype=bool)
                return self._linear(_elements(x, self), weight[:, :, 0, 0], every, bias, None)
        raise UnknownStepError(str(func))

    def stand_in(self, elements: Elements, shape: tuple[int, ...], dtype: torch.dtype) -> Recorded:
        """A tensor for these elements."""
        return Recorded(torch.from_numpy(np.ascontiguousarray(elements)).reshape(shape), dtype, self)

    def consecutive(self, elements: Elements, *, double: bool) -> Elements:
        """The same numbers, as consecutive channels of one map."""
        return elements if _consecutive(elements) else self._gathered(elements, double=double)

    def constant(self, value: Tensor, *, double: bool) -> Elements:
        """Numbers that are known now: one element each."""
        numbers = value.detach().to("cpu", torch.float64).flatten().numpy()
        if len(numbers) and (numbers == numbers[0]).all():
            return np.repeat(self._constant_map(numbers[:1], double).elements(), len(numbers))
        return self._constant_map(numbers, double).elements()

    def _constant_map(self, numbers: Any, double: bool) -> Map:
        key = (numbers.tobytes(), double)
        if key not in self._constants:
            made = self._new_map(Phase.CONST, np.zeros(len(numbers), dtype=np.int64), double=double)
            made.value = numbers
            self._constants[key] = made
        return self._constants[key]

    def _moved(self, func: Any, args: Any, kwargs: Any) -> Any:
        """Views, copies and concatenations, done on the elements."""
        dtypes = {each.dtype for each in tree_leaves(args) if isinstance(each, Recorded)}
        dtype = torch.float64 if torch.float64 in dtypes else self.dtype
        together = func in (aten.cat.default, aten.stack.default, torch.cat, torch.stack)

        def place(x: Any) -> Any:
            if isinstance(x, Recorded):
                x = x if x.dtype == dtype else self._pointwise("copy", [x], dtype)
                return x.elements
            if isinstance(x, Tensor) and together:
                elements = self.constant(x, double=self._is_double(dtype))
                return torch.from_numpy(elements).reshape(x.shape)
            return x

        moved = func(*tree_map(place, args), **tree_map(place, kwargs))
        if isinstance(moved, Tensor):
            return Recorded(moved, dtype, self)
        return [Recorded(each, dtype, self) for each in moved]

    def _pointwise(self, operation: str, args: Iterable[Any], dtype: torch.dtype | None = None) -> Recorded:
        """One number from one or more, everywhere."""
        operands = list(args)
        if operation == "pow":
            if operands[1] != 2:
                raise UnknownStepError(f"a power of {operands[1]}")
            operation, operands = "mul", [operands[0], operands[0]]
        tensors = [each for each in operands if isinstance(each, Tensor)]
        shape = np.broadcast_shapes(*(tuple(each.shape) for each in tensors))
        if dtype is None:
            dtypes = {each.dtype for each in tensors if isinstance(each, Recorded)}
            wide = any(each.dtype == torch.float64 and each.ndim for each in tensors)
            dtype = torch.float64 if wide or torch.float64 in dtypes else self.dtype
        double = self._is_double(dtype)
        inputs = []
        for each in operands:
            if isinstance(each, Recorded):
                if operation != "copy" and each.dtype != dtype:
                    each = self._pointwise("copy", [each], dtype)
                flat = each.elements.expand(shape).flatten().numpy()
            else:
                plain = torch.as_tensor(each, dtype=torch.float64)
                flat = self.constant(plain.expand(shape), double=double)
            source = self._is_double(each.dtype) if isinstance(each, Recorded) else double
            same = bool((flat == flat[0]).all())
            inputs.append(self._read(flat if same else self.consecutive(flat, double=source)))
        phase = self._phase(*inputs)
        level = np.stack([self._level(each) for each in inputs]).max(0)
        out = self._new_map(phase, level, double=double)
        self._add(Pointwise(out=out, operation=operation, inputs=inputs))
        return self.stand_in(out.elements(), tuple(shape), dtype)

    def _looked_up(self, table: Tensor, index: Recorded) -> Recorded:
        """The numbers of a table at these places."""
        double = self._is_double(index.dtype)
        places = self._read(self.consecutive(index.flat(), double=double))
        numbers = self._constant_map(table.detach().to("cpu", torch.float64).flatten().numpy(), double).elements()
        out = self._new_map(self._phase(places), self._level(places), double=double)
        self._add(Pointwise(out=out, operation="lookup", inputs=[places, np.repeat(numbers[:1], len(places))]))
        return self.stand_in(out.elements(), tuple(index.shape), index.dtype)

    def _reduced(self, operation: str, x: Recorded, dim: Any = None, keepdim: bool = False, **kwargs: Any) -> Recorded:
        """The sum or the largest over some dimensions."""
        if kwargs:
            raise UnknownStepError(f"{operation} with {', '.join(kwargs)}")
        dims = range(x.ndim) if dim in (None, []) else [dim] if isinstance(dim, int) else dim
        over = sorted(each % x.ndim for each in dims)
        stay = [each for each in range(x.ndim) if each not in over]
        moved = x.elements.permute(*stay, *over)
        count = int(np.prod([x.shape[each] for each in over]))
        double = self._is_double(x.dtype)
        inputs = self._read(self.consecutive(moved.flatten().numpy(), double=double)).reshape(-1, count)
        out = self._new_map(self._phase(inputs), self._level(inputs.ravel()).reshape(-1, count).max(1), double=double)
        self._add(Reduce(out=out, operation=operation, inputs=inputs))
        shape = [1 if each in over else size for each, size in enumerate(x.shape) if keepdim or each not in over]
        return self.stand_in(out.elements(), tuple(shape), x.dtype)

    def _products(self, a: Tensor, b: Tensor) -> Recorded:
        """Matrix products (n, i, k), (n, k, j) -> (n, i, j), one factor constant: one product, zeros in between."""
        if isinstance(a, Recorded) == isinstance(b, Recorded):
            raise UnknownStepError("a product of two tensors that both depend on the image")
        if isinstance(a, Recorded):
            turned = self._products(b.transpose(1, 2), cast("Recorded", a.transpose(1, 2)))
            return cast("Recorded", turned.transpose(1, 2))
        b = cast("Recorded", b)
        columns = [
            self._linear(
                column.flat(),
                torch.block_diag(*a),
                torch.block_diag(*torch.ones_like(a)).bool().numpy(),
                None,
                None,
            ).reshape(*a.shape[:2])
            for column in cast("list[Recorded]", b.unbind(2))
        ]
        return cast("Recorded", torch.stack(columns, 2))

    # ---- elements and maps

    def _linear(
        self,
        inputs: Elements,
        weight: Tensor,
        mask: Any,
        bias: Tensor | None,
        plus: Tensor | None,
        along: int = 0,
    ) -> Recorded:
        """weight @ inputs + bias + plus, as (1, N, 1, 1)."""
        used = mask.any(0) & ~self._is_zero(inputs)
        weight = weight.detach()
        if not used.all():
            inputs, mask, weight = inputs[used], mask[:, used], weight[:, torch.from_numpy(used)]
        added = [] if plus is None else [self.consecutive(_elements(plus, self), double=False)]
        for each in (inputs, *added):
            self._read(each)
        phase = self._phase(inputs, *added)
        known = self._level(inputs)
        level = np.where(mask, known, 0).max(1) if known.any() else np.zeros(len(mask), dtype=np.int64)
        for each in added:
            level = np.maximum(level, self._level(each))
        out = self._new_map(phase, level, double=False)
        own = None if bias is None else bias.detach()
        self._add(Linear(out=out, inputs=inputs, weight=weight, mask=mask, bias=own, added=added, along=along))
        return self.stand_in(out.elements(), (1, -1, 1, 1), self.dtype)

    def _gathered(self, elements: Elements, *, double: bool) -> Elements:
        """A copy as consecutive channels of a new map."""
        index = parts(elements)[0]
        sources = [self.maps[int(each)] for each in np.unique(index)]
        if all(each.phase == Phase.CONST for each in sources):
            values = [self.maps[int(where)].value for where in index]
            channel = parts(elements)[3]
            numbers = [cast("Any", value)[at] for value, at in zip(values, channel, strict=True)]
            return self._constant_map(np.array(numbers), double).elements()
        self._read(elements)
        out = self._new_map(self._phase(elements), self._level(elements), double=double)
        self._add(Gather(out=out, inputs=elements))
        return out.elements()

    def _padded(self, elements: Elements, reach: Reach) -> Elements:
        """Elements of maps that are zero outside the image, if other pixels are looked at."""
        if reach.none:
            return elements
        sources = [self.maps[int(each)] for each in np.unique(parts(elements)[0])]
        if all(each.phase == Phase.CONST for each in sources):
            out = self._new_map(Phase.ROW, np.zeros(len(elements), dtype=np.int64), double=False)
            self._add(Gather(out=out, inputs=self._read(elements)))
            return out.elements()
        if any(each.phase < Phase.ROW for each in sources):
            raise UnknownStepError("a look around in a map that is the same at every pixel")
        if any(each.start is not None for each in sources):
            return self._gathered(elements, double=False)
        return elements

    def _around(self, elements: Elements, reach: Reach) -> Recorded:
        rows = range(-reach.up, reach.down + 1)
        columns = range(-reach.left, reach.right + 1)
        near = np.stack([np.stack([self._beside(elements, y, x) for x in columns], 1) for y in rows], 1)
        return self.stand_in(near[None], near[None].shape, self.dtype)

    def _beside(self, elements: Elements, dy: int, dx: int) -> Elements:
        """The same channels at another pixel of this resolution."""
        return shifted(elements, dy * self._every, dx * self._every)

    def _image_elements(self) -> Elements:
        if self._every > 1:
            raise AssertionError("a coarser level has no image")
        return shifted(self.image.elements(), -self._late, 0)

    def _read(self, elements: Elements) -> Elements:
        """Note how far maps are read."""
        for place in np.unique(elements >> 20):
            index, dy, dx, _ = (int(each) for each in parts(np.int64(place) << 20))  # type: ignore[arg-type]
            source = self.maps[index]
            source.up, source.left, source.right = max(source.up, -dy), max(source.left, -dx), max(source.right, dx)
            if dy > 0 or (dy == 0 and dx > 0 and source.phase == Phase.PIXEL):
                raise UnknownStepError("a look at pixels that come later")
        return elements

    def _phase(self, *reads: Elements) -> Phase:
        """The phase of what reads these elements."""
        return Phase(max([Phase.IMAGE, *(phases(self.maps, each).max() for each in reads if each.size)]))

    def _level(self, elements: Elements) -> Any:
        """How many colours of the pixel itself must be known."""
        index, dy, dx, channel = parts(elements)
        level = np.zeros(elements.shape, dtype=np.int64)
        here = (dy == 0) & (dx == 0)
        for each in np.unique(index[here]):
            these = here & (index == each)
            level[these] = self.maps[int(each)].level[channel[these]]
        return level

    def _is_zero(self, elements: Elements) -> Any:
        index, _, _, channel = parts(elements)
        zero = np.zeros(elements.shape, dtype=bool)
        for each in np.unique(index):
            value, these = self.maps[int(each)].value, index == each
            if value is not None:
                zero[these] = value[channel[these]] == 0
        return zero

    def _is_double(self, dtype: torch.dtype) -> bool:
        """Whether these numbers are kept apart: those of the head, if the network's are narrower."""
        return dtype == torch.float64 != self.dtype

    def _new_map(self, phase: Phase, level: Any, *, double: bool, start: Tensor | None = None) -> Map:
        made = Map(len(self.maps), len(level), phase, np.asarray(level, dtype=np.int64), double, start)
        self.maps.append(made)
        return made

    def _add(self, step: Step) -> None:
        step.from_row, step.every = self._late, self._every
        self.steps.append(step)


def _elements(x: Tensor, recording: Recording) -> Elements:
    """The elements of a tensor; of numbers that are known now, constants."""
    return x.flat() if isinstance(x, Recorded) else recording.constant(x, double=False)


def _kernel(conv: Any) -> tuple[Tensor, Any, list[tuple[int, int]], Tensor | None]:
    """Weights (C_out, taps * C_in), where they may be other than zero, the taps (row, column), and the bias."""
    taps = conv.taps()
    every = torch.ones_like(conv.weight, dtype=torch.bool) if conv.mask is None else conv.mask
    weight, mask = (torch.cat([each[:, :, y, x] for y, x in taps], 1) for each in (conv.masked(), every))
    return weight, mask.numpy(), taps, conv.bias


def _consecutive(elements: Elements) -> bool:
    return bool((np.diff(elements) == 1).all())

"""Numbers that are not known yet: what is done with them becomes steps of a program.

Tensors are stand-ins that hold no numbers but say where each number will be: `Recorded.elements`. Whatever moves
numbers around (views, splits, concatenations) is done on these elements and costs nothing later; whatever computes
becomes a step.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map

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
    Elements,
    Gather,
    Linear,
    Map,
    Phase,
    Pointwise,
    Reduce,
    Step,
    UnknownStepError,
    parts,
    phases,
)


class Recorded(torch.Tensor):
    """A tensor of which only the shape, the type and the place of every number are known."""

    elements: Tensor  # int64, of the same shape
    recording: Recorder

    @staticmethod
    def __new__(cls: type[Recorded], elements: Tensor, dtype: torch.dtype, recording: Recorder) -> Recorded:
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


class Recorder:
    """Writes down steps and their maps, in the order in which they are asked for.

    Arguments: dtype  of the network's weights
    """

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype = dtype
        self.maps: list[Map] = []
        self.steps: list[Step] = []
        self.late = 0  # rows by which the network runs behind the pixel at work
        self.every = 1  # rows and columns of the image from one pixel to the next, at this resolution
        self._constants: dict[tuple[bytes, bool], Map] = {}

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
        if name == "square":
            return self._pointwise("mul", [args[0], args[0]])
        if name == "silu":
            return args[0] * args[0].sigmoid()
        if name == "mean" and not kwargs.get("dtype"):
            total = self._reduced("sum", *args, **kwargs)
            return total * (total.numel() / args[0].numel())
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
                return self._linear(elements_of(x, self), weight[:, :, 0, 0], every, bias, None)
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
        added = [] if plus is None else [self.consecutive(elements_of(plus, self), double=False)]
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

    def _read(self, elements: Elements) -> Elements:
        """Note how far maps are read."""
        for place in np.unique(elements >> 20):
            index, dy, dx, _ = (int(each) for each in parts(np.int64(place) << 20))  # type: ignore[arg-type]
            source = self.maps[index]
            source.up, source.left, source.right = max(source.up, -dy), max(source.left, -dx), max(source.right, dx)
            if dy > 0 or (dy == 0 and dx > 0 and source.phase == Phase.PIXEL):
                raise UnknownStepError("a look at pixels that come later")
            if source.kept and (dy < 0 or not -1 <= dx <= 0):
                raise UnknownStepError("a look around in a map of all pixels")
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

    def _new_map(self, phase: Phase, level: Any, *, double: bool, **others: Any) -> Map:
        made = Map(len(self.maps), len(level), phase, np.asarray(level, dtype=np.int64), double, **others)
        self.maps.append(made)
        return made

    def _add(self, step: Step) -> None:
        step.from_row, step.every = self.late, self.every
        self.steps.append(step)


def elements_of(x: Tensor, recording: Recorder) -> Elements:
    """The elements of a tensor; of numbers that are known now, constants."""
    return x.flat() if isinstance(x, Recorded) else recording.constant(x, double=False)


def _consecutive(elements: Elements) -> bool:
    return bool((np.diff(elements) == 1).all())

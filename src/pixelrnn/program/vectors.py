"""Building blocks of the kernels, written as LLVM instructions where numba's loops would not become what is wanted.

A loop over 16 numbers is too short for LLVM to vectorise well, and a product whose sums leave the registers between
two inputs is bound by loads and stores. So products are spelt out on vectors: the sums of some outputs stay in
registers while all inputs go by. Vectors are as wide as the processor's registers; where they are wider, LLVM splits
them.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from llvmlite.binding import address_of_symbol
from numba import types
from numba.core import cgutils
from numba.core.registry import cpu_target
from numba.extending import intrinsic
from numba.np.arrayobj import populate_array

_FEATURES: str = cpu_target.target_context.codegen().magic_tuple()[2]
VECTOR_BYTES = 64 if "+avx512f" in _FEATURES else 32  # of a vector; the kernels' cache is separate for each processor
AHEAD = 2048  # bytes of weights that are fetched before they are read, if they serve one lane only
LANES = (
    4 if VECTOR_BYTES == 64 else 2
)  # that a product serves with one read of the weights: their sums fit in registers


@intrinsic
def view(typing: Any, array: Any, begin: Any, count: Any) -> Any:
    """array[begin : begin + count] of a flat array, without a check and without a reference to be counted."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind = signature.args[0]
        source = context.make_array(kind)(context, builder, arguments[0])
        made = context.make_array(kind)(context, builder)
        size = context.get_constant(types.intp, context.get_abi_sizeof(context.get_data_type(kind.dtype)))
        populate_array(
            made,
            data=builder.gep(source.data, [arguments[1]]),
            shape=[arguments[2]],
            strides=[size],
            itemsize=size,
            meminfo=None,
        )
        return made._getvalue()

    return array(array, types.intp, types.intp), build


@intrinsic
def get(typing: Any, array: Any, index: Any) -> Any:
    """array[index] of a flat array; an index below zero is not counted from the end."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        source = context.make_array(signature.args[0])(context, builder, arguments[0])
        return builder.load(builder.gep(source.data, [arguments[1]]))

    return array.dtype(array, types.intp), build


@intrinsic
def put(typing: Any, array: Any, index: Any, value: Any) -> Any:
    """array[index] = value of a flat array."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        source = context.make_array(signature.args[0])(context, builder, arguments[0])
        builder.store(arguments[2], builder.gep(source.data, [arguments[1]]))
        return context.get_dummy_value()

    return types.void(array, types.intp, array.dtype), build


@intrinsic
def meet(typing: Any, meeting: Any, members: Any) -> Any:
    """Wait until all members of a team have called this: meeting[0] counts calls.

    Whoever waits long lets other threads have the processor.
    """

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        counter = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        members = arguments[1]
        before = builder.atomic_rmw("add", counter, _int(1), "seq_cst")
        arrived = builder.mul(builder.add(builder.sdiv(before, members), _int(1)), members)  # when all have come
        start = builder.block
        head, wait, rest, done = (builder.append_basic_block() for _ in range(4))
        builder.branch(head)
        builder.position_at_end(head)
        turns = builder.phi(ir.IntType(64))
        turns.add_incoming(_int(0), start)
        now = builder.load_atomic(counter, "acquire", 8)
        builder.cbranch(builder.icmp_signed(">=", now, arrived), done, wait)
        builder.position_at_end(wait)
        next_ = builder.add(turns, _int(1))
        long = builder.icmp_signed(">", turns, _int(_PATIENCE))
        builder.cbranch(long, rest, head)
        turns.add_incoming(next_, wait)
        builder.position_at_end(rest)
        if _YIELD is not None:
            kind = ir.FunctionType(ir.IntType(32), [])
            builder.call(cgutils.get_or_insert_function(builder.module, kind, _YIELD), [])
        turns.add_incoming(next_, rest)
        builder.branch(head)
        builder.position_at_end(done)
        return context.get_dummy_value()

    return types.void(meeting, types.intp), build


_PATIENCE = 2000  # looks at the counter before the processor is yielded
_YIELD = next((name for name in ("sched_yield", "SwitchToThread") if address_of_symbol(name)), None)


@intrinsic
def as_float(typing: Any, bits: Any) -> Any:
    """The float that has these bits."""
    kind = {types.int32: types.float32, types.int64: types.float64}[bits]

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], context.get_value_type(signature.return_type))

    return kind(bits), build


def product(lanes: int, panels: int) -> Any:
    """A function that adds weights @ inputs to some lanes of a flat memory.

    (memory, weights, y, y_step, x, x_step, inputs, weight, valid): lane l reads its inputs from x + l * x_step on and
    adds to the outputs from y + l * y_step on. The weights stand from `weight` on, input by input, `panels` vectors of
    outputs each. Of the last vector `valid` numbers are written; memory must go on for a vector behind the outputs.

    Where a lane has few vectors of outputs, the inputs are dealt out to several sums, so that additions do not wait for
    each other. How depends on `panels` alone: an output is the same in every company of lanes.
    """
    splits = {1: 4, 2: 2}.get(panels, 1)

    @intrinsic
    def multiply(
        typing: Any,
        memory: Any,
        weights: Any,
        y: Any,
        y_step: Any,
        x: Any,
        x_step: Any,
        inputs: Any,
        weight: Any,
        valid: Any,
    ) -> Any:
        def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            tile = _Tile(context, builder, signature, arguments, lanes, panels, splits)
            tile.build()
            return context.get_dummy_value()

        return types.void(memory, weights, *[types.intp] * 7), build

    return multiply


class _Tile:
    """The instructions of `product`: lanes x panels x splits sums in registers."""

    def __init__(
        self, context: Any, builder: Any, signature: Any, arguments: Any, lanes: int, panels: int, splits: int
    ) -> None:
        self.builder, self.lanes, self.panels, self.splits = builder, lanes, panels, splits
        self.number = context.get_value_type(signature.args[0].dtype)
        self.size = context.get_abi_sizeof(self.number)
        self.width = VECTOR_BYTES // self.size
        self.vector = ir.VectorType(self.number, self.width)
        memory, weights = (
            context.make_array(kind)(context, builder, each).data
            for kind, each in zip(signature.args[:2], arguments[:2], strict=True)
        )
        y, y_step, x, x_step, self.inputs, weight, self.valid = arguments[2:]

        def lane(first: Any, step: Any, index: int) -> Any:
            return builder.gep(memory, [builder.add(first, builder.mul(step, _int(index)))])

        self.outputs = [lane(y, y_step, index) for index in range(lanes)]
        self.sources = [lane(x, x_step, index) for index in range(lanes)]
        self.weights = builder.gep(weights, [weight])

    def build(self) -> None:
        zero = ir.Constant(self.vector, [0.0] * self.width)
        sums = [
            zero if split else self._load(self.builder.gep(output, [_int(panel * self.width)]))
            for output in self.outputs
            for panel in range(self.panels)
            for split in range(self.splits)
        ]
        at, sums = self._loop(_int(0), self.splits, sums)
        if self.splits > 1:
            at, sums = self._loop(at, 1, sums)
        while len(sums) > self.lanes * self.panels:
            sums = [self.builder.fadd(one, other) for one, other in zip(sums[::2], sums[1::2], strict=True)]
        self._store(sums)

    def _loop(self, begin: Any, step: int, sums: list[Any]) -> tuple[Any, list[Any]]:
        """`step` inputs at a time as long as there are so many: the input that comes next, and the sums."""
        builder, before = self.builder, self.builder.block
        head, body, done = (builder.append_basic_block() for _ in range(3))
        builder.branch(head)
        builder.position_at_end(head)
        at, running = builder.phi(begin.type), [builder.phi(self.vector) for _ in sums]
        after = builder.add(at, _int(step))
        builder.cbranch(builder.icmp_signed("<=", after, self.inputs), body, done)
        builder.position_at_end(body)
        new = list(running)
        for split in range(step):
            here = builder.add(at, _int(split))
            first = builder.gep(self.weights, [builder.mul(here, _int(self.panels * self.width))])
            weights = [self._load(builder.gep(first, [_int(panel * self.width)])) for panel in range(self.panels)]
            if self.lanes == 1:
                for panel in range(self.panels):
                    self._prefetch(builder.gep(first, [_int(panel * self.width + AHEAD // self.size)]))
            for lane, source in enumerate(self.sources):
                number = self._spread(builder.load(builder.gep(source, [here])))
                for panel, weight in enumerate(weights):
                    index = (lane * self.panels + panel) * self.splits + split
                    new[index] = self._add_product(number, weight, new[index])
        for phi, first, next_ in zip([at, *running], [begin, *sums], [after, *new], strict=True):
            phi.add_incoming(first, before)
            phi.add_incoming(next_, builder.block)
        builder.branch(head)
        builder.position_at_end(done)
        return at, running

    def _load(self, pointer: Any) -> Any:
        return self.builder.load(self.builder.bitcast(pointer, self.vector.as_pointer()), align=self.size)

    def _prefetch(self, pointer: Any) -> None:
        """Let the processor fetch what will soon be read."""
        kind = ir.FunctionType(ir.VoidType(), [ir.IntType(8).as_pointer(), *[ir.IntType(32)] * 3])
        function = cgutils.get_or_insert_function(self.builder.module, kind, "llvm.prefetch.p0")
        flags = [ir.Constant(ir.IntType(32), flag) for flag in (0, 3, 1)]  # to be read, into every cache, data
        self.builder.call(function, [self.builder.bitcast(pointer, ir.IntType(8).as_pointer()), *flags])

    def _spread(self, number: Any) -> Any:
        """A vector of the same number."""
        kind = ir.VectorType(number.type, self.width)
        undefined = ir.Constant(kind, ir.Undefined)
        one = self.builder.insert_element(undefined, number, ir.Constant(ir.IntType(32), 0))
        zeros = ir.Constant(ir.VectorType(ir.IntType(32), self.width), [0] * self.width)
        return self.builder.shuffle_vector(one, undefined, zeros)

    def _add_product(self, a: Any, b: Any, c: Any) -> Any:
        """a * b + c, in one rounding where the processor has such an instruction."""
        kind = ir.FunctionType(self.vector, [self.vector] * 3)
        name = f"llvm.fmuladd.v{self.width}f{8 * self.size}"
        return self.builder.call(cgutils.get_or_insert_function(self.builder.module, kind, name), [a, b, c])

    def _store(self, sums: list[Any]) -> None:
        builder, pointer = self.builder, self.vector.as_pointer()
        last = []
        for output in self.outputs:
            for panel in range(self.panels):
                number = sums.pop(0)
                place = builder.bitcast(builder.gep(output, [_int(panel * self.width)]), pointer)
                if panel < self.panels - 1:
                    builder.store(number, place, align=self.size)
                else:
                    last.append((number, place))
        with builder.if_else(builder.icmp_signed(">=", self.valid, _int(self.width))) as (full, partial):
            with full:
                for number, place in last:
                    builder.store(number, place, align=self.size)
            with partial:
                integers, bits = ir.VectorType(ir.IntType(64), self.width), ir.VectorType(ir.IntType(1), self.width)
                index = ir.Constant(integers, list(range(self.width)))
                mask = builder.icmp_signed("<", index, self._spread(self.valid))
                kind = ir.FunctionType(ir.VoidType(), [self.vector, pointer, ir.IntType(32), bits])
                name = f"llvm.masked.store.v{self.width}f{8 * self.size}.p0"
                store = cgutils.get_or_insert_function(builder.module, kind, name)
                for number, place in last:
                    builder.call(store, [number, place, ir.Constant(ir.IntType(32), self.size), mask])


def _int(value: int) -> Any:
    return ir.Constant(ir.IntType(64), value)

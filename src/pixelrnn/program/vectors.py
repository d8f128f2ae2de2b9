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
from numba.extending import intrinsic
from numba.np.arrayobj import populate_array

from pixelrnn.program.formulas import Vectors
from pixelrnn.program.operations import OVER, PANELS
from pixelrnn.program.processor import vector_bytes

VECTOR_BYTES = vector_bytes()
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
def array_at(typing: Any, address: Any, shape: Any, number: Any) -> Any:
    """The array of this shape that stands at an address: contiguous, and not counted."""
    kind = types.Array(number.dtype, len(shape), "C")

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        made = context.make_array(kind)(context, builder)
        size = context.get_constant(types.intp, context.get_abi_sizeof(context.get_data_type(kind.dtype)))
        lengths = cgutils.unpack_tuple(builder, arguments[1])
        steps = [size]
        for length in lengths[:0:-1]:
            steps.insert(0, builder.mul(steps[0], length))
        data = builder.inttoptr(arguments[0], context.get_data_type(kind.dtype).as_pointer())
        populate_array(made, data=data, shape=lengths, strides=steps, itemsize=size, meminfo=None)
        return made._getvalue()

    return kind(address, shape, number), build


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

    Nobody waits once it is `OVER`. Whoever waits long rests in between: where there are more threads than processors,
    the others need them.
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
        over = builder.icmp_signed(">=", now, _int(OVER))
        builder.cbranch(builder.or_(over, builder.icmp_signed(">=", now, arrived)), done, wait)
        builder.position_at_end(wait)
        next_ = builder.add(turns, _int(1))
        long = builder.icmp_signed(">", turns, _int(_PATIENCE))
        builder.cbranch(long, rest, head)
        turns.add_incoming(next_, wait)
        builder.position_at_end(rest)
        if _REST is not None:
            kind = ir.FunctionType(ir.IntType(32), [ir.IntType(32)])
            sleep = cgutils.get_or_insert_function(builder.module, kind, _REST)
            builder.call(sleep, [ir.Constant(ir.IntType(32), _MICROSECONDS)])
        turns.add_incoming(next_, rest)
        builder.branch(head)
        builder.position_at_end(done)
        return context.get_dummy_value()

    return types.void(meeting, types.intp), build


_PATIENCE = 20_000  # looks at the counter, some ten microseconds, before resting
_MICROSECONDS = 50  # of a rest
_REST = "usleep" if address_of_symbol("usleep") else None


@intrinsic
def apart(typing: Any, function: Any, arguments: Any) -> Any:
    """function(*arguments), never inlined: a large function that is called from several places is compiled once."""
    called = function.get_call_type(typing, arguments.types, {})

    def build(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        result = context.get_function(function, called)(builder, cgutils.unpack_tuple(builder, values[1]))
        name = function.dispatcher.overloads[called.args].fndesc.llvm_func_name
        for block in builder.function.blocks:
            for each in block.instructions:
                if isinstance(each, ir.CallInstr) and each.callee.name == name:
                    each.attributes.add("noinline")
        return result

    return called.return_type(function, arguments), build


@intrinsic
def as_float(typing: Any, bits: Any) -> Any:
    """The float that has these bits."""
    kind: Any = {types.int32: types.float32, types.int64: types.float64}[bits]

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], context.get_value_type(signature.return_type))

    return kind(bits), build


def product(lanes: int) -> Any:
    """A function that adds weights @ inputs to some lanes of a flat memory.

    (memory, weights, y, y_step, x, x_step, inputs, weight, panels, valid): lane l reads its inputs from x + l * x_step
    on and adds to the outputs from y + l * y_step on. `weight` is where the weights stand, (first,) input by input or
    (first, apart) those of an input so far from those of the one before: `panels` vectors of outputs each, `PANELS` at
    most. Of the last vector `valid` numbers are written; memory must go on for a vector behind the outputs.

    Where a lane has few vectors of outputs, the inputs are dealt out to several sums, so that additions do not wait for
    each other. How depends on `panels` alone: an output is the same in every company of lanes.
    """

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
        panels: Any,
        valid: Any,
    ) -> Any:
        def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            done = builder.append_basic_block()
            cases = builder.switch(arguments[8], done)
            for count in range(1, PANELS + 1):
                case = builder.append_basic_block()
                cases.add_case(_int(count), case)
                builder.position_at_end(case)
                _Tile(context, builder, signature, arguments, lanes, count).build()
                builder.branch(done)
            builder.position_at_end(done)
            return context.get_dummy_value()

        return types.void(memory, weights, *[types.intp] * 5, weight, *[types.intp] * 2), build

    return multiply


class _Tile:
    """The instructions of `product`: lanes x panels x splits sums in registers."""

    def __init__(self, context: Any, builder: Any, signature: Any, arguments: Any, lanes: int, panels: int) -> None:
        self.builder, self.lanes, self.panels = builder, lanes, panels
        self.splits = {1: 4, 2: 2}.get(panels, 1)
        number = context.get_value_type(signature.args[0].dtype)
        self.size = context.get_abi_sizeof(number)
        self.v = Vectors(builder, number, 8 * self.size)
        memory, weights = (
            context.make_array(kind)(context, builder, each).data
            for kind, each in zip(signature.args[:2], arguments[:2], strict=True)
        )
        y, y_step, x, x_step, self.inputs, weight, _, self.valid = arguments[2:]
        first, *apart = cgutils.unpack_tuple(builder, weight)
        self.apart = apart[0] if apart else _int(panels * self.v.width)

        def lane(first: Any, step: Any, index: int) -> Any:
            return builder.gep(memory, [builder.add(first, builder.mul(step, _int(index)))])

        self.outputs = [lane(y, y_step, index) for index in range(lanes)]
        self.sources = [lane(x, x_step, index) for index in range(lanes)]
        self.weights = builder.gep(weights, [first])

    def build(self) -> None:
        zero = self.v.constant(0.0)
        sums = [
            zero if split else self.v.load(self._panel(output, panel))
            for output in self.outputs
            for panel in range(self.panels)
            for split in range(self.splits)
        ]
        at, sums = self._loop(_int(0), self.splits, sums)
        if self.splits > 1:
            at, sums = self._loop(at, 1, sums)
        while len(sums) > self.lanes * self.panels:
            sums = [self.v.add(one, other) for one, other in zip(sums[::2], sums[1::2], strict=True)]
        for lane, output in enumerate(self.outputs):
            for panel in range(self.panels):
                count = self.valid if panel == self.panels - 1 else _int(self.v.width)
                self.v.store(sums[lane * self.panels + panel], self._panel(output, panel), count)

    def _panel(self, pointer: Any, panel: int) -> Any:
        return self.builder.gep(pointer, [_int(panel * self.v.width)])

    def _loop(self, begin: Any, step: int, sums: list[Any]) -> tuple[Any, list[Any]]:
        """`step` inputs at a time as long as there are so many: the input that comes next, and the sums."""
        builder, before = self.builder, self.builder.block
        head, body, done = (builder.append_basic_block() for _ in range(3))
        builder.branch(head)
        builder.position_at_end(head)
        at, running = builder.phi(begin.type), [builder.phi(self.v.kind) for _ in sums]
        after = builder.add(at, _int(step))
        builder.cbranch(builder.icmp_signed("<=", after, self.inputs), body, done)
        builder.position_at_end(body)
        new = list(running)
        for split in range(step):
            here = builder.add(at, _int(split))
            first = builder.gep(self.weights, [builder.mul(here, self.apart)])
            weights = [self.v.load(self._panel(first, panel)) for panel in range(self.panels)]
            if self.lanes == 1:
                for panel in range(self.panels):
                    self._prefetch(builder.gep(self._panel(first, panel), [_int(AHEAD // self.size)]))
            for lane, source in enumerate(self.sources):
                number = self.v.splat(builder.load(builder.gep(source, [here])))
                for panel, weight in enumerate(weights):
                    index = (lane * self.panels + panel) * self.splits + split
                    new[index] = self.v.add_product(number, weight, new[index])
        for phi, first, next_ in zip([at, *running], [begin, *sums], [after, *new], strict=True):
            phi.add_incoming(first, before)
            phi.add_incoming(next_, builder.block)
        builder.branch(head)
        builder.position_at_end(done)
        return at, running

    def _prefetch(self, pointer: Any) -> None:
        """Let the processor fetch what will soon be read."""
        kind = ir.FunctionType(ir.VoidType(), [ir.IntType(8).as_pointer(), *[ir.IntType(32)] * 3])
        function = cgutils.get_or_insert_function(self.builder.module, kind, "llvm.prefetch.p0")
        flags = [ir.Constant(ir.IntType(32), flag) for flag in (0, 3, 1)]  # to be read, into every cache, data
        self.builder.call(function, [self.builder.bitcast(pointer, ir.IntType(8).as_pointer()), *flags])


def _int(value: int) -> Any:
    return ir.Constant(ir.IntType(64), value)

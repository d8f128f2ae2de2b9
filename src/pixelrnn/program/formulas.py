"""Elementwise operations on vectors: what is done with one number from each operand, written once for any number.

LLVM vectorises such loops by itself only sometimes: it has to prove that outputs and inputs lie apart, and that pays.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from pixelrnn.program.processor import vector_bytes


class Vectors:
    """Instructions on vectors of one kind of number."""

    def __init__(self, builder: Any, number: Any, bits: int) -> None:
        self.builder, self.number, self.bits = builder, number, bits
        self.width = vector_bytes() * 8 // bits
        self.kind = ir.VectorType(number, self.width)
        self.integers = ir.VectorType(ir.IntType(bits), self.width)

    # ---- memory

    def load(self, pointer: Any) -> Any:
        """A vector from anywhere in memory."""
        return self.builder.load(self._pointer(pointer), align=self.bits // 8)

    def store(self, value: Any, pointer: Any, count: Any) -> None:
        """The first `count` numbers of a vector; all if there are no more."""
        whole = self.builder.icmp_signed(">=", count, count.type(self.width))
        with self.builder.if_else(whole) as (full, part):
            with full:
                self.builder.store(value, self._pointer(pointer), align=self.bits // 8)
            with part:
                index = ir.Constant(ir.VectorType(count.type, self.width), list(range(self.width)))
                mask = self.builder.icmp_signed("<", index, self.splat(count))
                flags = ir.VectorType(ir.IntType(1), self.width)
                self._call(
                    "llvm.masked.store",
                    ".p0",
                    ir.VoidType(),
                    [value, self._pointer(pointer), ir.Constant(ir.IntType(32), self.bits // 8), mask],
                    [self.kind, self.kind.as_pointer(), ir.IntType(32), flags],
                )

    def splat(self, number: Any) -> Any:
        """A vector of the same number."""
        undefined = ir.Constant(ir.VectorType(number.type, self.width), ir.Undefined)
        one = self.builder.insert_element(undefined, number, ir.Constant(ir.IntType(32), 0))
        zeros = ir.Constant(ir.VectorType(ir.IntType(32), self.width), [0] * self.width)
        return self.builder.shuffle_vector(one, undefined, zeros)

    def _pointer(self, pointer: Any) -> Any:
        return self.builder.bitcast(pointer, self.kind.as_pointer())

    # ---- arithmetic

    def constant(self, value: float) -> Any:
        """The same number everywhere."""
        return ir.Constant(self.kind, [value] * self.width)

    def add(self, a: Any, b: Any) -> Any:
        return self.builder.fadd(a, b)

    def subtract(self, a: Any, b: Any) -> Any:
        return self.builder.fsub(a, b)

    def multiply(self, a: Any, b: Any) -> Any:
        return self.builder.fmul(a, b)

    def divide(self, a: Any, b: Any) -> Any:
        return self.builder.fdiv(a, b)

    def add_product(self, a: Any, b: Any, c: Any) -> Any:
        """a * b + c, in one rounding where the processor has such an instruction."""
        return self._call("llvm.fmuladd", "", self.kind, [a, b, c], [self.kind] * 3)

    def negative(self, a: Any) -> Any:
        return self.builder.fneg(a)

    def absolute(self, a: Any) -> Any:
        return self._call("llvm.fabs", "", self.kind, [a], [self.kind])

    def floor(self, a: Any) -> Any:
        return self._call("llvm.floor", "", self.kind, [a], [self.kind])

    def smaller(self, a: Any, b: Any) -> Any:
        """b where it is smaller, else a: what is not a number stays if it is a."""
        return self.builder.select(self.builder.fcmp_ordered("<", b, a), b, a)

    def larger(self, a: Any, b: Any) -> Any:
        """b where it is larger, else a."""
        return self.builder.select(self.builder.fcmp_ordered(">", b, a), b, a)

    def relu(self, a: Any) -> Any:
        return self.larger(a, self.constant(0.0))

    def rsqrt(self, a: Any) -> Any:
        """1 / sqrt(a)."""
        return self.divide(self.constant(1.0), self._call("llvm.sqrt", "", self.kind, [a], [self.kind]))

    def exp_of_difference(self, a: Any, b: Any) -> Any:
        return self.exp(self.subtract(a, b))

    def elu(self, a: Any) -> Any:
        """a, or e^a - 1 where that is negative."""
        zero, one = self.constant(0.0), self.constant(1.0)
        below = self.subtract(self.exp(self.smaller(a, zero)), one)
        return self.add(self.larger(zero, a), below)

    def exp(self, x: Any) -> Any:
        """e^x = 2^n e^r with |r| below (ln 2) / 2, e^r by its series; within 2 units in the last place.

        It stays finite: above 88 (float64: 709) it is e^88 (e^709), which no gate and no softmax notices.
        """
        single = self.bits == 32
        low, high, terms, mantissa = (-87.0, 88.0, 7, 23) if single else (-708.0, 709.0, 13, 52)
        upper, lower = (0.693359375, -2.12194440e-4) if single else (6.93145751953125e-1, 1.42860682030941723212e-6)
        inside = self.larger(self.smaller(x, self.constant(high)), self.constant(low))
        scaled = self.add_product(inside, self.constant(math.log2(math.e)), self.constant(0.5))
        n = self.floor(scaled)
        r = self.add_product(n, self.constant(-upper), inside)
        r = self.add_product(n, self.constant(-lower), r)
        y = self.constant(1 / math.factorial(terms))
        for term in range(terms - 1, -1, -1):
            y = self.add_product(y, r, self.constant(1 / math.factorial(term)))
        integer = ir.IntType(self.bits)
        exponent = self.builder.add(
            self.builder.fptosi(n, self.integers), self.splat(integer(1023 if not single else 127))
        )
        power = self.builder.bitcast(self.builder.shl(exponent, self.splat(integer(mantissa))), self.kind)
        y = self.builder.select(
            self.builder.fcmp_ordered("<", x, self.constant(low)), self.constant(0.0), self.multiply(y, power)
        )
        return self.builder.select(self.builder.fcmp_unordered("uno", x, x), x, y)

    def sigmoid(self, x: Any) -> Any:
        one = self.constant(1.0)
        return self.divide(one, self.add(self.exp(self.negative(x)), one))

    def tanh(self, x: Any) -> Any:
        one, two = self.constant(1.0), self.constant(2.0)
        return self.subtract(one, self.divide(two, self.add(self.exp(self.add(x, x)), one)))

    def gate(self, a: Any, b: Any) -> Any:
        return self.multiply(self.tanh(a), self.sigmoid(b))

    def _call(self, name: str, suffix: str, returned: Any, arguments: list[Any], kinds: list[Any]) -> Any:
        kind = ir.FunctionType(returned, kinds)
        full = f"{name}.v{self.width}f{self.bits}{suffix}"
        return self.builder.call(cgutils.get_or_insert_function(self.builder.module, kind, full), arguments)


def elementwise(operands: int, outputs: int, formula: Callable[..., Any]) -> Any:
    """A function that goes over n numbers of a flat memory.

    (memory, n, places, units): tuples of where outputs and then operands stand, and of the operands' units, 1 for
    consecutive numbers and 0 for one and the same. Memory must go on for a vector behind what is read.

    Arguments:
        formula  takes `Vectors` and the operands, returns an output or a list of them
    """

    @intrinsic
    def apply(typing: Any, memory: Any, n: Any, places: Any, units: Any) -> Any:
        def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            kind = signature.args[0]
            number = context.get_value_type(kind.dtype)
            vectors = Vectors(builder, number, 8 * context.get_abi_sizeof(number))
            base = context.make_array(kind)(context, builder, arguments[0]).data
            at, steps = (cgutils.unpack_tuple(builder, each) for each in arguments[2:])
            same = [builder.icmp_signed("==", unit, unit.type(0)) for unit in steps]
            count = arguments[1]
            with cgutils.for_range_slice(builder, count.type(0), count, count.type(vectors.width)) as (k, _):
                values = []
                for place, unit, one in zip(at[outputs:], steps, same, strict=True):
                    value = vectors.load(builder.gep(base, [builder.add(place, builder.mul(unit, k))]))
                    first = vectors.splat(builder.extract_element(value, ir.Constant(ir.IntType(32), 0)))
                    values.append(builder.select(one, first, value))
                made = formula(vectors, *values)
                for place, value in zip(at[:outputs], made if outputs > 1 else [made], strict=True):
                    vectors.store(value, builder.gep(base, [builder.add(place, k)]), builder.sub(count, k))
            return context.get_dummy_value()

        return types.void(memory, n, places, units), build

    assert operands > 0
    return apply


def lstm(forget_gates: int, product: bool) -> Any:
    """The LSTM cell: outputs h and c from [o, f.., i, g] before their activations, and the cells carried over."""

    def formula(v: Vectors, o: Any, *rest: Any) -> list[Any]:
        forget, (into, new), carried = rest[:forget_gates], rest[forget_gates:][:2], rest[forget_gates + 2 :]
        c = v.multiply(v.sigmoid(into), v.tanh(new))
        for gate, before in zip(forget, carried, strict=True):
            c = v.add_product(v.sigmoid(gate), before, c)
        h = v.tanh(v.multiply(v.sigmoid(o), c)) if product else v.multiply(v.sigmoid(o), v.tanh(c))
        return [h, c]

    return elementwise(2 * forget_gates + 3, 2, formula)

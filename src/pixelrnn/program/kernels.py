"""The compiled interpreter of programs: importing this module imports numba, and compiles nothing yet.

Every function takes arrays of any number type, and is compiled once for each. Loops over the channels of a map are
innermost and on vectors (`vectors`, `formulas`); the order of sums does not depend on the company of an image.

In `code` an instruction is a row of integers:

    0 operation  1 n  2 out  3 4 a and its unit  5 6 b and its unit  7 8 c and its unit  9 10 more  11 first row
    12 whether it is done in float64  13 whether it reads other columns
    14 15 16 of how many rows and columns it is done in one; in which row of them; how far from the first column

out, a, b and c are operands: places in memory, looked up in `at` for the row at work. A unit of 1 says that an operand
is n consecutive numbers, 0 that it is one number; the kernels of `attention` have other numbers there, as they say.
Operands of an instruction that is done in every second column have steps of two columns, and so on.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit

from pixelrnn.program import operations as ops
from pixelrnn.program.attention import look_back
from pixelrnn.program.elementary import OPTIONS, largest, log_ndtr, place, total
from pixelrnn.program.formulas import Vectors, elementwise, lstm
from pixelrnn.program.vectors import LANES, VECTOR_BYTES, apart, get, product, put, view

_PRODUCT, _PRODUCT_OF_LANES = product(1), product(LANES)


@njit(**OPTIONS, inline="always")
def linear(memory, weights, y, y_step, n, x, x_step, inputs, weight, lanes):
    """out += weights @ inputs for some lanes, whose outputs stand `y_step` apart and whose inputs `x_step` apart."""
    width = VECTOR_BYTES // memory.itemsize
    while n > 0:
        panels = min(ops.PANELS, (n + width - 1) // width)
        valid = n - (panels - 1) * width
        lane = 0
        while lane < lanes:
            out, here = y + lane * y_step, x + lane * x_step
            if lane + LANES <= lanes:
                _PRODUCT_OF_LANES(memory, weights, out, y_step, here, x_step, inputs, (weight,), panels, valid)
                lane += LANES
            else:
                _PRODUCT(memory, weights, out, y_step, here, x_step, inputs, (weight,), panels, valid)
                lane += 1
        n -= panels * width
        y += panels * width
        weight += inputs * panels * width


_COPY = elementwise(1, 1, lambda v, a: a)
_RELU = elementwise(1, 1, Vectors.relu)
_TANH = elementwise(1, 1, Vectors.tanh)
_SIGMOID = elementwise(1, 1, Vectors.sigmoid)
_EXP = elementwise(1, 1, Vectors.exp)
_NEG = elementwise(1, 1, Vectors.negative)
_ABS = elementwise(1, 1, Vectors.absolute)
_FLOOR = elementwise(1, 1, Vectors.floor)
_ELU = elementwise(1, 1, Vectors.elu)
_RSQRT = elementwise(1, 1, Vectors.rsqrt)
_ADD = elementwise(2, 1, Vectors.add)
_SUB = elementwise(2, 1, Vectors.subtract)
_MUL = elementwise(2, 1, Vectors.multiply)
_DIV = elementwise(2, 1, Vectors.divide)
_MAXIMUM = elementwise(2, 1, Vectors.larger)
_MINIMUM = elementwise(2, 1, Vectors.smaller)
_GATE = elementwise(2, 1, Vectors.gate)
_LSTM = lstm(1, False)
_LSTM_OF_PRODUCT = lstm(1, True)
_LSTM_2 = lstm(2, False)
_LSTM_2_OF_PRODUCT = lstm(2, True)


@njit(**OPTIONS)
def pointwise(operation, memory, n, y, a, a_unit, b, b_unit, c, c_unit):
    """n times y = operation(a, b, c), which stand at these places."""
    if operation == ops.COPY:
        _COPY(memory, n, (y, a), (a_unit,))
    elif operation == ops.RELU:
        _RELU(memory, n, (y, a), (a_unit,))
    elif operation == ops.TANH:
        _TANH(memory, n, (y, a), (a_unit,))
    elif operation == ops.SIGMOID:
        _SIGMOID(memory, n, (y, a), (a_unit,))
    elif operation == ops.EXP:
        _EXP(memory, n, (y, a), (a_unit,))
    elif operation == ops.NEG:
        _NEG(memory, n, (y, a), (a_unit,))
    elif operation == ops.ABS:
        _ABS(memory, n, (y, a), (a_unit,))
    elif operation == ops.FLOOR:
        _FLOOR(memory, n, (y, a), (a_unit,))
    elif operation == ops.ELU:
        _ELU(memory, n, (y, a), (a_unit,))
    elif operation == ops.RSQRT:
        _RSQRT(memory, n, (y, a), (a_unit,))
    elif operation == ops.ADD:
        _ADD(memory, n, (y, a, b), (a_unit, b_unit))
    elif operation == ops.SUB:
        _SUB(memory, n, (y, a, b), (a_unit, b_unit))
    elif operation == ops.MUL:
        _MUL(memory, n, (y, a, b), (a_unit, b_unit))
    elif operation == ops.DIV:
        _DIV(memory, n, (y, a, b), (a_unit, b_unit))
    elif operation == ops.MAXIMUM:
        _MAXIMUM(memory, n, (y, a, b), (a_unit, b_unit))
    elif operation == ops.MINIMUM:
        _MINIMUM(memory, n, (y, a, b), (a_unit, b_unit))
    elif operation == ops.GATE:
        _GATE(memory, n, (y, a, b), (a_unit, b_unit))
    else:
        for k in range(n):
            number = get(memory, a + k * a_unit)
            if operation == ops.LOG:
                number = np.log(number)
            elif operation == ops.EXPM1:
                number = np.expm1(number)
            elif operation == ops.LOG_NDTR:
                number = type(number)(log_ndtr(np.float64(number)))
            elif operation == ops.LOOKUP:
                number = get(memory, b + np.int64(number))
            elif number != 0:  # WHERE
                number = get(memory, b + k * b_unit)
            else:
                number = get(memory, c + k * c_unit)
            put(memory, y + k, number)


@njit(**OPTIONS, inline="always")
def multiply(line, at, steps, chunks, memory, weights, image, column, lanes, across):
    """A product, with what is added to it before and its relu behind."""
    n, out, bias = get(line, 1), get(line, 2), get(line, 7)
    y_at, y_step = place(out, at, steps, image, column), get(steps, 2 * out + across)
    a, b = get(line, 3), get(line, 5)
    for lane in range(lanes):
        y = y_at + lane * y_step
        start(memory, weights, y, bias, n)
        if a >= 0:
            _ADD(memory, n, (y, y, place(a, at, steps, image, column) + lane * get(steps, 2 * a + across)), (1, 1))
        if b >= 0:
            _ADD(memory, n, (y, y, place(b, at, steps, image, column) + lane * get(steps, 2 * b + across)), (1, 1))
    first = get(line, 9)
    for chunk in range(3 * first, 3 * (first + get(line, 10)), 3):
        o = get(chunks, chunk)
        linear(
            memory,
            weights,
            y_at,
            y_step,
            n,
            place(o, at, steps, image, column),
            get(steps, 2 * o + across),
            get(chunks, chunk + 1),
            get(chunks, chunk + 2),
            lanes,
        )
    if get(line, 4) == 1:
        o = get(line, 8)
        z_at, z_step = place(o, at, steps, image, column), get(steps, 2 * o + across)
        for lane in range(lanes):
            _RELU(memory, n, (z_at + lane * z_step, y_at + lane * y_step), (1,))


@njit(**OPTIONS)
def start(memory, weights, y, bias, n):
    """The bias, or zeros."""
    if bias >= 0:
        for k in range(n):
            put(memory, y + k, get(weights, bias + k))
    else:
        for k in range(n):
            put(memory, y + k, type(memory[0])(0))


@njit(**OPTIONS)
def compute(line, at, steps, memory, image, column, lanes, across):
    """Do a pointwise operation or a reduction for some lanes: images from `image` on, or columns from `column` on.

    Lanes are columns if `across` is 1. An operand o stands at at[o] + image * steps[2 * o] + column * steps[2 * o + 1].
    """
    operation, n, out, more = get(line, 0), get(line, 1), get(line, 2), get(line, 9)
    a, b, c = get(line, 3), get(line, 5), get(line, 7)
    y_at, y_step = place(out, at, steps, image, column), get(steps, 2 * out + across)
    a_at, a_step = place(a, at, steps, image, column), get(steps, 2 * a + across)
    b_at, b_step = place(b, at, steps, image, column), get(steps, 2 * b + across)
    c_at, c_step = place(c, at, steps, image, column), get(steps, 2 * c + across)
    for _ in range(lanes):
        if operation <= ops.LAST_POINTWISE:
            pointwise(operation, memory, n, y_at, a_at, get(line, 4), b_at, get(line, 6), c_at, get(line, 8))
        else:
            for k in range(n):
                x = view(memory, a_at + k * more, more)
                put(memory, y_at + k, total(x) if operation == ops.SUM else largest(x))
        y_at += y_step
        a_at += a_step
        b_at += b_step
        c_at += c_step


@njit(**OPTIONS)
def recur(line, at, steps, places, memory, image, column, lanes, across):
    """An LSTM cell for some lanes."""
    n, out, a, b, more = get(line, 1), get(line, 2), get(line, 3), get(line, 5), get(line, 9)
    y_at, y_step = place(out, at, steps, image, column), get(steps, 2 * out + across)
    a_at, a_step = place(a, at, steps, image, column), get(steps, 2 * a + across)
    b_at, b_step = place(b, at, steps, image, column), get(steps, 2 * b + across)
    o = get(places, 2 * more)
    one_at, one_step = place(o, at, steps, image, column), get(steps, 2 * o + across)
    o = get(places, 2 * more + 1)
    two_at, two_step = place(o, at, steps, image, column), get(steps, 2 * o + across)
    width, forget_gates, of_product = get(line, 6), get(line, 10), get(line, 8) == 1
    for _ in range(lanes):
        o, f, i = a_at, a_at + width, a_at + (forget_gates + 1) * width
        if forget_gates == 1:
            at_one, units = (y_at, b_at, o, f, i, i + width, one_at), (1, 1, 1, 1, 1)
            if of_product:
                _LSTM_OF_PRODUCT(memory, n, at_one, units)
            else:
                _LSTM(memory, n, at_one, units)
        else:
            at_two = (y_at, b_at, o, f, f + width, i, i + width, one_at, two_at)
            units_of_two = (1, 1, 1, 1, 1, 1, 1)
            if of_product:
                _LSTM_2_OF_PRODUCT(memory, n, at_two, units_of_two)
            else:
                _LSTM_2(memory, n, at_two, units_of_two)
        y_at += y_step
        b_at += b_step
        a_at += a_step
        one_at += one_step
        two_at += two_step


@njit(**OPTIONS)
def recur_in_integers(line, at, steps, places, memory, image, column, lanes, across):
    """An LSTM cell in whole numbers for some lanes."""
    n, out, a, b, more = get(line, 1), get(line, 2), get(line, 3), get(line, 5), get(line, 9)
    y_at, y_step = place(out, at, steps, image, column), get(steps, 2 * out + across)
    a_at, a_step = place(a, at, steps, image, column), get(steps, 2 * a + across)
    b_at, b_step = place(b, at, steps, image, column), get(steps, 2 * b + across)
    o = get(places, 2 * more)
    one_at, one_step = place(o, at, steps, image, column), get(steps, 2 * o + across)
    o = get(places, 2 * more + 1)
    two_at, two_step = place(o, at, steps, image, column), get(steps, 2 * o + across)
    cuts, table = place(get(line, 4), at, steps, image, column), place(get(line, 7), at, steps, image, column)
    width, forget_gates, of_product = get(line, 6), get(line, 10), get(line, 8) == 1
    limit, unit, farthest = get(memory, table), get(memory, table + 1), get(memory, table + 2)
    tanh, sigmoid = table + 3 + np.int64(limit), table + 4 + 3 * np.int64(limit)  # where their values at 0 are
    into, new = (forget_gates + 1) * width, (forget_gates + 2) * width
    for _ in range(lanes):
        for k in range(n):
            opened = activation(memory, a_at + k, cuts + k, sigmoid, limit)
            total = activation(memory, a_at + into + k, cuts + into + k, sigmoid, limit) * activation(
                memory, a_at + new + k, cuts + new + k, tanh, limit
            )
            kept = activation(memory, a_at + width + k, cuts + width + k, sigmoid, limit)
            total += kept * get(memory, one_at + k)
            if forget_gates == 2:
                kept = activation(memory, a_at + 2 * width + k, cuts + 2 * width + k, sigmoid, limit)
                total += kept * get(memory, two_at + k)
            c = min(max(rounded(total, unit), -farthest), farthest)
            if of_product:
                h = function(memory, rounded(opened * c, unit), tanh, limit)
            else:
                h = rounded(opened * function(memory, c, tanh, limit), unit)
            put(memory, b_at + k, c)
            put(memory, y_at + k, h)
        y_at += y_step
        b_at += b_step
        a_at += a_step
        one_at += one_step
        two_at += two_step


@njit(**OPTIONS, inline="always")
def activation(memory, x, cut, zero, limit):
    """A function of a gate, whose last binary places are cut off."""
    return function(memory, np.floor(get(memory, x) * get(memory, cut)), zero, limit)


@njit(**OPTIONS, inline="always")
def function(memory, number, zero, limit):
    """A function by its table, whose value at 0 is at `zero`."""
    return get(memory, zero + np.int64(min(max(number, -limit), limit)))


@njit(**OPTIONS, inline="always")
def rounded(number, unit):
    return np.floor(number * unit + type(unit)(0.5))


@njit(**OPTIONS)
def move(operation, line, at, steps, places, memory, wide, image, column, lanes, across):
    """Numbers from anywhere, or from one kind to the other."""
    n, out, a, unit, first = get(line, 1), get(line, 2), get(line, 3), get(line, 4), 2 * get(line, 9)
    y, x = place(out, at, steps, image, column), place(a, at, steps, image, column)
    for _ in range(lanes):
        if operation == ops.CAST:
            for k in range(n):
                put(wide, y + k, np.float64(get(memory, x + k * unit)))
        elif operation == ops.UNCAST:
            for k in range(n):
                put(memory, y + k, type(memory[0])(get(wide, x + k * unit)))
        elif get(line, 12) == 1:
            for k in range(first, first + 2 * n, 2):
                put(wide, y + get(places, k), get(wide, x + get(places, k + 1)))
        else:
            for k in range(first, first + 2 * n, 2):
                put(memory, y + get(places, k), get(memory, x + get(places, k + 1)))
        y += get(steps, 2 * out + across)
        x += get(steps, 2 * a + across)


class State(NamedTuple):
    """A program at work: all arrays are flat."""

    code: Any
    at: Any
    steps: Any
    chunks: Any
    places: Any
    memory: Any
    wide: Any
    weights: Any


@njit(**OPTIONS)
def run(state, begin, end, row, image, images, column, columns):
    """Some instructions, each for all images from `image` on and all columns from `column` on."""
    at, steps, memory, wide = state.at, state.steps, state.memory, state.wide
    across, turns = (1, images) if columns > 1 else (0, 1)
    end_column = column + columns
    for index in range(begin, end):
        line = view(state.code, index * ops.FIELDS, ops.FIELDS)
        if row < get(line, 11):
            continue
        first, after, every = column, end_column, get(line, 14)
        if every > 1:
            if row % every != get(line, 15):
                continue
            nearest = every - 1 - get(line, 16)
            first, after = (column + nearest) // every, (end_column + nearest) // every
            if first == after:
                continue
        lanes = after - first if columns > 1 else images
        operation = get(line, 0)
        for i in range(image, image + turns):
            if operation == ops.LINEAR:
                multiply(line, at, steps, state.chunks, memory, state.weights, i, first, lanes, across)
            elif operation == ops.CELL:
                recur(line, at, steps, state.places, memory, i, first, lanes, across)
            elif operation == ops.INTEGER_CELL:
                recur_in_integers(line, at, steps, state.places, memory, i, first, lanes, across)
            elif operation >= ops.GATHER_EARLIER:
                apart(look_back, (operation, line, at, steps, state.places, memory, i, first, lanes, across))
            elif operation == ops.GATHER or operation == ops.CAST or operation == ops.UNCAST:
                move(operation, line, at, steps, state.places, memory, wide, i, first, lanes, across)
            elif get(line, 12) == 1:
                compute(line, at, steps, wide, i, first, lanes, across)
            else:
                compute(line, at, steps, memory, i, first, lanes, across)

"""The compiled interpreter of programs: importing this module imports numba, and compiles nothing yet.

Every function takes arrays of any number type, and is compiled once for each. Loops over the channels of a map are
innermost and go over slices, so that they vectorise; sums are taken in the order in which they are written.

In `code` an instruction is a row of integers:

    0 operation  1 n  2 out  3 4 a and its unit  5 6 b and its unit  7 8 c and its unit  9 10 more  11 first row
    12 whether it is done in float64

out, a, b and c are operands: places in memory, looked up in `at` for the row at work. A unit of 1 says that an operand
is n consecutive numbers, 0 that it is one number.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from pixelrnn.program import operations as ops
from pixelrnn.program.elementary import OPTIONS, exp, largest, log_ndtr, sigmoid, tanh, total
from pixelrnn.program.vectors import LANES, VECTOR_BYTES, get, product, put, view

_SINGLE = [product(1, panels) for panels in range(1, ops.PANELS + 1)]
_MANY = [product(LANES, panels) for panels in range(1, ops.PANELS + 1)]
_1, _2, _3, _4 = _SINGLE
_M1, _M2, _M3, _M4 = _MANY


@njit(**OPTIONS)
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
                lane += LANES
                if panels == 4:
                    _M4(memory, weights, out, y_step, here, x_step, inputs, weight, valid)
                elif panels == 3:
                    _M3(memory, weights, out, y_step, here, x_step, inputs, weight, valid)
                elif panels == 2:
                    _M2(memory, weights, out, y_step, here, x_step, inputs, weight, valid)
                else:
                    _M1(memory, weights, out, y_step, here, x_step, inputs, weight, valid)
            else:
                lane += 1
                if panels == 4:
                    _4(memory, weights, out, y_step, here, x_step, inputs, weight, valid)
                elif panels == 3:
                    _3(memory, weights, out, y_step, here, x_step, inputs, weight, valid)
                elif panels == 2:
                    _2(memory, weights, out, y_step, here, x_step, inputs, weight, valid)
                else:
                    _1(memory, weights, out, y_step, here, x_step, inputs, weight, valid)
        n -= panels * width
        y += panels * width
        weight += inputs * panels * width


@njit(**OPTIONS)
def pointwise(operation, y, a, a_unit, b, b_unit, c, c_unit):
    """y[k] = operation(a[k], b[k], c[k]); what networks do most has a loop of its own, which vectorises."""
    n = len(y)
    if operation == ops.RELU and a_unit == 1:
        zero = type(a[0])(0)
        for k in range(n):
            y[k] = zero if a[k] < zero else a[k]
    elif operation == ops.TANH and a_unit == 1:
        for k in range(n):
            y[k] = tanh(a[k])
    elif operation == ops.SIGMOID and a_unit == 1:
        for k in range(n):
            y[k] = sigmoid(a[k])
    elif operation == ops.EXP and a_unit == 1:
        for k in range(n):
            y[k] = exp(a[k])
    elif operation == ops.GATE:
        for k in range(n):
            y[k] = tanh(a[k]) * sigmoid(b[k])
    elif operation == ops.ADD and a_unit == 1 and b_unit == 1:
        for k in range(n):
            y[k] = a[k] + b[k]
    elif operation == ops.MUL and a_unit == 1 and b_unit == 1:
        for k in range(n):
            y[k] = a[k] * b[k]
    elif operation == ops.COPY and a_unit == 1:
        for k in range(n):
            y[k] = a[k]
    elif operation == ops.SUB and a_unit == 1 and b_unit == 0:
        one = b[0]
        for k in range(n):
            y[k] = a[k] - one
    elif operation == ops.DIV and a_unit == 1 and b_unit == 0:
        one = b[0]
        for k in range(n):
            y[k] = a[k] / one
    else:
        for k in range(n):
            y[k] = _one(operation, a[k * a_unit], b[k * b_unit], c[k * c_unit])


@njit(**OPTIONS)
def _one(operation, a, b, c):
    if operation == ops.ADD:
        return a + b
    if operation == ops.SUB:
        return a - b
    if operation == ops.MUL:
        return a * b
    if operation == ops.DIV:
        return a / b
    if operation == ops.MAXIMUM:
        return b if b > a else a
    if operation == ops.MINIMUM:
        return b if b < a else a
    if operation == ops.WHERE:
        return b if a != 0 else c
    if operation == ops.RELU:
        return type(a)(0) if a < 0 else a
    if operation == ops.NEG:
        return -a
    if operation == ops.ABS:
        return abs(a)
    if operation == ops.LOG:
        return np.log(a)
    if operation == ops.EXPM1:
        return np.expm1(a)
    if operation == ops.LOG_NDTR:
        return type(a)(log_ndtr(np.float64(a)))
    if operation == ops.TANH:
        return tanh(a)
    if operation == ops.SIGMOID:
        return sigmoid(a)
    if operation == ops.EXP:
        return exp(a)
    return a


@njit(**OPTIONS)
def cell(h, c, gates, width, one, two, forget_gates, product):
    """Some channels of an LSTM cell: gates [o, f.., i, g] `width` apart, and the one or two cell states carried over."""
    n, other = len(h), (forget_gates - 1) * width
    forget = view(gates, width, n)
    into, new = view(gates, 2 * width + other, n), view(gates, 3 * width + other, n)
    for k in range(n):
        c[k] = sigmoid(into[k]) * tanh(new[k]) + sigmoid(forget[k]) * one[k]
    if forget_gates == 2:
        forget = view(gates, 2 * width, n)
        for k in range(n):
            c[k] += sigmoid(forget[k]) * two[k]
    if product:
        for k in range(n):
            h[k] = tanh(sigmoid(gates[k]) * c[k])
    else:
        for k in range(n):
            h[k] = sigmoid(gates[k]) * tanh(c[k])


@njit(**OPTIONS)
def place(operand, at, steps, image, column):
    """Where an operand stands in memory."""
    return get(at, operand) + image * get(steps, 2 * operand) + column * get(steps, 2 * operand + 1)


@njit(**OPTIONS)
def multiply(line, at, steps, chunks, memory, weights, image, column, lanes, across):
    """A product, with what is added to it before and its relu behind."""
    n, out, bias = get(line, 1), get(line, 2), get(line, 7)
    y_at, y_step = place(out, at, steps, image, column), get(steps, 2 * out + across)
    for lane in range(lanes):
        y = view(memory, y_at + lane * y_step, n)
        if bias >= 0:
            x = view(weights, bias, n)
            for k in range(n):
                put(y, k, get(x, k))
        else:
            for k in range(n):
                put(y, k, type(y[0])(0))
        for field in range(3, 7, 2):
            o = get(line, field)
            if o >= 0:
                x = view(memory, place(o, at, steps, image, column) + lane * get(steps, 2 * o + across), n)
                for k in range(n):
                    put(y, k, get(y, k) + get(x, k))
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
            y, z = view(memory, y_at + lane * y_step, n), view(memory, z_at + lane * z_step, n)
            zero = type(y[0])(0)
            for k in range(n):
                number = get(y, k)
                put(z, k, zero if number < zero else number)


@njit(**OPTIONS)
def instruct(line, at, steps, chunks, places, memory, weights, image, column, lanes, across):
    """Do one instruction for some lanes: images from `image` on, or columns from `column` on if `across` is 1.

    An operand o stands at at[o] + image * steps[2 * o] + column * steps[2 * o + 1].
    """
    operation = get(line, 0)
    if operation == ops.LINEAR:
        multiply(line, at, steps, chunks, memory, weights, image, column, lanes, across)
        return
    n, out, a, b, c = get(line, 1), get(line, 2), get(line, 3), get(line, 5), get(line, 7)
    y_at, y_step = place(out, at, steps, image, column), get(steps, 2 * out + across)
    a_at, a_step = place(a, at, steps, image, column), get(steps, 2 * a + across)
    b_at, b_step = place(b, at, steps, image, column), get(steps, 2 * b + across)
    c_at, c_step = place(c, at, steps, image, column), get(steps, 2 * c + across)
    more = get(line, 9)
    for lane in range(lanes):
        here, first = y_at + lane * y_step, a_at + lane * a_step
        second, third = b_at + lane * b_step, c_at + lane * c_step
        if operation <= ops.LAST_POINTWISE:
            y = view(memory, here, n)
            x, z, w = view(memory, first, n), view(memory, second, n), view(memory, third, n)
            pointwise(operation, y, x, get(line, 4), z, get(line, 6), w, get(line, 8))
        elif operation == ops.SUM or operation == ops.MAX:
            for k in range(n):
                x = view(memory, first + k * more, more)
                put(memory, here + k, total(x) if operation == ops.SUM else largest(x))
        elif operation == ops.GATHER:
            for k in range(2 * more, 2 * (more + n), 2):
                put(memory, here + get(places, k), get(memory, first + get(places, k + 1)))
        elif operation == ops.CELL:
            o = get(places, 2 * more)
            one = view(memory, place(o, at, steps, image, column) + lane * get(steps, 2 * o + across), n)
            o = get(places, 2 * more + 1)
            two = view(memory, place(o, at, steps, image, column) + lane * get(steps, 2 * o + across), n)
            h, new, gates = view(memory, here, n), view(memory, second, n), view(memory, first, n)
            cell(h, new, gates, get(line, 6), one, two, get(line, 10), get(line, 8) == 1)


@njit(**OPTIONS)
def run(code, begin, end, row, at, steps, chunks, places, memory, wide, weights, image, images, column, columns):
    """Some instructions, each for all images from `image` on and all columns from `column` on."""
    for index in range(begin, end):
        line = view(code, index * ops.FIELDS, ops.FIELDS)
        if row < get(line, 11):
            continue
        across, turns, lanes = 0, 1, images
        if columns > 1:
            across, turns, lanes = 1, images, columns
        operation = get(line, 0)
        for turn in range(turns):
            if operation == ops.CAST or operation == ops.UNCAST:
                out, a, n, unit = get(line, 2), get(line, 3), get(line, 1), get(line, 4)
                y, x = place(out, at, steps, image + turn, column), place(a, at, steps, image + turn, column)
                for _ in range(lanes):
                    if operation == ops.CAST:
                        for k in range(n):
                            put(wide, y + k, np.float64(get(memory, x + k * unit)))
                    else:
                        for k in range(n):
                            put(memory, y + k, type(memory[0])(get(wide, x + k * unit)))
                    y += get(steps, 2 * out + across)
                    x += get(steps, 2 * a + across)
            elif get(line, 12) == 1:
                instruct(line, at, steps, chunks, places, wide, weights, image + turn, column, lanes, across)
            else:
                instruct(line, at, steps, chunks, places, memory, weights, image + turn, column, lanes, across)

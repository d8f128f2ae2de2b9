"""The compiled interpreter of programs: importing this module imports numba, and compiles nothing yet.

Every function takes arrays of any number type, and is compiled once for each. Loops over the channels of a map are
innermost and go over slices, so that they vectorise; sums are taken in the order in which they are written.

In `code` an instruction is a row of integers:

    0 operation  1 n  2 out  3 4 a and its unit  5 6 b and its unit  7 8 c and its unit  9 10 more  11 first row

out, a, b and c are operands: places in memory, looked up in `at` for the row at work. A unit of 1 says that an operand
is n consecutive numbers, 0 that it is one number.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit, types
from numba.extending import overload

from pixelrnn.program import operations as ops
from pixelrnn.program.vectors import LANES, VECTOR_BYTES, as_float, get, product, put, view

FAST = {"contract", "nsz"}  # products and sums may be fused
# Without references that are counted: counting takes longer than a small product, and threads would wait for each other.
_OPTIONS: dict[str, Any] = {"nogil": True, "cache": True, "error_model": "numpy", "fastmath": FAST, "_nrt": False}


_SINGLE = [product(1, panels) for panels in range(1, ops.PANELS + 1)]
_MANY = [product(LANES, panels) for panels in range(1, ops.PANELS + 1)]
_1, _2, _3, _4 = _SINGLE
_M1, _M2, _M3, _M4 = _MANY


@njit(**_OPTIONS)
def linear(memory, weights, y, y_step, n, x, x_step, inputs, weight, lanes):  # type: ignore[no-untyped-def]
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


def exp(x: Any) -> Any:
    """e^x, in a form that vectorises; within 2 units in the last place."""
    raise NotImplementedError


@overload(exp, jit_options=_OPTIONS | {"cache": False})
def _exp(x):  # type: ignore[no-untyped-def]
    if x == types.float32:

        def narrow(x):  # type: ignore[no-untyped-def]
            bounded = min(max(x, np.float32(-87.0)), np.float32(88.0))
            n = np.floor(bounded * np.float32(1.44269504) + np.float32(0.5))
            r = bounded - n * np.float32(0.693359375)
            r = r - n * np.float32(-2.12194440e-4)
            y = np.float32(1 / 5040)
            y = y * r + np.float32(1 / 720)
            y = y * r + np.float32(1 / 120)
            y = y * r + np.float32(1 / 24)
            y = y * r + np.float32(1 / 6)
            y = y * r + np.float32(0.5)
            y = y * r + np.float32(1)
            y = y * r + np.float32(1)
            y = y * as_float(np.int32((np.int32(n) + 127) << 23))
            return x if x != x else (np.float32(0) if x < np.float32(-87.0) else y)

        return narrow

    def wide(x):  # type: ignore[no-untyped-def]
        bounded = min(max(x, -708.0), 709.0)
        n = np.floor(bounded * 1.4426950408889634 + 0.5)
        r = bounded - n * 6.93145751953125e-1
        r = r - n * 1.42860682030941723212e-6
        y = 1 / 6227020800
        y = y * r + 1 / 479001600
        y = y * r + 1 / 39916800
        y = y * r + 1 / 3628800
        y = y * r + 1 / 362880
        y = y * r + 1 / 40320
        y = y * r + 1 / 5040
        y = y * r + 1 / 720
        y = y * r + 1 / 120
        y = y * r + 1 / 24
        y = y * r + 1 / 6
        y = y * r + 0.5
        y = y * r + 1.0
        y = y * r + 1.0
        y = y * as_float((np.int64(n) + 1023) << 52)
        return x if x != x else (0.0 if x < -708.0 else y)

    return wide


@njit(**_OPTIONS)
def tanh(x):  # type: ignore[no-untyped-def]
    one = type(x)(1)
    return one - (one + one) / (exp(x + x) + one)


@njit(**_OPTIONS)
def sigmoid(x):  # type: ignore[no-untyped-def]
    one = type(x)(1)
    return one / (exp(-x) + one)


@njit(**_OPTIONS)
def log_ndtr(x):  # type: ignore[no-untyped-def]
    """The log of the standard normal cumulative distribution function; far out by a continued fraction.

    Source: Abramowitz and Stegun, 7.1.14
    """
    half, root = 0.5, 0.7071067811865476
    if x > 0:
        return math.log1p(-half * math.erfc(x * root))
    if x > -20:
        return math.log(half * math.erfc(-x * root))
    below = -x
    for k in range(12, 0, -1):
        below = k / below - x
    return -half * x * x - 0.9189385332046727 - math.log(below)


@njit(**_OPTIONS)
def pointwise(operation, y, a, a_unit, b, b_unit, c, c_unit):  # type: ignore[no-untyped-def]
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


@njit(**_OPTIONS)
def _one(operation, a, b, c):  # type: ignore[no-untyped-def]
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


@njit(**_OPTIONS)
def cell(h, c, gates, width, one, two, forget_gates, product):  # type: ignore[no-untyped-def]
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


@njit(**_OPTIONS)
def place(operand, at, steps, image, column):  # type: ignore[no-untyped-def]
    """Where an operand stands in memory."""
    return get(at, operand) + image * get(steps, 2 * operand) + column * get(steps, 2 * operand + 1)


@njit(**_OPTIONS)
def multiply(line, at, steps, chunks, memory, weights, image, column, lanes, across):  # type: ignore[no-untyped-def]
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


@njit(**_OPTIONS)
def instruct(line, at, steps, chunks, places, memory, weights, image, column, lanes, across):  # type: ignore[no-untyped-def]
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


@njit(**_OPTIONS)
def total(x):  # type: ignore[no-untyped-def]
    """The sum, taken in eight parts."""
    a = b = c = d = e = f = g = h = type(x[0])(0)
    for k in range(0, len(x) // 8 * 8, 8):
        a, b, c, d = a + get(x, k), b + get(x, k + 1), c + get(x, k + 2), d + get(x, k + 3)
        e, f, g, h = e + get(x, k + 4), f + get(x, k + 5), g + get(x, k + 6), h + get(x, k + 7)
    for k in range(len(x) // 8 * 8, len(x)):
        a = a + get(x, k)
    return ((a + e) + (c + g)) + ((b + f) + (d + h))


@njit(**_OPTIONS)
def largest(x):  # type: ignore[no-untyped-def]
    """The largest number, or what is not a number."""
    a = b = c = d = get(x, 0)
    for k in range(0, len(x) // 4 * 4, 4):
        a, b = max(a, get(x, k)), max(b, get(x, k + 1))
        c, d = max(c, get(x, k + 2)), max(d, get(x, k + 3))
    for k in range(len(x) // 4 * 4, len(x)):
        a = max(a, get(x, k))
    return max(max(a, b), max(c, d))


@njit(**_OPTIONS)
def run(code, begin, end, row, at, steps, chunks, places, memory, wide, weights, image, images, column, columns):  # type: ignore[no-untyped-def]
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


@njit(**_OPTIONS)
def locate(operands, row, at):  # type: ignore[no-untyped-def]
    """Where every operand is in this row: (first, rows, size of a row, row offset) -> a place."""
    for index in range(len(operands)):
        first, rows, size, down = operands[index]
        at[index] = first + (row + down) % rows * size


@njit(**_OPTIONS)
def pick(pmf, number, temperature):  # type: ignore[no-untyped-def]
    """A level by inverse CDF, as `sampling.choosers.Draw`; changes pmf."""
    levels = len(pmf)
    best = 0
    for k in range(levels):
        if pmf[k] > pmf[best]:
            best = k
    if temperature == 0:
        return best
    if temperature != 1:
        top = np.log(pmf[best])
        for k in range(levels):
            pmf[k] = np.exp((np.log(pmf[k]) - top) / temperature)
    total = 0.0
    for k in range(levels):
        total += pmf[k]
        pmf[k] = total
    bound = number * total
    for k in range(levels):
        if not pmf[k] <= bound:  # in this form, so that what is not a number is as in `Draw`
            return k
    return levels - 1


@njit(**_OPTIONS)
def guide(pmf, without, strength):  # type: ignore[no-untyped-def]
    """The guided probabilities, as `sampling.choosers.Guide`, in place of the first."""
    top = -np.inf
    for k in range(len(pmf)):
        unconditional = np.log(max(without[k], 1e-300))
        pmf[k] = unconditional + strength * (np.log(max(pmf[k], 1e-300)) - unconditional)
        top = max(top, pmf[k])
    total = 0.0
    for k in range(len(pmf)):
        pmf[k] = np.exp(pmf[k] - top)
        total += pmf[k]
    for k in range(len(pmf)):
        pmf[k] /= total


@njit(**_OPTIONS)
def finite(memory, at, n):  # type: ignore[no-untyped-def]
    """Whether n numbers are finite."""
    for k in range(at, at + n):
        if not np.isfinite(memory[k]):
            return False
    return True


@njit(**_OPTIONS)
def draw(  # type: ignore[no-untyped-def]
    code,
    once,
    segments,
    passes,
    checks,
    drawn,
    at,
    steps,
    chunks,
    places,
    memory,
    wide,
    weights,
    scaled,
    pixels,
    known,
    numbers,
    begins,
    row,
    column,
    columns,
    width,
    image,
    images,
    copies,
    temperature,
    strength,
):
    """Draw some columns of a row, pixel by pixel and colour by colour, for the images from `image` on.

    Of `copies` 2, images come in pairs, with the condition and without, for guidance. Returns -1, or where parameters
    are not finite: image * columns + column.

    once      (2,): the instructions for whole images, done if `begins` is 2
    segments  (n, 3): begin, end, along: those for whole rows, done if `begins` is 1 or 2
    passes    (2, C + 1, 2): those before each colour of a pixel, and after the last; in the second line, for a pixel
              that is known in all images
    checks    (m, 3): operand, n, colour of the parameters that must be finite
    drawn     (C, 3): the operands of the probabilities, of the pixel as the network sees it, and as an integer
    pixels    (images, C, H * W), known (images, H * W), numbers (images / copies, C, H * W)
    """
    levels, first, single = len(scaled), np.int64(0), np.int64(1)
    if begins == 2:
        begin, end = once
        late = np.int64(1 << 30)
        run(code, begin, end, late, at, steps, chunks, places, memory, wide, weights, image, images, first, single)
    if begins > 0:
        for index in range(len(segments)):
            begin, end, along = segments[index]
            turns, lanes = (single, width) if along == 0 else (width, single)
            for pixel in range(turns):
                where = pixel if along >= 0 else width - 1 - pixel
                run(
                    code, begin, end, row, at, steps, chunks, places, memory, wide, weights, image, images, where, lanes
                )
    for x in range(column, column + columns):
        spot = row * width + x
        all_known = True
        for i in range(image, image + images):
            all_known = all_known and known[i, spot]
        for colour in range(len(drawn) + 1):
            begin, end = passes[1 if all_known else 0, colour]
            run(code, begin, end, row, at, steps, chunks, places, memory, wide, weights, image, images, x, single)
            if colour == len(drawn):
                break
            pmf, scaled_pixel, whole_pixel = drawn[colour]
            for i in range(image, image + images, copies):
                if not known[i, spot]:
                    for index in range(len(checks)):
                        o = checks[index, 0]
                        if checks[index, 2] == colour:
                            for copy in range(copies):
                                if not finite(
                                    memory, place(o, at, steps, i + copy, x), checks[index, 1]
                                ):
                                    return (i + copy) * columns + x - column
                    here = place(pmf, at, steps, i, x)
                    chances = view(wide, here, levels)
                    if copies == 2:
                        here += steps[2 * pmf]
                        guide(chances, view(wide, here, levels), strength)
                    level = pick(chances, numbers[i // copies, colour, spot], temperature)
                    for copy in range(copies):
                        pixels[i + copy, colour, spot] = level
                for copy in range(copies):
                    level = np.int64(pixels[i + copy, colour, spot])
                    memory[place(scaled_pixel, at, steps, i + copy, x)] = scaled[level]
                    wide[place(whole_pixel, at, steps, i + copy, x)] = level
    return -1

"""The kernels of what looks at all earlier pixels: attention, and neighbours in any order (see `kernels`)."""

from __future__ import annotations

import numpy as np
from numba import njit

from pixelrnn.program import operations as ops
from pixelrnn.program.elementary import OPTIONS, largest, place, total
from pixelrnn.program.formulas import Vectors, elementwise
from pixelrnn.program.vectors import VECTOR_BYTES, get, product, put, view

_PRODUCT = product(1)
_COPY = elementwise(1, 1, lambda v, a: a)
_EXP_OF_DIFFERENCE = elementwise(2, 1, Vectors.exp_of_difference)


@njit(**OPTIONS)
def to_planes(line, at, steps, memory, image, column, lanes, across):
    """Copies to where all pixels of a channel stand side by side; b is the second channel of what is written."""
    n, out, a = get(line, 1), get(line, 2), get(line, 3)
    plane = get(at, get(line, 5)) - get(at, out)
    y, x = place(out, at, steps, image, column), place(a, at, steps, image, column)
    for _ in range(lanes):
        for k in range(n):
            put(memory, y + k * plane, get(memory, x + k))
        y += get(steps, 2 * out + across)
        x += get(steps, 2 * a + across)


@njit(**OPTIONS)
def gather_earlier(line, at, steps, memory, image, column, lanes, across):
    """All n channels of a kept map at some earlier pixels; b says how many pixels before, 0 for zeros."""
    n, out, a, b, count = get(line, 1), get(line, 2), get(line, 3), get(line, 5), get(line, 10)
    y, x = place(out, at, steps, image, column), place(a, at, steps, image, column)
    back = place(b, at, steps, image, column)
    for _ in range(lanes):
        for k in range(count):
            before = np.int64(get(memory, back + k))
            if before > 0:
                _COPY(memory, n, (y + k * n, x - before * get(steps, 2 * a + 1)), (1,))
            else:
                for c in range(n):
                    put(memory, y + k * n + c, type(memory[0])(0))
        y += get(steps, 2 * out + across)
        x += get(steps, 2 * a + across)
        back += get(steps, 2 * b + across)


@njit(**OPTIONS, inline="always")
def multiply_apart(memory, y, n, x, inputs, weight, apart):
    """out = weights @ inputs, where the weights of one input and of the next stand `apart`."""
    width = VECTOR_BYTES // memory.itemsize
    for k in range(n):
        put(memory, y + k, type(memory[0])(0))
    step = np.int64(0)
    while n > 0:
        panels = min(ops.PANELS, (n + width - 1) // width)
        valid = n - (panels - 1) * width
        _PRODUCT(memory, memory, y, step, x, step, inputs, (weight, apart), panels, valid)
        n, y, weight = n - panels * width, y + panels * width, weight + panels * width


@njit(**OPTIONS)
def attend(line, at, steps, places, memory, image, column, lanes, across):
    """Attention of a pixel: a, b, c are query, keys in planes and values; their units are the heads, the maps of a head
    and the window. places hold the scores, the rank and the second channel of the keys."""
    out, a, b, c, first = get(line, 2), get(line, 3), get(line, 5), get(line, 7), 2 * get(line, 9)
    heads, size, window = get(line, 4), get(line, 6), get(line, 8)
    count = get(line, 1) // heads  # maps of a head
    o_scores, o_rank = get(places, first), get(places, first + 1)
    plane, line_of_values = get(at, get(places, first + 2)) - get(at, b), get(steps, 2 * c + 1)
    for lane in range(lanes):
        i, x = image + lane * (1 - across), column + lane * across
        rank = np.int64(get(memory, place(o_rank, at, steps, i, x)))
        begin = max(np.int64(0), rank + 1 - window) if window > 0 else np.int64(0)
        seen = rank + 1 - begin
        y, query = place(out, at, steps, i, x), place(a, at, steps, i, x)
        keys = place(b, at, steps, i, x) - rank + begin
        scores = place(o_scores, at, steps, i, x) - rank + begin
        values = place(c, at, steps, i, x) - (seen - 1) * line_of_values
        for _ in range(heads):
            multiply_apart(memory, scores, seen, query, size, keys, plane)
            put(memory, y, largest(view(memory, scores, seen)))
            _EXP_OF_DIFFERENCE(memory, seen, (scores, scores, y), (1, 0))
            share = type(memory[0])(1) / total(view(memory, scores, seen))
            multiply_apart(memory, y, count, scores, seen, values, line_of_values)
            for k in range(count):
                put(memory, y + k, get(memory, y + k) * share)
            y, query, keys, scores, values = (
                y + count,
                query + size,
                keys + size * plane,
                scores + plane,
                values + count,
            )


@njit(**OPTIONS)
def look_back(operation, line, at, steps, places, memory, image, column, lanes, across):
    """One of these instructions."""
    if operation == ops.GATHER_EARLIER:
        gather_earlier(line, at, steps, memory, image, column, lanes, across)
    elif operation == ops.TO_PLANES:
        to_planes(line, at, steps, memory, image, column, lanes, across)
    else:
        attend(line, at, steps, places, memory, image, column, lanes, across)

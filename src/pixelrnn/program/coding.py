"""Coding symbols, compiled: intervals of levels, and the streams that they are decoded from.

The arithmetic is that of `exact.heads` and of `codec.rans`, in int64; `codec.compiled` is the other half.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit

from pixelrnn.exact.tables import (
    LOGIT_RANGE,
    MEAN_BITS,
    SCALES,
    TANH_BITS,
    TANH_RANGE,
    TOTAL,
    TOTAL_BITS,
    WEIGHT_BITS,
    Z_BITS,
    Z_RANGE,
)
from pixelrnn.program.coding_block import BERNOULLI, CATEGORICAL, DECODE, DRAW, LOW, MASKED
from pixelrnn.program.elementary import OPTIONS
from pixelrnn.program.vectors import get, put

EXPONENTIAL = 0  # where the tables begin
LOGISTIC = EXPONENTIAL + LOGIT_RANGE + 1
PRECISION = LOGISTIC + 2 * Z_RANGE + 2
TANH = PRECISION + SCALES[1] - SCALES[0] + 1

FARTHEST = 1 << 20
PLACES = Z_BITS + 8


class Coding(NamedTuple):
    """What is coded, and how.

    params     (C,): the operand of each colour's parameters
    tables     of functions, one behind the other
    scratch    (max(3 K, levels),): of one symbol
    pixels     (images, C, H, W)
    operands   (n, 2): operands in the image, and where they are from the pixel's own first number
    states, positions, ends   of each stream
    words      of all streams, one behind the other
    starts, sizes             of all symbols in the order of decoding, stream by stream: what encoding leaves
    numbers    (images, C, H, W) uniform, known (images, H, W): for drawing
    """

    kind: Any
    components: Any
    levels: Any
    params: Any
    tables: Any
    scratch: Any
    pixels: Any
    operands: Any
    states: Any
    positions: Any
    ends: Any
    words: Any
    starts: Any
    sizes: Any
    numbers: Any
    known: Any


@njit(**OPTIONS, inline="always")
def divide(scratch, first, n, total):
    """Shares of `total` in proportion to n numbers, in their place; the first gets what is left."""
    whole = np.int64(0)
    for k in range(first, first + n):
        whole += get(scratch, k)
    left = total
    for k in range(first, first + n):
        share = 1 + get(scratch, k) * (total - n) // whole
        put(scratch, k, share)
        left -= share
    put(scratch, first, get(scratch, first) + left)


@njit(**OPTIONS, inline="always")
def share(memory, at, n, total, tables, scratch):
    """Shares of `total` in proportion to exp(logits), of n logits in memory."""
    top = np.int64(get(memory, at))
    for k in range(1, n):
        top = max(top, np.int64(get(memory, at + k)))
    for k in range(n):
        put(scratch, k, get(tables, EXPONENTIAL + min(top - np.int64(get(memory, at + k)), LOGIT_RANGE)))
    divide(scratch, np.int64(0), n, total)


@njit(**OPTIONS, inline="always")
def below(level, mean, precision, levels, tables):
    """The share of a component below a level."""
    if level == 0:
        return np.int64(0)
    if level == levels:
        return np.int64(TOTAL)
    z = (((2 * level - 1) << (MEAN_BITS - 1)) - mean) * precision >> (MEAN_BITS + 20 - PLACES)
    z = min(max(z, -(Z_RANGE << 8)), Z_RANGE << 8)
    i = LOGISTIC + Z_RANGE + (z >> 8)
    here = get(tables, i)
    return here + ((get(tables, i + 1) - here) * (z & 255) >> 8)


@njit(**OPTIONS, inline="always")
def mixed(level, n, levels, tables, scratch):
    """The cumulated frequency of a mixture below a level; weights, means and precisions are in `scratch`."""
    total = np.int64(0)
    for k in range(n):
        total += get(scratch, k) * below(level, get(scratch, n + k), get(scratch, 2 * n + k), levels, tables)
    return level + ((total >> WEIGHT_BITS) * (TOTAL - levels) >> TOTAL_BITS)


@njit(**OPTIONS)
def component(coding, memory, means, scales, colour, image, row, column, joint):
    """Means and precisions of the components of a colour."""
    n, tables, scratch, colours = coding.components, coding.tables, coding.scratch, coding.pixels.shape[1]
    for k in range(n):
        mean = np.int64(get(memory, means + k))
        if joint:
            for earlier in range(colour):
                pair = 1 + 2 * colours + colour * (colour - 1) // 2 + earlier
                raw = np.int64(get(memory, means + n * (pair - 1 - colour) + k))
                slope = get(tables, TANH + TANH_RANGE + min(max(raw, -TANH_RANGE), TANH_RANGE))
                value = 2 * np.int64(coding.pixels[image, earlier, row, column]) - (coding.levels - 1)
                mean += slope * value >> (TANH_BITS + 1 - MEAN_BITS)
        scale = min(max(np.int64(get(memory, scales + k)), SCALES[0]), SCALES[1])
        put(scratch, n + k, min(max(mean, -FARTHEST), FARTHEST))
        put(scratch, 2 * n + k, get(tables, PRECISION + scale - SCALES[0]))


@njit(**OPTIONS)
def prepare_head(coding, memory, at, colour, image, row, column):
    """Bring what the frequencies of a symbol need into `scratch`."""
    n, levels, tables, scratch = coding.components, coding.levels, coding.tables, coding.scratch
    kind = coding.kind
    if kind == BERNOULLI:
        logit = np.int64(get(memory, at))
        put(scratch, 0, get(tables, EXPONENTIAL + min(max(logit, np.int64(0)), LOGIT_RANGE)))
        put(scratch, 1, get(tables, EXPONENTIAL + min(max(-logit, np.int64(0)), LOGIT_RANGE)))
        divide(scratch, np.int64(0), np.int64(2), np.int64(TOTAL))
    elif kind == CATEGORICAL:
        share(memory, at, levels, np.int64(TOTAL), tables, scratch)
    else:
        share(memory, at, n, np.int64(1 << WEIGHT_BITS), tables, scratch)
        if kind == MASKED:
            component(coding, memory, at + n, at + 2 * n, np.int64(0), image, row, column, False)
            return
        colours = coding.pixels.shape[1]
        for earlier in range(colour):
            means, scales = at + n * (1 + earlier), at + n * (1 + colours + earlier)
            component(coding, memory, means, scales, earlier, image, row, column, True)
            level = np.int64(coding.pixels[image, earlier, row, column])
            for k in range(n):
                mean, precision = get(scratch, n + k), get(scratch, 2 * n + k)
                mass = below(level + 1, mean, precision, levels, tables) - below(level, mean, precision, levels, tables)
                put(scratch, k, get(scratch, k) * max(mass, np.int64(1)))
            divide(scratch, np.int64(0), n, np.int64(1 << WEIGHT_BITS))
        means, scales = at + n * (1 + colour), at + n * (1 + colours + colour)
        component(coding, memory, means, scales, colour, image, row, column, True)


@njit(**OPTIONS)
def interval(coding, level):
    """Start and size of a level's interval."""
    n, levels, scratch = coding.components, coding.levels, coding.scratch
    if coding.kind < MASKED:
        start = np.int64(0)
        for k in range(level):
            start += get(scratch, k)
        return start, get(scratch, level)
    start = mixed(level, n, levels, coding.tables, scratch)
    return start, mixed(level + 1, n, levels, coding.tables, scratch) - start


@njit(**OPTIONS)
def find(coding, slot):
    """The level that owns a number from 0 to 2^24 - 1, and its interval."""
    n, levels, scratch, tables = coding.components, coding.levels, coding.scratch, coding.tables
    if coding.kind < MASKED:
        level, start = np.int64(0), np.int64(0)
        size = get(scratch, 0)
        while start + size <= slot:
            start += size
            level += 1
            size = get(scratch, level)
        return level, start, size
    low, high, start, end = np.int64(0), np.int64(levels), np.int64(0), np.int64(TOTAL)
    while high - low > 1:
        middle = (low + high) // 2
        here = mixed(middle, n, levels, tables, scratch)
        if here <= slot:
            low, start = middle, here
        else:
            high, end = middle, here
    return low, start, end - start


@njit(**OPTIONS, inline="always")
def take(coding, stream, start, size):
    """Go on in a stream behind a symbol; 1 if it has no more words."""
    state = coding.states[stream]
    state = size * (state >> TOTAL_BITS) + (state & (TOTAL - 1)) - start
    missing = 0
    if state < LOW:
        at = coding.positions[stream]
        word = np.int64(0)
        if at < coding.ends[stream]:
            word = np.int64(coding.words[at])
        else:
            missing = 1
        state = state << 32 | word
        coding.positions[stream] = at + 1
    coding.states[stream] = state
    return missing


@njit(**OPTIONS)
def pack(coding, stream):
    """Encode the intervals of a stream, from the last to the first; words are written from the end on."""
    state, at = np.int64(LOW), coding.ends[stream]
    for index in range(coding.positions[stream] - 1, coding.states[stream] - 1, -1):
        start, size = np.int64(coding.starts[index]), np.int64(coding.sizes[index])
        if state >> 39 >= size:
            at -= 1
            coding.words[at] = state & 0xFFFFFFFF
            state >>= 32
        state = ((state // size) << TOTAL_BITS) + state % size + start
    coding.positions[stream] = at
    coding.states[stream] = state


@njit(**OPTIONS)
def code_symbol(coding, memory, at, stream, colour, image, row, column, mode):
    """Decode or draw a symbol into the pixels, or leave the interval of what is there; 1 if the stream has ended."""
    if mode == DRAW and coding.known[image, row, column]:
        return 0
    prepare_head(coding, memory, at, colour, image, row, column)
    if mode == DRAW:
        level, start, size = find(coding, np.int64(coding.numbers[image, colour, row, column] * TOTAL))
        coding.pixels[image, colour, row, column] = level
        return 0
    if mode == DECODE:
        level, start, size = find(coding, coding.states[stream] & (TOTAL - 1))
        coding.pixels[image, colour, row, column] = level
        return take(coding, stream, start, size)
    start, size = interval(coding, np.int64(coding.pixels[image, colour, row, column]))
    index = coding.positions[stream]
    coding.starts[index] = start
    coding.sizes[index] = size
    coding.positions[stream] = index + 1
    return 0

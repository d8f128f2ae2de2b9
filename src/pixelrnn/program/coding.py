"""Coding with a program, compiled: the pixels of a front are computed together, and each is one of a stream.

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
from pixelrnn.program import block as field
from pixelrnn.program.drawing import begin_row, prepare
from pixelrnn.program.elementary import OPTIONS
from pixelrnn.program.entry import object_code
from pixelrnn.program.kernels import State, place, run
from pixelrnn.program.vectors import apart, array_at, get, meet, put

BERNOULLI, CATEGORICAL, MASKED, JOINT = range(4)
"""Kinds of heads: JOINT is the mixture whose colours share a component."""
CODE, WALK, PACK = range(3)
"""The kinds of work: go over all fronts; walk pixel by pixel as in drawing; encode a stream from its intervals."""

EXPONENTIAL = 0  # where the tables begin
LOGISTIC = EXPONENTIAL + LOGIT_RANGE + 1
PRECISION = LOGISTIC + 2 * Z_RANGE + 2
TANH = PRECISION + SCALES[1] - SCALES[0] + 1

LOW = 1 << 31
FARTHEST = 1 << 20
PLACES = Z_BITS + 8

(
    WORK,
    # addresses
    MEMORY,
    WIDE,
    WEIGHTS,
    CODES,
    CHUNKS,
    PLACES_OF,
    AT,
    STEPS,
    PASSES,
    PARAMS,
    TABLES,
    SCRATCH,
    PIXELS,
    OPERANDS,
    STATES,
    POSITIONS,
    ENDS,
    WORDS,
    STARTS,
    SIZES,
    MEETING,
    # numbers
    KIND,
    COMPONENTS,
    COLOURS,
    LEVELS,
    IMAGES,
    HEIGHT,
    WIDTH,
    LAG,
    BAND,
    STREAMS,
    N_OPERANDS,
    IMAGE_SIZE,
    LINE,
    SIDE,
    DECODES,
    MEMBER,
    MEMBERS,
    STREAM,
    WALKED,  # the address of a machine's block
) = range(SIZE := 41)
"""The fields of a block, as in `block`."""


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
def code_symbol(coding, memory, at, stream, colour, image, row, column, decodes):
    """Decode a symbol into the pixels, or leave the interval of the one that is there; 1 if the stream has ended."""
    prepare_head(coding, memory, at, colour, image, row, column)
    if decodes == 1:
        level, start, size = find(coding, coding.states[stream] & (TOTAL - 1))
        coding.pixels[image, colour, row, column] = level
        return take(coding, stream, start, size)
    start, size = interval(coding, np.int64(coding.pixels[image, colour, row, column]))
    index = coding.positions[stream]
    coding.starts[index] = start
    coding.sizes[index] = size
    coding.positions[stream] = index + 1
    return 0


@njit(**OPTIONS)
def walk(coding, number, address, decodes):
    """Code images side by side, pixel by pixel in raster order, into one stream; `address` is a machine's block."""
    block = array_at(address, (field.SIZE,), np.int64)
    operands = array_at(get(block, field.OPERANDS), (get(block, field.N_OPERANDS), 4), np.int64)
    state = State(
        array_at(get(block, field.CODE), (1,), np.int64),
        array_at(get(block, field.AT), (1,), np.int64),
        array_at(get(block, field.STEPS), (1,), np.int64),
        array_at(get(block, field.CHUNKS), (1,), np.int64),
        array_at(get(block, field.PLACES), (1,), np.int64),
        array_at(get(block, field.MEMORY), (1,), number),
        array_at(get(block, field.WIDE), (1,), np.float64),
        array_at(get(block, field.WEIGHTS), (1,), number),
    )
    images, colours, height, width = coding.pixels.shape
    size, line = get(block, field.IMAGE_SIZE), get(block, field.CONDITION_LINE)
    condition = array_at(get(block, field.CONDITION), (images, height, line), number)
    once = array_at(get(block, field.ONCE), (2,), np.int64)
    segments = array_at(get(block, field.SEGMENTS), (get(block, field.N_SEGMENTS), 3), np.int64)
    meeting = array_at(get(block, field.MEETING), (1,), np.int64)
    passes = array_at(get(block, field.PASSES), (2, colours + 1, 2), np.int64)
    drawn = array_at(get(block, field.DRAWN), (colours, 3), np.int64)
    scaled = array_at(get(block, field.SCALED), (coding.levels,), number)
    zero, single, missing = np.int64(0), np.int64(1), np.int64(0)
    for row in range(height):
        begin_row(state, operands, row, condition, get(block, field.CONDITION_AT), zero, images, size)
        begins = np.int64(2) if row == 0 else single
        prepare(state, once, segments, begins, row, width, zero, images, zero, single, meeting)
        for column in range(width):
            for colour in range(colours + 1):
                begin, end = passes[0, colour]
                apart(run, (state, begin, end, row, zero, images, column, single))
                if colour == colours:
                    break
                for image in range(images):
                    at = place(drawn[colour, 0], state.at, state.steps, image, column)
                    missing |= code_symbol(coding, state.memory, at, zero, colour, image, row, column, decodes)
                    here = place(drawn[colour, 1], state.at, state.steps, image, column)
                    put(state.memory, here, scaled[coding.pixels[image, colour, row, column]])
    return missing


def compile_entry(number: Any) -> tuple[str, bytes]:
    """The entry of coding for memory of `number`: its name, and its machine code as an object file.

    It is called as that of `entry`.

    Raises: RuntimeError if the code needs a function that only numba has
    """

    @njit(**OPTIONS, no_cpython_wrapper=True, no_cfunc_wrapper=True)
    def entry(address):
        block = array_at(address, (SIZE,), np.int64)
        images, colours, levels = get(block, IMAGES), get(block, COLOURS), get(block, LEVELS)
        height, width, lag, band = get(block, HEIGHT), get(block, WIDTH), get(block, LAG), get(block, BAND)
        streams, line, side = get(block, STREAMS), get(block, LINE), get(block, SIDE)
        state = State(
            array_at(get(block, CODES), (1,), np.int64),
            array_at(get(block, AT), (1,), np.int64),
            array_at(get(block, STEPS), (1,), np.int64),
            array_at(get(block, CHUNKS), (1,), np.int64),
            array_at(get(block, PLACES_OF), (1,), np.int64),
            array_at(get(block, MEMORY), (1,), number),
            array_at(get(block, WIDE), (1,), np.float64),
            array_at(get(block, WEIGHTS), (1,), number),
        )
        coding = Coding(
            get(block, KIND),
            get(block, COMPONENTS),
            levels,
            array_at(get(block, PARAMS), (colours,), np.int64),
            array_at(get(block, TABLES), (1,), np.int64),
            array_at(get(block, SCRATCH), (1,), np.int64),
            array_at(get(block, PIXELS), (images, colours, height, width), np.uint8),
            array_at(get(block, OPERANDS), (get(block, N_OPERANDS), 2), np.int64),
            array_at(get(block, STATES), (streams,), np.int64),
            array_at(get(block, POSITIONS), (streams,), np.int64),
            array_at(get(block, ENDS), (streams,), np.int64),
            array_at(get(block, WORDS), (1,), np.uint32),
            array_at(get(block, STARTS), (1,), np.int32),
            array_at(get(block, SIZES), (1,), np.int32),
        )
        if get(block, WORK) == PACK:
            pack(coding, get(block, STREAM))
            return np.int64(0)
        if get(block, WORK) == WALK:
            return walk(coding, number, get(block, WALKED), get(block, DECODES))
        passes = array_at(get(block, PASSES), (2, colours + 1, 2), np.int64)
        meeting = array_at(get(block, MEETING), (1,), np.int64)
        member, members, decodes = get(block, MEMBER), get(block, MEMBERS), get(block, DECODES)
        image_size, memory = get(block, IMAGE_SIZE), state.memory
        late, zero, single = np.int64(1 << 30), np.int64(0), np.int64(1)
        missing = np.int64(0)
        fronts = lag * (height - 1) + width
        for index in range(images * fronts):
            image, front = index // fronts, index % fronts
            first = max(zero, -((width - 1 - front) // lag))
            last = min(height - 1, front // lag)
            for stream in range(member, streams, members):
                top, bottom = max(first, stream * band), min(last, stream * band + band - 1)
                if top > bottom:
                    continue
                own = image * image_size + (top + side) * line + (front - lag * top + side) * colours
                for each in range(len(coding.operands)):
                    put(state.at, coding.operands[each, 0], own + coding.operands[each, 1])
                for colour in range(colours):
                    begin, end = passes[0, colour]
                    apart(run, (state, begin, end, late, zero, bottom - top + 1, zero, single))
                    operand = coding.params[colour]
                    for row in range(top, bottom + 1):
                        at = get(state.at, operand) + (row - top) * get(state.steps, 2 * operand)
                        column = front - lag * row
                        missing |= code_symbol(coding, memory, at, stream, colour, image, row, column, decodes)
                        level = np.int64(coding.pixels[image, colour, row, column])
                        here = own + (row - top) * (line - lag * colours) + colour
                        put(memory, here, number(2 * level - (levels - 1)))
            if members > 1:
                meet(meeting, members)
        return missing

    return object_code(entry)

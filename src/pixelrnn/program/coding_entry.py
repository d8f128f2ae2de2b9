"""Coding images with a program, compiled: front by front, the pixels of each together, or pixel by pixel."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from pixelrnn.program import block as field
from pixelrnn.program import coding_block as own
from pixelrnn.program.coding import Coding, code_symbol, pack
from pixelrnn.program.drawing import begin_row, prepare
from pixelrnn.program.elementary import OPTIONS, place
from pixelrnn.program.entry import machine_state, object_code
from pixelrnn.program.kernels import State, run
from pixelrnn.program.vectors import apart, array_at, get, meet, put


@njit(**OPTIONS)
def walk(coding, number, address, mode):
    """Code images side by side, pixel by pixel in raster order, into one stream; `address` is a machine's block."""
    block = array_at(address, (field.SIZE,), np.int64)
    operands = array_at(get(block, field.OPERANDS), (get(block, field.N_OPERANDS), 4), np.int64)
    state = machine_state(block, number)
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
                    missing |= code_symbol(coding, state.memory, at, zero, colour, image, row, column, mode)
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
        block = array_at(address, (own.SIZE,), np.int64)
        images, colours, levels = get(block, own.IMAGES), get(block, own.COLOURS), get(block, own.LEVELS)
        height, width, lag, band = (
            get(block, own.HEIGHT),
            get(block, own.WIDTH),
            get(block, own.LAG),
            get(block, own.BAND),
        )
        streams, line, side = get(block, own.STREAMS), get(block, own.LINE), get(block, own.SIDE)
        state = State(
            array_at(get(block, own.CODES), (1,), np.int64),
            array_at(get(block, own.AT), (1,), np.int64),
            array_at(get(block, own.STEPS), (1,), np.int64),
            array_at(get(block, own.CHUNKS), (1,), np.int64),
            array_at(get(block, own.PLACES_OF), (1,), np.int64),
            array_at(get(block, own.MEMORY), (1,), number),
            array_at(get(block, own.WIDE), (1,), np.float64),
            array_at(get(block, own.WEIGHTS), (1,), number),
        )
        coding = Coding(
            get(block, own.KIND),
            get(block, own.COMPONENTS),
            levels,
            array_at(get(block, own.PARAMS), (colours,), np.int64),
            array_at(get(block, own.TABLES), (1,), np.int64),
            array_at(get(block, own.SCRATCH), (1,), np.int64),
            array_at(get(block, own.PIXELS), (images, colours, height, width), np.uint8),
            array_at(get(block, own.OPERANDS), (get(block, own.N_OPERANDS), 2), np.int64),
            array_at(get(block, own.STATES), (streams,), np.int64),
            array_at(get(block, own.POSITIONS), (streams,), np.int64),
            array_at(get(block, own.ENDS), (streams,), np.int64),
            array_at(get(block, own.WORDS), (1,), np.uint32),
            array_at(get(block, own.STARTS), (1,), np.int32),
            array_at(get(block, own.SIZES), (1,), np.int32),
            array_at(get(block, own.NUMBERS), (images, colours, height, width), np.float64),
            array_at(get(block, own.KNOWN), (images, height, width), np.bool_),
        )
        if get(block, own.WORK) == own.PACK:
            pack(coding, get(block, own.STREAM))
            return np.int64(0)
        if get(block, own.WORK) == own.WALK:
            return walk(coding, number, get(block, own.WALKED), get(block, own.MODE))
        passes = array_at(get(block, own.PASSES), (2, colours + 1, 2), np.int64)
        meeting = array_at(get(block, own.MEETING), (1,), np.int64)
        member, members, mode = get(block, own.MEMBER), get(block, own.MEMBERS), get(block, own.MODE)
        image_size, memory = get(block, own.IMAGE_SIZE), state.memory
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
                first_number = image * image_size + (top + side) * line + (front - lag * top + side) * colours
                for each in range(len(coding.operands)):
                    put(state.at, coding.operands[each, 0], first_number + coding.operands[each, 1])
                for colour in range(colours):
                    begin, end = passes[0, colour]
                    apart(run, (state, begin, end, late, zero, bottom - top + 1, zero, single))
                    operand = coding.params[colour]
                    for row in range(top, bottom + 1):
                        at = get(state.at, operand) + (row - top) * get(state.steps, 2 * operand)
                        column = front - lag * row
                        missing |= code_symbol(coding, memory, at, stream, colour, image, row, column, mode)
                        level = np.int64(coding.pixels[image, colour, row, column])
                        here = first_number + (row - top) * (line - lag * colours) + colour
                        put(memory, here, number(2 * level - (levels - 1)))
            if members > 1:
                meet(meeting, members)
        return missing

    return object_code(entry)

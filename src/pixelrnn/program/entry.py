"""The compiled function that other code calls, for one kind of number: it takes a block apart and does the work."""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite.binding import address_of_symbol
from numba import njit, types

from pixelrnn.program import block as field
from pixelrnn.program.drawing import Drawing, begin_row, draw, draw_ahead, prepare
from pixelrnn.program.elementary import OPTIONS
from pixelrnn.program.kernels import State
from pixelrnn.program.vectors import array_at, as_float, get


@njit(**OPTIONS, inline="always")
def machine_state(block, number):
    """The state that a machine's block describes, with memory of `number`."""
    return State(  # of flat arrays that are read by place nobody asks the length
        array_at(get(block, field.CODE), (1,), np.int64),
        array_at(get(block, field.AT), (1,), np.int64),
        array_at(get(block, field.STEPS), (1,), np.int64),
        array_at(get(block, field.CHUNKS), (1,), np.int64),
        array_at(get(block, field.PLACES), (1,), np.int64),
        array_at(get(block, field.MEMORY), (1,), number),
        array_at(get(block, field.WIDE), (1,), np.float64),
        array_at(get(block, field.WEIGHTS), (1,), number),
    )


def compile_entry(number: Any) -> tuple[str, bytes]:
    """The entry for memory of `number`: its name, and its machine code as an object file.

    Called as (address of an int64 for what it returns, address of a pointer that is not used, address of the block).

    Raises: RuntimeError if the code needs a function that only numba has
    """

    @njit(**OPTIONS, no_cpython_wrapper=True, no_cfunc_wrapper=True)
    def entry(address):
        block = array_at(address, (field.SIZE,), np.int64)
        work, row, width = get(block, field.WORK), get(block, field.ROW), get(block, field.WIDTH)
        batch, image, images = get(block, field.BATCH), get(block, field.IMAGE), get(block, field.IMAGES)
        operands = array_at(get(block, field.OPERANDS), (get(block, field.N_OPERANDS), 4), np.int64)
        state = machine_state(block, number)
        line, where = get(block, field.CONDITION_LINE), get(block, field.CONDITION_AT)
        colours, area, size = get(block, field.N_COLOURS), get(block, field.AREA), get(block, field.IMAGE_SIZE)
        condition = array_at(get(block, field.CONDITION), (batch, area // width, line), number)
        once = array_at(get(block, field.ONCE), (2,), np.int64)
        segments = array_at(get(block, field.SEGMENTS), (get(block, field.N_SEGMENTS), 3), np.int64)
        begins, member, members = get(block, field.BEGINS), get(block, field.MEMBER), get(block, field.MEMBERS)
        meeting = array_at(get(block, field.MEETING), (1,), np.int64)
        if work == field.BEGIN:
            begin_row(state, operands, row, condition, where, image, images, size)
            return np.int64(-1)
        if work == field.PREPARE:
            prepare(state, once, segments, begins, row, width, image, images, member, members, meeting)
            return np.int64(-1)
        copies, pace = get(block, field.COPIES), array_at(get(block, field.PACE), (2,), np.float64)
        drawing = Drawing(
            array_at(get(block, field.PASSES), (2, colours + 1, 2), np.int64),
            array_at(get(block, field.CHECKS), (get(block, field.N_CHECKS), 3), np.int64),
            array_at(get(block, field.DRAWN), (colours, 3), np.int64),
            array_at(get(block, field.SCALED), (get(block, field.LEVELS),), number),
            array_at(get(block, field.PIXELS), (batch, colours, area), np.uint8),
            array_at(get(block, field.KNOWN), (batch, area), np.bool_),
            array_at(get(block, field.NUMBERS), (batch // copies, colours, area), np.float64),
            copies,
            as_float(get(block, field.TEMPERATURE)),
            as_float(get(block, field.STRENGTH)),
        )
        column, columns = get(block, field.COLUMN), get(block, field.COLUMNS)
        for y in range(row, row + get(block, field.ROWS)):
            if members == 1 and begins > 0:
                begin_row(state, operands, y, condition, where, image, images, size)
                prepare(state, once, segments, begins, y, width, image, images, member, members, meeting)
                begins = 1
            if work == field.DRAW:
                bad = draw(state, drawing, y, column, columns, width, image, images)
            else:
                bad = draw_ahead(state, drawing, y, column, columns, width, image, images, pace)
            if bad >= 0:
                return bad
        return np.int64(-1)

    return object_code(entry)


def object_code(function: Any) -> tuple[str, bytes]:
    """The name of a function of one int64, and its machine code as an object file.

    Raises: RuntimeError if the code needs a function that only numba has
    """
    function.compile((types.int64,))
    (compiled,) = function.overloads.values()
    library = compiled.library
    for each in library._final_module.functions:
        if not each.is_declaration or each.name.startswith("llvm."):
            continue
        if each.name.startswith(("numba_", "Py", "_Py", "NRT_")) or not address_of_symbol(each.name):
            raise RuntimeError(f"the kernels need {each.name}, which is not in this process")
    return compiled.fndesc.llvm_func_name, library._get_compiled_object()

"""The compiled function that other code calls, for one kind of number: it takes a block apart and does the work."""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite.binding import address_of_symbol
from numba import njit, types

from pixelrnn.program import block as field
from pixelrnn.program.drawing import draw, draw_ahead, locate, prepare
from pixelrnn.program.elementary import OPTIONS
from pixelrnn.program.vectors import array_at, as_float, get


def compile_entry(number: Any) -> tuple[str, bytes]:
    """The entry for memory of `number`: its name, and its machine code as an object file.

    Called as (address of an int64 for what it returns, address of a pointer that is not used, address of the block).

    Raises: RuntimeError if the code needs a function that only numba has
    """

    @njit(**OPTIONS, no_cpython_wrapper=True, no_cfunc_wrapper=True)
    def entry(address):
        block = array_at(address, (field.SIZE,), np.int64)
        at = array_at(get(block, field.AT), (get(block, field.N_OPERANDS),), np.int64)
        work, row, width = get(block, field.WORK), get(block, field.ROW), get(block, field.WIDTH)
        if work == field.LOCATE:
            locate(array_at(get(block, field.OPERANDS), (get(block, field.N_OPERANDS), 4), np.int64), row, at)
            return np.int64(-1)
        # Of flat arrays that are read by address nobody asks the length.
        memory = array_at(get(block, field.MEMORY), (1,), number)
        wide = array_at(get(block, field.WIDE), (1,), np.float64)
        weights = array_at(get(block, field.WEIGHTS), (1,), number)
        code = array_at(get(block, field.CODE), (1,), np.int64)
        chunks = array_at(get(block, field.CHUNKS), (1,), np.int64)
        places = array_at(get(block, field.PLACES), (1,), np.int64)
        steps = array_at(get(block, field.STEPS), (1,), np.int64)
        image, images = get(block, field.IMAGE), get(block, field.IMAGES)
        if work == field.PREPARE:
            prepare(
                code,
                array_at(get(block, field.ONCE), (2,), np.int64),
                array_at(get(block, field.SEGMENTS), (get(block, field.N_SEGMENTS), 3), np.int64),
                at,
                steps,
                chunks,
                places,
                memory,
                wide,
                weights,
                get(block, field.BEGINS),
                row,
                width,
                image,
                images,
                get(block, field.MEMBER),
                get(block, field.MEMBERS),
                array_at(get(block, field.MEETING), (1,), np.int64),
            )
            return np.int64(-1)
        batch, copies, area = get(block, field.BATCH), get(block, field.COPIES), get(block, field.AREA)
        colours = get(block, field.N_COLOURS)
        passes = array_at(get(block, field.PASSES), (2, colours + 1, 2), np.int64)
        checks = array_at(get(block, field.CHECKS), (get(block, field.N_CHECKS), 3), np.int64)
        drawn = array_at(get(block, field.DRAWN), (colours, 3), np.int64)
        scaled = array_at(get(block, field.SCALED), (get(block, field.LEVELS),), number)
        pixels = array_at(get(block, field.PIXELS), (batch, colours, area), np.uint8)
        known = array_at(get(block, field.KNOWN), (batch, area), np.bool_)
        numbers = array_at(get(block, field.NUMBERS), (batch // copies, colours, area), np.float64)
        column, columns = get(block, field.COLUMN), get(block, field.COLUMNS)
        temperature, strength = as_float(get(block, field.TEMPERATURE)), as_float(get(block, field.STRENGTH))
        if work == field.DRAW:
            return draw(
                code,
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
                row,
                column,
                columns,
                width,
                image,
                images,
                copies,
                temperature,
                strength,
            )
        return draw_ahead(
            code,
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
            row,
            column,
            columns,
            width,
            image,
            images,
            copies,
            temperature,
            strength,
            array_at(get(block, field.PACE), (2,), np.float64),
        )

    entry.compile((types.int64,))
    (compiled,) = entry.overloads.values()
    library = compiled.library
    for function in library._final_module.functions:
        if function.is_declaration and not function.name.startswith("llvm."):
            if function.name.startswith(("numba_", "Py", "_Py", "NRT_")) or not address_of_symbol(function.name):
                raise RuntimeError(f"the kernels need {function.name}, which is not in this process")
    return compiled.fndesc.llvm_func_name, library._get_compiled_object()

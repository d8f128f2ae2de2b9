"""The one argument of the compiled functions: a block of 64-bit numbers, addresses of arrays and settings.

`machine` fills a block, `native` calls a function with its address, `entry` takes it apart.
"""

from __future__ import annotations

BEGIN, PREPARE, DRAW, DRAW_AHEAD = range(4)
"""The kinds of work: begin a row, do what is done once for it, draw some columns of some rows."""

(
    WORK,
    # addresses of arrays
    MEMORY,
    WIDE,
    WEIGHTS,
    SCALED,
    PIXELS,
    KNOWN,
    NUMBERS,
    CODE,
    CHUNKS,
    PLACES,
    ONCE,
    SEGMENTS,
    PASSES,
    CHECKS,
    DRAWN,
    OPERANDS,
    AT,
    STEPS,
    MEETING,
    PACE,
    CONDITION,  # 0 if there is none, or none that differs from row to row
    # lengths
    N_SEGMENTS,
    N_COLOURS,
    N_CHECKS,
    N_OPERANDS,
    LEVELS,
    BATCH,
    AREA,
    IMAGE_SIZE,
    CONDITION_LINE,  # numbers in a row of an image's condition map
    # settings
    COPIES,
    WIDTH,
    CONDITION_AT,  # operand
    BEGINS,
    ROW,
    ROWS,
    COLUMN,
    COLUMNS,
    IMAGE,
    IMAGES,
    MEMBER,
    MEMBERS,
    # the bits of a float64 each
    TEMPERATURE,
    STRENGTH,
) = range(SIZE := 45)
"""The fields."""

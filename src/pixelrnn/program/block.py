"""The one argument of the compiled functions: a block of 64-bit numbers, addresses of arrays and settings.

`machine` fills a block, `native` calls a function with its address, `entry` takes it apart.
"""

from __future__ import annotations

LOCATE, PREPARE, DRAW, DRAW_AHEAD = range(4)
"""The kinds of work."""

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
    # lengths
    N_SEGMENTS,
    N_COLOURS,
    N_CHECKS,
    N_OPERANDS,
    LEVELS,
    BATCH,
    AREA,
    # settings
    COPIES,
    WIDTH,
    BEGINS,
    ROW,
    COLUMN,
    COLUMNS,
    IMAGE,
    IMAGES,
    MEMBER,
    MEMBERS,
    # the bits of a float64 each
    TEMPERATURE,
    STRENGTH,
) = range(SIZE := 40)
"""The fields."""

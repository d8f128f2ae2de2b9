"""The one argument of the compiled functions that code, as `block` is that of those that draw; without numba."""

from __future__ import annotations

LOW = 1 << 31
"""A stream's state is at least that between two symbols, and below 2^63."""

BERNOULLI, CATEGORICAL, MASKED, JOINT = range(4)
"""Kinds of heads: JOINT is the mixture whose colours share a component."""
ENCODE, DECODE, DRAW = range(3)
"""What is done at a symbol: leave its interval, decode it, draw it where it is not known."""
CODE, WALK, PACK = range(3)
"""The kinds of work: go over all fronts; walk pixel by pixel as in drawing; encode a stream from its intervals."""

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
    NUMBERS,
    KNOWN,
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
    MODE,
    MEMBER,
    MEMBERS,
    STREAM,
    WALKED,  # the address of a machine's block
) = range(SIZE := 43)
"""The fields of a block, as in `block`."""

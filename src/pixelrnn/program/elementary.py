"""Functions of single numbers for the kernels, sums that vectorise, and where operands stand."""

from __future__ import annotations

import math
from typing import Any

from numba import njit

from pixelrnn.program.vectors import get

FAST = {"contract", "nsz"}  # products and sums may be fused, but not taken in another order
# Without reference counts: they take longer than a small product, and threads would wait for each other.
OPTIONS: dict[str, Any] = {"error_model": "numpy", "fastmath": FAST, "_nrt": False}


@njit(**OPTIONS)
def log_ndtr(x):
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


@njit(**OPTIONS)
def total(x):
    """The sum, taken in eight parts."""
    a = b = c = d = e = f = g = h = type(x[0])(0)
    for k in range(0, len(x) // 8 * 8, 8):
        a, b, c, d = a + get(x, k), b + get(x, k + 1), c + get(x, k + 2), d + get(x, k + 3)
        e, f, g, h = e + get(x, k + 4), f + get(x, k + 5), g + get(x, k + 6), h + get(x, k + 7)
    for k in range(len(x) // 8 * 8, len(x)):
        a = a + get(x, k)
    return ((a + e) + (c + g)) + ((b + f) + (d + h))


@njit(**OPTIONS)
def largest(x):
    """The largest number, or what is not a number."""
    a = b = c = d = get(x, 0)
    for k in range(0, len(x) // 4 * 4, 4):
        a, b = max(a, get(x, k)), max(b, get(x, k + 1))
        c, d = max(c, get(x, k + 2)), max(d, get(x, k + 3))
    for k in range(len(x) // 4 * 4, len(x)):
        a = max(a, get(x, k))
    return max(max(a, b), max(c, d))


@njit(**OPTIONS)
def place(operand, at, steps, image, column):
    """Where an operand stands in memory."""
    return get(at, operand) + image * get(steps, 2 * operand) + column * get(steps, 2 * operand + 1)

"""Elementary functions and sums for the kernels, in forms that vectorise; of float32 and float64 alike."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit, types
from numba.extending import overload

from pixelrnn.program.vectors import as_float, get

FAST = {"contract", "nsz"}  # products and sums may be fused, but not taken in another order
# Without references that are counted: counting takes longer than a small product, and threads would wait for each other.
OPTIONS: dict[str, Any] = {"nogil": True, "cache": True, "error_model": "numpy", "fastmath": FAST, "_nrt": False}


def exp(x: Any) -> Any:
    """e^x, in a form that vectorises; within 2 units in the last place."""
    raise NotImplementedError


@overload(exp, jit_options=OPTIONS | {"cache": False})
def _exp(x):
    if x == types.float32:

        def narrow(x):
            bounded = min(max(x, np.float32(-87.0)), np.float32(88.0))
            n = np.floor(bounded * np.float32(1.44269504) + np.float32(0.5))
            r = bounded - n * np.float32(0.693359375)
            r = r - n * np.float32(-2.12194440e-4)
            y = np.float32(1 / 5040)
            y = y * r + np.float32(1 / 720)
            y = y * r + np.float32(1 / 120)
            y = y * r + np.float32(1 / 24)
            y = y * r + np.float32(1 / 6)
            y = y * r + np.float32(0.5)
            y = y * r + np.float32(1)
            y = y * r + np.float32(1)
            y = y * as_float(np.int32((np.int32(n) + 127) << 23))
            return x if x != x else (np.float32(0) if x < np.float32(-87.0) else y)

        return narrow

    def wide(x):
        bounded = min(max(x, -708.0), 709.0)
        n = np.floor(bounded * 1.4426950408889634 + 0.5)
        r = bounded - n * 6.93145751953125e-1
        r = r - n * 1.42860682030941723212e-6
        y = 1 / 6227020800
        y = y * r + 1 / 479001600
        y = y * r + 1 / 39916800
        y = y * r + 1 / 3628800
        y = y * r + 1 / 362880
        y = y * r + 1 / 40320
        y = y * r + 1 / 5040
        y = y * r + 1 / 720
        y = y * r + 1 / 120
        y = y * r + 1 / 24
        y = y * r + 1 / 6
        y = y * r + 0.5
        y = y * r + 1.0
        y = y * r + 1.0
        y = y * as_float((np.int64(n) + 1023) << 52)
        return x if x != x else (0.0 if x < -708.0 else y)

    return wide


@njit(**OPTIONS)
def tanh(x):
    one = type(x)(1)
    return one - (one + one) / (exp(x + x) + one)


@njit(**OPTIONS)
def sigmoid(x):
    one = type(x)(1)
    return one / (exp(-x) + one)


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

"""Tables of functions as integers, the same on every machine: they are computed with whole numbers alone."""

from __future__ import annotations

import functools
from decimal import Context, Decimal

import numpy as np
import numpy.typing as npt

TOTAL_BITS = 24
TOTAL = 1 << TOTAL_BITS
"""What the frequencies of all levels add up to."""

LOGIT_BITS = 8  # binary places of a logit, in nats
MEAN_BITS = 8  # of a mean, in levels
SCALE_BITS = 6  # of a log-scale, in nats
COEFFICIENT_BITS = 8  # of a coefficient before its tanh
TANH_BITS = 12  # of a coefficient
WEIGHT_BITS = 16  # the weights of a mixture add up to 2 ** 16
Z_BITS = 7  # places of an argument of the logistic function in its table; eight more are interpolated

LOGIT_RANGE = 20 << LOGIT_BITS  # below that, e^-20, a level has the least frequency
SCALES = (-160, 480)  # log-scales in levels, in units of 2 ** -SCALE_BITS: a twelfth of a level to 1,800 levels
Z_RANGE = 17 << Z_BITS
TANH_RANGE = 6 << COEFFICIENT_BITS

Table = npt.NDArray[np.int64]
_GUARD = 256  # bits of the computation


@functools.cache
def exponential() -> Table:
    """exp(-i / 2^LOGIT_BITS) in units of 2^-24, for i from 0 to LOGIT_RANGE.

    >>> int(exponential()[0]), int(exponential()[256])  # 2^24, and 2^24 / e
    (16777216, 6171993)
    """
    return _rounded(_powers(LOGIT_BITS, LOGIT_RANGE + 1), TOTAL_BITS)


@functools.cache
def logistic() -> Table:
    """1 / (1 + exp(-z)) in units of 2^-24, at z = (i - Z_RANGE) / 2^Z_BITS, for i from 0 to 2 Z_RANGE + 1.

    The ends are 0 and 1, so that a mixture is complete; the last entry is there twice, for the interpolation.
    """
    upper = [(1 << 2 * _GUARD) // ((1 << _GUARD) + each) for each in _powers(Z_BITS, Z_RANGE + 1)]
    above = _rounded(upper, TOTAL_BITS)
    above[-1] = TOTAL
    return np.concatenate([TOTAL - above[:0:-1], above, above[-1:]])


@functools.cache
def precision() -> Table:
    """exp(-s) in units of 2^-20, at s = i / 2^SCALE_BITS, for i from SCALES[0] to SCALES[1]."""
    inverse = _powers(SCALE_BITS, SCALES[1] - SCALES[0] + 1)
    largest = _exp(Decimal(-SCALES[0]) / (1 << SCALE_BITS))
    return _rounded([each * largest >> _GUARD for each in inverse], 20)


@functools.cache
def hyperbolic_tangent() -> Table:
    """tanh(i / 2^COEFFICIENT_BITS) in units of 2^-TANH_BITS, for i from -TANH_RANGE to TANH_RANGE."""
    one = 1 << _GUARD
    squares = [each * each >> _GUARD for each in _powers(COEFFICIENT_BITS, TANH_RANGE + 1)]
    upper = _rounded([((one - each) << _GUARD) // (one + each) for each in squares], TANH_BITS)
    return np.concatenate([-upper[:0:-1], upper])


@functools.cache
def gates(places: int) -> Table:
    """tanh(i / 2^places) and then the logistic function of it, in units of 2^-places, for i from -n to n each, where n
    is `gate_range`.

    >>> [int(gates(4)[i]) for i in (0, gate_range(4), -1)]
    [-16, 0, 16]
    """
    one, powers = 1 << _GUARD, _powers(places, gate_range(places) + 1)
    squares = [each * each >> _GUARD for each in powers]
    tanh = _rounded([((one - each) << _GUARD) // (one + each) for each in squares], places)
    upper = _rounded([(1 << 2 * _GUARD) // (one + each) for each in powers], places)
    lower = _rounded([(each << _GUARD) // (one + each) for each in powers], places)
    return np.concatenate([-tanh[:0:-1], tanh, lower[:0:-1], upper])


@functools.cache
def elus(places: int) -> Table:
    """exp(-i / 2^places) - 1 in units of 2^-places, for i from 0 to `gate_range`, behind which it is -1.

    >>> [int(elus(4)[i]) for i in (0, 16, -1)]
    [0, -10, -16]
    """
    one = 1 << _GUARD
    return -_rounded([one - each for each in _powers(places, gate_range(places) + 1)], places)


def gate_range(places: int) -> int:
    """Behind which a gate is open or shut, in units of 2^-places: half of a unit is all that is left."""
    return 1 + ((places + 1) * 89 << places) // 128  # 89 / 128 is a little more than ln 2


def _exp(x: Decimal) -> int:
    """exp(x) in units of 2^-_GUARD."""
    return int(Context(prec=120).multiply(Context(prec=120).exp(x), Decimal(1 << _GUARD)))


def _powers(bits: int, count: int) -> list[int]:
    """exp(-i / 2^bits) in units of 2^-_GUARD, for i from 0 to count - 1."""
    step, found = _exp(Decimal(-1) / (1 << bits)), [1 << _GUARD]
    while len(found) < count:
        found.append(found[-1] * step >> _GUARD)
    return found


def _rounded(numbers: list[int], bits: int) -> Table:
    """Numbers in units of 2^-_GUARD in units of 2^-bits, to the nearest."""
    down = _GUARD - bits
    return np.array([(each + (1 << down - 1)) >> down for each in numbers], dtype=np.int64)

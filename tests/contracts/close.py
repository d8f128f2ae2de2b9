"""When two computations of the same numbers in float64 agree."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

TOLERANCE = 1e-12
"""Of the largest number in a feature map. A network adds up some hundred products in each of some ten layers, in an
order that depends on the processor, its instruction set and the number of threads: a few thousand times the rounding of
one operation, 2.2e-16. A mistake in a network is off by more than a thousandth."""


def assert_close(actual: Tensor | np.ndarray | float, expected: Tensor | np.ndarray | float) -> None:
    """The same float64 numbers but for rounding, which is relative to the largest number that was added up.

    Of maps (B, maps, H, W) each is measured by its own largest number; a number below one counts as one, because it may
    be what large ones have left.
    """
    actual, expected = (torch.as_tensor(each) for each in (actual, expected))
    assert actual.dtype == expected.dtype == torch.float64, (actual.dtype, expected.dtype)
    assert actual.shape == expected.shape, (actual.shape, expected.shape)
    others = tuple(axis for axis in range(expected.ndim) if axis != 1) if expected.ndim == 4 else None
    size = expected.abs().clamp(1, torch.finfo(torch.float64).max)
    size = (size.amax(others, keepdim=True) if others else size.max()) if size.numel() else size
    same = (actual == expected) | (actual.isnan() & expected.isnan())  # infinities too
    wrong = ~same & ~((actual - expected).abs() <= TOLERANCE * size)
    if wrong.any():
        off = ((actual - expected).abs() / size)[wrong].max()
        first = wrong.nonzero()[0].tolist()
        found = f"{actual[tuple(first)].item()!r} instead of {expected[tuple(first)].item()!r} at {tuple(first)}"
        raise AssertionError(f"{int(wrong.sum())} of {wrong.numel()} numbers differ, by {off:.1e} at most: {found}")

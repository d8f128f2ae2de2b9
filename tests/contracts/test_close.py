"""The tolerance of the contracts lets rounding through and nothing else."""

from __future__ import annotations

import math

import pytest
import torch
from close import assert_close


@pytest.mark.parametrize("size", [1e-6, 1.0, 1e6])
def test_an_error_of_a_billionth_is_found_and_rounding_is_not(size: float) -> None:
    expected = torch.rand(2, 3, 4, 5) + 0.5
    expected[:, 1] *= size
    assert_close(expected * (1 + 1e-15), expected)
    wrong = expected.clone()
    wrong[1, 1, 2, 3] += 1e-9 * max(size, 1)
    with pytest.raises(AssertionError, match=r"1 of 120 numbers differ.* at \(1, 1, 2, 3\)"):
        assert_close(wrong, expected)
    wrong = expected.clone()
    wrong[0, 0, 0, 0] *= 1 + 1e-9  # however large the other maps are
    with pytest.raises(AssertionError, match=r"\(0, 0, 0, 0\)"):
        assert_close(wrong, expected)


def test_numbers_of_another_shape_or_type_are_not_the_same() -> None:
    for wrong in (torch.zeros(2), torch.zeros(3, dtype=torch.float32)):
        with pytest.raises(AssertionError):
            assert_close(wrong, torch.zeros(3))


def test_what_is_not_finite_is_the_same_or_wrong() -> None:
    odd = torch.tensor([math.inf, -math.inf, math.nan, 1.0])
    assert_close(odd, odd.clone())
    for place, value in ((0, -math.inf), (0, 1.0), (2, 0.0), (3, math.nan)):
        other = odd.clone()
        other[place] = value
        with pytest.raises(AssertionError, match="1 of 4"):
            assert_close(other, odd)


def test_single_numbers_are_compared_too() -> None:
    assert_close(1.0 + 1e-15, 1.0)
    with pytest.raises(AssertionError):
        assert_close(1.0 + 1e-9, 1.0)
